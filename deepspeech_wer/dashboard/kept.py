"""What the site takes from each run, kept between builds: parsing 10,000 records again for each new one takes seconds.

    <kept>/202303       the runs that started in a month
        <digest of the code that makes this> <CRC-32 of the next line>
        {"shared": [<a value that many runs have>, ...], "rows": [<see _Row>, ...]}

The lines of js/hyper.js are not in it: the site has them, and a row has what its line is recognised by. Nothing here is
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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import __version__, archive, archive_order, archive_record, derived, hyper, job_contract, records
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import details, hyper_js, large, literal, masked_json, scripts
from deepspeech_wer.dashboard import logs as published
from deepspeech_wer.dashboard.details import Files
from deepspeech_wer.dashboard.logs import WHOLE, without_quotes
from deepspeech_wer.dashboard.spliced import Mark
from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import Merge, Run

_RESULTS = (*hyper.WERS, "test_errors", "tests", "signature")  # what the columns and the verdicts take of them
_ABSENT = -1
_COMPRESSED_FROM = 1000  # lines made in one build
_NEWEST = 2000  # runs whose files every build looks at
_TURNS = 16  # builds that look at the files of all others

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """The readable runs. Of the job's record, a run has what the columns need."""

    runs: list[Run]
    facts: dict[str, _Facts]
    logs: PublishedLogs
    made: _Made

    @property
    def results(self) -> dict[str, str]:
        """Digests of what the trainings gave, see archive.result_digest."""
        return {name: one.result for name, one in self.facts.items()}

    def mark(self, name: str) -> Mark | None:
        """Return the mark of a run's line of js/hyper.js."""
        one = self.facts.get(name)
        return one and (one.size, one.crc)

    def line(self, run: Run) -> bytes:
        """Return a run's line of js/hyper.js. Raises Trouble if the run broke meanwhile."""
        return self.made.get(run.id) or hyper_js.line(_shown(run.directory, self.logs))

    def whole(self, run: Run) -> Run:
        """Return the run with all that the page shows of the job's record. Raises Trouble."""
        return _shown(run.directory, self.logs)

    def found(self, run: Run) -> Files:
        """Return the files of a run as they were when the runs were loaded."""
        return self.facts[run.id][:2]


def load(runs: Path, kept: Path, logs: PublishedLogs = WHOLE, *, times: Mapping[str, int] | None = None) -> Kept:
    """Return every readable run. An unreadable run is logged and left unchanged. Raises Trouble if none can be listed.

    The runs quote no more of their logs than visitors see. `kept` is brought up to date, unless it cannot be written.
    `times` are those of the runs' directories, if they were looked at just before; a change since then is seen by the
    next build, as one of a moment later is.
    """
    loaded = Kept([], {}, logs, _Made())
    version, shared = _version(logs.mode), _Shared()
    months: dict[str, list[str]] = {}
    for name in archive.names(runs):
        months.setdefault(_month(name), []).append(name)
    descriptor = os.open(runs, os.O_RDONLY | os.O_DIRECTORY) if months else -1
    due = _due(months, kept)
    try:
        looked = _Looked(descriptor, times or {})
        for name, listed in months.items():
            month = _Month(shared, *_read(kept / name, version), is_due=name in due)
            for run in listed:
                _add(loaded, run, month, runs, looked)
            if month.is_changed(listed):
                derived.write(kept / name, version, month.record(listed))
            if name in due or month.is_changed(listed):
                with suppress(OSError):  # it could not be written
                    os.utime(kept / name, None if name in due else (0, 0))
    finally:
        if months:
            os.close(descriptor)
    _remove_all_but(months, kept)
    return loaded


@dataclass(frozen=True)
class _Looked:
    """The runs' directories."""

    descriptor: int  # of the one that they are in
    times: Mapping[str, int]  # of those that were looked at already

    def changed_at(self, run: str) -> int:
        """Return the mtime_ns of a run's directory. Raises OSError."""
        found = self.times.get(run)
        # Relative to a descriptor, since resolving a long path takes longer than all the rest.
        return found or os.stat(run, dir_fd=self.descriptor, follow_symlinks=False).st_mtime_ns


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


class _Facts(NamedTuple):
    """What is known of a run's files."""

    names: str  # this and the next: see Files
    digest: str
    size: int  # of the run's line of js/hyper.js
    crc: int
    result: str


