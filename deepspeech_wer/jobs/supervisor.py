"""The supervisor of one job: a process `deepspeech-wer supervise WORK LOCK`, started by a runner.

It runs the job of a work directory and writes outcome.json as its last act. Until then it holds the directory's lock,
even if the tick that submitted the job is killed. It is the subreaper of this job only, so everything that the job
starts is among its descendants, daemons included. On SIGTERM it ends the job, which gets `grace_s` seconds to save its
checkpoint; a second SIGTERM ends the job at once.
"""

from __future__ import annotations

import logging
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import clock, files, job_contract, logging_setup
from deepspeech_wer.configuration import environment
from deepspeech_wer.exit_codes import DONE, TROUBLE
from deepspeech_wer.jobs import full_disk, gpu, group, guards, limit, memory, sandbox
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE, Verdict
from deepspeech_wer.jobs.output import JobLog
from deepspeech_wer.jobs.script import Script
from deepspeech_wer.jobs.work import Job, Order, Work
from deepspeech_wer.machine import lock, prctl, processes, signals
from deepspeech_wer.records import Outcome

_DRAIN_S = 2.0  # to read the last output after the job ended; its daemons may hold the pipe open for ever
_POLL_S = 0.5
_SANDBOX_S = 1.0  # bwrap tells of the job's end before its own first process in the sandbox has ended
_LEFTOVERS_GRACE_S = 3.0  # for processes that the job left behind

log = logging.getLogger(__name__)


class _Output(NamedTuple):
    """The job's process and the logs of its two streams."""

    process: subprocess.Popen[bytes]
    out: JobLog
    err: JobLog
    waiter: int | None = None  # bwrap, which only waits for the job: it would die of the SIGTERM that is the job's

    def pairs(self) -> list[tuple[int, JobLog]]:
        streams = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        return [(stream.fileno(), joblog) for stream, joblog in streams if stream and not stream.closed]


def main(directory: str, *, descriptor: int) -> int:
    """Supervise the job of a work directory and return the exit code. `descriptor` is the lock from the runner."""
    logging_setup.set_up()
    signals.catch()
    work = Work(Path(directory))
    with suppress(OSError):  # a full disk: the signature is only for people
        lock.sign(descriptor)
    os.set_inheritable(descriptor, False)
    order = works.read_order(work)
    if order is None:
        return TROUBLE
    supervise(order, work, environment.job_environment())
    return DONE


def supervise(order: Order, work: Work, variables: Mapping[str, str]) -> Outcome:
    """Run the job, end the processes that it leaves behind, and write outcome.json.

    `variables` are the job's environment without those of the contract. Raises OSError if the outcome cannot be saved.
    """
    started_at = clock.utc_now()
    out, err = JobLog(work.out_log), JobLog(work.err_log)
    own = _environment(order, work, variables)
    disks = full_disk.disks(order, work, own)
    fault_of_tmpdir = _fault_of_tmpdir(own["TMPDIR"])  # before the job can remove it
    try:
        failed = _run(order, work, own, out, err)
        room = full_disk.Room()
        if failed or outcomes.judge(work.logs).failure:  # else nobody asks; one of the places may be slow to answer
            room = full_disk.left(order, work, own, disks)
            room = room._replace(fault=room.fault or fault_of_tmpdir)
    finally:
        out.close()
        err.close()
        works.remove_planted(work, order)
        files.restore_access(work.path.parent, work.path)
    # Judged only now: what lies behind a link that the job put there is gone with it.
    verdict = outcomes.with_record(failed, work.logs) if failed else outcomes.judge(work.logs)
    if verdict.failure:
        verdict = full_disk.blamed(verdict, room)
    works.take_back(work, order)
    files.remove_tree(work.tmp)
    if verdict.files is None:
        files.remove_tree(work.logs)
        if files.is_full(Path(order.checkpoints)):  # the job filled the disk itself; no later run could start
            files.remove_tree(Path(order.checkpoints))
    outcome = Outcome(
        status="failed" if verdict.failure else "done",
        failure=verdict.failure,
        detail=verdict.detail,
        attempt=order.attempt,
        started_at=started_at,
        finished_at=clock.utc_now(),
        files=verdict.files,
        logs=work.path,
    )
    outcomes.write(work, outcome)
    return outcome


