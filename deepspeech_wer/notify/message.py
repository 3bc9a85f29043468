"""The wording of notifications, without markup that could do harm at the receiver."""

from __future__ import annotations

import re
from urllib.parse import quote

from deepspeech_wer import hyper
from deepspeech_wer.records import Run


def result(run: Run) -> str:
    """Describe the result of a run in a few words."""
    if run.hyper is None:
        return f"failed: {run.failure}: {run.detail}"
    return f"test WER {hyper.shown(hyper.test_wer(run.hyper))}"


def page(website_url: str, run: Run) -> str:
    """Return the address of a run on the site."""
    base = website_url.partition("#")[0]
    return f"{base}{'' if base.endswith(('/', '.htm', '.html')) else '/'}#/run/{quote(run.id, safe='')}"


def shortened(text: str, max_characters: int) -> str:
    """Make one line of at most `max_characters`, without characters that GitHub refuses."""
    line = re.sub(r"[^\x20-\ud7ff\ue000-\uffff]", "?", " ".join(text.split()))
    return line if len(line) <= max_characters else f"{line[: max_characters - 1]}…"


def harmless(text: str) -> str:
    """Remove what chat servers read as markup: a job's output could notify everybody (`<!channel>`, `@all`)."""
    plain = text.translate({ord("<"): "‹", ord(">"): "›", ord("&"): "+"})
    return re.sub(r"@(?=\w)", "@\N{WORD JOINER}", " ".join(plain.split()))
