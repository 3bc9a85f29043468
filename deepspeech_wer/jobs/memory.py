"""Detects whether the kernel killed a process of the job for lack of memory.

If this user may create a cgroup, the job gets its own, whose counter counts only this job's kills. Otherwise the
counter of the supervisor's cgroup is read, which the job inherits. Without memory cgroups a kill cannot be attributed,
and the job's class is `signal 9`. Sources: cgroups(7), cgroup-v1/memory.txt, cgroup-v2.rst.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer.jobs import group


@contextmanager
def watched() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether the kernel killed a process started within the block for lack of memory."""
    directory, counter = _own_group()
    if directory is None:
        yield bool
        return
    for left in directory.glob(f"{group.NAME}-*"):  # left by killed supervisors
        with suppress(OSError):  # still in use
            left.rmdir()
    ours = directory / f"{group.NAME}-{os.getpid()}"
    if _enter(ours) and not (ours / counter).exists():  # version 2 without the memory controller for children
        _leave(ours, directory)
    counting = ours if ours.exists() else directory
    before = _kills(counting / counter)
    try:
        yield lambda: _kills(counting / counter) > before
    finally:
        if counting == ours:
            _leave(ours, directory)


def _own_group() -> tuple[Path | None, str]:
    """Return the directory of this process's memory cgroup, None if there is none, and the name of its counter."""
    of_version_1 = group.own("memory")
    return (of_version_1, "memory.oom_control") if of_version_1 else (group.own(), "memory.events")


def _enter(ours: Path) -> bool:
    try:
        ours.mkdir()
        (ours / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        with suppress(OSError):
            ours.rmdir()
        return False
    return True


def _leave(ours: Path, directory: Path) -> None:
    """Move back to the cgroup `directory` and remove `ours`."""
    with suppress(OSError):
        (directory / "cgroup.procs").write_text(str(os.getpid()))
        ours.rmdir()


def _kills(counter: Path) -> int:
    try:
        match = re.search(r"^oom_kill (\d+)$", counter.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
