"""What happened, in words: the texts of the feed, of commit statuses, of messages and of the log. Pure.

Everything that others wrote (subjects, authors, a job's output) is masked and made plain before it is quoted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import quote

from deepspeech_wer import hyper
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard.logs import WHOLE, masked, without_quotes
from deepspeech_wer.records import Run
from deepspeech_wer.text import plain
from deepspeech_wer.verdicts import listed
from deepspeech_wer.verdicts.listed import Heads

# The states of news. "worse" stands for the event's state "open".
WORSE, RECOVERED, ACCEPTED, SUSPECT, DISMISSED = "worse", "recovered", "accepted", "suspect", "dismissed"
BETTER, FAILED, WORKING = "better", "failed", "working again"

_MOST_PARAMETERS = 3
_MOST_CHARACTERS = 300  # of a text by others


@dataclass(frozen=True)
class Known:
    """The verdicts, and how to look up a run; `run` returns None for one that cannot be read."""

    record: Mapping[str, Any]  # of verdicts.json; empty: nothing is judged
    run: Callable[[str], Run | None]  # by its id
    logs: PublishedLogs = WHOLE  # what is masked, and whether logs are quoted
    known_heads: Heads | None = None  # see `heads`; None: they are read from the record

    @property
    def verdicts(self) -> Sequence[Mapping[str, Any]]:
        """In the order of history."""
        found: Sequence[Mapping[str, Any]] = self.record.get("verdicts", ())
        return found

    @cached_property
    def heads(self) -> Heads:
        """Commit and state of each verdict."""
        return listed.heads(self.verdicts) if self.known_heads is None else self.known_heads

    @cached_property
    def events(self) -> Sequence[Mapping[str, Any]]:
        """As verdicts.json lists them."""
        return list(self.record.get("events", ()))

    def verdict(self, sha: str) -> Mapping[str, Any] | None:
        """Return the newest verdict of a commit; that of a run under other variables only if there is no other."""
        return self.verdicts[self._places[sha]] if sha in self._places else None

    @cached_property
    def _places(self) -> Mapping[str, int]:
        found: dict[str, int] = {}
        for place, (sha, state) in enumerate(zip(*self.heads, strict=True)):
            if sha not in found or state != "not comparable":
                found[sha] = place
        return found


class News(NamedTuple):
    """One change of state, told once."""

    of: str  # what changed: an event's id, or a run's
    state: str  # one of those above
    run: Run  # the merge that did it
    what: str  # one line, without the merge's name
    verdict: Mapping[str, Any] | None = None
    event: Mapping[str, Any] | None = None
    parameters: tuple[str, ...] = ()


def of_event(event: Mapping[str, Any], state: str, known: Known) -> News | None:
    """Return what is told when an event gets into a state; None if its run cannot be read."""
    sha = event["closed_by"] if state == RECOVERED and event["closed_by"] else event["start"]
    verdict = known.verdict(sha)
    run = known.run(verdict["run"]) if verdict else None
    if run is None:
        return None
    changed = parameters(event["start"], known, event)
    if state == WORSE:
        what = _regression(event, changed)
    elif state == RECOVERED:
        what = _recovery([event], verdict)
    elif state == ACCEPTED:
        what = _acceptance(event, known)
    else:
        what = f"{state}: {signed(event['step_pp'])} pp ({between(event['interval_pp'])})"
    return News(event["id"], state, run, what, verdict, event, changed)


def of_recovery(events: Sequence[Mapping[str, Any]], known: Known) -> News | None:
    """Return what is told of the events that one merge ended, together; None if its run cannot be read.

    The first one gives its id.
    """
    told = of_event(events[0], RECOVERED, known)
    if told is None:
        return None
    every = {**events[0], "culprits": [culprit for event in events for culprit in event["culprits"]]}
    return told._replace(what=_recovery(events, told.verdict), event=every)


def together(events: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return the events that have recovered, each list of them ended by one merge."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        if event["state"] == RECOVERED:
            found.setdefault(event["closed_by"] or event["id"], []).append(event)
    return list(found.values())


def of_better(verdict: Mapping[str, Any], known: Known) -> News | None:
    """Return what is told of a merge that made it better; None if its run cannot be read."""
    run = known.run(verdict["run"])
    if run is None:
        return None
    changed = parameters(verdict["sha"], known)
    return News(run.id, BETTER, run, ", ".join([f"better: {_effect(verdict)}", *changed]), verdict, None, changed)


def of_failure(run: Run, known: Known, others: int = 0) -> News:
    """Return what is told of a run that failed. `others` failed before it, and nobody was told."""
    more = f" ({others} more failed before it)" if others else ""
    return News(run.id, FAILED, run, failure(run, known) + more, known.verdict(run.merge.sha))


def of_success(run: Run, known: Known, failed: Sequence[Run] = ()) -> News:
    """Return what is told of the first good run after failures; `failed` are those that nobody was told of."""
    missed = f" after {_names(failed)} failed" if failed else ""
    what = f"working again{missed}: {result(run)}"
    return News(run.id, WORKING, run, what, known.verdict(run.merge.sha))


def result(run: Run) -> str:
    """Return the measured rate."""
    return f"test WER {hyper.shown(hyper.test_wer(run.hyper))}"


def failure(run: Run, known: Known) -> str:
    """Return why a run failed, without secrets, and without more of its log than visitors see."""
    shown = without_quotes(run, known.logs)
    return ": ".join(["failed", *(clean(part, known.logs) for part in (run.failure or "", shown.detail) if part)])


def parameters(sha: str, known: Known, event: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """Return "name old -> new" of the first parameters that a merge changed against the good run before it."""
    blamed = [one["parameters"] for one in event.get("blame", ()) if one["sha"] == sha] if event else []
    found = blamed[0] if blamed and blamed[0] else _compared(sha, known)
    return tuple(clean(one, known.logs, 80) for one in found[:_MOST_PARAMETERS])


def named(run: Run, logs: PublishedLogs) -> str:
    """Return how texts name a merge."""
    return f'{run.merge.sha[:12]} "{clean(run.merge.subject, logs)}" by {clean(run.merge.author, logs, 80)}'


def clean(text: str, logs: PublishedLogs, most: int = _MOST_CHARACTERS) -> str:
    """Return a text by others on one plain line of at most `most` characters, without secrets."""
    line = plain(" ".join(masked(text[: 20 * most], logs).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def address(website_url: str, run_id: str) -> str:
    """Return the address of a run on the site."""
    base = website_url.partition("#")[0]
    return f"{base}{'' if base.endswith(('/', '.htm', '.html')) else '/'}#/run/{quote(run_id, safe='')}"


def beside(website_url: str, name: str) -> str:
    """Return the address of a file that lies beside the page."""
    base = website_url.partition("#")[0].partition("?")[0]
    if base.endswith((".htm", ".html")):
        base = base.rpartition("/")[0]
    return f"{base.rstrip('/')}/{name}"


def signed(value: float) -> str:
    """Format percentage points: +28.7, -0.44."""
    return f"{value:+.{1 if abs(value) >= 1 else 2}f}"


def between(interval: Sequence[float] | None) -> str:
    """Format an interval of 95 %, with two digits or so."""
    if interval is None:
        return "95 %: unknown"
    largest = max(abs(interval[0]), abs(interval[1]))
    digits = 0 if largest >= 10 else 1 if largest >= 1 else 2
    low, high = (f"{round(bound, digits) + 0.0:.{digits}f}" for bound in interval)
    return f"95 %: {low} to {high}"


def _effect(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None or verdict["effect_pp"] is None:
        return "no figure"
    return f"{signed(verdict['effect_pp'])} pp ({between(verdict['interval_pp'])})"


def effect(verdict: Mapping[str, Any]) -> str:
    """Return a verdict's effect with its interval; "" if there is none."""
    return "" if verdict["effect_pp"] is None else _effect(verdict)