class _Row(NamedTuple):
    """What the site takes from a run. Values that many runs have are places in the month's list of shared ones."""

    id: str
    changed_at: int  # mtime_ns of the directory, which changes with the names in it
    names: int  # shared: of the files
    states: str  # size and mtime_ns of each
    digest: str  # see Files
    size: int  # of the run's line of js/hyper.js
    crc: int
    result: str
    sha: str
    ordinal: int
    subject: str
    author: int  # shared
    committed_at: str
    reverts: int  # shared
    status: str
    failure: str | None
    detail: str
    attempt: int
    started_at: str
    finished_at: str
    machine: int  # shared
    number: int
    processor: int  # shared
    variables: int  # shared
    rerun_of: str | None
    seed: int | None
    calibrates: bool
    imported: str | None
    time_started: str | None  # the next four: of the job's record, if there is one
    results: dict[str, Any] | None
    signature: int  # shared
    parameters: int  # shared

    def check(self) -> None:
        """Raises TypeError if this was not made from a run."""
        texts = self.id, self.states, self.digest, self.result, self.sha, self.subject, self.committed_at, self.status
        others = self.detail, self.started_at, self.finished_at
        numbers = self.size, self.crc, self.ordinal, self.attempt, self.number
        if {*map(type, texts), *map(type, others)} != {str} or {*map(type, numbers)} != {int}:
            raise TypeError(self)


def _add(loaded: Kept, name: str, month: _Month, runs: Path, looked: _Looked) -> None:
    """Add a run, from its row if its files are as they were; a run that cannot be read is logged."""
    try:
        row = month.rows[name]
        if not _is_as_noted(row, month, looked):
            raise KeyError(name)
        run = _run(name, row, month.shared, runs)
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        month.rows.pop(name, None)
        try:
            row = _made_row(runs / name, month, loaded)
        except Trouble as trouble:
            log.warning("skipping a run: %s", trouble)
            return
        run = _run(name, row, month.shared, runs)
        month.add(row)
    loaded.runs.append(run)
    loaded.facts[name] = _Facts(month.shared[row.names], row.digest, row.size, row.crc, row.result)


def _is_as_noted(row: _Row, month: _Month, looked: _Looked) -> bool:
    """Return whether a run's files are as they were."""
    try:
        if looked.changed_at(row.id) != row.changed_at:
            return False
        return not month.is_due or _are_as_noted(row, month.shared, looked.descriptor)
    except OSError:
        return False


def _are_as_noted(row: _Row, shared: list[Any], descriptor: int) -> bool:
    """Return whether each file has its size and time. Raises OSError."""
    paths = (f"{row.id}/{name}" for name in shared[row.names].split("/"))
    return row.states == _states(os.stat(path, dir_fd=descriptor, follow_symlinks=False) for path in paths)


def _states(found: Iterable[os.stat_result]) -> str:
    return "/".join([f"{status.st_size} {status.st_mtime_ns}" for status in found])


def _made_row(directory: Path, month: _Month, loaded: Kept) -> _Row:
    """Read a run. Raises Trouble."""
    try:
        changed_at = directory.stat().st_mtime_ns  # before the files are read: a later change is seen by the next build
        found = details.regular_files(directory)
    except OSError as error:
        raise Trouble(f"{error.filename or directory}: {error.strerror}") from None
    run = _shown(directory, loaded.logs)
    line = hyper_js.line(run)
    loaded.made.add(run.id, line)
    if large.is_large(run):
        large.tell(run)
    if archive_record.RUN not in found or (run.hyper and job_contract.HYPER not in found):
        changed_at = 0  # a link: what it leads to may change unseen
    return month.row(run, line, changed_at, found)


def _shown(directory: Path, logs: PublishedLogs) -> Run:
    return large.reduced(masked_json.shown(without_quotes(archive_record.read(directory), logs), logs))


