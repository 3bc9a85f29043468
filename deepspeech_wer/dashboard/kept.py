"""What the site takes from each run, kept between builds: parsing 10,000 records again for each new one takes seconds.

    <kept>/202303       the runs that started in a month, see `kept_month`

The lines of js/hyper.js are not in it: the site has them, and here is what each is recognised by. Nothing here is
needed: what is missing, damaged, or of other files than a run has now is made again from the archive.

Archived runs do not change. Should somebody change one all the same, its directory's time tells each build of any
file that was replaced, added or removed. A file that was written in place has to be looked at itself: of the newest
runs, and of a part of the others, each build does so, and a month's file is as old as the last look at its runs.
"""

from __future__ import annotations

import json
import logging
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import (
    __version__,
    archive,
    archive_order,
    archive_record,
    derived,
    hyper,
    job_contract,
    records,
    run_table,
)
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import details, hyper_js, kept_month, large, literal, masked_json, scripts
from deepspeech_wer.dashboard import logs as published
from deepspeech_wer.dashboard.details import Files
from deepspeech_wer.dashboard.kept_month import Month
from deepspeech_wer.dashboard.logs import WHOLE, without_quotes
from deepspeech_wer.dashboard.spliced import Mark
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import is_partial
from deepspeech_wer.records import Run
from deepspeech_wer.run_table import Table

_TOLD = (
    *("status", "failure", "detail", "started_at", "finished_at", "machine", "processor", "variables"),
    *("rerun_of", "imported"),
)
_COMPRESSED_FROM = 1000  # lines made in one build
_OURS = re.compile(r"\d{6}|other")  # earlier releases wrote "other"
_NEWEST = 500  # runs whose files every build looks at
_TURNS = 32  # builds that look at the files of all others

log = logging.getLogger(__name__)


class Kept(NamedTuple):
    """The readable runs. Of the job's record, a run has what the columns need."""

    runs: Table
    facts: Mapping[str, Sequence[Any]]  # columns, see `kept_month.OF_FILES`
    logs: PublishedLogs
    made: _Made

    @property
    def results(self) -> dict[str, str]:
        """Digests of what the trainings gave, see archive.result_digest."""
        return dict(zip(self.runs.column("id"), self.facts["result"], strict=True))

    def mark(self, name: str) -> Mark | None:
        """Return the mark of a run's line of js/hyper.js."""
        place = self.runs.places.get(name)
        return None if place is None else (self.facts["size"][place], self.facts["crc"][place])

    def line(self, run: Run) -> bytes:
        """Return a run's line of js/hyper.js. Raises Trouble if the run broke meanwhile."""
        return self.made.get(run.id) or hyper_js.line(_shown(run.directory, self.logs))

    def whole(self, run: Run) -> Run:
        """Return the run with all that the page shows of the job's record. Raises Trouble."""
        return _shown(run.directory, self.logs)

    def files(self, runs: Table) -> Iterator[Files]:
        """Yield the files of each of these runs as they were when they were loaded."""
        names, digests = self.facts["names"], self.facts["digest"]
        if runs is self.runs:
            return zip(names, digests, strict=True)
        places = (self.runs.places[name] for name in runs.column("id"))
        return ((names[place], digests[place]) for place in places)


def load(runs: Path, kept: Path, logs: PublishedLogs = WHOLE, *, times: Mapping[str, int] | None = None) -> Kept:
    """Return every readable run, in order. An unreadable run is logged and stays. Raises Trouble if none can be listed.

    The runs quote no more of their logs than visitors see. `kept` is brought up to date, unless it cannot be written.
    `times` are those of the runs' directories, in their order, if they were looked at just before; a change since then
    is seen by the next build, as one of a moment later is.
    """
    version, made = _version(logs.mode), _Made()
    loaded = kept_month.Loaded(runs)
    months: dict[str, list[str]] = {}
    for of, names in groupby(times or archive.names(runs), key=_month):
        months.setdefault(of, []).extend(names)
    descriptor = os.open(runs, os.O_RDONLY | os.O_DIRECTORY) if months else -1
    due = _due(months, kept)
    try:
        archived = _Archived(runs, descriptor, times or {}, logs, made)
        for name, listed in months.items():
            month = kept_month.read(kept / name, version)
            is_changed = _bring_up_to_date(month, listed, archived, is_due=name in due)
            if is_changed:
                derived.write(kept / name, version, month.record())
            if name in due or is_changed:
                with suppress(OSError):  # it could not be written
                    os.utime(kept / name, None if name in due else (0, 0))
            loaded.add(month)
    finally:
        if months:
            os.close(descriptor)
    _remove_all_but(months, kept)
    order = Table(loaded).order()
    if not isinstance(order, range):
        loaded.put_in_order(order)  # here, so that there are no two columns of anything
    return Kept(Table(loaded, is_in_order=True), loaded.of_files, logs, made)


class _Archived(NamedTuple):
    """The archive, as a build looks at it."""

    runs: Path
    descriptor: int  # of that directory
    times: Mapping[str, int]  # of the runs' directories that were looked at already
    logs: PublishedLogs
    made: _Made

    def changed_at(self, run: str) -> int:
        """Return the mtime_ns of a run's directory; -1 if it is gone."""
        try:
            # Relative to a descriptor, since resolving a long path takes longer than all the rest.
            return os.stat(run, dir_fd=self.descriptor, follow_symlinks=False).st_mtime_ns
        except OSError:
            return -1

    def states(self, run: str, names: str) -> str:
        """Return size and time of each file of a run; "" if one is gone."""
        paths = (f"{run}/{name}" for name in names.split("/"))
        try:
            return _states(os.stat(path, dir_fd=self.descriptor, follow_symlinks=False) for path in paths)
        except OSError:
            return ""


