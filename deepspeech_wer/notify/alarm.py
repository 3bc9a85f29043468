"""The log and the exit code, for cron: one line for each confirmed regression, and once the exit code that mails it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import news
from deepspeech_wer.dashboard.news import News
from deepspeech_wer.notify.facts import Facts
from deepspeech_wer.notify.ledger import OWED, Due, Told

log = logging.getLogger(__name__)


def due(told: Told, facts: Facts, most: int) -> tuple[Told, list[Due]]:
    """Return what is logged already, and the lines to log."""
    states = {event["id"]: event["state"] for event in facts.known.events}
    if told.is_new:
        told = told.now(states, states)._replace(is_new=False)
    found: list[Due] = []
    for event in facts.known.events:
        before, now = told.states.get(event["id"]), event["state"]
        if before == now:
            continue
        line = news.of_event(event, news.WORSE, facts.known) if now == "open" else None
        if now == "open" and (line is None or len(found) >= most):
            continue  # its run cannot be read now, or a later tick logs it
        if line and line.run.imported:
            line = None  # history
        write = partial(_write, line, facts.known.logs) if line else None
        found.append(Due(write, _after(event["id"], now, line, states)))
    return told, found


def _after(name: str, state: str, line: News | None, states: dict[str, str]) -> Callable[[Told], Told]:
    def after(told: Told) -> Told:
        return told.now({name: state}, states)._replace(last=OWED if line else told.last)

    return after


def _write(line: News, logs: PublishedLogs) -> None:
    log.warning("regression: %s: %s", news.named(line.run, logs), line.what)
