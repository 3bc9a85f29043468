"""Checks the page as visitors see it: is it served, and does it show that the tracker lives?"""

from __future__ import annotations

import time
from urllib.parse import urljoin

from deepspeech_wer import clock, files
from deepspeech_wer.commands.finding import FAULT, HINT, OK, TIMEOUT_S
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.dashboard import glance
from deepspeech_wer.notify import http
from deepspeech_wer.places import BEAT

_SLACK_S = 900  # ticks are minutes apart, and a publish takes a while
_BEAT_BYTES = 1_000_000


def public_address(settings: Settings) -> tuple[str, str]:
    """Ask for the page at ds_website_url."""
    url = settings.notices.website_url
    if url is None:
        return OK, "off (ds_website_url not set): published pages are not read back"
    import requests  # 60 ms

    try:
        with requests.get(url, timeout=TIMEOUT_S, stream=True, headers={"User-Agent": "deepspeech-wer"}) as answer:
            code = answer.status_code
    except (requests.RequestException, OSError, ValueError) as error:
        return FAULT, f"{url}: no answer ({http.reason(error)}): check ds_website_url and the web server"
    if code == 200:
        return _page_lives(settings, url)
    shown = settings.website and (settings.places.shown).exists()
    return FAULT if shown else HINT, f"{url} answers {code}: " + (
        "does the web server serve the web root, with DirectoryIndex index.htm?"
        if shown
        else "nothing is published yet"
    )


def _page_lives(settings: Settings, url: str) -> tuple[str, str]:
    """Compare the sign of life that visitors see with the one that the tracker wrote last."""
    every_s = settings.beat.idle_s
    if not settings.website or not every_s:
        return OK, f"{url} answers"
    import requests

    try:
        answer = requests.get(urljoin(url, BEAT), timeout=TIMEOUT_S, headers={"Cache-Control": "no-cache"})
    except (requests.RequestException, OSError, ValueError) as error:
        return HINT, f"{url} answers, but not {BEAT} ({http.reason(error)}): visitors cannot see that the tracker lives"
    seen = glance.looked_at(answer.content[:_BEAT_BYTES]) if answer.status_code == 200 else None
    ours = glance.looked_at(_own_beat(settings))
    if seen is None:
        what = f"answers {answer.status_code}" if answer.status_code != 200 else "cannot be read"
        cure = (
            "does the web server serve all of the web root?"
            if ours
            else "the next tick that has nothing to do sends it"
        )
        return HINT, f"{url} answers, but {BEAT} {what}: {cure}"
    age_s, told = time.time() - seen, f"{url} answers; the tracker last looked {clock.stamp(clock.UTC, seen)}"
    if ours and ours - seen > _SLACK_S:
        cure = "does a cache keep it, or does ds_website_url show another web root?"
        return HINT, f"{told} as visitors see it, and really {clock.stamp(clock.UTC, ours)}: {cure}"
    if age_s > every_s + _SLACK_S:
        return HINT, f"{told}, {age_s / 3600:.1f} h ago: are the ticks running? See cron and crontab below, and the log"
    return OK, told


def _own_beat(settings: Settings) -> bytes:
    try:
        return files.read(settings.places.site / BEAT)
    except OSError:
        return b""
