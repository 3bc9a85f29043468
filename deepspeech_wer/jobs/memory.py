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
from typing import NamedTuple

from deepspeech_wer.jobs import group


class Watched(NamedTuple):
    """What the kernel says of the processes that are started within a block."""

    was_killed: Callable[[], bool]  # whether it killed one of them for lack of memory
    is_limited: bool  # whether it keeps them to the limit


@contextmanager
def watched(most_bytes: int | None = None) -> Iterator[Watched]:
    """Watch the processes that are started within the block, and limit their memory where this user may do that."""
    directory, counter = _own_group()
    if directory is None:
        yield Watched(bool, is_limited=False)
        return
    for left in directory.glob(f"{group.NAME}-*"):  # left by killed supervisors
        with suppress(OSError):  # still in use
            left.rmdir()
    ours = directory / f"{group.NAME}-{os.getpid()}"
    if _enter(ours) and not (ours / counter).exists():  # version 2 without the memory controller for children
        _leave(ours, directory)
    counting = ours if ours.exists() else directory
    if most_bytes is not None and counting == ours:
        _limit(ours, most_bytes)
    before = _kills(counting / counter)
    try:
        yield Watched(
            lambda: _kills(counting / counter) > before,
            is_limited=most_bytes is not None and _is_limited(counting, most_bytes),
        )
    finally:
        if counting == ours:
            _leave(ours, directory)


def _own_group() -> tuple[Path | None, str]:
    """Return the directory of this process's memory cgroup, None if there is none, and the name of its counter."""
    of_version_1 = group.own("memory")
    return (of_version_1, "memory.oom_control") if of_version_1 else (group.own(), "memory.events")


def _limit(ours: Path, most_bytes: int) -> None:
    # Swap would only put the end off, for hours. Version 1 takes its limit after that of the memory alone.
    for name, value in (
        ("memory.limit_in_bytes", most_bytes),
        ("memory.memsw.limit_in_bytes", most_bytes),
        ("memory.max", most_bytes),
        ("memory.swap.max", 0),
    ):
        if (ours / name).exists():
            with suppress(OSError):
                (ours / name).write_text(str(value))


def _is_limited(directory: Path, most_bytes: int) -> bool:
    for name in ("memory.max", "memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # "max": no limit
            return int((directory / name).read_text()) <= most_bytes
    return False


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
