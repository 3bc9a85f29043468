"""What the page says of each merge, and of the branch. The verdicts are made in Python, never by the page."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from deepspeech_wer import hyper, run_table
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard.logs import WHOLE, masked
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.records import Run
from deepspeech_wer.run_table import Table
from deepspeech_wer.verdicts import listed, student
from deepspeech_wer.verdicts.listed import Heads

ACCEPTED = "accepted"  # of a step that is the new level: no longer to be called worse
MOST_WORDS = 500  # characters of a reason
_INTERVAL = re.compile(r" \(95 %: [^)]*\)")


class Judged(NamedTuple):
    """Verdicts by run id, what happened to the branch, and the sentence on top of the page."""

    states: Mapping[str, str] = {}
    reasons: Mapping[str, str] = {}
    headline: tuple[str, str, str] | None = None  # (state, sentence, the run it is about); None before the first run
    sigmas: Mapping[str, float] = {}  # the noise of one training, in percentage points
    bands: Mapping[str, float] = {}  # half the 95 % interval of one training, the same
    marks: Sequence[tuple[str, str, bool]] = ()  # (run, text, whether a new series begins), before that run
    noise: str | None = None  # what a calibration says of the newest series; None without one
    events: Sequence[Mapping[str, Any]] = ()  # as verdicts.json has them, with "trained" and "why" of `_event`
    record: Mapping[str, Any] = {}  # verdicts.json, see `decided`
    heads: Heads | None = None  # of the verdicts in it; None: see there


def judged(
    record: Mapping[str, Any],
    ordered: Sequence[Run],
    *,
    again: Iterable[Run] = (),
    accepted: Sequence[Decision] = (),
    logs: PublishedLogs = WHOLE,
) -> Judged:
    """Make it from verdicts.json.

    `ordered` are the runs in the order of history, without re-trainings; `again` are the re-trainings; `accepted` are
    the decisions to accept a step, which have the reasons; `logs` says what is masked in these.
    """
    states, reasons, sigmas, bands = dict[str, str](), dict[str, str](), dict[str, float](), dict[str, float]()
    heads, retrained = Heads([], []), Counter[str]()
    for verdict in record["verdicts"]:  # once: they are parsed as they are looked at
        run, sha, sigma = sys.intern(verdict["run"]), sys.intern(verdict["sha"]), verdict["sigma_pp"]
        state = sys.intern(verdict["verdict"])
        states[run], reasons[run] = state, verdict["reason"]
        heads.shas.append(sha)
        heads.states.append(state)
        if verdict["retrained"]:
            retrained[sha] += verdict["retrained"]
        if sigma is not None:
            sigmas[run] = sigma
            if verdict["sigma_df"]:
                bands[run] = student.quantile(0.95, verdict["sigma_df"]) * sigma
    ordered = run_table.of(ordered)
    trained = _Trained(ordered, again)
    known = decided(record, accepted, heads)
    return Judged(
        states,
        reasons,
        _headline(record, ordered, states, reasons, retrained),
        sigmas,
        bands,
        [(mark["run"], mark["text"], mark["is_new_series"]) for mark in record["marks"]],
        noise=_noise(record),
        events=[_event(event, trained, logs) for event in known["events"]],
        record=known,
        heads=heads,
    )


def _event(event: Mapping[str, Any], trained: _Trained, logs: PublishedLogs) -> dict[str, Any]:
    """Return an event with the trainings that it rests on, and who accepted it and why."""
    shas = [sha for sha, _ in event["culprits"]] or [event["start"]]
    accepted = event["accepted"] or {}
    why = {name: masked(text, logs)[:MOST_WORDS] for name, text in accepted.items()}
    return {**event, "trained": trained.of(shas), "why": why or None}


def decided(record: Mapping[str, Any], accepted: Sequence[Decision], heads: Heads | None = None) -> dict[str, Any]:
    """Return the record of verdicts.json with who accepted an event, why and when: `accepted`, None if nobody did.

    `heads` are those of the verdicts, if they are known already.
    """
    if heads is None:
        heads = listed.heads(record.get("verdicts", ()) if accepted else ())
    events = [{**event, "accepted": _decision(event, heads, accepted)} for event in record.get("events", ())]
    return {**record, "events": events}


def _decision(event: Mapping[str, Any], heads: Heads, accepted: Sequence[Decision]) -> dict[str, str] | None:
    """Return who accepted an event, why and when; None if nobody did. The newest decision counts.

    One that was made after the recovery changes nothing, and is shown all the same.
    """
    if not accepted or event["state"] not in ("accepted", "recovered"):
        return None
    guilty, is_same = {sha for sha, _ in event["culprits"]}, False
    # A merge that changed nothing stands for the one whose result it repeats.
    for sha, state in zip(*heads, strict=True):
        is_same = sha == event["start"] or (is_same and state in ("unchanged", "failed"))
        if is_same:
            guilty.add(sha)
    found = [one for one in accepted if any(sha.startswith(one.sha) for sha in guilty)]
    return {"who": found[-1].who, "why": found[-1].why, "at": found[-1].at} if found else None


class _Trained:
    """How often each merge was trained, and with which results."""

    def __init__(self, ordered: Table, again: Iterable[Run]) -> None:
        self._ordered = ordered
        self._places = {sha: place for place, sha in enumerate(ordered.column("sha"))}
        self._again: dict[str, list[Run]] = {}
        for run in again:
            self._again.setdefault(run.merge.sha, []).append(run)

    def of(self, shas: Sequence[str]) -> list[dict[str, Any]]:
        """Return the trainings of merges, and before them those of the last measured merge before the first."""
        places = sorted(self._places[sha] for sha in shas if sha in self._places)
        if not places:
            return []
        done = self._ordered.column("is_done")
        before = next((place for place in range(places[0] - 1, -1, -1) if done[place]), None)
        return [self._one(place) for place in ([] if before is None else [before]) + places]

    def _one(self, place: int) -> dict[str, Any]:
        run = self._ordered[place]
        runs = [run, *self._again.get(run.merge.sha, [])]
        return {"sha": run.merge.sha, "runs": [[one.id, _rate(one), one.failure] for one in runs]}


def _rate(run: Run) -> float | None:
    """Return the test WER in per cent."""
    rate = hyper.test_wer(run.hyper)
    return None if rate is None else round(100 * min(rate, 100.0), 3)


def _noise(record: Mapping[str, Any]) -> str | None:
    said = next((one["sentence"] for one in record["calibrations"] if one["is_used"]), None)
    return said and f"{said[:1].upper()}{said[1:]}."


def _headline(
    record: Mapping[str, Any],
    ordered: Table,
    states: Mapping[str, str],
    reasons: Mapping[str, str],
    retrained: Mapping[str, int],
) -> tuple[str, str, str] | None:
    """Return the open regression, or what the newest merge did, and the run of the merge."""
    opened = [event for event in record["events"] if event["state"] == "open"]
    newest = ordered.newest()
    if opened and newest:
        culprit = _first_of(opened[-1]["start"], ordered)
        about = newest.id if culprit is None else ordered[culprit].id
        return "worse", _regression(opened[-1], newest, ordered, retrained), about
    last = ordered[-1] if ordered else None
    if last is None or last.id not in states:
        return None
    accepted = {event["start"] for event in record["events"] if event["state"] == ACCEPTED}
    state = ACCEPTED if states[last.id] == "worse" and last.merge.sha in accepted else states[last.id]
    rate = f"{hyper.shown(hyper.test_wer(last.hyper))}, " if last.hyper else ""
    who = ", ".join([f"{last.merge.sha[:8]} by {last.merge.author}", *_causes(len(ordered) - 1, ordered)])
    reason, ended = reasons[last.id].removesuffix("."), _ended(last, ordered, record)
    if state == ACCEPTED:  # said already
        reason = reason.removesuffix("; accepted")
    if ended:
        reason = _INTERVAL.sub("", reason, count=1)  # the evidence has it; on a phone the chart must begin in sight
    told = [f"{state[:1].upper()}{state[1:]}: {rate}{who}.", f"{reason}." if reason else "", ended]
    return state, " ".join(filter(None, told)), last.id


def _first_of(sha: str, ordered: Table) -> int | None:
    """Return the place of a commit's first run."""
    return next((place for place, one in enumerate(ordered.column("sha")) if one == sha), None)


