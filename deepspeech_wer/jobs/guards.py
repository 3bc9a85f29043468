"""What holds a job back: priority, processors, memory. Without privileges; the kernel's own limits go before.

A supervisor that may make a memory cgroup, or that systemd-run started in a scope, has the kernel's limit, see
memory.py. Otherwise it adds up what the job's processes take, each second. A limit of resources (setrlimit(2)) would
be of no use: it counts each process by itself, and the addresses that a GPU's driver reserves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer.machine import processes

SYSTEMD = Path("/run/systemd/system")  # sd_booted(3)
_LOOK_S = 1.0
_PROBE_S = 10.0
_UNITS = "KMGT"


def size(count: int) -> str:
    """Format bytes as ds_job_memory takes them: "8G", "1.5G" if that is not exact."""
    power = min((count.bit_length() - 1) // 10, len(_UNITS)) if count else 0
    return f"{count / (1 << 10 * power):.3g}{_UNITS[power - 1]}" if power else str(count)


@contextmanager
def on_processors(count: int | None, token: str) -> Iterator[None]:
    """Limit what is started within the block to a number of neighbouring processors.

    The token chooses which ones, so that the jobs of two trackers seldom share them.
    """
    usual = os.sched_getaffinity(0)
    if count is None or count >= len(usual):
        yield
        return
    ordered = sorted(usual)
    first = zlib.crc32(token.encode()) % len(ordered)
    os.sched_setaffinity(0, {ordered[(first + place) % len(ordered)] for place in range(count)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


def lower(session: int, nice: int) -> None:
    """Lower the priority of a job that has just begun, and of what it has started by then."""
    if nice:
        with suppress(OSError):  # it has ended already
            os.setpriority(os.PRIO_PGRP, session, min(os.getpriority(os.PRIO_PROCESS, 0) + nice, 19))


class Watch:
    """Adds up the memory of all descendants of this process, at most once a second."""

    def __init__(self, most_bytes: int | None) -> None:
        self._most = most_bytes
        self._next = 0.0

    def excess(self) -> str | None:
        """Return in words what the job takes if that is more than it may, else None."""
        if self._most is None or time.monotonic() < self._next:
            return None
        pids = processes.descendants(os.getpid())
        taken = sum(map(processes.resident, pids))  # counts what processes share for each of them
        if taken > self._most:
            taken = sum(map(processes.own_memory, pids))
        self._next = time.monotonic() + _LOOK_S
        if taken <= self._most:
            return None
        return f"its processes took {size(taken)} of memory, more than ds_job_memory ({size(self._most)})"


def scope(memory_bytes: int | None, environ: Mapping[str, str]) -> list[str]:
    """Return the words to put before a supervisor's command so that systemd limits its memory; none where it cannot.

    `systemd-run --scope` replaces itself by the command: pid, session, descriptors and environment stay.
    """
    program = shutil.which("systemd-run", path=environ.get("PATH"))
    if memory_bytes is None or program is None or not SYSTEMD.is_dir():
        return []
    whose = [] if os.geteuid() == 0 else ["--user"]
    runtime = f"/run/user/{os.getuid()}"
    reach: list[str] = []
    back: list[str] = []
    if whose and not environ.get("XDG_RUNTIME_DIR"):  # cron sets none; the job is not to see it either
        reach, back = ["env", f"XDG_RUNTIME_DIR={runtime}"], ["env", "-u", "XDG_RUNTIME_DIR"]
    limits = ["-p", f"MemoryMax={memory_bytes}", "-p", "MemorySwapMax=0", "-p", "Delegate=yes"]
    words = [*reach, program, *whose, "--scope", "--quiet", "--collect", *limits, "--", *back]
    try:
        done = subprocess.run([*words, "true"], env=environ, capture_output=True, timeout=_PROBE_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return words if done.returncode == 0 else []