class _Month:
    """The rows of a month, and the values that they share."""

    def __init__(self, equal: _Shared, shared: list[Any], rows: list[list[Any]], *, is_due: bool) -> None:
        self.is_due = is_due  # to be looked at file by file
        self.shared = [equal.one(value) for value in shared]
        self.rows: dict[str, _Row] = {}
        self._equal = equal
        self._places: dict[str, int] = {}
        self._is_changed = False
        for row in rows:
            with suppress(TypeError):  # not a row of this program
                self.rows[row[0]] = _Row._make(row)

    def is_changed(self, names: list[str]) -> bool:
        """Return whether the month is to be written, for the runs that are there."""
        return self._is_changed or not self.rows.keys() <= set(names)

    def record(self, names: list[str]) -> dict[str, Any]:
        """Return what the month's file holds, for the runs that are there."""
        return {"shared": self.shared, "rows": [self.rows[name] for name in names if name in self.rows]}

    def add(self, row: _Row) -> None:
        """Take up a new row."""
        self.rows[row.id] = row
        self._is_changed = True

    def row(self, run: Run, line: bytes, changed_at: int, found: Mapping[str, os.stat_result]) -> _Row:
        """Return the row of a run."""
        # What the line has: it holds no text that JavaScript cannot read.
        record = json.loads(line)
        tracked = record["run"]
        results = {name: record["results"][name] for name in _RESULTS if name in record["results"]} if run.hyper else {}
        signature = self._place(results.pop("signature")) if "signature" in results else _ABSENT
        names, digest = details.files_of(found)
        return _Row(
            run.id,
            changed_at,
            self._place(names),
            _states(found[name] for name in names.split("/")),
            digest,
            len(line),
            zlib.crc32(line),
            tracked["result"],
            tracked["sha"],
            tracked["ordinal"],
            tracked["subject"],
            self._place(tracked["author"]),
            tracked["committed_at"],
            self._place(tracked["reverts"]),
            tracked["status"],
            tracked["failure"],
            tracked["detail"],
            tracked["attempt"],
            tracked["started_at"],
            tracked["finished_at"],
            self._place(tracked["machine"]),
            tracked["number"],
            self._place(tracked["processor"]),
            self._place(tracked["variables"]),
            tracked["rerun_of"],
            tracked["seed"],
            tracked["calibrates"],
            tracked["imported"],
            record["context"]["time_started"] if run.hyper else None,
            results if run.hyper else None,
            signature,
            self._place(record.get("parameters", {})) if run.hyper else _ABSENT,
        )

    def _place(self, value: Any) -> int:
        if not self._places:
            self._places = {repr(one): place for place, one in enumerate(self.shared)}
        place = self._places.setdefault(repr(value), len(self.shared))
        if place == len(self.shared):
            self.shared.append(self._equal.one(value))
        return place


def _run(name: str, row: _Row, shared: list[Any], runs: Path) -> Run:
    """Return the run of a row. Raises TypeError or IndexError if the row is none."""
    row.check()
    found = None
    if row.time_started is not None and row.results is not None:
        found = {
            "context": {"time_started": row.time_started},
            "results": row.results if row.signature < 0 else {**row.results, "signature": shared[row.signature]},
            "parameters": shared[row.parameters],
        }
    merge = Merge(
        sha=row.sha,
        ordinal=row.ordinal,
        subject=row.subject,
        author=shared[row.author],
        committed_at=row.committed_at,
        parents=(),
        reverts=tuple(shared[row.reverts]),
    )
    return Run(
        id=name,
        root=runs,
        merge=merge,
        status=row.status,
        failure=row.failure,
        detail=row.detail,
        attempt=row.attempt,
        started_at=row.started_at,
        finished_at=row.finished_at,
        machine=shared[row.machine],
        hyper=found,
        number=row.number,
        processor=shared[row.processor],
        variables=shared[row.variables],
        rerun_of=row.rerun_of,
        seed=row.seed,
        calibrates=row.calibrates,
        imported=row.imported,
    )


class _Shared:
    """Makes equal values one object in memory: 10,000 runs rarely have 10,000 settings."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def one(self, value: Any) -> Any:
        """Return the first value that was equal to this one."""
        return self._seen.setdefault(repr(value), value)  # not by equality: 1, 1.0 and True are equal


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


def _read(path: Path, version: str) -> tuple[list[Any], list[list[Any]]]:
    """Return a month's shared values and rows; nothing if the file is damaged or by other code."""
    record = derived.read(path, version)
    with suppress(TypeError, KeyError):
        return record["shared"], record["rows"]
    return [], []


def _remove_all_but(months: Iterable[str], kept: Path) -> None:
    with suppress(OSError):
        for entry in os.scandir(kept):
            if entry.name not in months:
                Path(entry.path).unlink()


def _month(name: str) -> str:
    return name[:6] if re.match("[0-9]{8}-", name) else "other"


def _version(mode: str) -> str:
    """Return a digest of the code and the setting that make a row, so that no row of others is used."""
    modules = (archive, archive_order, details, hyper, large, masked_json, published, records, scripts)
    try:
        code = b"".join(Path(str(module.__file__)).read_bytes() for module in modules) + Path(__file__).read_bytes()
    except OSError:  # installed without its source
        code = __version__.encode()
    return literal.fingerprint(mode.encode() + code)
