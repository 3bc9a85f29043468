"""Commit statuses on GitHub (REST API, "Create a commit status")."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from deepspeech_wer.notify import http, message
from deepspeech_wer.notify.ledger import Channel, NotSent
from deepspeech_wer.records import Run

CONTEXT = "deepspeech_wer"  # the name under which GitHub shows the status
MAX_CHARACTERS = 140  # of a description, GitHub's limit

log = logging.getLogger(__name__)


def statuses_address(page: str | None, api: str | None = None) -> str | None:
    """Return the API address for commit statuses of the repository with this web page; None if it is not on GitHub.

    `api` replaces the address of GitHub's API.
    """
    parts = urlsplit(page or "")
    if not (parts.hostname or "").startswith("github."):
        return None
    base = api or ("https://api.github.com" if parts.hostname == "github.com" else f"https://{parts.hostname}/api/v3")
    return f"{base}/repos{parts.path}/statuses"


def channel(statuses: str, token: str, website_url: str | None) -> Channel:
    """Return a channel that sets a commit status for each run."""
    return Channel("commit status", lambda run, _: _set_status(statuses, token, run, website_url))


def _set_status(statuses: str, token: str, run: Run, website_url: str | None) -> None:
    status = {
        "state": "success" if run.status == "done" else "failure",
        "context": CONTEXT,
        "description": message.shortened(message.result(run), MAX_CHARACTERS),
        **({"target_url": message.page(website_url, run)} if website_url else {}),
    }
    code = http.post(f"{statuses}/{run.merge.sha}", status, token=token)
    if code == 422:  # counts as sent, because GitHub would refuse it again
        log.warning("commit status: GitHub refused it for %s: is the commit on GitHub?", run.merge.sha[:12])
    elif code in (401, 403, 404):
        raise NotSent(f"GitHub answered {code}: give ds_github_token permission to set statuses in this repository")
    elif code >= 300:
        moved = ": if the repository was renamed, correct ds_repo_url" if code < 400 else ""
        raise NotSent(f"GitHub answered {code} for {run.merge.sha[:12]}{moved}")
