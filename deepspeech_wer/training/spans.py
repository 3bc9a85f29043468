"""Where in a recording the words of an alignment begin and end, in seconds.

The network says roughly where: it was trained to find the letters, not their times. Where it is quiet between two words
nearby, the words begin and end at the sides of that quiet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import audio
from .alignment import Edges, Word
from .arrays import Floats, Longs

FRAME = audio.STEP / audio.SAMPLE_RATE  # seconds
Span = tuple[float, float]  # begin and end in seconds

# Of the quiet, in ln energy: it is at least 10 dB below the words, no more than 52 dB counts, and it is what is in the
# lowest fifth of that, or within 3 dB of the lowest frame.
LEAST_DEPTH, MOST_DEPTH, SHARE, RIPPLE = 2.3, 12.0, 0.2, 0.7
NEAR = 4  # frames from where the network sees a word's side to the quiet between two words
MOST_SIDE = 5  # frames at a word's side that may be in another word
# Frames: a longer quiet before the first word, or after the last, is no likelier. The latter counts for more, because a
# word that ends in a plosive has a short quiet of its own.
LONG_BEFORE, LONG_AFTER = 3, 15


@dataclass(frozen=True)
class Frames:
    """What the network heard of a recording, frame by frame."""

    places: Longs  # [frames]: which frame of the recording each of them is
    energies: Floats  # [frames]: ln of the energy of each


def of_words(words: Sequence[Word], frames: Frames, edges: Edges) -> list[Span]:
    """Return the spans of words: they follow each other."""
    if not words:
        return []
    return _beside_quiet(_by_network(words, frames.places, edges), frames)


def of_letters(word: Word, span: Span) -> list[Span]:
    """Return the spans of a word's letters: as the network writes them, stretched to the span of the word."""
    begin, end = span
    scale = (end - begin) / (word.end - word.begin)
    return [(begin + scale * (one.begin - word.begin), begin + scale * (one.end - word.begin)) for one in word.letters]


def _by_network(words: Sequence[Word], places: Longs, edges: Edges) -> list[Span]:
    """Return the spans that follow from the letters alone.

    Letters are moved by what the network writes too early or too late. Then each word is made wider on both sides, by
    half of the gap to the next one at most.
    """
    shift, width = (edges.trail - edges.lead) / 2, max(0.0, (edges.lead + edges.trail) / 2)
    times = [(shift + places[one.begin] * FRAME, shift + places[one.end - 1] * FRAME + FRAME) for one in words]
    spans = []
    for number, (begin, end) in enumerate(times):
        before = times[number - 1][1] if number else -math.inf
        after = times[number + 1][0] if number + 1 < len(times) else math.inf
        spans.append((float(begin - min(width, (begin - before) / 2)), float(end + min(width, (after - end) / 2))))
    return spans


def _beside_quiet(spans: Sequence[Span], frames: Frames) -> list[Span]:
    """Return the spans with their sides moved to those of the quiet between them, where there is some."""
    energies, places = frames.energies, frames.places
    near = [(_frame(begin, places), _frame(end, places)) for begin, end in spans]
    loud = _loudest(near, energies)
    begins, ends = [begin for begin, _ in spans], [end for _, end in spans]
    for number in range(len(spans) + 1):
        first = loud[number - 1] + 1 if number else 0
        last = loud[number] if number < len(spans) else len(energies)
        level = min(energies[one] for one in loud[max(0, number - 1) : number + 1])
        runs = first + _quiet(energies[first:last], level)
        if number == 0:
            run = _best(np.minimum(runs[:, 1] - runs[:, 0], LONG_BEFORE) - np.abs(runs[:, 1] - near[0][0]), runs)
        elif number == len(spans):
            run = _best(np.minimum(runs[:, 1] - runs[:, 0], LONG_AFTER) - np.abs(runs[:, 0] - near[-1][1]), runs)
        else:
            end, begin = near[number - 1][1], near[number][0]
            runs = runs[(runs[:, 1] > end - NEAR) & (runs[:, 0] < begin + NEAR)]
            run = _best(runs[:, 1] - runs[:, 0] - np.abs(runs.mean(1) - (end + begin) / 2), runs)
        if run and number:
            ends[number - 1] = (int(places[run[0] - 1]) + 1) * FRAME
        if run and number < len(spans):
            begins[number] = int(places[run[1]]) * FRAME
    return list(zip(begins, ends, strict=True))


def _frame(seconds: float, places: Longs) -> int:
    """Return the frame that the network heard first from some time of the recording on."""
    return int(np.searchsorted(places, seconds / FRAME - 0.5))


def _loudest(near: Sequence[tuple[int, int]], energies: Floats) -> list[int]:
    """Return the loudest frame of each word; not near its sides, which may be in another word."""
    found: list[int] = []
    for begin, end in near:
        side = min((end - begin) // 4, MOST_SIDE)
        first = min(max(begin + side, found[-1] + 1 if found else 0), len(energies) - 1)
        found.append(first + int(energies[first : max(end - side, first + 1)].argmax()))
    return found


def _quiet(energies: Floats, level: float) -> Longs:
    """Return [runs, 2]: the first of each row of quiet frames, and the one after its last; none beside `level`."""
    if not len(energies):
        return np.zeros((0, 2), np.int64)
    lowest = max(float(energies.min()), level - MOST_DEPTH)
    depth = level - lowest
    if depth < LEAST_DEPTH:
        return np.zeros((0, 2), np.int64)
    quiet = energies <= lowest + max(RIPPLE, SHARE * depth)
    return np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]))).reshape(-1, 2)


def _best(scores: Floats, runs: Longs) -> tuple[int, int] | None:
    """Return the run with the highest score; None if there is none."""
    if not len(runs):
        return None
    begin, end = runs[int(scores.argmax())]
    return int(begin), int(end)
