"""Archived runs and people's decisions -> verdicts.json: what each merge did to the word error rate, and why we say so.

    {"version": 1, "of": <digest of what it was made from>,
    "verdicts": [
    <one a line>
    ],
    "events": [...], "retraining": {"sha", "rerun_of", "seed", "reason"} or null, "marks": [...], "notes": [...]}

The file is derived: the same archive gives the same file, to the byte. `verdicts` judges; this module reads and writes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import marshal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from itertools import takewhile
from operator import attrgetter
from pathlib import Path
from typing import Any, overload

from deepspeech_wer import __version__, archive, archive_order, backlog, decisions, files, hyper, remembered
from deepspeech_wer.backlog import Due
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.remembered import Memory, Runs
from deepspeech_wer.settings import Retraining
from deepspeech_wer.verdicts.judge import Judgement, Terms
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw

VERSION = 1
MAX_RATE = 100.0  # larger WERs are not judged: squares of 1e308 overflow
_MAX_SEED = 2**31 - 1
_ID_LENGTH = 28  # of a run id without an era
_START, _END = b',\n"verdicts": [\n', b"\n],"  # of the verdicts in verdicts.json

log = logging.getLogger(__name__)


class Lines(Sequence[dict[str, Any]]):
    """The verdicts of a record, parsed when they are first looked at: ten thousand take longer than the judging."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    @cached_property
    def _parsed(self) -> list[dict[str, Any]]:
        return list(json.loads(b"[%s]" % self._text))

    def __len__(self) -> int:
        return len(self._parsed)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self._parsed)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._parsed[place]


def update(places: Places, runs: Sequence[Run], results: Mapping[str, str], wanted: Retraining) -> dict[str, Any]:
    """Judge all runs, log what changed, write verdicts.json and return its record. Raises OSError if it cannot.

    What is to be trained again is also kept in the cache, since every idle tick reads it; so is what makes the next
    judging quick.
    """
    text = _content(places.verdicts)
    before = _told(text)
    made = _make(places, runs, results, wanted, before)
    if made.told != before or text != made.head + made.told + made.tail:
        _log_changes(made, text, before)
        files.write_atomically(places.verdicts, (made.head, made.told, made.tail), mode=0o600)
        remembered.save(places.remembered, made.terms, made.memory, made.told)
    small = {name: made.rest[name] for name in ("version", "of", "retraining")}
    files.write_atomically(places.retraining, json.dumps(small).encode(), mode=0o600)
    return {**made.rest, "verdicts": Lines(made.told)}


def make(places: Places, runs: Sequence[Run], results: Mapping[str, str], wanted: Retraining) -> dict[str, Any]:
    """Judge all runs and return the record of verdicts.json. `results` are digests by run id, "" if unknown."""
    made = _make(places, runs, results, wanted, _told(_content(places.verdicts)))
    return {**made.rest, "verdicts": list(Lines(made.told))}


def load(places: Places, wanted: Retraining) -> dict[str, Any] | None:
    """Return the verdicts; None if there are none of exactly the present archive, decisions and settings."""
    record = _read(places.verdicts)
    return record if record and record["of"] == _source(places, wanted) else None


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


def _log_changes(made: _Made, text: bytes, told: bytes) -> None:
    """Log each verdict that is new or another than before; of an archive judged for the first time, the newest."""
    before = made.before or (told.split(b",\n") if told else ())
    pairs = zip(made.memory.lines, before, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], pairs))  # the new ones go on from them
    old, new = before[same:], made.memory.lines[same:]
    changed = [json.loads(line) for line in _without(new, old)]
    known = {verdict["sha"]: verdict["verdict"] for verdict in map(json.loads, _without(old, new))}
    if not before:
        known = _states(text)
    for verdict in changed if before or known else changed[-1:]:
        state = verdict["verdict"]
        if state not in (known.get(verdict["sha"]), "failed"):  # the log has the failure already
            level = logging.WARNING if state == "worse" else logging.INFO
            log.log(level, "%s: verdict: %s: %s", verdict["sha"][:12], state, verdict["reason"])


