"""Commit statuses on GitLab (REST API, "Set commit pipeline status"), at the host that the repository comes from."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

from deepspeech_wer.configuration.git_urls import repository_place
from deepspeech_wer.notify import http
from deepspeech_wer.notify.ledger import NotSent
from deepspeech_wer.notify.message import shortened
from deepspeech_wer.notify.statuses import AGAIN, BAD, CONTEXT, GOOD, TRAINING, Status

MAX_CHARACTERS = 255  # of a description, GitLab's limit
# GitLab refuses to go from pending to pending, so a suspect that trains again is `running`.
_STATES = {TRAINING: "pending", AGAIN: "running", GOOD: "success", BAD: "failed"}

log = logging.getLogger(__name__)


def statuses_address(url: str) -> str | None:
    """Return the API address for commit statuses of a repository; None if it is local or on GitHub.

    A GitLab can have any host name, so it is the token that says there is one.
    """
    place = repository_place(url)
    if place is None or place[0].partition("://")[2].startswith("github."):
        return None
    web, path = place
    return f"{web}/api/v4/projects/{quote(path, safe='')}/statuses"


def set_status(statuses: str, token: str, branch: str | None, status: Status) -> None:
    """Set a commit's status. `branch` is the tracked one, None if it is the repository's default. Raises NotSent."""
    record = {
        "state": _STATES[status.state],
        "name": CONTEXT,
        "description": shortened(status.description, MAX_CHARACTERS),
        **({"ref": branch.removeprefix("refs/heads/")} if branch else {}),
        **({"target_url": status.target_url} if status.target_url else {}),
    }
    answer = http.post(f"{statuses}/{status.sha}", json.dumps(record).encode(), {"PRIVATE-TOKEN": token})
    code, said = answer.code, answer.text.lower()
    if code == 400 and "cannot transition" in said:  # it has that state: it was set before a crash
        log.info("commit status on GitLab: %s has it already", status.sha[:12])
    elif code in (400, 422) or (code == 404 and "commit" in said):  # GitLab would refuse it again
        log.warning("commit status on GitLab: it answered %d for %s: is the commit there?", code, status.sha[:12])
    elif code in (401, 403, 404):
        cure = "give ds_gitlab_token the scope api and a role of at least Developer in this project"
        raise NotSent(f"GitLab answered {code}: {cure}", retry_after_s=answer.retry_after_s)
    elif code >= 300:
        moved = ": if the project was moved, correct ds_repo_url" if code < 400 else ""
        raise NotSent(f"GitLab answered {code} for {status.sha[:12]}{moved}", retry_after_s=answer.retry_after_s)