def _run(order: Order, work: Work, variables: Mapping[str, str], out: JobLog, err: JobLog) -> Verdict | None:
    """Run the job. Returns how it failed, or None if it exited with 0 and its results have to be judged."""
    script = Script.of(order)
    fault = script.fault(variables)
    if fault:
        return fault
    if signals.count():
        return _stopped(work)
    prctl.adopt_orphans()
    if order.guards.is_sandboxed:
        fault = script.fault_in_sandbox() or _fault_of_sandbox(order, work, variables)
        if fault:
            return fault
    with memory.watched(order.guards.memory_bytes) as watched, _grouped(order) as of_job:
        mark = limit.of(order.token)
        job = Job(None, "", processes.start_time(os.getpid()) or "", str(of_job) if of_job else None, mark)
        with suppress(OSError):  # a full disk: only needed if the supervisor is killed
            works.write_job(work, job)
        command = [
            *_sandbox(order, work, variables),
            str(script.path),
            job_contract.CHECKPOINT_OPTION,
            order.checkpoints,
        ]
        held_to = guards.on_processors(order.guards.cpus, order.token)
        try:
            with group.entered(of_job), limit.inheriting(mark), held_to:
                process = _start(command, order.checkout, variables)
        except OSError as error:
            return script.fault_of(error)
        guards.lower(process.pid, order.guards.nice)
        output = _Output(process, out, err, process.pid if order.guards.is_sandboxed else None)
        ended: Verdict | None = Verdict(INTERRUPTED, "its supervisor failed")
        try:
            with suppress(OSError):  # likewise; the token also finds the job
                started = processes.start_time(process.pid) or ""
                works.write_job(work, job._replace(pid=process.pid, started=started))
            most = None if watched.is_limited else order.guards.memory_bytes
            with gpu.sampling(Path(order.gpu_usage) if order.gpu_usage else None, variables):
                ended = _attend(output, order.timeout_s, guards.Watch(most))
        finally:
            _end_all(output, 0 if ended and ended.failure == "out-of-memory" else order.grace_s)
        if signals.count():
            return _stopped(work)
        if ended:
            return ended
        kept_to = guards.size(order.guards.memory_bytes) if order.guards.memory_bytes and watched.is_limited else ""
        code, said = process.returncode, err.last_words()
        return outcomes.classify(code, said, out_of_memory=watched.was_killed(), most=kept_to)


def _fault_of_tmpdir(directory: str) -> str | None:
    """Return what is wrong with TMPDIR, which may be the user's: such as one of a session that has ended."""
    is_usable = os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK)  # noqa: PTH112 - never raises
    if is_usable or not os.path.isabs(directory):  # noqa: PTH117 - a text; a relative one begins at the checkout
        return None
    return f"TMPDIR {directory}: expected a directory that this user can write into: set another one, or none"


def _sandbox(order: Order, work: Work, variables: Mapping[str, str]) -> list[str]:
    """Return what stands before the job's command."""
    return sandbox.command(order.guards, _room(order, work, variables), variables) if order.guards.is_sandboxed else []


def _fault_of_sandbox(order: Order, work: Work, variables: Mapping[str, str]) -> Verdict | None:
    try:
        said = sandbox.fault(order.guards, _room(order, work, variables), variables)
    except OSError as error:
        said = f"{error.filename}: {error.strerror}"
    return Verdict(MACHINE, f"ds_job_sandbox: {said}") if said else None


def _room(order: Order, work: Work, variables: Mapping[str, str]) -> sandbox.Room:
    checkout = Path(order.checkout)
    temporary = Path(variables["TMPDIR"])
    cache = environment.training_cache(variables)  # corpora and features; shared by all runs
    files.make_private(cache)
    places = (checkout, Path(order.checkpoints), work.logs, temporary, cache)
    return sandbox.Room(checkout, places, temporary)


@contextmanager
def _grouped(order: Order) -> Iterator[Path | None]:
    """Make a cgroup for the job if that is allowed. What is left in it at the end of the block is killed."""
    of_job = group.make(order.token)
    try:
        yield of_job
    finally:
        group.end(of_job)


def _stopped(work: Work) -> Verdict:
    """Return the verdict after a signal: it came from `cancel`, or the tick or the machine is shutting down."""
    who = works.read_cancel(work)
    if who is not None:
        return Verdict("cancelled", f"by {who}")
    return Verdict(INTERRUPTED, "a signal ended its supervisor")


