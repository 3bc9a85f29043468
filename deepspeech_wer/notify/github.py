"""Commit statuses on GitHub (REST API, "Create a commit status")."""

from __future__ import annotations

import json
import logging
import re
from urllib.parse import urlsplit

from deepspeech_wer.notify import http
from deepspeech_wer.notify.ledger import NotSent
from deepspeech_wer.notify.message import shortened
from deepspeech_wer.notify.statuses import AGAIN, BAD, CONTEXT, GOOD, TRAINING, Status

MAX_CHARACTERS = 140  # of a description, GitHub's limit
_STATES = {TRAINING: "pending", AGAIN: "pending", GOOD: "success", BAD: "failure"}

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


def set_status(statuses: str, token: str, status: Status) -> None:
    """Set a commit's status. Raises NotSent."""
    text = re.sub("[\U00010000-\U0010ffff]", "?", status.description)  # GitHub refuses them
    record = {
        "state": _STATES[status.state],
        "context": CONTEXT,
        "description": shortened(text, MAX_CHARACTERS),
        **({"target_url": status.target_url} if status.target_url else {}),
    }
    answer = http.post(f"{statuses}/{status.sha}", json.dumps(record).encode(), {"Authorization": f"Bearer {token}"})
    code, wait = answer.code, answer.retry_after_s
    if code == 422:  # counts as sent, because GitHub would refuse it again
        log.warning("commit status: GitHub refused it for %s: is the commit on GitHub?", status.sha[:12])
    elif code == 429 or (code == 403 and wait):
        raise NotSent(f"GitHub answered {code}: too many requests for its taste", retry_after_s=wait)
    elif code in (401, 403, 404):
        raise NotSent(f"GitHub answered {code}: give ds_github_token permission to set statuses in this repository")
    elif code >= 300:
        moved = ": if the repository was renamed, correct ds_repo_url" if code < 400 else ""
        raise NotSent(f"GitHub answered {code} for {status.sha[:12]}{moved}", retry_after_s=wait)
