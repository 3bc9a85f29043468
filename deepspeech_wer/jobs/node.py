"""Starts a supervisor on a node of a cluster: `deepspeech-wer supervise WORK JOB START`, from a batch script.

The cluster may start the same job again on another node, also if it only believes that the first one is gone. So a
start claims the work directory, waits until an earlier one has let go of it, and ends once a later one has claimed it.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer import clock, files, logging_setup
from deepspeech_wer.configuration import environment
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE, TROUBLE
from deepspeech_wer.jobs import claim, supervisor
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.claim import Claim
from deepspeech_wer.jobs.local import Local
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import host, lock, signals
from deepspeech_wer.records import Outcome

_LOCK_S = 180.0  # an NFS server keeps the locks of a node that died for some 90 s
_LOOK_S = 2.0

log = logging.getLogger(__name__)


def main(directory: str, job: str, start: str) -> int:
    """Supervise the job of a work directory as job `job` of the cluster, which started it `start` times before."""
    logging_setup.set_up()
    signals.catch()
    work, ours = Work(Path(directory)), Claim(job, int(start) if start.isdecimal() else 0)
    try:
        if not claim.take(work, ours):
            log.warning("job %s of the cluster ends: this run is no longer its own", job)
            return TROUBLE
        descriptor = _lock(work)
    except (OSError, Trouble) as error:
        log.error("job %s of the cluster cannot claim %s: %s", job, work.path, error)
        return TROUBLE
    try:
        order = works.read_order(work)
        if order is None or claim.read(work) != ours:
            return TROUBLE
        if _is_done(work, order):
            return DONE
        Local().clear(work, order)  # of an earlier start on this node
        _make_ready(work)
        works.write_node(work, os.uname().nodename, host.processor())
        _start_sweeper(work)
        with _watched(work, ours):
            supervisor.supervise(order, work, environment.job_environment())
    except OSError as error:
        log.error("job %s of the cluster: %s: %s", job, error.filename or work.path, error.strerror)
        return TROUBLE
    finally:
        os.close(descriptor)
    return DONE


def sweep(directory: str, pid: str) -> int:
    """Wait until a supervisor on this node has ended, and end what its job left if it was killed.

    Slurm does so by itself where it tracks processes by cgroups, otherwise what left the session escapes it.
    """
    work = Work(Path(directory))
    with suppress(OSError):  # it has ended
        handle = os.pidfd_open(int(pid))
        select.select([handle], [], [])
    if outcomes.is_there(work) or not work.path.exists():
        return DONE
    descriptor = lock.acquire(str(work.lock))  # a tick waits for it before it tries the merge again
    if descriptor is not None:
        Local().clear(work, works.read_order(work))
        lock.release(descriptor)
    return DONE


def _start_sweeper(work: Work) -> None:
    """Start `sweep` as no descendant of ours: it must live on, and be no process of the job."""
    command = ["setsid", "--fork", sys.executable, "-P", "-m", "deepspeech_wer", "sweep", str(work.path)]
    try:
        subprocess.run([*command, str(os.getpid())], stdin=subprocess.DEVNULL, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        log.info("no sweeper: %s", error)


def _lock(work: Work) -> int:
    """Take the lock of a work directory. Raises Trouble."""
    deadline = time.monotonic() + _LOCK_S
    while (descriptor := lock.acquire(str(work.lock))) is None:
        if signals.count() or time.monotonic() > deadline:
            raise Trouble("another supervisor holds its lock")
        signals.wait(0.5)
    os.set_inheritable(descriptor, False)
    return descriptor


def _is_done(work: Work, order: Order) -> bool:
    """Whether an earlier start of the same job has brought it to its end. What it left unfinished begins again."""
    outcome = outcomes.read(work)
    if outcome is None and works.was_started(work):
        verdict = outcomes.judge(work.logs)
        if verdict.failure is None:  # the record is the last thing that a job writes
            now = clock.utc_now()
            outcomes.write(
                work, Outcome("done", None, "", order.attempt, now, now, files=verdict.files, logs=work.path)
            )
            return True
    return outcomes.is_final(outcome)


def _make_ready(work: Work) -> None:
    outcomes.forget(work)
    files.remove_tree(work.logs)
    for directory in (work.logs, work.tmp):
        files.make_private(directory)
    outcomes.reserve(work)


@contextmanager
def _watched(work: Work, ours: Claim) -> Iterator[None]:
    """End the job if the work directory is claimed by another start, or is given up."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(_LOOK_S):
            if not _is_ours(work, ours):
                log.warning("job %s of the cluster ends: another one has its run", ours.job)
                with suppress(ProcessLookupError):
                    os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _is_ours(work: Work, ours: Claim) -> bool:
    """Whether the claim is unchanged. One that cannot be read for a moment is taken for unchanged."""
    there = claim.read(work)
    return there == ours or (there is None and work.path.exists())
