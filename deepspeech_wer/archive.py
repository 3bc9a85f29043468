"""The archived runs: one directory each. They are the only record; everything else is derived from them.

    runs/<YYYYmmdd-HHMMSS>-<sha12>/    with a number at the end where another run started in that second or later
        run.json     the tracker's record
        hyper.json   byte for byte what the job wrote
        out.log  err.log  utterances.json  history.json  gpu-usage.csv     if they exist

`archive_store` writes them, `archive_record` reads one; here they are listed, found and put in order.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import archive_order, archive_record, derived, files, hyper, job_contract, run_table
from deepspeech_wer.archive_order import Placed, started
from deepspeech_wer.backlog import Ended
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.records import RUN_ID, Run

_USUAL_NAME = 28  # characters: YYYYmmdd-HHMMSS-<sha12>
_SECOND_NS = 10**9
_SHORT_NS = _SECOND_NS // 40  # is waited for until a directory's time has settled
_PLACED_VERSION = f"{archive_record.VERSION}.3"  # one word
_PLACED_UNKEPT = 50  # so many run.json are read again rather than all of what is kept is written
_PLACED_LOOKED_AT = 500  # the newest runs, whose run.json may have been edited: older ones are taken as they were

log = logging.getLogger(__name__)


def names(runs: Path) -> list[str]:
    """Return the names of the archived runs in the order in which they started. Raises Trouble if it cannot list them.

    Links are left out: a job could make one, so that a foreign directory is published. So are directories
    whose names are no run's: the lost+found of a disk, or what somebody keeps there.
    """
    try:
        status = runs.stat()
        known = _listed.get(runs)
        if known and known.state == _state(status):
            return known.names.copy()
        wait_ns = _settles_at(status.st_ctime_ns) - time.time_ns()
        if 0 < wait_ns <= _SHORT_NS:
            time.sleep(wait_ns / _SECOND_NS)  # rather than list it again in a moment
            status = runs.stat()
        now = time.time_ns()
        found = _names(runs)
    except FileNotFoundError:
        return []
    except OSError as error:  # an unreadable archive must not look empty
        raise Trouble(f"{runs}: {with_cure(error)}") from None
    _listed.pop(runs, None)
    if now >= _settles_at(status.st_ctime_ns):
        _listed[runs] = _Listed(_state(status), found)
    return found.copy()


class _Listed(NamedTuple):
    """The names in a directory, and by what a change of them is seen."""

    state: tuple[int, int, int]
    names: list[str]


_listed: dict[Path, _Listed] = {}  # a tick asks for the names a dozen times


def forget_names(runs: Path) -> None:
    """Have the names listed again: a run was stored."""
    _listed.pop(runs, None)


def _names(runs: Path) -> list[str]:
    with os.scandir(runs) as entries:
        found = [
            sys.intern(entry.name)
            for entry in entries
            if RUN_ID.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
        ]
    found.sort()
    if max(map(len, found), default=0) > _USUAL_NAME:  # rarely do any have an era
        found.sort(key=lambda name: 1 if len(name) <= _USUAL_NAME else started(name)[0])
    return found


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_ctime_ns  # unlike its mtime, nobody can set it


def _settles_at(changed_ns: int) -> int:
    """Return the Unix time, in ns, from which on a later change of a directory must show in its time.

    That counts in steps of 10 ms or a second. So git looks at files that are as new as its index.
    """
    step_ns = _SECOND_NS if changed_ns % _SECOND_NS == 0 else _SECOND_NS // 100
    return changed_ns + 2 * step_ns + 1


def newest(runs: Path) -> str:
    """Return the name of the run that started last; "" if there is none. Raises Trouble."""
    return next(reversed(names(runs)), "")


def holds(runs: Path, name: str) -> bool:
    """Return whether a run is archived."""
    return (runs / name).is_dir() and not (runs / name).is_symlink()


def commits(runs: Path) -> set[str]:
    """Return the first 12 digits of every archived commit, taken from the names without opening a file."""
    return {name[16:28] for name in names(runs)}


def bases(runs: Path) -> set[str]:
    """Return the bases that the runs recorded. A lost last_sha1 is restored from them."""
    found: set[str] = set()
    for name in names(runs):
        with suppress(Trouble, KeyError, TypeError):  # building the site reports the unreadable run
            record = archive_record.raw(runs / name / archive_record.RUN)
            base = record["base"] if "base" in record else record["merge"]["sha"]
            if isinstance(base, str):
                found.add(base)
    return found


def ended(runs: Path) -> Iterator[Ended]:
    """How the merges' own runs ended, newest first. The page's build names the unreadable ones."""
    for name in reversed(names(runs)):
        with suppress(Trouble, KeyError):
            record = archive_record.raw(runs / name / archive_record.RUN)
            if record.get("rerun_of") is None:
                yield Ended(name, record["failure"], str(record["started_at"]))


def load(runs: Path) -> list[Run]:
    """Return every readable run, in the order of their starts. An unreadable run is logged and left unchanged."""
    return list(each(runs))


def each(runs: Path) -> Iterator[Run]:
    """Yield the same one by one: records may have 10 MB each."""
    with suppress(OSError):  # told by `names`
        for link in (entry.name for entry in os.scandir(runs) if entry.is_symlink()):
            log.warning("skipping a run: %s is a link: move the run itself there", runs / link)
    for name in names(runs):
        try:
            yield archive_record.read(runs / name)
        except Trouble as trouble:
            log.warning("skipping a run: %s", trouble)


def recent(runs: Path) -> Iterator[Run]:
    """Yield the readable runs, newest first."""
    for name in reversed(names(runs)):
        with suppress(Trouble):  # building the site reports the unreadable run
            yield archive_record.read(runs / name)


def between(runs: Path, since: datetime, until: datetime) -> Iterator[Run]:
    """Yield the readable runs that started within a time by the clock, which may have been wrong at any of them."""
    first, last = (f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}" for moment in (since, until))
    for name in names(runs):
        if first <= name[:15] <= last:
            with suppress(Trouble):
                yield archive_record.read(runs / name)


def of_commit(runs: Path, sha: str) -> Iterator[Run]:
    """Yield the readable runs of a commit, oldest first."""
    for name in names(runs):
        if name[16:28] == sha[:12]:
            with suppress(Trouble):
                yield archive_record.read(runs / name)


def find(runs: Path, name: str) -> Run:
    """Return the run called `name`, or the newest run of the commit whose SHA starts with `name`.

    Raises Trouble if there is none, or if several commits match.
    """
    listed = names(runs)
    matching = [found for found in listed if found == name] or [
        found for found in listed if found[16:].startswith(name[:12])
    ]
    if not name or not matching:
        raise Trouble(f"no run {name!r} in {runs}: list them with `runs`")
    candidates = sorted({found[16:28] for found in matching})
    if len(candidates) > 1:
        listed_commits = ", ".join(candidates[:3])
        raise Trouble(f"{name!r} matches {len(candidates)} commits ({listed_commits}, ...): give more digits")
    newest_first = (archive_record.read(runs / found) for found in reversed(matching))
    own = (run for run in newest_first if run.rerun_of is None)
    return next(own, None) or archive_record.read(runs / matching[-1])


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Sort runs by their place in the archive, and the runs of one merge by their start."""
    return list(run_table.of(list(runs)).in_order())


