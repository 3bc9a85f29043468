"""JSON messages to a webhook, one for each change of state, signed as Standard Webhooks 1.0.0 says.

A message is told of an event that opens, is accepted or recovers, of runs that fail, and of the first good run after
them. What came and went while the receiver was away is told as it is now.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from deepspeech_wer.configuration.settings import Notices, PublishedLogs
from deepspeech_wer.dashboard import news
from deepspeech_wer.dashboard.news import News
from deepspeech_wer.notify import http, message
from deepspeech_wer.notify.facts import Facts
from deepspeech_wer.notify.ledger import Due, NotSent, Refused, Told
from deepspeech_wer.records import Run

_OPEN, _RECOVERED, _ACCEPTED, _SUSPECT = "open", "recovered", "accepted", "suspect"
_OF_THE_ADDRESS = (401, 403, 404, 405, 407, 408, 410, 421, 423, 425, 426, 429)  # another 4xx is of this message


class Hook(NamedTuple):
    """Where messages go."""

    address: str
    key: bytes | None  # signs them
    repository: str
    website_url: str | None

    def send(self, told: News, logs: PublishedLogs) -> None:
        """Send a message. Raises NotSent."""
        record = message.body(told, self.repository, self.website_url, logs)
        body = json.dumps(record, allow_nan=False).encode()
        answer = http.post(self.address, body, signed_headers(record["id"], int(time.time()), body, self.key))
        if 400 <= answer.code < 500 and answer.code not in _OF_THE_ADDRESS:
            why = f"it answered {answer.code} to {record['id']}: does it take JSON with `text`?"
            raise Refused(why, of=record["id"])
        if answer.code >= 300:
            wait = answer.retry_after_s
            raise NotSent(f"it answered {answer.code}: check ds_webhook_url", retry_after_s=wait)


def signed_headers(name: str, seconds: int, body: bytes, key: bytes | None) -> dict[str, str]:
    """Return the headers of Standard Webhooks: id, time (Unix), and a signature if there is a key."""
    headers = {"webhook-id": name, "webhook-timestamp": str(seconds)}
    if key is None:
        return headers
    digest = hmac.digest(key, f"{name}.{seconds}.".encode() + body, hashlib.sha256)
    return headers | {"webhook-signature": "v1," + base64.b64encode(digest).decode()}


def due(hook: Hook, told: Told, facts: Facts, wanted: Notices, most: int) -> tuple[Told, list[Due]]:
    """Return what the receiver knows before anything is sent, and the messages to send."""
    if told.is_new:
        told = _introduced(told, facts)
    found = [*_of_runs(told, facts), *_of_events(told, facts, wanted), *_of_better(told, facts, wanted)]
    logs = facts.known.logs
    spoken = [one for one in found if one.news]
    left = {id(one) for one in spoken[most:]}
    kept = [one for one in found if id(one) not in left]
    return told, [Due(partial(hook.send, one.news, logs) if one.news else None, one.after) for one in kept]


class _Change(NamedTuple):
    news: News | None  # None: not worth a message
    after: Callable[[Told], Told]


def _introduced(told: Told, facts: Facts) -> Told:
    """Return what a new receiver counts as knowing: all but the newest run and the newest event that is open."""
    opened = [event["id"] for event in facts.known.events if event["state"] == _OPEN][-1:]
    states = {event["id"]: event["state"] for event in facts.known.events if event["id"] not in opened}
    states |= {f"better {one['run']}": "better" for one in facts.known.verdicts if one["verdict"] == "better"}
    return told.now(states, states)._replace(is_new=False, runs=told.runs or facts.newest[:-1])


def _of_runs(told: Told, facts: Facts) -> Iterator[_Change]:
    untold = [name for name in facts.newest if name not in told.runs and facts.run(name)]
    if not untold:
        return
    runs = facts.own(untold)
    failed = [run for run in runs if run.status == "failed"]
    looked_at = tuple(name for name in facts.newest if name in told.runs or name in untold)
    last = runs[-1].status if runs else told.last

    def after(before: Told) -> Told:
        return before._replace(runs=looked_at, last=last)

    yield _Change(_of_run(runs[-1], failed, told, facts) if runs else None, after)


def _of_run(newest: Run, failed: list[Run], told: Told, facts: Facts) -> News | None:
    if newest.status == "failed":
        return news.of_failure(newest, facts.known, others=len(failed) - 1)
    if failed or told.last == "failed":
        return news.of_success(newest, facts.known, failed)
    return None


def _of_events(told: Told, facts: Facts, wanted: Notices) -> Iterator[_Change]:
    names = [event["id"] for event in facts.known.events]
    changed = [one for one in facts.known.events if told.states.get(one["id"]) != one["state"]]
    for events in news.together(changed):
        recovery = news.of_recovery(events, facts.known)
        if recovery:  # else its run cannot be read now
            done = {event["id"]: news.RECOVERED for event in events}
            yield _Change(None if recovery.run.imported else recovery, partial(_known, states=done, names=names))
    for event in changed:
        before, now = told.states.get(event["id"]), event["state"]
        if now == _RECOVERED:
            continue
        state = _worth(before, now, tell_suspect=wanted.tell_suspect)

        def after(known: Told, name: str = event["id"], state: str = now) -> Told:
            return known.now({name: state}, names)

        told_of = news.of_event(event, state, facts.known) if state else None
        if told_of or not state:  # else its run cannot be read now
            yield _Change(None if told_of and told_of.run.imported else told_of, after)


def _known(told: Told, states: Mapping[str, str], names: Sequence[str]) -> Told:
    return told.now(states, names)


def _worth(before: str | None, now: str, *, tell_suspect: bool) -> str | None:
    """Return which news a change of an event's state is; None: none."""
    if now == _OPEN:
        return news.WORSE
    if now == _ACCEPTED:
        return news.ACCEPTED if before == _OPEN else None
    if now == _SUSPECT:
        return news.SUSPECT if tell_suspect else None
    was_told = before == _OPEN or (before == _SUSPECT and tell_suspect)
    return now if was_told else None  # dismissed, or cannot tell


def _of_better(told: Told, facts: Facts, wanted: Notices) -> Iterator[_Change]:
    verdicts = [one for one in facts.known.verdicts if one["verdict"] == "better"]
    names = [f"better {one['run']}" for one in verdicts]
    for name, verdict in zip(names, verdicts, strict=True):
        if name in told.states:
            continue

        def after(known: Told, name: str = name) -> Told:
            return known.now({name: "better"}, names)

        told_of = news.of_better(verdict, facts.known) if wanted.tell_better else None
        yield _Change(None if told_of and told_of.run.imported else told_of, after)
