"""The JSON message of a webhook, without markup that could do harm at the receiver."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from deepspeech_wer import hyper
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard import news
from deepspeech_wer.dashboard.news import News
from deepspeech_wer.text import plain

MAX_CHARACTERS = 1500  # of the text; Discord takes 2000


def identity(told: News, repository: str) -> str:
    """Return the id of a message: the same if it is sent again, for receivers that take each one once."""
    name = "\0".join((repository, told.of, told.state, told.run.id))
    return "msg_" + hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:32]


def body(told: News, repository: str, website_url: str | None, logs: PublishedLogs) -> dict[str, Any]:
    """Return the message. Chat services show `text` (Slack, Mattermost) or `content` (Discord) and ignore the rest."""
    run, verdict, event = told.run, told.verdict or {}, told.event or {}
    link = news.address(website_url, run.id) if website_url else None
    line = f"{plain(repository)[:200]}: {told.what}: {news.named(run, logs)}"
    text = harmless(shortened(line, MAX_CHARACTERS)) + (f" {link}" if link else "")
    effect, interval = verdict.get("effect_pp"), verdict.get("interval_pp")
    if told.state != news.RECOVERED and event:
        effect, interval = event["step_pp"], event["interval_pp"]
    return {
        "text": text,
        "content": text,
        "id": identity(told, repository),
        "state": event["state"] if event else told.state,
        "verdict": verdict.get("verdict"),
        "event": event.get("id"),
        "effect_pp": effect,
        "interval_pp": interval,
        "culprits": [sha for sha, _ in event.get("culprits", ())],
        "parameters": list(told.parameters),
        "retrained": event.get("retrained", verdict.get("retrained", 0)),
        "run": run.id,
        "sha": run.merge.sha,
        "author": news.clean(run.merge.author, logs, 80),
        "status": run.status,
        "failure": news.clean(run.failure, logs) if run.failure else None,
        "test_wer": hyper.test_wer(run.hyper),
        "url": link,
    }


def shortened(text: str, max_characters: int) -> str:
    """Make one line of at most `max_characters`."""
    line = plain(" ".join(text.split()))
    return line if len(line) <= max_characters else f"{line[: max_characters - 1]}…"


def harmless(text: str) -> str:
    """Remove what chat servers read as markup: a job's output could notify everybody (`<!channel>`, `@all`)."""
    text = re.sub("(?<!-)>", "›", text.translate({ord("<"): "‹", ord("&"): "+"}))  # not the arrow of "0.05 -> 0.3"
    text = re.sub(r"@(?=\w)", "\N{FULLWIDTH COMMERCIAL AT}", text)
    return text.replace("](", "] (")  # of a link in Markdown, which may hide its address
