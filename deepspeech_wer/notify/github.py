"""Statuses on commits at GitHub (REST API, "Create a commit status")."""

from __future__ import annotations

import logging
from urllib.parse import urlsplit

from deepspeech_wer.notify import http, message
from deepspeech_wer.notify.ledger import Channel, NotTold
from deepspeech_wer.records import Run

CONTEXT = "deepspeech_wer"  # under which GitHub shows the status
MOST = 140  # characters of a status, GitHub's limit

log = logging.getLogger(__name__)


def statuses_address(page: str | None, api: str | None = None) -> str | None:
    """Where GitHub takes statuses of a repository's commits, from its page; None where it is not at GitHub.

    `api` stands in for the address of GitHub's API.
    """
    parts = urlsplit(page or "")
    if not (parts.hostname or "").startswith("github."):
        return None
    base = api or ("https://api.github.com" if parts.hostname == "github.com" else f"https://{parts.hostname}/api/v3")
    return f"{base}/repos{parts.path}/statuses"


def channel(statuses: str, token: str, website_url: str | None) -> Channel:
    """The channel that sets a status for each run."""
    return Channel("commit status", lambda run, _: _set_status(statuses, token, run, website_url))


def _set_status(statuses: str, token: str, run: Run, website_url: str | None) -> None:
    status = {
        "state": "success" if run.status == "done" else "failure",
        "context": CONTEXT,
        "description": message.shortened(message.result(run), MOST),
        **({"target_url": message.page(website_url, run)} if website_url else {}),
    }
    code = http.post(f"{statuses}/{run.merge.sha}", status, token=token)
    if code == 422:  # told as well as can be: the same again would be refused again
        log.warning("commit status: GitHub refuses one for %s: is the commit there?", run.merge.sha[:12])
    elif code in (401, 403, 404):
        raise NotTold(f"GitHub answers {code}: ds_github_token lacks the right to set statuses in this repository")
    elif code >= 300:
        moved = ": was it renamed? Correct ds_repo_url" if code < 400 else ""
        raise NotTold(f"GitHub answers {code} for {run.merge.sha[:12]}{moved}")
