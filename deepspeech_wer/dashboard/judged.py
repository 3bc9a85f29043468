"""What the page says of each merge, and of the branch. The verdicts are made in Python, never by the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepspeech_wer import hyper
from deepspeech_wer.dashboard.logs import WHOLE, masked
from deepspeech_wer.decisions import Decision
from deepspeech_wer.records import Run
from deepspeech_wer.settings import PublishedLogs

MOST_EVENTS = 50
_SHOWN = ("suspect", "open", "accepted", "recovered")
MOST_WORDS = 500  # characters of a reason


@dataclass(frozen=True)
class Judged:
    """Verdicts by run id, and the sentence on top of the page."""

    states: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    headline: tuple[str, str] | None = None  # (state, sentence); None before the first run
    record: Mapping[str, Any] = field(default_factory=dict)  # verdicts.json
    events: Sequence[Mapping[str, Any]] = ()  # the newest that are not dismissed, with who accepted one and why


def judged(record: Mapping[str, Any], ordered: Sequence[Run], logs: PublishedLogs = WHOLE) -> Judged:
    """Make it from verdicts.json. `ordered` are the runs in the order of history, without re-trainings.

    `logs` says what is masked in the reasons that people give.
    """
    verdicts = record["verdicts"]
    return Judged(
        {verdict["run"]: verdict["verdict"] for verdict in verdicts},
        {verdict["run"]: verdict["reason"] for verdict in verdicts},
        _headline(record, ordered),
        record,
        [_shown(event, logs) for event in record["events"] if event["state"] in _SHOWN][-MOST_EVENTS:],
    )


def decided(record: Mapping[str, Any], accepted: Sequence[Decision]) -> dict[str, Any]:
    """Return the record of verdicts.json with who accepted an event, why and when: `accepted`, None if nobody did."""
    verdicts = record.get("verdicts", ())
    events = [{**event, "accepted": _decision(event, verdicts, accepted)} for event in record.get("events", ())]
    return {**record, "events": events}


def _decision(
    event: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]], accepted: Sequence[Decision]
) -> dict[str, str] | None:
    """Return who accepted an event, why and when; None if nobody did. The newest decision counts."""
    if event["state"] != "accepted":
        return None
    guilty, is_same = {sha for sha, _ in event["culprits"]}, False
    for verdict in verdicts:  # a merge that changed nothing stands for the one whose result it repeats
        is_same = verdict["sha"] == event["start"] or (is_same and verdict["verdict"] in ("unchanged", "failed"))
        guilty |= {verdict["sha"]} if is_same else set()
    found = [one for one in accepted if any(sha.startswith(one.sha) for sha in guilty)]
    return {"who": found[-1].who, "why": found[-1].why, "at": found[-1].at} if found else None


def _shown(event: Mapping[str, Any], logs: PublishedLogs) -> Mapping[str, Any]:
    accepted = event.get("accepted")
    if not accepted:
        return event
    return {**event, "accepted": {name: masked(str(text), logs)[:MOST_WORDS] for name, text in accepted.items()}}


def changed_parameters(before: Run, after: Run) -> list[str]:
    """Return "name old -> new" of each parameter that differs. Paths are left out: they differ by machine and run."""
    old, new = (hyper.flat_parameters(run.hyper or {}) for run in (before, after))
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    shown = [(name, _value(old.get(name)), _value(new.get(name))) for name in names]
    return [f"{name} {was} -> {now}" for name, was, now in shown if "/" not in was + now]


def _value(value: hyper.Scalar) -> str:
    return "unset" if value is None else str(value)[:40]


def _headline(record: Mapping[str, Any], ordered: Sequence[Run]) -> tuple[str, str] | None:
    """Return the open regression, or what the newest merge did."""
    opened = [event for event in record["events"] if event["state"] == "open"]
    newest = next((run for run in reversed(ordered) if run.hyper), None)
    if opened and newest:
        return "worse", _regression(opened[-1], newest, ordered, record)
    verdicts = {verdict["run"]: verdict for verdict in record["verdicts"]}
    last = ordered[-1] if ordered else None
    if last is None or last.id not in verdicts:
        return None
    verdict = verdicts[last.id]
    state = verdict["verdict"]
    rate = f"{hyper.shown(hyper.test_wer(last.hyper))}, " if last.hyper else ""
    who = ", ".join([f"{last.merge.sha[:8]} by {last.merge.author}", *_causes(last, ordered)])
    return state, f"{state[:1].upper()}{state[1:]}: {rate}{who}. {verdict['reason']}"


def _causes(run: Run, ordered: Sequence[Run]) -> list[str]:
    """Return the first parameters that a run's merge changed, against the good run before it."""
    earlier = ordered[: ordered.index(run)]
    before = next((one for one in reversed(earlier) if one.hyper), None)
    return changed_parameters(before, run)[:3] if before and run.hyper else []


def _regression(event: Mapping[str, Any], newest: Run, ordered: Sequence[Run], record: Mapping[str, Any]) -> str:
    start = f"{event['step_pp']:+.1f} pp since {event['start'][:8]}"
    rate = hyper.shown(hyper.test_wer(newest.hyper))
    culprit = next((run for run in ordered if run.merge.sha == event["start"]), None)
    if culprit is None:  # its run cannot be read
        return f"Worse: {rate}, {start}."
    who = ", ".join([culprit.merge.author, *_causes(culprit, ordered)])
    retrained = sum(verdict["retrained"] for verdict in record["verdicts"] if verdict["sha"] == event["start"])
    times = "once" if retrained == 1 else f"{retrained} times"
    return f"Worse: {rate}, {start}. {who}.{f' Trained again {times}.' if retrained else ''}"