def _without(lines: Iterable[bytes], others: Iterable[bytes]) -> list[bytes]:
    left_out = {b"", *others}
    return [line for line in lines if line not in left_out]


def draws(runs: Iterable[Run], results: Mapping[str, str]) -> list[Draw]:
    """Return the runs that count as the verdicts see them, in the order of judging."""
    return _draws(_order(runs), results, 0)


@dataclass(frozen=True)
class _Ordered:
    """The runs that count, in the order of judging."""

    runs: Sequence[Run]
    places: Sequence[int]


def _order(runs: Iterable[Run]) -> _Ordered:
    listed = list(runs)
    if all(run.number and len(run.id) == _ID_LENGTH for run in listed):
        listed.sort(key=attrgetter("number", "id"))
        places = {run.id: run.number for run in listed}
    else:  # some were archived before there were numbers, or the clock was wrong
        places = {name: key[0] for name, key in archive.order_keys(listed).items()}
        listed.sort(key=lambda run: (places[run.id], archive_order.started(run.id)))
    newest = {run.merge.sha: run.id for run in listed if run.rerun_of is None}
    # A person's retry replaces a failed run by a later one of the same commit.
    kept = [run for run in listed if run.hyper is not None or newest.get(run.merge.sha, run.id) == run.id]
    return _Ordered(kept, [places[run.id] for run in kept])


def _keys(ordered: _Ordered, results: Mapping[str, str]) -> list[bytes]:
    """Return what the draw of each run is made of. Version 2 of marshal is the last that depends on nothing else."""
    known = attrgetter("id", "merge.sha", "merge.reverts", "variables", "processor", "machine", "rerun_of", "seed")
    dumps: Callable[[Any, int], bytes] = marshal.dumps
    return [
        dumps((known(run), place, run.hyper and run.hyper["results"], results.get(run.id)), 2)
        for run, place in zip(ordered.runs, ordered.places, strict=True)
    ]


