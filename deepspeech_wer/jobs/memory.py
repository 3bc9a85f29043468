"""Whether the kernel ended a process of the job for want of memory.

The job gets a cgroup of its own where this user may make one; its counter then names this job's kills alone. Elsewhere
the counter of the supervisor's own cgroup is read, which the job inherits. Nothing tells on a machine without memory
cgroups: a job that is killed there ends as `signal 9`. Sources: cgroups(7), cgroup-v1/memory.txt, cgroup-v2.rst.
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
    """Call what it yields to learn whether a process that was started within the block was killed so."""
    directory, counter = _own_group()
    if directory is None:
        yield bool
        return
    for left in directory.glob(f"{_NAME}-*"):  # of supervisors that were killed
        with suppress(OSError):  # one that is in use
            left.rmdir()
    group = directory / f"{_NAME}-{os.getpid()}"
    if _enter(group) and not (group / counter).exists():  # version 2, and the controller is not on for our children
        _leave(group, directory)
    counting = group if group.exists() else directory
    before = _kills(counting / counter)
    try:
        yield lambda: _kills(counting / counter) > before
    finally:
        if counting == group:
            _leave(group, directory)


def _own_group() -> tuple[Path | None, str]:
    """The directory of this process's memory cgroup, None where there is none; the name of the file that counts."""
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
            places = (Path(point + wanted), Path(point))  # in a container the path may be one of the host's
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
    """Go back to `directory`, and remove `group`."""
    with suppress(OSError):
        (directory / "cgroup.procs").write_text(str(os.getpid()))
        group.rmdir()


def _kills(counter: Path) -> int:
    try:
        match = re.search(r"^oom_kill (\d+)$", counter.read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0
