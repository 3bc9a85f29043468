"""The receivers that are configured, and how to tell them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import clock
from deepspeech_wer.configuration.settings import Notices, Repository
from deepspeech_wer.notify import alarm, github, gitlab, ledger, statuses, webhook
from deepspeech_wer.notify.facts import Archive, Facts
from deepspeech_wer.notify.ledger import LOG, NEWEST, Due, Ledger, NotSent, Refused, Told
from deepspeech_wer.notify.webhook import Hook

GITHUB, GITLAB, WEBHOOK = "commit status", "commit status on GitLab", "webhook"

log = logging.getLogger(__name__)


class Channel(NamedTuple):
    """A receiver. `due` returns what it knows before anything is sent, and what to tell it."""

    name: str
    due: Callable[[Told, Facts], tuple[Told, list[Due]]]


def tell(
    repository: Repository,
    notices: Notices,
    cache: Path,
    archive: Archive,
    *,
    is_idle: bool = False,
    api: str | None = None,
) -> None:
    """Tell every receiver what it does not know yet. A failure is logged, never raised.

    An idle tick, in which nothing was archived, looks no further where all was told of this archive. `api` replaces the
    address of GitHub's API.
    """
    book, facts = Ledger(cache), None
    for channel in _channels(repository, notices, api):
        told = book.told(channel.name)
        if (is_idle and told.mark == archive.mark) or told.waits(ledger.now()):
            continue
        facts = facts or Facts(archive)
        try:
            _tell(channel, book, facts, archive.mark)
        except OSError as error:
            log.warning("%s: cannot record in %s what was sent: %s", channel.name, cache, error.strerror)


def begin(repository: Repository, notices: Notices, cache: Path, sha: str, *, api: str | None = None) -> None:
    """Set the pending status of a commit that is about to train. A failure is logged: the result will be told."""
    book = Ledger(cache)
    status = statuses.training(sha, notices.website_url)
    for name, set_status in _set_statuses(repository, notices, api):
        told, short = book.told(name), sha[:12]
        if told.states.get(short) == statuses.TRAINING or told.waits(ledger.now()):
            continue
        try:
            book.write(name, told)  # what cannot be recorded is not sent
            set_status(status)
            book.write(name, told.now({short: statuses.TRAINING}, told.states))
        except NotSent as failure:
            log.warning("%s: %s; the result will be told", name, failure)
        except OSError as error:
            log.warning("%s: cannot record in %s what was sent: %s", name, cache, error.strerror)


def _channels(repository: Repository, notices: Notices, api: str | None) -> Iterator[Channel]:
    yield Channel(LOG, partial(alarm.due, most=NEWEST))
    for name, set_status in _set_statuses(repository, notices, api):
        yield Channel(name, partial(statuses.due, set_status, website_url=notices.website_url, most=NEWEST))
    if notices.webhook_url:
        hook = Hook(notices.webhook_url, notices.webhook_secret, repository.name, notices.website_url)
        yield Channel(WEBHOOK, partial(webhook.due, hook, wanted=notices, most=NEWEST))


def _set_statuses(repository: Repository, notices: Notices, api: str | None) -> Iterator[tuple[str, statuses.Set]]:
    on_github = github.statuses_address(repository.page, api)
    if notices.github_token and on_github:
        yield GITHUB, partial(github.set_status, on_github, notices.github_token)
    on_gitlab = gitlab.statuses_address(repository.url)
    if notices.gitlab_token and on_gitlab:
        yield GITLAB, partial(gitlab.set_status, on_gitlab, notices.gitlab_token, repository.ref)


def _tell(channel: Channel, book: Ledger, facts: Facts, mark: str) -> None:
    """Tell a receiver all that is due, up to a limit. Raises OSError if what was sent cannot be recorded."""
    before = book.told(channel.name)
    told, dues = channel.due(before, facts)
    if told != before or dues:
        book.write(channel.name, told)  # what cannot be recorded is not sent
    silent = [one for one in dues if one.send is None]
    spoken = [one for one in dues if one.send is not None]
    for one in silent:
        told = one.after(told)
    failures: list[NotSent] = []
    for one in spoken:
        try:
            if one.send:
                one.send()
        except Refused as failure:
            if told.gives_up(failure.of, ledger.now()):
                days = ledger.GIVE_UP_S / 86_400
                log.warning("%s: %s It has refused it for %g days: given up", channel.name, failure, days)
                told = one.after(told)
            else:
                failures.append(failure)
            continue
        except NotSent as failure:
            failures.append(failure)
            break
        told = one.after(told)._replace(failures=0, until=0.0)
        book.write(channel.name, told)
    if failures:
        before, now = told, ledger.now()
        for refusal in (failure for failure in failures if isinstance(failure, Refused)):
            told = told.refusing(refusal.of, now)
        told = told.failed(now, max(failure.retry_after_s for failure in failures))
        again = f"it is tried again after {clock.stamp(clock.UTC, told.until)}" if told.until else ""
        news = [one for one in failures if not isinstance(one, Refused) or one.of not in before.refused]
        if news:
            log.warning("%s: %s; %s", channel.name, news[0], again or "the next tick tries again")
    elif len(spoken) < NEWEST:
        told = told._replace(mark=mark, failures=0, until=0.0)
    if told != book.told(channel.name):
        book.write(channel.name, told)
