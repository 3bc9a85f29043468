"""Whether a job failed for lack of room, a disk that fails or a limit; and whether it filled the disk itself.

Look before its files are removed.
"""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import files
from deepspeech_wer.errors import with_cure
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE, NO_SCRIPT, Verdict
from deepspeech_wer.jobs.work import Order, Work

_SAYS = re.compile(
    r"no space left on device|disk quota exceeded|\b(ENOSPC|EDQUOT)\b|\b(errno|os error) (28|122)\b", re.I
)
_SAYS_FAILING = re.compile(r"\bstale (nfs )?file handle\b|\b(ESTALE|errno 116)\b|\berrno 5\].*: '", re.I)
_FAILING = (errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOTCONN)
_LIMITS = (  # of the user's, the option of `ulimit`, and what tells of it: words, or how the kernel ends a process
    (
        resource.RLIMIT_FSIZE,
        "f",
        re.compile(r"\bfile (too large|size limit)|\berrno 27\b|^(signal 25|exit 153):", re.I),
    ),
    (resource.RLIMIT_CPU, "t", re.compile(r"\bcpu time limit\b|^(signal (9|24)|exit (137|152)):", re.I)),
)
_OTHER_CAUSES = (INTERRUPTED, MACHINE, NO_SCRIPT, "cancelled", "out-of-memory", "diverged")
_ITS_OWN = 0.5  # of a disk: a job that takes more has filled it itself


class Room(NamedTuple):
    """What a job had to write to when it ended."""

    lack: str | None = None  # what is full
    is_its_own_doing: bool = False  # its own files are most of what fills that
    fault: str | None = None  # which disk fails or has become read-only, and what helps


def disks(order: Order, work: Work, variables: Mapping[str, str]) -> set[Path]:
    """Return where the disks are mounted that a job uses: its own directories, and what `ds_*` variables name.

    Call this before it starts.
    """
    named = [Path(value) for name, value in variables.items() if name.startswith("ds_") and value.startswith("/")]
    return {point for place in (*_own(order, work), *named) if (point := _mount_point(place))}


def left(order: Order, work: Work, variables: Mapping[str, str], mounted: Iterable[Path]) -> Room:
    """Return what room there is where a job may write: `variables` are its own, and some name directories.

    `mounted` is what `disks` returned.
    """
    gone = next((point for point in mounted if not point.is_mount()), None)
    if gone:
        return Room(fault=f"no disk is mounted at {gone} any more: mount it")
    places = list(_places(order, work, variables))
    full = {place: said for place in places if (said := files.lack_of_room(place))}
    refused = ((place, error) for place in places if (error := files.refusal(place)))
    faults = (f"{place}: {with_cure(error)}" for place, error in refused if error.errno in _FAILING)
    is_its_own = any(_own_part(order, work, place) > _ITS_OWN for place in full)
    return Room(next(iter(full.values()), None), is_its_own, next(faults, None))


def blamed(verdict: Verdict, room: Room) -> Verdict:
    """Return the verdict on a job that failed.

    It is MACHINE where a disk failed, a limit of the user's ended the job, or it had no room and had not filled the
    disk itself.
    """
    ended = f"{verdict.failure}: {verdict.detail}"
    trouble = None if verdict.failure in _OTHER_CAUSES else _trouble(ended, room)
    return Verdict(MACHINE, f"its job failed ({ended}), and {trouble}") if trouble else verdict


def _trouble(ended: str, room: Room) -> str | None:
    """Return what was wrong with the machine, and the cure."""
    if room.fault:
        return room.fault
    if (room.lack or _SAYS.search(ended)) and not room.is_its_own_doing:
        lack = room.lack or "room again, since it removed what it wrote"  # a tidy job
        return f"there is {lack}: make room (`df`, `df -i`)"
    if _SAYS_FAILING.search(ended):
        return "a disk or a mount fails: look at `dmesg`"
    limited = (option for which, option, told in _LIMITS if told.search(ended) and _is_limited(which))
    return next((f"`ulimit -{option}` holds it to less: raise that" for option in limited), None)


def _is_limited(which: int) -> bool:
    return resource.getrlimit(which)[0] != resource.RLIM_INFINITY


def _places(order: Order, work: Work, variables: Mapping[str, str]) -> Iterator[Path]:
    """Yield where a job may write, one place of each file system.

    Its own directories count even where they are read-only now.
    """
    own = (*_own(order, work), Path(variables["TMPDIR"]))
    named = [Path(value) for value in variables.values() if value.startswith("/") and "\0" not in value]
    seen = set()
    for place in (*own, Path("/tmp"), Path("/dev/shm"), *named):  # noqa: S108 - looked at, not used
        try:
            device = place.stat().st_dev
            is_writable = not os.statvfs(place).f_flag & os.ST_RDONLY and os.access(place, os.W_OK)
        except OSError as error:
            if error.errno in _FAILING:
                yield place
            continue  # no such directory
        if (is_writable or place in own) and place.is_dir() and device not in seen:
            seen.add(device)
            yield place


def _own(order: Order, work: Work) -> tuple[Path, ...]:
    return Path(order.checkpoints), work.path, Path(order.checkout)


def _own_part(order: Order, work: Work, place: Path) -> float:
    """Return which part of the file system of `place`, in bytes or inodes, the job's own files are."""
    system, device = os.statvfs(place), place.stat().st_dev
    mine = [one for one in _own(order, work) if _device(one) == device]
    size, count = map(sum, zip((0, 0), *map(files.taken, mine), strict=True))
    return max(size / max(1, system.f_blocks * system.f_frsize), count / max(1, system.f_files))


def _device(path: Path) -> int | None:
    try:
        return path.stat().st_dev
    except OSError:
        return None


def _mount_point(path: Path) -> Path | None:
    try:
        there = Path(os.path.realpath(path, strict=True))  # Path.resolve has another error for a link to itself
    except (OSError, ValueError):  # not every variable holds a path
        return None
    return next(place for place in (there, *there.parents) if place.is_mount())