def _ended(last: Run, ordered: Table, record: Mapping[str, Any]) -> str:
    """Return which regressions a merge ended: how large they were and whose; "" if it ended none."""
    closed = [
        event for event in record["events"] if event["state"] == "recovered" and event["closed_by"] == last.merge.sha
    ]
    if not closed:
        return ""
    authors = {sha: f" by {author}" for sha, author in ordered.columns("sha", "author")}
    told = [f"{one['step_pp']:+.1f} pp of {one['start'][:8]}{authors.get(one['start'], '')}" for one in closed]
    return f"This ends {' and '.join(told)}."


def _causes(place: int, ordered: Table) -> list[str]:
    """Return the first parameters that the merge of the run at a place changed, against the good run before it."""
    before = ordered.newest(before=place)
    return hyper.changed_parameters(before.hyper, ordered[place].hyper)[:3] if before else []


def _regression(event: Mapping[str, Any], newest: Run, ordered: Table, retrained: Mapping[str, int]) -> str:
    where = f" on {event['test_set']}" if event.get("test_set") else ""
    start = f"{event['step_pp']:+.1f} pp{where} since {event['start'][:8]}"
    rate = hyper.shown(hyper.test_wer(newest.hyper))
    culprit = _first_of(event["start"], ordered)
    if culprit is None:  # its run cannot be read
        return f"Worse: {rate}, {start}."
    who = ", ".join([ordered[culprit].merge.author, *_causes(culprit, ordered)])
    times = retrained.get(event["start"], 0)
    again = "1 re-training" if times == 1 else f"{times} re-trainings"
    return f"Worse: {rate}, {start}. {who}.{f' Confirmed by {again}.' if times else ''}"
