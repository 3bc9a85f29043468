"""The lines of js/hyper.js, kept between builds: parsing 10,000 records again for each new one takes seconds.

    <kept>/202303       the runs that started in a month
        <digest of the code that makes a line>
        <crc32> <size and mtime_ns of run.json and of hyper.json> <line of js/hyper.js>
        ...

Nothing here is needed: what is missing, damaged, or older than a run's files is made again from the archive.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_wer import __version__, archive, archive_order, contract, hyper, records
from deepspeech_wer.dashboard import large, masked_json, scripts
from deepspeech_wer.dashboard import logs as published
from deepspeech_wer.dashboard.logs import WHOLE, without_quotes
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import make_private, write_atomically
from deepspeech_wer.records import Merge, Run
from deepspeech_wer.settings import PublishedLogs

_RESULTS = (*hyper.WERS, "test_errors", "signature")  # what the columns hold of them

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Kept:
    """The readable runs with their lines. Of the job's record, a run has what the columns need."""

    runs: list[Run]
    lines: dict[str, bytes]  # by the run's id
    results: dict[str, str]  # digests of what the trainings gave, see archive.result_digest
    logs: PublishedLogs

    def line(self, run: Run) -> bytes:
        return self.lines[run.id]

    def whole(self, run: Run) -> Run:
        """Return the run with all that the page shows of the job's record. Raises Trouble."""
        return _shown(run.directory, self.logs)


def load(runs: Path, kept: Path, logs: PublishedLogs = WHOLE) -> Kept:
    """Return every readable run. An unreadable run is logged and left unchanged. Raises Trouble if none can be listed.

    The runs quote no more of their logs than visitors see.
    `kept` is brought up to date, unless it cannot be written.
    """
    loaded = Kept([], {}, {}, logs)
    version, shared = _version(logs.mode), _Shared()
    months: dict[str, list[str]] = {}
    for name in archive.names(runs):
        months.setdefault(_month(name), []).append(name)
    for month, names in months.items():
        before = _read(kept / month)
        old = {entry.run.id: entry for entry in _usable(before, version, runs, shared)}
        entries = []
        for name in names:
            with suppress(Trouble):  # logged
                entries.append(_entry(runs / name, old, shared, logs))
        loaded.runs.extend(entry.run for entry in entries)
        loaded.lines.update((entry.run.id, entry.line) for entry in entries)
        loaded.results.update((entry.run.id, entry.result) for entry in entries)
        _write(kept / month, b"\n".join([version, *map(_text, entries), b""]), before)
    _remove_all_but(months, kept)
    return loaded


@dataclass(frozen=True)
class _Entry:
    stamp: bytes
    line: bytes
    run: Run
    result: str


class _Shared:
    """Makes runs from lines. Equal parts are one object in memory: 10,000 runs rarely have 10,000 settings."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def entry(self, stamp: bytes, line: bytes, runs: Path) -> _Entry:
        """Raises ValueError, KeyError or TypeError if the line is not a run's."""
        record = json.loads(line)
        tracked: dict[str, Any] = record["run"]
        texts = {name: self._one(tracked[name]) for name in ("status", "detail", "machine")}
        texts |= {name: tracked[name] for name in ("id", "started_at", "finished_at")}
        of_merge = {name: tracked[name] for name in ("sha", "subject", "author", "committed_at")}
        of_merge["author"] = self._one(of_merge["author"])
        numbers = [tracked[name] for name in ("attempt", "number", "ordinal")]
        if {*map(type, texts.values()), *map(type, of_merge.values())} != {str} or {*map(type, numbers)} != {int}:
            raise TypeError(line)
        run = Run(
            directory=runs / texts["id"],
            merge=Merge(ordinal=tracked["ordinal"], parents=(), reverts=tuple(tracked["reverts"]), **of_merge),
            failure=self._one(tracked["failure"]),
            attempt=tracked["attempt"],
            number=tracked["number"],
            hyper=self._hyper(record) if texts["status"] == "done" else None,
            processor=self._one(tracked["processor"]),
            variables=self._one(tracked["variables"]),
            rerun_of=tracked["rerun_of"],
            seed=tracked["seed"],
            **texts,
        )
        return _Entry(stamp, line, run, str(tracked["result"]))

    def _hyper(self, record: dict[str, Any]) -> dict[str, Any]:
        results = record["results"]
        return {
            "context": {"time_started": record["context"]["time_started"]},
            "results": {name: results[name] for name in _RESULTS if name in results},
            "parameters": self._one(record.get("parameters", {})),
        }

    def _one(self, value: Any) -> Any:
        return self._seen.setdefault(repr(value), value)  # not by equality: 1, 1.0 and True are equal


def _entry(directory: Path, old: dict[str, _Entry], shared: _Shared, logs: PublishedLogs) -> _Entry:
    """Return a run's entry: the old one if the run's files are as they were. Raises Trouble, which is logged."""
    stamp = _stamp(directory)  # before the files are read: a later change is then seen by the next build
    found = old.get(directory.name)
    if found and found.stamp == stamp:
        return found
    try:
        run = _shown(directory, logs)
        line = scripts.line(run)
        if large.is_large(run):
            large.tell(run)
    except Trouble as trouble:
        log.warning("skipping a run: %s", trouble)
        raise
    return shared.entry(stamp, line, directory.parent)


def _shown(directory: Path, logs: PublishedLogs) -> Run:
    return large.reduced(masked_json.shown(without_quotes(archive.read(directory), logs), logs))


def _stamp(directory: Path) -> bytes:
    return b" ".join(_size_and_time(f"{directory}/{name}") for name in (archive.RUN, contract.HYPER))


def _size_and_time(path: str) -> bytes:
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return b"0 0"
    return b"%d %d" % (status.st_size, status.st_mtime_ns)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _usable(content: bytes, version: bytes, runs: Path, shared: _Shared) -> Iterator[_Entry]:
    head, *texts = content.split(b"\n")
    for text in texts if head == version else ():
        with suppress(ValueError, KeyError, TypeError):
            checksum, checked = text[:8], text[9:]
            if int(checksum, 16) == zlib.crc32(checked):
                *stamp, line = checked.split(b" ", 4)
                yield shared.entry(b" ".join(stamp), line, runs)


def _text(entry: _Entry) -> bytes:
    checked = entry.stamp + b" " + entry.line
    return b"%08x %s" % (zlib.crc32(checked), checked)


def _write(path: Path, content: bytes, before: bytes) -> None:
    if content == before:
        return
    with suppress(OSError):  # the next build is then slower
        make_private(path.parent)
        write_atomically(path, content, mode=0o600)


def _remove_all_but(months: Iterable[str], kept: Path) -> None:
    with suppress(OSError):
        for entry in os.scandir(kept):
            if entry.name not in months:
                Path(entry.path).unlink()


def _month(name: str) -> str:
    return name[:6] if re.match("[0-9]{8}-", name) else "other"


def _version(mode: str) -> bytes:
    """Return a digest of the code and the setting that make a line, so that no line of others is used."""
    modules = (archive, archive_order, hyper, large, masked_json, published, records, scripts)
    try:
        code = "".join(map(inspect.getsource, modules))
    except OSError:  # installed without its source
        code = __version__
    return scripts.fingerprint(f"{mode} {code}".encode()).encode()
