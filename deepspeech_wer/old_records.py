"""Reads what trackers of 2016-2018 left: `js/hyper.js`, and trees of `hyper.json`.

    window.ALL_THE_DATA = [{"context": {...}, "parameters": {...}, "results": {...}}, ...]

One record that cannot be read costs no other. Times without a zone are UTC, as they were written.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import clock, files, hyper, job_contract
from deepspeech_wer.errors import Trouble

MAX_BYTES = 1 << 30  # of a hyper.js: 100,000 records of 10 kB
_LIST = re.compile(r"(?:window\.)?ALL_THE_DATA\s*=\s*\[|\A\s*\[")
_BETWEEN = re.compile(r"[\s,]*")
_NEXT_RECORD = re.compile(r"^\s*\{", re.MULTILINE)  # where reading goes on after damage
_SHA = re.compile(r"[0-9a-f]{7,64}", re.IGNORECASE)
_LONGEST = timedelta(days=365)  # a longer duration is a mistake


class OldRecord(NamedTuple):
    """One training of an earlier tracker."""

    source: str  # file and place in it, for messages
    origin: str  # the same, without the directory
    text: bytes  # to be archived as hyper.json
    hyper: dict[str, Any]  # the same, parsed
    sha: str  # of the commit, as many digits as there are; "" if the record does not say
    tracked: dict[str, Any]  # what this tracker wrote about the run, if it was this one
    changed: tuple[str, ...]  # results that were not measured, but given as 0 or NaN: null in `text`

    @property
    def is_own(self) -> bool:
        """Whether this tracker trained it, so that its page tells all about the run."""
        return {"id", "sha", "ordinal", "machine"} <= self.tracked.keys()

    @property
    def started_at(self) -> str:
        """The start, ISO 8601 in UTC with seconds."""
        return datetime.fromisoformat(hyper.time_started(self.hyper)).strftime(clock.UTC)

    @property
    def finished_at(self) -> str:
        """The end by results.duration, in seconds; the start if that is missing or absurd."""
        start, seconds = datetime.fromisoformat(hyper.time_started(self.hyper)), self.hyper["results"].get("duration")
        is_usable = type(seconds) in (int, float) and 0 <= seconds <= _LONGEST.total_seconds()
        return (start + timedelta(seconds=seconds if is_usable else 0)).strftime(clock.UTC)


class Damaged(NamedTuple):
    """A record, or the rest of a file, that cannot be read."""

    reason: str  # one line: where, what


def read(path: Path) -> Iterator[OldRecord | Damaged]:
    """Yield the records of a hyper.js, of a hyper.json, or of all files of these names below a directory.

    Raises Trouble if `path` itself cannot be read, or holds no such file.
    """
    if not path.is_dir():
        yield from _read_file(path)
        return
    found = sorted(file for name in ("hyper.js", job_contract.HYPER) for file in path.rglob(name) if file.is_file())
    if not found:
        raise Trouble(f"{path}: no hyper.js and no {job_contract.HYPER} below it")
    for file in found:
        try:
            yield from _read_file(file)
        except Trouble as trouble:
            yield Damaged(str(trouble))


def _read_file(path: Path) -> Iterator[OldRecord | Damaged]:
    try:
        data = files.read(path, MAX_BYTES)
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}") from None
    text = data.decode("utf-8-sig", "replace")
    opening = _LIST.search(text)
    if opening is None:
        yield _record(text.strip(), str(path), data)
        return
    yield from _read_list(text, opening.end(), path)


def _read_list(text: str, at: int, path: Path) -> Iterator[OldRecord | Damaged]:
    number, decoder = 0, json.JSONDecoder()
    while True:
        at = _end_of(_BETWEEN, text, at)
        if text.startswith("]", at):
            return
        if at >= len(text):
            yield Damaged(f"{path}: the list does not end: is the file cut off after record {number}?")
            return
        number += 1
        source = f"{path}, record {number} (line {text.count(chr(10), 0, at) + 1})"
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            yield Damaged(f"{source}: not JSON")
            following = _NEXT_RECORD.search(text, text.find("\n", at)) if "\n" in text[at:] else None
            if following is None:
                return
            at = following.end() - 1
            continue
        yield _record(text[at:end], source)
        at = end


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _record(text: str, source: str, data: bytes | None = None) -> OldRecord | Damaged:
    """Check a record. `data`: the bytes of its file, which are archived if nothing in them has to change."""
    try:
        record = json.loads(text)  # takes NaN, which Python wrote for a training that diverged
    except (ValueError, RecursionError):
        return _parsed(text.encode("utf-8", "replace"), source, {}, ())  # the reason, as for any hyper.json
    if not isinstance(record, dict):
        return Damaged(f"{source}: expected a JSON object")
    tracked = record.pop("run", None)
    changed = _unmeasured(record)
    plain = data if data and not changed and tracked is None else _dump(record)
    return _parsed(plain, source, tracked if isinstance(tracked, dict) else {}, changed)


def _parsed(text: bytes, source: str, tracked: dict[str, Any], changed: tuple[str, ...]) -> OldRecord | Damaged:
    try:
        record = hyper.parse(text)
    except hyper.HyperError as error:
        return Damaged(f"{source}: {error}")
    given = tracked.get("sha") or record["context"].get("git_hash")
    sha = given.strip().lower() if isinstance(given, str) and _SHA.fullmatch(given.strip()) else ""
    return OldRecord(source, re.sub(r"^.*/", "", source), text, record, sha, tracked, changed)


def _unmeasured(record: dict[str, Any]) -> tuple[str, ...]:
    """Make null of each WER that was not measured, and return their names.

    In 2016 a WER that was not measured was written as 0.0; one of a training that diverged as NaN. A record that counts
    its errors means its 0.
    """
    results = record.get("results")
    if not isinstance(results, dict):
        return ()
    results.setdefault("test_wer", None)
    changed = []
    for name in hyper.WERS:
        value = results.get(name)
        is_zero = value == 0 and isinstance(value, int | float) and "test_errors" not in results
        if is_zero or (isinstance(value, float) and not math.isfinite(value)):
            results[name] = None
            changed.append(name)
    return tuple(changed)


def _dump(record: dict[str, Any]) -> bytes:
    """Serialise a record. NaN elsewhere than in a WER becomes null too: it is not JSON."""
    return json.dumps(_finite(record), ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
