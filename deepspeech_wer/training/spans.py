"""Where in a recording the words of an alignment begin and end, in seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from . import audio
from .alignment import Edges, Letter, Word
from .arrays import Longs

FRAME = audio.STEP / audio.SAMPLE_RATE  # seconds
Span = tuple[float, float]  # begin and end in seconds


def of_words(words: Sequence[Word], places: Longs, edges: Edges) -> list[Span]:
    """Return the spans of words; `places` [frames] are the frames of the recording that the network heard."""
    return _spread([of_letters(one, places, edges) for one in words], (edges.lead + edges.trail) / 2)


def of_letters(one: Word | Letter, places: Longs, edges: Edges) -> Span:
    """Return where the letters are themselves, moved by what the network writes too early or too late."""
    shift = (edges.trail - edges.lead) / 2
    return shift + float(places[one.begin]) * FRAME, shift + float(places[one.end - 1]) * FRAME + FRAME


def _spread(times: Sequence[Span], width: float) -> list[Span]:
    """Return the spans of words, each wider by `width` on both sides, but by half of the gap between them at most."""
    spans = []
    for number, (begin, end) in enumerate(times):
        before = times[number - 1][1] if number else -math.inf
        after = times[number + 1][0] if number + 1 < len(times) else math.inf
        spans.append((begin - min(width, (begin - before) / 2), end + min(width, (after - end) / 2)))
    return spans