def _draws(ordered: _Ordered, results: Mapping[str, str], start: int) -> list[Draw]:
    """Return the draws of the runs from an index on."""
    earlier, listed = ordered.runs[:start], ordered.runs[start:]
    known = (run.variables for run in reversed(earlier) if run.variables is not None)
    before, found, digests = next(known, None), [], _VariableDigests()
    for run, place in zip(listed, ordered.places[start:], strict=True):
        errors, words = hyper.error_counts(run.hyper) or (None, None)
        found.append(
            Draw(
                run=run.id,
                sha=run.merge.sha,
                place=place,
                rate=_rate(run),
                errors=errors,
                words=words,
                digest=results.get(run.id, ""),
                signature=_signature(run),
                variables=digests.of(run.variables),
                changed_variables=changed_variables(before, run.variables),
                machine=run.processor or run.machine,
                rerun_of=run.rerun_of if run.seed is not None else None,  # an anchor is a run of its own
                reverts=run.merge.reverts,
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


@dataclass(frozen=True)
class _Made:
    """What verdicts.json is to hold, and what is to be remembered."""

    head: bytes
    told: bytes  # the lines of the verdicts
    tail: bytes
    rest: Mapping[str, Any]  # the record without the verdicts
    before: Sequence[bytes]  # the verdicts from which it went on
    memory: Memory
    terms: str


def _make(places: Places, runs: Sequence[Run], results: Mapping[str, str], wanted: Retraining, told: bytes) -> _Made:
    """Judge all runs. `told` are the lines of the present verdicts. Raises ValueError if two runs have the same id."""
    ordered, terms = _order(runs), _terms(places, wanted)
    if len({run.id for run in ordered.runs}) != len(ordered.runs):
        raise ValueError("two runs to judge have the same id; each run may be given once")
    of_terms = _digest_of(terms)
    before = remembered.load(places.remembered, of_terms, told)
    to_judge = Runs(ordered.places, _keys(ordered, results), lambda start: _draws(ordered, results, start))
    memory, judged = remembered.go_on(before, to_judge, terms)
    start, rest = {"version": VERSION, "of": _source(places, wanted)}, json.loads(json.dumps(_rest(judged, runs)))
    head = json.dumps(start)[:-1].encode("ascii") + _START
    tail = _END + json.dumps(rest, indent=1)[1:].encode("ascii") + b"\n"
    told = remembered.section(memory.lines)
    return _Made(head, told, tail, {**start, **rest}, before.lines, memory, of_terms)


def _told(text: bytes) -> bytes:
    """Return the lines of the verdicts in the text of a verdicts.json; nothing if an earlier release wrote it."""
    start, end = text.find(_START), text.rfind(_END)
    return text[start + len(_START) : end] if 0 <= start < end else b""


def _rest(judged: Judgement, runs: Sequence[Run]) -> dict[str, Any]:
    again = judged.next_retraining
    count = 1 + sum(run.rerun_of is not None and run.merge.sha == again.sha for run in runs) if again else 0
    return {
        "events": [asdict(event) for event in judged.events],
        "retraining": again
        and {"sha": again.sha, "rerun_of": again.run, "seed": seed(again.sha, count), "reason": again.why},
        "marks": [asdict(mark) for mark in judged.marks],
        "notes": list(judged.notes),
    }


def _terms(places: Places, wanted: Retraining) -> Terms:
    accepted = [accept.sha for accept in decisions.accepted(places.requests)]
    return Terms(Rules(budget=wanted.budget, retrain=wanted.mode != "off"), tuple(sorted(set(accepted))))


def _digest_of(terms: Terms) -> str:
    """Return a digest of the terms and of the code that judges by them."""
    here = Path(__file__).parent
    modules = [
        *sorted((here / "verdicts").glob("*.py")),
        here / "remembered.py",
        here / "judging.py",
        here / "hyper.py",
    ]
    try:
        code = b"".join(path.read_bytes() for path in modules)
    except OSError:  # installed without its source
        code = b""
    return _digest([hashlib.sha256(code).hexdigest(), __version__, repr(terms)])


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _states(text: bytes) -> dict[str, str]:
    """Return the verdict of each merge in a verdicts.json of an earlier release; none if it is damaged or not there."""
    try:
        return {verdict["sha"]: verdict["verdict"] for verdict in json.loads(text)["verdicts"]}
    except (ValueError, RecursionError, TypeError, LookupError):
        return {}


def _source(places: Places, wanted: Retraining) -> str:
    """Return a digest of all that the verdicts are made from."""
    accepted = [accept.sha for accept in decisions.accepted(places.requests)]
    return _digest([VERSION, " ".join(archive.names(places.runs)), accepted, wanted.mode, wanted.budget])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


class _VariableDigests:
    """Digests of the operator's variables; equal ones are often one object."""

    def __init__(self) -> None:
        self._of: dict[int, str] = {}

    def of(self, variables: Mapping[str, str] | None) -> str:
        if variables is None:
            return ""
        if id(variables) not in self._of:
            self._of[id(variables)] = _digest(sorted(variables.items()))
        return self._of[id(variables)]


def _signature(run: Run) -> str:
    """Return the test set, normaliser and decoder; "" of a failed run, which ends no series."""
    return json.dumps(run.hyper["results"].get("signature"), sort_keys=True) if run.hyper else ""


def _rate(run: Run) -> float | None:
    """Return the test WER; None if it is not measured, or so large that it is a mistake of the job."""
    rate = hyper.test_wer(run.hyper)
    return rate if rate is not None and rate <= MAX_RATE else None


def changed_variables(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> tuple[str, ...]:
    """Return the names of the operator's variables that differ; none if either is unknown."""
    if before is None or now is None:
        return ()
    return tuple(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))
