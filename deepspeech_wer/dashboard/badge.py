"""badge.svg: the newest word error rate and what is to be said of it, for a README or a wall. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from deepspeech_wer import hyper, run_table
from deepspeech_wer.dashboard.project import Project
from deepspeech_wer.records import Run
from deepspeech_wer.text import plain

NAME = "badge.svg"
# White text on each has a contrast of 4.5 at least (WCAG AA).
_QUIET, _UNKNOWN = "#2f6f3e", "#5c5c5c"
_COLOURS = {"worse": "#b3261e", "failed": "#8c1d18", "suspect": "#8a5000", "better": "#1e6b34", "recovered": "#1e6b34"}
_COLOURS["accepted"] = _UNKNOWN  # neither good nor bad
_MARGIN, _HEIGHT = 7, 20  # pixels
# Of Verdana at 11 pixels; `textLength` makes a text as wide as it is reckoned, whatever font the viewer has.
_WIDTHS = {" ": 3.9, ".": 4.0, "·": 4.0, "%": 11.8, "W": 10.9, "m": 10.7, "w": 9.0}
_WIDTHS |= dict.fromkeys("ijl", 3.0) | dict.fromkeys("frt", 4.4) | dict.fromkeys("0123456789", 7.0)
_OTHER_WIDTH = 6.8


def svg(ordered: Sequence[Run], state: str | None, project: Project) -> bytes:
    """Return the badge. `ordered` are the runs in the order of history, without re-trainings."""
    newest = run_table.of(ordered).newest()
    rate = hyper.shown(hyper.test_wer(newest.hyper)) if newest else "no run yet"
    said = plain(state)[:40] if state else ""
    value = f"{rate} · {said}" if said else rate
    title = f"{plain(project.name)[:100]}: WER {value}"
    left, right = (round(sum(_WIDTHS.get(one, _OTHER_WIDTH) for one in text)) for text in ("WER", value))
    start = left + 2 * _MARGIN
    width = start + right + 2 * _MARGIN
    colour = _COLOURS.get(said, _QUIET if newest else _UNKNOWN)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{_HEIGHT}" viewBox="0 0 {width} {_HEIGHT}" '
        f'role="img" aria-label="{escape(title)}">\n'
        f"<title>{escape(title)}</title>\n"
        f'<rect width="{start}" height="{_HEIGHT}" fill="#444"/>\n'
        f'<rect x="{start}" width="{width - start}" height="{_HEIGHT}" fill="{colour}"/>\n'
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,Geneva,sans-serif" font-size="11">\n'
        f'<text x="{_MARGIN}" y="14" textLength="{left}">WER</text>\n'
        f'<text x="{start + _MARGIN}" y="14" textLength="{right}">{escape(value)}</text>\n'
        "</g>\n</svg>\n"
    ).encode()
