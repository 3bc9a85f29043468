"""Records of earlier trackers -> the archive: each once, at its place in the order, before what this tracker trained.

A commit that the repository knows has its place in the history; another one stands where its time puts it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import archive, archive_order, archive_record, archive_store, hyper
from deepspeech_wer.archive_order import Placed
from deepspeech_wer.old_records import OldRecord
from deepspeech_wer.records import RUN_ID, Circumstances, Merge, Outcome, Run

_SHA_DIGITS = 40


class Placing(NamedTuple):
    """A record, with its commit and its number in the archive, see `archive_order`."""

    record: OldRecord
    merge: Merge
    number: int


def fresh(records: Iterable[OldRecord], archived: Iterable[Run]) -> list[OldRecord]:
    """Return the records that are not archived yet, each once."""
    seen = {_digest(run.hyper) for run in archived if run.hyper}
    found = []
    for record in records:
        digest = _digest(record.hyper)
        if digest not in seen:
            seen.add(digest)
            found.append(record)
    return found


def place(records: Iterable[OldRecord], known: Mapping[str, Merge], archived: Sequence[Placed]) -> list[Placing]:
    """Give each record its commit and its number. `known` are the commits that the repository has, by record's `sha`.

    A number is that of the archived merge before it; what is before all of them gets numbers below theirs.
    """
    ordered = _in_order(records, known)
    numbers = {run.id: key[0] for run, key in _with_keys(archived)}
    below = min([*numbers.values(), 1]) - 1
    by_commit = {run.sha[:12]: numbers[run.id] for run in archived}
    found: list[tuple[OldRecord, Merge, int | None]] = []
    for record, merge in ordered:
        number = by_commit.get(merge.sha[:12], _number_before(record, merge, archived, numbers, known))
        found.append((record, merge, number))
    first = dict.fromkeys(merge.sha[:12] for _, merge, number in found if number is None)
    early = {sha: below - len(first) + place for place, sha in enumerate(first)}
    return [
        Placing(record, merge, early[merge.sha[:12]] if number is None else number) for record, merge, number in found
    ]


def store(runs: Path, placing: Placing) -> Run:
    """Archive one record. Raises OSError."""
    record, merge = placing.record, placing.merge
    tracked = record.tracked
    start, end = (_time(tracked.get(name), other) for name, other in _times(record))
    outcome = Outcome("done", None, "", 1, start, end, files=None, logs=runs)
    under = Circumstances(
        machine=_text(tracked, "machine"),
        processor=_text(tracked, "processor") or None,
        number=placing.number,
        variables=tracked.get("variables") if isinstance(tracked.get("variables"), dict) else None,
        rerun_of=_text(tracked, "rerun_of") or None,
        seed=tracked.get("seed") if type(tracked.get("seed")) is int else None,
        calibrates=tracked.get("calibrates") is True,
    )
    name = _name(runs, tracked.get("id"), start, merge.sha)
    source = None if record.is_own else record.origin
    return archive_store.adopt(runs, name, merge, outcome, under, record.text, source)


def _in_order(records: Iterable[OldRecord], known: Mapping[str, Merge]) -> list[tuple[OldRecord, Merge]]:
    """Return the records with their commits: known ones by their place in the history, others by their time."""
    listed = sorted(records, key=lambda record: (hyper.time_started(record.hyper), record.source))
    found, ordinal = [], 0
    for record in listed:
        merge = known.get(record.sha) if record.sha else None
        merge = merge or _unknown(record, ordinal)
        ordinal = max(ordinal, merge.ordinal)
        found.append((record, merge))
    return sorted(found, key=lambda pair: pair[1].ordinal)  # stable: by time within an ordinal


def _unknown(record: OldRecord, ordinal: int) -> Merge:
    """Return what a record tells of a commit that the repository does not know."""
    tracked = record.tracked
    sha = record.sha.ljust(_SHA_DIGITS, "0") if record.sha else _digest(record.hyper)[:_SHA_DIGITS]
    told = f"commit {record.sha[:12]}, which the repository does not have" if record.sha else "commit not recorded"
    given = tracked.get("ordinal")
    return Merge(
        sha=sha,
        ordinal=given if type(given) is int else ordinal,
        subject=_text(tracked, "subject") or told,
        author=_text(tracked, "author") or "unknown",
        committed_at=_time(tracked.get("committed_at"), record.started_at),
        parents=(),
    )


def _number_before(
    record: OldRecord, merge: Merge, archived: Sequence[Placed], numbers: Mapping[str, int], known: Mapping[str, Merge]
) -> int | None:
    """Return the number of the archived merge before a record: by history where both are known, else by time."""
    if record.sha in known:
        before = [numbers[run.id] for run in archived if 0 < run.ordinal < merge.ordinal]
    else:
        before = [numbers[run.id] for run in archived if run.started_at < record.started_at]
    return max(before, default=None)


def _with_keys(archived: Sequence[Placed]) -> list[tuple[Placed, archive_order.Key]]:
    keys = archive_order.keys(archived)
    return [(run, keys[run.id]) for run in archived]


def _name(runs: Path, given: Any, start: str, sha: str) -> str:
    """Return a free id: the one that the run had, or one made from its start and its commit."""
    if isinstance(given, str) and RUN_ID.fullmatch(given) and not archive.holds(runs, given):
        return given
    stamp = start.translate({ord(mark): None for mark in "-:Z"}).replace("T", "-")
    name, era = f"{stamp}-{sha[:12]}", 1
    while archive.holds(runs, name if era == 1 else f"{name}-{era}"):
        era += 1
    return name if era == 1 else f"{name}-{era}"


def _times(record: OldRecord) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("started_at", record.started_at), ("finished_at", record.finished_at)


def _time(given: Any, other: str) -> str:
    return given if isinstance(given, str) and archive_record.is_time(given) else other


def _text(tracked: Mapping[str, Any], name: str) -> str:
    value = tracked.get(name)
    return value[:300] if isinstance(value, str) else ""


def _digest(record: dict[str, Any]) -> str:
    """Return the same for two records of one training, whatever file they are from."""
    kept = {name: record[name] for name in ("context", "parameters", "results")}
    kept["context"] = {**kept["context"], "time_started": hyper.time_started(record)}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()
