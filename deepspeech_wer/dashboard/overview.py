"""One page over several sites: a line each, with the newest WER, its course, the verdict, and signs of life. Pure.

The page is one file without a network: it opens from disk and from a web host, and reads without JavaScript. Its script
only brings the ages up to date, so that a page that nobody renews does not look fresh.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import hyper
from deepspeech_wer.dashboard.glance import Glance
from deepspeech_wer.text import plain

HERE = Path(__file__).parent
SHOWN = 60  # runs in a course
_WIDTH, _HEIGHT = 220, 44  # of a course, in pixels
_SLACK_S = 900  # ticks are minutes apart, and a publish takes a while; as in js/parts/now.js
_DAY_S = 86_400
_BEYOND = 0.1  # of the WERs at either end of a course, that do not stretch its scale
# Beside each colour stands a sign: not everybody tells red from green.
_STATES = {
    "worse": ("▲", "bad"),
    "suspect": ("▲?", "warn"),
    "failed": ("✕", "bad"),
    "better": ("▼", "good"),
    "recovered": ("▼", "good"),
    "accepted": ("✓", ""),
    "unchanged": ("=", ""),
    "no change seen": ("≈", ""),
    "dismissed": ("≈", ""),
    "cannot tell": ("?", ""),
}


class Line(NamedTuple):
    """A site, or why it cannot be read. Visitors of the page see no path of this machine but the one of a link."""

    name: str  # of its directory, without those above
    link: str  # an address, or a path relative to the page
    site: Glance | None
    trouble: str = ""


def page(lines: Sequence[Line], made_at: str) -> bytes:
    """Return the page. `made_at` is ISO 8601, UTC: by it ages are told where no script runs."""
    style, script = ((HERE / f"overview.{kind}").read_text("utf-8") for kind in ("css", "js"))
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    rows = "\n".join(_row(line, made_at) for line in lines)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="color-scheme" content="light dark">
<title>Word error rates</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Word error rates</h1>
<p class="muted">{escape(summary(lines, made_at))}</p>
<table>
<thead><tr><th scope="col">Repository</th><th scope="col" class="number">Newest WER</th><th scope="col">\
Last {SHOWN} runs</th><th scope="col">Verdict</th><th scope="col">Tracker</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</main>
<footer class="muted">Made {_time(made_at, 0)} by <code>deepspeech-wer overview</code></footer>
<script>{script}</script>
</body>
</html>
""".encode()


def summary(lines: Sequence[Line], made_at: str) -> str:
    """Count what needs a look, for people: "3 sites: 1 worse, 1 tracker silent"."""
    sites = [line.site for line in lines if line.site]
    counts = [
        (sum(site.state == "worse" for site in sites), "worse"),
        (sum(site.state == "suspect" for site in sites), "suspect"),
        (sum(site.state == "failed" for site in sites), "failed"),
        (sum(life(site, made_at) == "silent" for site in sites), "silent"),
        (len(lines) - len(sites), "unreadable"),
    ]
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    return f"{len(lines)} {'site' if len(lines) == 1 else 'sites'}: {told or 'nothing needs a look'}"


def life(site: Glance, made_at: str) -> str:
    """Return "fresh", "late" or "silent": by the rhythm that the tracker promised, as its own page does."""
    looked, made = _seconds(site.looked_at), _seconds(made_at)
    if looked is None or made is None:
        return "silent"
    fresh_s = site.every_s + _SLACK_S if site.every_s else 2 * _DAY_S
    late_s = max(2 * site.every_s, site.every_s + 2 * _SLACK_S) if site.every_s else 7 * _DAY_S
    silence_s = made - looked
    return "fresh" if silence_s <= fresh_s else "late" if silence_s <= late_s else "silent"


def _row(line: Line, made_at: str) -> str:
    site = line.site
    if site is None:
        return (
            f'<tr><th scope="row">{escape(plain(line.name))}</th><td colspan="4">'
            f'<span class="chip bad">✕ unreadable</span> {escape(plain(line.trouble))}</td></tr>'
        )
    name = escape(plain(site.name)[:200]) or escape(plain(line.name))
    where = f"{plain(site.branch)[:100]} · {plain(line.name)}" if site.branch else plain(line.name)
    return (
        f'<tr><th scope="row"><a href="{escape(line.link)}"><bdi>{name}</bdi></a>'
        f'<span class="muted"><bdi>{escape(where)}</bdi></span></th>'
        f'<td class="number" data-label="Newest WER">{hyper.shown(site.newest)}</td>'
        f'<td data-label="Course">{_course(site)}</td>'
        f'<td data-label="Verdict">{_chip(site.state)} <bdi>{escape(_reason(site))}</bdi></td>'
        f'<td data-label="Tracker">{_tracker(site, made_at)}</td></tr>'
    )


def _reason(site: Glance) -> str:
    """Return the sentence without the state, which the chip beside it has."""
    return plain(site.sentence.removeprefix(f"{site.state[:1].upper()}{site.state[1:]}: "))[:500]


def _chip(state: str) -> str:
    if not state:
        return '<span class="chip">no verdict yet</span>'
    sign, colour = _STATES.get(state, ("·", ""))
    return f'<span class="chip {colour}">{sign} {escape(plain(state)[:40])}</span>'


def _tracker(site: Glance, made_at: str) -> str:
    doing = [f"training {escape(plain(site.training))}"] if site.training else []
    doing += [f"{site.waiting} {'merge waits' if site.waiting == 1 else 'merges wait'}"] if site.waiting else []
    more = f'<span class="muted">{" · ".join(doing)}</span>' if doing else ""
    state = life(site, made_at)
    return f'<span class="life {state}">looked {_time(site.looked_at, site.every_s)}</span>{more}'


def _time(at: str, every_s: float) -> str:
    text = plain(at)[:40]
    seconds = _seconds(at)
    shown = f"{text[:16].replace('T', ' ')} UTC" if seconds is not None else "at an unknown time"
    return f'<time datetime="{escape(text)}" data-every="{every_s:.0f}">{escape(shown)}</time>'


def _course(site: Glance) -> str:
    """Draw the last WERs. A run without one is a gap; what is far out is drawn at the edge."""
    rates = list(site.rates[-SHOWN:])
    known = sorted(rate for rate in rates if rate is not None)
    if not known:
        return '<span class="muted">no run yet</span>'
    beyond = int(len(known) * _BEYOND)
    low, high = known[beyond], known[-1 - beyond]
    margin = max((high - low) * 0.3, high * 0.01, 1e-4)
    low, high = max(low - margin, min(known[0], low)), high + margin
    points: list[list[str]] = [[]]
    for place, rate in enumerate(rates):
        if rate is None:
            points.append([])
            continue
        x = 4 + place / max(len(rates) - 1, 1) * (_WIDTH - 8)
        y = _HEIGHT - 4 - (min(max(rate, low), high) - low) / (high - low) * (_HEIGHT - 8)
        points[-1].append(f"{x:.1f} {y:.1f}")
    lines = "".join(f'<path d="M{" L".join(part)}"/>' for part in points if len(part) > 1)
    last = next(part for part in reversed(points) if part)[-1]
    dots = "".join(_dot(part[0], 1.5) for part in points if len(part) == 1) + _dot(last, 3)
    label = f"{len(known)} measured runs, from {hyper.shown(known[0])} to {hyper.shown(known[-1])}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{label}">'
        f"<title>{label}</title>{lines}{dots}</svg>"
    )


def _dot(point: str, radius: float) -> str:
    x, y = point.split(" ")
    return f'<circle cx="{x}" cy="{y}" r="{radius}"/>'


def _seconds(text: str) -> float | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
