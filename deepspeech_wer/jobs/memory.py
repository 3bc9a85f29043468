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

MOUNTS = Path("/proc/self/mounts")
OWN = Path("/proc/self/cgroup")
_NAME = "deepspeech_wer"
_COUNTERS = {"cgroup": "memory.oom_control", "cgroup2": "memory.events"}


@contextmanager
def watched() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether the kernel killed a process started within the block for lack of memory."""
    directory, counter = _own_group()
    if directory is None:
        yield bool
        return
    for left in directory.glob(f"{_NAME}-*"):  # left by killed supervisors
        with suppress(OSError):  # still in use
            left.rmdir()
    group = directory / f"{_NAME}-{os.getpid()}"
    if _enter(group) and not (group / counter).exists():  # version 2 without the memory controller for children
        _leave(group, directory)
    counting = group if group.exists() else directory
    before = _kills(counting / counter)
    try:
        yield lambda: _kills(counting / counter) > before
    finally:
        if counting == group:
            _leave(group, directory)


def _own_group() -> tuple[Path | None, str]:
    """Return the directory of this process's memory cgroup, None if there is none, and the name of its counter."""
    try:
        mounts, own = MOUNTS.read_text("utf-8", "replace"), OWN.read_text("utf-8", "replace")
    except OSError:
        return None, ""
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in own.splitlines())}
    of_version_1 = next((path for names, path in paths.items() if "memory" in names.split(",")), None)
    kind, wanted = ("cgroup2", paths.get("")) if of_version_1 is None else ("cgroup", of_version_1)
    for line in mounts.splitlines():
        _, point, mounted, options = line.split(" ")[:4]
        if mounted == kind and wanted is not None and (kind == "cgroup2" or "memory" in options.split(",")):
            places = (Path(point + wanted), Path(point))  # in a container the path may be the host's
            return next((place for place in places if place.is_dir()), None), _COUNTERS[kind]
    return None, ""


def _enter(group: Path) -> bool:
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(os.getpid()))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return False
    return True


def _leave(group: Path, directory: Path) -> None:
    """Move back to the cgroup `directory` and remove `group`."""
    with suppress(OSError):
        (directory / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _kills(counter: Path) -> int:
    try:
        match = re.search(r"^oom_kill (\d+)$", counter.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
