"""Archived runs and people's decisions -> verdicts.json: what each merge did to the word error rate, and why we say so.

    {"version": 1, "of": <digest of what it was made from>, "verdicts": [...], "events": [...],
     "retraining": {"sha", "rerun_of", "seed", "reason"} or null, "marks": [...], "notes": [...]}

The file is derived: the same archive gives the same file, to the byte. `verdicts` judges; this module reads and writes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deepspeech_wer import archive, backlog, decisions, files, hyper
from deepspeech_wer.backlog import Due
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.settings import Retraining
from deepspeech_wer.verdicts.judge import Judgement, judge
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw

VERSION = 1
MAX_RATE = 100.0  # larger WERs are not judged: squares of 1e308 overflow
_MAX_SEED = 2**31 - 1

log = logging.getLogger(__name__)


def update(places: Places, runs: Sequence[Run], results: Mapping[str, str], wanted: Retraining) -> dict[str, Any]:
    """Judge all runs, log what changed, write verdicts.json and return its record. Raises OSError if it cannot.

    What is to be trained again is also kept in the cache, since every idle tick reads it.
    """
    record, before = make(places, runs, results, wanted), _read(places.verdicts)
    if before != record:
        _log_changes(record, before)
        text = json.dumps(record, ensure_ascii=False, indent=1).encode("utf-8", "replace") + b"\n"
        files.write_atomically(places.verdicts, text, mode=0o600)
    small = json.dumps({name: record[name] for name in ("version", "of", "retraining")}).encode()
    files.write_atomically(places.retraining, small, mode=0o600)
    return record


def make(places: Places, runs: Sequence[Run], results: Mapping[str, str], wanted: Retraining) -> dict[str, Any]:
    """Judge all runs and return the record of verdicts.json. `results` are digests by run id, "" if unknown."""
    accepted = [accept.sha for accept in decisions.accepted(places.requests)]
    rules = Rules(budget=wanted.budget, retrain=wanted.mode != "off")
    record = _record(judge(draws(runs, results), accepted=accepted, rules=rules), _source(places, wanted), runs)
    return dict(json.loads(json.dumps(record)))  # as it is read back: lists, not tuples


def load(places: Places, wanted: Retraining) -> dict[str, Any] | None:
    """Return the verdicts; None if there are none of exactly the present archive, decisions and settings."""
    record = _read(places.verdicts)
    return record if record and record["of"] == _source(places, wanted) else None


def read(places: Places) -> dict[str, Any]:
    """Return the verdicts that were made last, perhaps of an earlier archive; {} if there are none."""
    return _read(places.verdicts) or {}


def mark(places: Places) -> str:
    """Return what differs between the verdicts of different archives; "" if there are none."""
    record = _read(places.retraining)
    return str(record["of"]) if record else ""


def is_current(places: Places, wanted: Retraining) -> bool:
    """Return whether the present archive is judged, so that `retraining` knows what to train again."""
    record = _read(places.retraining)
    return record is not None and record["of"] == _source(places, wanted) and places.verdicts.is_file()


def retraining(places: Places, wanted: Retraining) -> Due | None:
    """Return what the verdicts want to have trained again; None if that is nothing, or is not known yet."""
    record = _read(places.retraining)
    if record is None or record["of"] != _source(places, wanted) or record["retraining"] is None:
        return None
    again = record["retraining"]
    return Due(
        again["sha"], backlog.RERUN, None, rerun_of=again["rerun_of"], seed=again["seed"], reason=again["reason"]
    )


def _read(path: Path) -> dict[str, Any] | None:
    """Read a derived record. One that is missing or damaged is made anew by the next update."""
    try:
        record = json.loads(path.read_bytes())
        return record if record["version"] == VERSION and {"of", "retraining"} <= record.keys() else None
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None


def _log_changes(record: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """Log each verdict that is new or another than before; of an archive judged for the first time, the newest."""
    known = {verdict["sha"]: verdict["verdict"] for verdict in before["verdicts"]} if before else {}
    known |= {event["start"]: "worse" for event in record["events"] if event["state"] == "open"}  # notify logs it
    for verdict in record["verdicts"] if before else record["verdicts"][-1:]:
        state = verdict["verdict"]
        if state not in (known.get(verdict["sha"]), "failed"):  # the log has the failure already
            level = logging.WARNING if state == "worse" else logging.INFO
            log.log(level, "%s: verdict: %s: %s", verdict["sha"][:12], state, verdict["reason"])


def draws(runs: Iterable[Run], results: Mapping[str, str]) -> list[Draw]:
    """Return the runs as the verdicts see them."""
    listed = archive.in_order(runs)
    numbers = _places(listed)
    newest = {run.merge.sha: run.id for run in listed if run.rerun_of is None}
    found: list[Draw] = []
    before: Mapping[str, str] | None = None
    signature = next((_signature(run) for run in listed if run.hyper), "")
    for run in listed:
        signature = _signature(run) if run.hyper else signature  # a failed run ends no series
        errors, words = hyper.error_counts(run.hyper) or (None, None)
        found.append(
            Draw(
                run=run.id,
                sha=run.merge.sha,
                place=numbers[run.id],
                rate=_rate(run),
                errors=errors,
                words=words,
                digest=results.get(run.id, ""),
                signature=signature,
                variables=_digest(sorted(run.variables.items())) if run.variables is not None else "",
                changed_variables=changed_variables(before, run.variables),
                machine=run.processor or run.machine,
                rerun_of=run.rerun_of if run.seed is not None else None,  # an anchor is a run of its own
                reverts=run.merge.reverts,
                is_replaced=run.hyper is None and newest.get(run.merge.sha, run.id) != run.id,
            )
        )
        before = run.variables if run.variables is not None else before
    return found


def is_share_spent(places: Places, share: float) -> bool:
    """Return whether re-trainings took their share of the last day already."""
    now, day = datetime.now(UTC), timedelta(days=1)
    times = [
        (datetime.fromisoformat(run.started_at), datetime.fromisoformat(run.finished_at))
        for run in archive.between(places.runs, now - day, now)
        if run.rerun_of
    ]
    # A clock that was set meanwhile makes a run as long as a year, or shorter than nothing.
    took = (min(end, now) - start for start, end in times)
    return sum((max(each, timedelta()) for each in took), timedelta()) >= share * day


def seed(sha: str, number: int) -> int:
    """Return the seed of a commit's re-training, the same at each call. `number` counts from 1."""
    digest = hashlib.sha256(f"{sha} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % _MAX_SEED


def _record(judged: Judgement, source: str, runs: Sequence[Run]) -> dict[str, Any]:
    again = judged.next_retraining
    if again and any(run.id == again.run and run.imported for run in runs):
        again = None  # this machine may have nothing that the old commit needs
    count = 1 + sum(run.rerun_of is not None and run.merge.sha == again.sha for run in runs) if again else 0
    return {
        "version": VERSION,
        "of": source,
        "verdicts": [asdict(verdict) for verdict in judged.verdicts],
        "events": [asdict(event) for event in judged.events],
        "retraining": again
        and {"sha": again.sha, "rerun_of": again.run, "seed": seed(again.sha, count), "reason": again.why},
        "marks": [asdict(mark) for mark in judged.marks],
        "notes": list(judged.notes),
    }


def _source(places: Places, wanted: Retraining) -> str:
    """Return a digest of all that the verdicts are made from."""
    accepted = [accept.sha for accept in decisions.accepted(places.requests)]
    return _digest([VERSION, archive.names(places.runs), accepted, wanted.mode, wanted.budget])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _places(runs: Sequence[Run]) -> dict[str, int]:
    keys = archive.order_keys(runs)
    return {name: key[0] for name, key in keys.items()}


def _signature(run: Run) -> str:
    signature = (run.hyper or {}).get("results", {}).get("signature")
    if run.imported:  # trained elsewhere, in another time: not comparable
        signature = {"trained by": "an earlier tracker", "signature": signature}
    return json.dumps(signature, sort_keys=True)


def _rate(run: Run) -> float | None:
    """Return the test WER; None if it is not measured, or so large that it is a mistake of the job."""
    rate = hyper.test_wer(run.hyper)
    return rate if rate is not None and rate <= MAX_RATE else None


def changed_variables(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> tuple[str, ...]:
    """Return the names of the operator's variables that differ; none if either is unknown."""
    if before is None or now is None:
        return ()
    return tuple(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))
