"""A cgroup of its own for a job, where this user may make one: whatever the job starts is in it and does not leave it.

A process may become a daemon, begin a session of its own, close every descriptor and clear its environment: it stays in
its cgroup. Sources: cgroups(7), cgroup-v2.rst of the kernel. A systemd unit with Delegate=yes, and root, may make one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer import files
from deepspeech_wer.machine import processes

MOUNTS = Path("/proc/self/mounts")
OWN = Path("/proc/self/cgroup")
NAME = "deepspeech_wer"
_PROCESSES = "cgroup.procs"
_REMOVE_S = 5.0  # the kernel ends killed processes in its own time


def own(controller: str = "") -> Path | None:
    """Return the directory of this process's cgroup: of a controller of version 1, or of version 2; None if unknown."""
    try:
        mounts, listed = MOUNTS.read_text("utf-8", "replace"), OWN.read_text("utf-8", "replace")
    except OSError:
        return None
    paths = [(names.split(","), path) for _, names, path in (line.split(":", 2) for line in listed.splitlines())]
    wanted = next((path for names, path in paths if controller in names), None)
    for line in mounts.splitlines() if wanted is not None else ():
        _, point, kind, options = line.split(" ")[:4]
        if kind == ("cgroup" if controller else "cgroup2") and (not controller or controller in options.split(",")):
            places = (Path(f"{point}{wanted}"), Path(point))  # in a container the path may be the host's
            return next((place for place in places if place.is_dir()), None)
    return None


def make(token: str) -> Path | None:
    """Make the cgroup of a job within this process's own; None if this user may not."""
    above = own()
    if above is None:
        return None
    group = above / f"{NAME}-{token}"
    try:
        group.mkdir()
    except OSError:
        return None
    if _move(group) and _move(above):
        return group
    with suppress(OSError):
        group.rmdir()
    return None


@contextmanager
def entered(group: Path | None) -> Iterator[None]:
    """Stay in a job's cgroup within the block: what is started there begins in it, so that no moment is missed."""
    above = own() if group else None
    if group is None or above is None:
        yield
        return
    _move(group)
    try:
        yield
    finally:
        _move(above)


def find(path: str | None, token: str) -> Path | None:
    """Return the cgroup that a record names, if it is that of the job with this token: the job may have written it."""
    if path is None or not Path(path).is_absolute() or ".." in Path(path).parts:
        return None
    group, above = Path(path), own()
    try:
        is_cgroup = above is not None and group.lstat().st_dev == above.stat().st_dev
    except OSError:
        return None
    return group if is_cgroup and group.name == f"{NAME}-{token}" else None


def members(group: Path | None) -> list[int]:
    """Return the processes in a job's cgroup, and in those that the job made below it."""
    found: list[int] = []

    def look(parent: int, name: str) -> bool:
        with suppress(OSError, ValueError):
            descriptor = os.open(f"{name}/{_PROCESSES}", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=parent)
            with os.fdopen(descriptor) as stream:
                found.extend(map(int, stream.read().split()))
        return False

    if group is not None:
        with suppress(OSError):
            files.visit(group, look)
    return found


def end(group: Path | None) -> None:
    """Kill whatever is left in a job's cgroup, and remove it."""
    if group is None:
        return
    deadline = time.monotonic() + _REMOVE_S
    while True:
        try:
            (group / "cgroup.kill").write_text("1")
        except OSError:  # before Linux 5.14
            processes.end(members(group), grace_s=0)
        if files.remove_tree(group) or time.monotonic() > deadline:
            return
        time.sleep(0.05)


def _move(group: Path) -> bool:
    """Move this process into a cgroup. Returns whether that is allowed."""
    try:
        (group / _PROCESSES).write_text(str(os.getpid()))
    except OSError:
        return False
    return True