def _bring_up_to_date(month: Month, listed: list[str], archived: _Archived, *, is_due: bool) -> bool:
    """Make what is kept of a month that of the runs that are there. Returns whether it was something else."""
    times = [archived.times.get(name) or archived.changed_at(name) for name in listed]
    if not is_due and month["id"] == listed and month["changed_at"] == times:
        return False  # nearly all of them
    same = _as_noted(month, dict(zip(listed, times, strict=True)), archived if is_due else None)
    if len(same) == len(listed) == len(month):
        return False
    for name in listed:
        if name in same:
            continue
        try:
            same[name] = month.add(_made_row(archived, name))
        except Trouble as trouble:
            log.warning("skipping a run: %s", trouble)
    return month.keep([same[name] for name in listed if name in same])


def _as_noted(month: Month, times: Mapping[str, int], archived: _Archived | None) -> dict[str, int]:
    """Return where the month has which run whose files are as they were. With the archive, it looks at each file."""
    same = {}
    rows = zip(month["id"], month["changed_at"], month.values("names"), month["states"], strict=True)
    for place, (run, changed_at, names, states) in enumerate(rows):
        is_same = times.get(run) == changed_at and (archived is None or archived.states(run, names) == states)
        if is_same:
            same[run] = place
    return same


def _states(found: Iterable[os.stat_result]) -> str:
    return "/".join([f"{status.st_size} {status.st_mtime_ns}" for status in found])


def _made_row(archived: _Archived, name: str) -> dict[str, Any]:
    """Read a run, and return what is kept of it. Raises Trouble."""
    directory = archived.runs / name
    try:
        changed_at = directory.stat().st_mtime_ns  # before the files are read: a later change is seen by the next build
        found = details.regular_files(directory)
    except OSError as error:
        raise Trouble(f"{error.filename or directory}: {error.strerror}") from None
    run = _shown(directory, archived.logs)
    line = hyper_js.line(run)
    archived.made.add(run.id, line)
    if large.is_large(run):
        large.tell(run)
    if archive_record.RUN not in found or (run.hyper and job_contract.HYPER not in found):
        changed_at = 0  # a link: what it leads to may change unseen
    names, digest = details.files_of(found)
    told = json.loads(line)  # it holds no text that JavaScript cannot read
    states = _states(found[one] for one in names.split("/"))
    result = told["run"]["result"]
    of_files = (changed_at, names, states, digest, len(line), zlib.crc32(line), result)
    return dict(zip(kept_month.OF_FILES, of_files, strict=True)) | kept_month.row(_told(run, told))


def _told(run: Run, told: dict[str, Any]) -> Run:
    """Return a run as its line of js/hyper.js tells it."""
    tracked = told["run"]
    merge = run.merge._replace(
        subject=tracked["subject"],
        sha=tracked["sha"],
        author=tracked["author"],
        committed_at=tracked["committed_at"],
        reverts=tuple(tracked["reverts"]),
        parents=(),
        request=None,
    )
    record = {name: told[name] for name in told if name != "run"} if run.hyper else None
    return run._replace(merge=merge, hyper=record, **{name: tracked[name] for name in _TOLD})


def _shown(directory: Path, logs: PublishedLogs) -> Run:
    return large.reduced(masked_json.shown(without_quotes(archive_record.read(directory), logs), logs))


def _due(months: Mapping[str, list[str]], kept: Path) -> set[str]:
    """Return the months whose runs are looked at file by file."""
    due, others = set(), dict.fromkeys(months)
    count = 0
    for name in reversed(list(months)):
        if count < _NEWEST:
            count += len(months[name])
            due.add(name)
            others.pop(name)
    part, count = sum(len(months[name]) for name in others) / _TURNS, 0
    for name in sorted(others, key=lambda name: _looked_at(kept / name)):
        if count < part:
            count += len(months[name])
            due.add(name)
    return due


def _looked_at(month: Path) -> int:
    """Return when the runs of a month were looked at file by file: 0 if that is to come."""
    try:
        return month.stat().st_mtime_ns
    except OSError:
        return 0


class _Made:
    """The lines that this build has made. Of many, compressed: those of 10,000 runs are 10 MB."""

    def __init__(self) -> None:
        self._lines: dict[str, bytes] = {}

    def add(self, name: str, line: bytes) -> None:
        """Remember a line."""
        self._lines[name] = line if len(self._lines) < _COMPRESSED_FROM else zlib.compress(line, 1)

    def get(self, name: str) -> bytes | None:
        """Return a line; None if it was not made."""
        line = self._lines.get(name)
        return line if line is None or line[:1] == b"{" else zlib.decompress(line)


def _remove_all_but(months: Iterable[str], kept: Path) -> None:
    with suppress(OSError):
        for entry in os.scandir(kept):
            is_ours = _OURS.fullmatch(entry.name) or is_partial(entry.name)
            if entry.name not in months and is_ours:  # a job may have put a link here
                Path(entry.path).unlink()


def _month(name: str) -> str:
    return name[:6]


def _version(mode: str) -> str:
    """Return a digest of the code and the setting that make a row, so that no row of others is used."""
    modules = [archive, archive_order, details, hyper, kept_month, large, masked_json, published, records, run_table]
    try:
        code = b"".join(Path(str(module.__file__)).read_bytes() for module in (*modules, scripts))
        code += Path(__file__).read_bytes()
    except OSError:  # installed without its source
        code = __version__.encode()
    return literal.fingerprint(mode.encode() + code)
