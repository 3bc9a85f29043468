"""What a commit's status says: pending while it trains, then the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from deepspeech_wer.dashboard import news
from deepspeech_wer.dashboard.news import Known
from deepspeech_wer.notify.facts import Facts
from deepspeech_wer.notify.ledger import Due, Told
from deepspeech_wer.notify.message import shortened
from deepspeech_wer.records import Run

CONTEXT = "deepspeech_wer"  # the name under which a status is shown
TRAINING, AGAIN, GOOD, BAD = "training", "training again", "good", "bad"
WINDOW = 200  # commits whose verdicts may still change


class Status(NamedTuple):
    """The status of one commit."""

    sha: str
    state: str  # TRAINING, AGAIN (a suspect), GOOD or BAD
    description: str  # one line
    target_url: str | None


Set = Callable[[Status], None]  # raises NotSent


def training(sha: str, website_url: str | None) -> Status:
    """Return the status of a commit that begins to train."""
    return Status(sha, TRAINING, "training", website_url)


def due(set_status: Set, told: Told, facts: Facts, website_url: str | None, most: int) -> tuple[Told, list[Due]]:
    """Return what the receiver knows before anything is sent, and the statuses to set, oldest commit first."""
    now = _keys(facts)
    if told.is_new:
        untold = [one for one in facts.newest if one not in told.runs] if told.runs else facts.newest[-1:]
        fresh = {name[16:28] for name in untold}
        known = {sha[:12]: key for sha, key in now.items() if sha[:12] not in fresh}
        told = told.now({**known, **told.states}, known)._replace(is_new=False, runs=facts.newest)
    window = [sha[:12] for sha in list(now)[-WINDOW:]]
    may_change = {*window, *(short for short, key in told.states.items() if key == TRAINING)}
    changed = [(sha, key) for sha, key in now.items() if sha[:12] in may_change and told.states.get(sha[:12]) != key]
    found: list[Due] = []
    for sha, key in changed:
        after = _after(sha[:12], key, may_change)
        run = _run(sha, facts) if len(found) < most else None
        if run and run.imported:
            told = after(told)  # history
        elif run:
            found.append(Due(partial(set_status, _status(run, key, facts.known, website_url)), after))
    return told, found


def _after(short: str, key: str, may_change: set[str]) -> Callable[[Told], Told]:
    return lambda told: told.now({short: key}, may_change)


def _keys(facts: Facts) -> dict[str, str]:
    """Return sha -> what decides whether a status is set anew, in the order of history."""
    known, found = facts.known, dict[str, str]()
    accepted = {event["start"] for event in known.events if event["state"] == "accepted"}
    is_trained_again = known.record.get("retraining") is not None
    for verdict in known.verdicts:
        sha, state = verdict["sha"], verdict["verdict"]
        if state == "not comparable" and sha in found:
            continue  # trained once more after the operator changed variables: no news of this merge
        if state == "worse" and sha in accepted:
            state = "accepted"
        elif state == "suspect" and is_trained_again:
            state = "suspect, training"
        found[sha] = state
    judged = {verdict["run"] for verdict in known.verdicts}
    for run in facts.own([name for name in facts.newest if name not in judged]):
        if run.merge.sha not in found:
            found[run.merge.sha] = "not judged yet"
    return found


def _run(sha: str, facts: Facts) -> Run | None:
    """Return the run that a commit's status tells of; None if it cannot be read."""
    verdict = facts.known.verdict(sha)
    newest = next((name for name in reversed(facts.newest) if name[16:28] == sha[:12]), None)
    return facts.run(verdict["run"]) if verdict else facts.run(newest) if newest else None


def _status(run: Run, key: str, known: Known, website_url: str | None) -> Status:
    url = news.address(website_url, run.id) if website_url else None
    state, text = _said(key, run, known.verdict(run.merge.sha), known)
    return Status(run.merge.sha, state, shortened(text, 1000), url)


def _said(key: str, run: Run, verdict: Mapping[str, Any] | None, known: Known) -> tuple[str, str]:
    if run.status == "failed":
        return BAD, news.failure(run, known)
    result = news.result(run)
    if verdict is None or key in ("not judged yet", "failed"):
        return GOOD, result
    size = news.effect(verdict)
    event = next((one for one in known.events if one["start"] == verdict["sha"]), None)
    if key in ("worse", "accepted") and event:
        told = news.of_event(event, news.WORSE if key == "worse" else news.ACCEPTED, known)
        return BAD if key == "worse" else GOOD, told.what if told else f"{key}: {size}"
    changed = news.parameters(run.merge.sha, known) if key in ("worse", "better") else ()
    what = ", ".join([f"{key.partition(',')[0]}: {size or result}", *changed])
    if key == "suspect, training":
        return AGAIN, f"{what}; training it again to be sure"
    if key == "unchanged":
        return GOOD, f"unchanged: {result}, as before to the digit"
    return BAD if key == "worse" else GOOD, what if not size or changed else f"{what}, {result}"
