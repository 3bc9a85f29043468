"""Whether a job failed for lack of room, and whether it took the room itself. Look before its files are removed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import files
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE, Verdict
from deepspeech_wer.jobs.work import Order, Work

_SAYS = re.compile(
    r"no space left on device|disk quota exceeded|\b(ENOSPC|EDQUOT)\b|\b(errno|os error) (28|122)\b", re.I
)
_OTHER_CAUSES = (INTERRUPTED, MACHINE, "cancelled", "no-script", "out-of-memory", "diverged")
_ITS_OWN = 0.5  # of a disk: a job that takes more has filled it itself


class Room(NamedTuple):
    """What a job had to write to when it ended."""

    lack: str | None = None  # what is full
    is_its_own_doing: bool = False  # its own files are most of what fills that


def left(order: Order, work: Work, variables: Mapping[str, str]) -> Room:
    """Return what room there is where a job may write: `variables` are its own, and some name directories."""
    full = {place: said for place in _places(order, work, variables) if (said := files.lack_of_room(place))}
    is_its_own = any(_own_part(order, work, place) > _ITS_OWN for place in full)
    return Room(next(iter(full.values()), None), is_its_own)


def blamed(verdict: Verdict, room: Room) -> Verdict:
    """Return the verdict on a job that failed: MACHINE where it had no room, unless it filled the disk itself."""
    is_told = bool(_SAYS.search(verdict.detail))  # a tidy job has removed what it wrote
    if verdict.failure in _OTHER_CAUSES or room.is_its_own_doing or not (room.lack or is_told):
        return verdict
    lack = room.lack or "room again, since it removed what it wrote"
    said = f"its job failed ({verdict.failure}: {verdict.detail}), and there is {lack}: make room (`df`, `df -i`)"
    return Verdict(MACHINE, said)


def _places(order: Order, work: Work, variables: Mapping[str, str]) -> Iterator[Path]:
    """Yield where a job may write, one place of each file system."""
    named = [Path(value) for value in variables.values() if value.startswith("/") and "\0" not in value]
    seen = set()
    for place in (*_own(order, work), Path("/tmp"), Path("/dev/shm"), *named):  # noqa: S108 - looked at, not used
        try:
            device = place.stat().st_dev
            is_writable = not os.statvfs(place).f_flag & os.ST_RDONLY and os.access(place, os.W_OK)
        except OSError:  # no such directory
            continue
        if is_writable and place.is_dir() and device not in seen:
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
