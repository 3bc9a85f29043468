"""Jobs on this machine: one supervisor process for each, in a session of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

from deepspeech_wer import contract, lock, processes, signals
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Order, Work

_GRACE_S = 3.0  # for the job of a supervisor that was killed


class Local:
    """The runner for this machine."""

    def __init__(self) -> None:
        self._started: dict[Work, subprocess.Popen[bytes]] = {}

    def submit(self, work: Work, environment: Mapping[str, str]) -> None:
        """See Runner. The supervisor inherits the lock: it is held from before the process exists."""
        descriptor = lock.acquire(str(work.lock))
        if descriptor is None:
            raise Trouble(f"{work.lock}: held by another process: is its job still running?")
        command = [sys.executable, "-P", "-m", "deepspeech_wer", "supervise", str(work.path), str(descriptor)]
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
            raise Trouble(f"cannot start the supervisor of {work.run}: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def is_alive(self, work: Work) -> bool:
        """See Runner."""
        if lock.is_held(str(work.lock)):
            return True
        process = self._started.pop(work, None)
        if process:
            process.wait()
        return False

    def wait(self, work: Work, seconds: float) -> None:
        """See Runner."""
        pid = self._pid(work)
        try:
            handle = os.pidfd_open(pid) if pid else None
        except OSError:  # it has just ended
            return
        if handle is None:
            signals.wait(min(seconds, 0.05))  # it is starting, and has not signed yet
            return
        try:
            signals.wait(seconds, handle)
        finally:
            os.close(handle)

    def ask_to_end(self, work: Work) -> None:
        """See Runner."""
        pid = self._pid(work)
        if pid:
            processes.ask_to_end(pid)

    def clear(self, work: Work, order: Order) -> list[int]:
        """See Runner. A process is the job's by its token, or by the session of a leader whose start time is known."""
        ended: list[int] = []
        for _ in range(10):  # what is ended may have started something meanwhile
            left = set(processes.with_environment(f"{contract.RUN_TOKEN}={order.token}"))
            job = works.read_job(work)
            if job and processes.start_time(job[0]) == job[1]:
                left |= {job[0], *processes.descendants(job[0])}
            left.discard(os.getpid())
            if not left:
                break
            processes.end(sorted(left), grace_s=_GRACE_S)
            ended += sorted(left)
        return ended

    def _pid(self, work: Work) -> int | None:
        """The supervisor's process id; None where it has not signed its lock yet."""
        started = self._started.get(work)  # before it signs, the lock bears our own name
        if started:
            return started.pid
        holder = lock.holder(str(work.lock))
        return holder[0] if holder else None
