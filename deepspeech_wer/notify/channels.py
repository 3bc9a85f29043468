"""The channels that are configured, and how to notify them all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deepspeech_wer.notify import github, ledger, webhook
from deepspeech_wer.notify.ledger import Channel, NotSent
from deepspeech_wer.records import Run
from deepspeech_wer.settings import Notices, Repository

log = logging.getLogger(__name__)


def tell(
    repository: Repository,
    notices: Notices,
    cache: Path,
    names: Sequence[str],
    read: Callable[[str], Run],
    *,
    api: str | None = None,
) -> None:
    """Send every notification about the archived runs `names`, oldest first, that was not sent yet.

    A failure is logged, never raised. `read` returns a run by its name, or raises Trouble. `api` replaces the address
    of GitHub's API.
    """
    for channel in _channels(repository, notices, api):
        try:
            ledger.tell(channel, cache, names, read)
        except NotSent as failure:
            log.warning("%s: %s; the next tick tries again", channel.name, failure)
        except OSError as error:
            log.warning("%s: cannot record in %s what was sent: %s", channel.name, cache, error.strerror)


def _channels(repository: Repository, notices: Notices, api: str | None) -> Iterator[Channel]:
    statuses = github.statuses_address(repository.page, api)
    if notices.github_token and statuses:
        yield github.channel(statuses, notices.github_token, notices.website_url)
    if notices.webhook_url:
        yield webhook.channel(notices.webhook_url, repository.name, notices.website_url)