def _environment(order: Order, work: Work, given: Mapping[str, str]) -> dict[str, str]:
    return {
        **given,
        job_contract.LOGS_DIR: str(work.logs),
        job_contract.CHECKPOINT_DIR: order.checkpoints,
        job_contract.SHA: order.merge.sha,
        job_contract.ATTEMPT: str(order.attempt),
        job_contract.PYTHON: given.get(job_contract.PYTHON) or sys.executable,
        "TMPDIR": given.get("TMPDIR") or str(work.tmp),  # removed after the run, even if the job is killed
        job_contract.RUN_TOKEN: order.token,
        **({} if order.seed is None else {job_contract.SEED: str(order.seed)}),
        **({} if order.rerun_of is None else {job_contract.RERUN_OF: order.rerun_of}),
    }


def _start(command: Sequence[str], directory: str, variables: Mapping[str, str]) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    for stream in (process.stdout, process.stderr):
        if stream:
            os.set_blocking(stream.fileno(), False)
    return process


def _attend(output: _Output, timeout_s: float | None, watch: guards.Watch) -> Verdict | None:
    """Log the job's output until the job ends or a signal comes. Returns a verdict if it has to be ended."""
    deadline = time.monotonic() + (timeout_s if timeout_s is not None else float("inf"))
    with selectors.DefaultSelector() as selector:
        for number, joblog in output.pairs():
            selector.register(number, selectors.EVENT_READ, joblog)
        while output.process.poll() is None and not signals.count():
            if time.monotonic() >= deadline:
                return Verdict("timeout", f"not done after {timeout_s:g} s (ds_job_timeout)")
            excess = watch.excess()
            if excess is not None:
                return Verdict("out-of-memory", excess)
            _take(selector, min(_POLL_S, deadline - time.monotonic()))
        drained = time.monotonic() + _DRAIN_S
        while selector.get_map() and time.monotonic() < drained and _take(selector, 0.1):
            pass
    return None


def _take(selector: selectors.BaseSelector, wait_s: float) -> bool:
    """Read one chunk of each stream that has output. Returns whether any had."""
    if not selector.get_map():
        signals.wait(min(wait_s, 0.05))
        return False
    ready = selector.select(max(wait_s, 0))
    for key, _ in ready:
        data = os.read(key.fd, 1 << 16)
        if data:
            key.data.feed(data)
        else:
            selector.unregister(key.fileobj)
    return bool(ready)


def _end_all(output: _Output, grace_s: float) -> None:
    """End the job if it still runs, and everything that it started."""
    process, drain = output.process, partial(_drain, output)
    is_urgent = _watch_for_another_signal()
    if output.waiter and process.poll() is not None:
        _let_the_sandbox_go()
    for _ in range(10):  # a process may start others before it ends
        has_ended = process.poll() is not None
        left = {pid for pid in processes.descendants(os.getpid()) if not (has_ended and pid == process.pid)}
        if not left:
            break
        if has_ended:
            log.info("ended %d process%s that the job left behind", len(left), "" if len(left) == 1 else "es")
        if output.waiter in left and len(left) > 1:
            left.discard(process.pid)
        # Reading continues meanwhile: a job that writes much while it saves its checkpoint must not block on the pipe.
        processes.end(
            sorted(left),
            grace_s=_LEFTOVERS_GRACE_S if has_ended else grace_s,
            meanwhile=drain,
            is_urgent=is_urgent,
        )
        processes.reap(left - {process.pid})
        if output.waiter:
            with suppress(subprocess.TimeoutExpired):  # it takes up the code of the job that has ended
                process.wait(_DRAIN_S)
    drain()
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def _let_the_sandbox_go() -> None:
    """Wait until the first process of the sandbox has ended, which it does at once if the job left nothing behind."""
    deadline = time.monotonic() + _SANDBOX_S
    while time.monotonic() < deadline:
        left = processes.descendants(os.getpid())
        processes.reap(left)
        if not left:
            return
        time.sleep(_SANDBOX_S / 50)


def _watch_for_another_signal() -> Callable[[], bool]:
    """Return a function that returns whether a further signal came, beyond the first, which asked for the end."""
    so_far = max(signals.count(), 1)
    return lambda: signals.count() > so_far


def _drain(output: _Output) -> None:
    """Log the output that has not been read yet."""
    for number, joblog in output.pairs():
        with suppress(BlockingIOError):
            while data := os.read(number, 1 << 16):
                joblog.feed(data)