def order_keys(runs: Iterable[Run]) -> dict[str, archive_order.Key]:
    """Return what `in_order` sorts by; its first element is the place of the merge."""
    return archive_order.keys(run_table.of(list(runs)).placed())


def placed(runs: Path, kept: Path) -> list[Placed]:
    """What decides the places of all archived runs. One that cannot be read is left out: the page's build names it.

    `kept` is a file of what was read before: only new and changed run.json are read. It may be deleted at any time.
    """
    known = {row[0]: row for row in _rows(derived.read(kept, _PLACED_VERSION))}
    listed, read = names(runs), 0
    older = listed[:-_PLACED_LOOKED_AT]
    found = [known[name] for name in older if name in known]
    descriptor = os.open(runs, os.O_RDONLY | os.O_DIRECTORY) if listed else -1
    try:
        for name in (*(name for name in older if name not in known), *listed[-_PLACED_LOOKED_AT:]):
            row = known.get(name)
            with suppress(OSError, Trouble, KeyError, TypeError, ValueError):
                status = os.stat(f"{name}/{archive_record.RUN}", dir_fd=descriptor)
                if row is None or (row.size, row.changed_ns) != (status.st_size, status.st_mtime_ns):
                    read += 1
                    row = _read_placed(runs / name, status)
                found.append(row)
    finally:
        if listed:
            os.close(descriptor)
    if read >= _PLACED_UNKEPT or len(found) < len(known):
        derived.write(kept, _PLACED_VERSION, list(zip(*found, strict=True)))
    return [Placed(row.id, row.id[16:28], *row[3:]) for row in found]


class _Row(NamedTuple):
    """What is kept of a run: as little as possible, since 10,000 of them are in memory while the page is built."""

    id: str
    size: int  # of its run.json
    changed_ns: int
    number: int
    ordinal: int
    started_at: str
    committed_at: str  # "" where the number tells the place


def _rows(value: Any) -> Iterator[_Row]:
    """Yield what is kept of each run, from columns: they take less time to read than rows."""
    columns = value if isinstance(value, list) and all(isinstance(one, list) for one in value) else []
    if len(columns) == len(_Row._fields) and len({*map(len, columns)}) == 1:
        yield from map(_Row, *columns)


def _read_placed(directory: Path, status: os.stat_result) -> _Row:
    """Return what is kept of a run, whose run.json has this status. Raises Trouble, KeyError, TypeError, ValueError."""
    record = archive_record.raw(directory / archive_record.RUN)
    merge, number = record["merge"], archive_record.number(record)
    committed_at = "" if number else str(merge["committed_at"])
    start, ordinal = str(record["started_at"]), int(merge["ordinal"])
    return _Row(directory.name, status.st_size, status.st_mtime_ns, number, ordinal, start, committed_at)


def result_digest(run: Run) -> str:
    """Return a digest of what a training gave: equal ones are the same draw. "" if too little is known to say so.

    It is taken of utterances.json, else of the three WERs if they have digits enough not to be equal by chance.
    """
    path = run.directory / job_contract.UTTERANCES
    if run.hyper is None:
        return ""
    try:
        if path.is_file() and not path.is_symlink():
            with files.open_regular(path) as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    except OSError as error:
        log.warning("%s: %s", path, error.strerror)
        return ""
    rates = [hyper.wer(run.hyper, name) for name in hyper.WERS]
    if rates[0] is None or (rates[1:] == [None, None] and len(repr(rates[0])) < 8):
        return ""
    return hashlib.sha256(repr(rates).encode()).hexdigest()[:32]
