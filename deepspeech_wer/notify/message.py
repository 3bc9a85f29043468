"""The wording of a notice, made harmless for where it goes."""

from __future__ import annotations

import re
from urllib.parse import quote

from deepspeech_wer import hyper
from deepspeech_wer.records import Run


def result(run: Run) -> str:
    """How a run went, in a few words."""
    if run.hyper is None:
        return f"failed: {run.failure}: {run.detail}"
    return f"test WER {hyper.shown(hyper.test_wer(run.hyper))}"


def page(website_url: str, run: Run) -> str:
    """The address of a run on the site."""
    base = website_url.partition("#")[0]
    return f"{base}{'' if base.endswith(('/', '.htm', '.html')) else '/'}#/run/{quote(run.id, safe='')}"


def shortened(text: str, most: int) -> str:
    """One line of at most so many characters, of those that GitHub takes."""
    line = re.sub(r"[^\x20-\ud7ff\ue000-\uffff]", "?", " ".join(text.split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def harmless(text: str) -> str:
    """Without what chat servers read as markup: a job's last words could call everybody (`<!channel>`, `@all`)."""
    plain = text.translate({ord("<"): "‹", ord(">"): "›", ord("&"): "+"})
    return re.sub(r"@(?=\w)", "@\N{WORD JOINER}", " ".join(plain.split()))
