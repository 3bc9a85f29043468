"""Runs jobs on this machine: one supervisor process per job, in its own session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress

from deepspeech_wer import job_contract
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.jobs import group, guards, limit
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.outcome import Verdict
from deepspeech_wer.jobs.runner import Whereabouts
from deepspeech_wer.jobs.work import Job, Order, Work
from deepspeech_wer.machine import lock, processes, signals
from deepspeech_wer.records import Outcome

_GRACE_S = 3.0  # for a job whose supervisor was killed


class Local:
    """The runner for this machine."""

    def __init__(self) -> None:
        self._started: dict[Work, subprocess.Popen[bytes]] = {}

    def submit(self, work: Work, environment: Mapping[str, str]) -> None:
        """See Runner. The supervisor inherits the lock, so that no moment passes in which nobody holds it."""
        descriptor = lock.acquire(str(work.lock))
        if descriptor is None:
            raise Trouble(f"{work.lock}: another process holds this lock: is the job still running? See `status`")
        order = works.read_order(work)
        scope = guards.scope(order.guards.memory_bytes, environment) if order else []
        command = [*scope, sys.executable, "-P", "-m", "deepspeech_wer", "supervise", str(work.path), str(descriptor)]
        try:
            with work.supervisor_log.open("ab") as said, signals.held_back():
                self._started[work] = subprocess.Popen(
                    command,
                    env=environment,
                    cwd=work.path,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                    pass_fds=(descriptor,),
                )
        except OSError as error:
            raise Trouble(f"cannot start the supervisor of {work.run}: {with_cure(error)}") from None
        finally:
            os.close(descriptor)

    def is_alive(self, work: Work) -> bool:
        """See Runner. A supervisor that this process started is not asked for its lock: the job may have removed it."""
        process = self._started.get(work)
        if process is None:
            return lock.is_held(str(work.lock))
        if process.poll() is None:
            return True
        del self._started[work]
        return False

    def wait(self, work: Work, seconds: float) -> None:
        """See Runner."""
        pid = self._pid(work)
        try:
            handle = os.pidfd_open(pid) if pid else None
        except OSError:  # it has just ended
            return
        if handle is None:
            signals.wait(min(seconds, 0.05))  # it is starting, and has not signed the lock yet
            return
        try:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGCONT)  # its job may have stopped it, and with it every limit
            signals.wait(seconds, handle)
        finally:
            os.close(handle)

    def ask_to_end(self, work: Work) -> None:
        """See Runner."""
        pid = self._pid(work)
        if pid:
            processes.ask_to_end(pid)

    def clear(self, work: Work, order: Order | None) -> list[int]:
        """See Runner. What has the job's token, cgroup or limit is ended, and what descends from its first process."""
        ended: list[int] = []
        job = works.read_job(work) or Job()
        token = order.token if order else ""
        of_job = group.find(job.group, token) if token else None
        for _ in range(10):  # a process may start others before it ends
            left = set(group.members(of_job))
            if token:
                left |= set(processes.with_environment(f"{job_contract.RUN_TOKEN}={token}"))
            if job.pid and processes.start_time(job.pid) == job.started:
                left |= {job.pid, *processes.descendants(job.pid)}
            if job.limit and limit.is_mark(job.limit):  # the job may have written the record
                left |= set(processes.with_limit(job.limit, job.since))
            left.discard(os.getpid())
            if not left:
                break
            processes.end(sorted(left), grace_s=_GRACE_S)
            ended += sorted(left)
        group.end(of_job)
        return ended

    def verdict(self, work: Work, outcome: Outcome | None) -> Verdict | None:  # noqa: ARG002 - the interface
        """See Runner. The supervisor knows best."""
        return None

    def whereabouts(self, work: Work) -> Whereabouts | None:
        """See Runner."""
        holder = lock.holder(str(work.lock))
        return Whereabouts(holder[2], pid=holder[0], node=holder[1]) if holder else None

    def _pid(self, work: Work) -> int | None:
        """Return the supervisor's pid; None if it has not signed its lock yet."""
        started = self._started.get(work)  # until the supervisor signs the lock, the file names this process
        if started:
            return started.pid
        holder = lock.holder(str(work.lock))
        return holder[0] if holder else None