def _regression(event: Mapping[str, Any], changed: Sequence[str]) -> str:
    size = f"worse: {signed(event['step_pp'])} pp ({between(event['interval_pp'])})"
    several = len(event["culprits"])
    one_of = [f"one of {several} merges, this one most likely"] if several > 1 else []
    return ", ".join([size, *changed, *one_of])


def _recovery(events: Sequence[Mapping[str, Any]], verdict: Mapping[str, Any] | None) -> str:
    size = f"{_effect(verdict)}, " if verdict and verdict["effect_pp"] is not None else ""
    names = [event["start"][:12] for event in events]
    if len(names) == 1:
        return f"recovered: {size}the level before {names[0]} is back"
    return f"recovered: {size}the levels before {', '.join(names[:-1])} and {names[-1]} are back"


def _acceptance(event: Mapping[str, Any], known: Known) -> str:
    size = f"{signed(event['step_pp'])} pp"
    decision = event.get("accepted") or {}
    who, why = (clean(str(decision.get(name) or ""), known.logs) for name in ("who", "why"))
    return f"accepted: {size} is the new level{f', says {who}' if who else ''}{f': {why}' if why else ''}"


def _compared(sha: str, known: Known) -> list[str]:
    verdicts = known.verdicts
    at = next((number for number in range(len(verdicts) - 1, -1, -1) if known.heads.shas[number] == sha), None)
    after = known.run(verdicts[at]["run"]) if at is not None else None
    if at is None or after is None or not after.hyper:
        return []
    for verdict in reversed(verdicts[max(0, at - 20) : at]):
        before = known.run(verdict["run"]) if verdict["verdict"] != "failed" else None
        if before and before.hyper:
            return hyper.changed_parameters(before.hyper, after.hyper)
    return []


def _names(runs: Sequence[Run]) -> str:
    shown = ", ".join(run.merge.sha[:12] for run in runs[-5:])
    return shown if len(runs) <= 5 else f"{len(runs)} runs (the last: {shown})"
