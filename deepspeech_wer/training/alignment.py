"""When each letter of a text was spoken: the most likely CTC path of the text through the network's logits.

A letter's frames are those in which the path is on it. CTC leaves it to the network where that is: near the letter's
sound, but perhaps always a fifth of a second too early. `Edges` says how far, from where speech begins and ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .arrays import Floats, Longs
from .text import Alphabet

NEVER = -1e30
SHARE = 40  # percentile of the distances


@dataclass(frozen=True)
class Edges:
    """How far a network's letters are from the edges of speech, in seconds; of AN4's networks, if not measured."""

    lead: float = 0.11  # from where a word begins to its first letter
    trail: float = 0.06  # from its last letter to where it ends


@dataclass(frozen=True)
class Letter:
    """A letter of a text, its frames, and how likely the network finds it there."""

    letter: str
    begin: int  # its first frame
    end: int  # the one after its last
    score: float  # ln P in its best frame; of a character of several bytes, that of the least likely one


@dataclass(frozen=True)
class Word:
    """A word of a text."""

    word: str
    letters: tuple[Letter, ...]

    @property
    def begin(self) -> int:
        return self.letters[0].begin

    @property
    def end(self) -> int:
        return self.letters[-1].end


def words(logits: Floats, text: str, alphabet: Alphabet) -> list[Word]:
    """Return the words of a text in [frames, labels] logits; [] if the text is longer than what was heard."""
    spelled = alphabet.spell(text)
    labels = [label for _, those in spelled for label in those]
    scores = log_probabilities(logits)
    path = best_path(scores, labels)
    if path is None:
        return []
    found: list[list[Letter]] = [[]]
    place = 0
    for character, those in spelled:
        frames = [np.flatnonzero(path == place + number) for number in range(len(those))]
        place += len(those)
        best = min(float(scores[at, label].max()) for at, label in zip(frames, those, strict=True))
        if character == " ":
            found.append([])
        else:
            found[-1].append(Letter(character, int(frames[0][0]), int(frames[-1][-1]) + 1, best))
    return [Word("".join(one.letter for one in letters), tuple(letters)) for letters in found if letters]


def edges(spans: Sequence[tuple[tuple[int, int], Sequence[Word]]], frame: float) -> Edges:
    """Return the edges that follow from utterances: (frames of speech, words); `frame` is a frame's length in seconds.

    Noise before and after speech makes some of the distances larger, so a little less than their median is taken.
    """
    leads = [said[0].begin - begin for (begin, _), said in spans if said]
    trails = [end - said[-1].end for (_, end), said in spans if said]
    if not leads:
        return Edges()
    lead, trail = (float(np.percentile(those, SHARE)) * frame for those in (leads, trails))
    return Edges(round(lead, 3), round(trail, 3))


def log_probabilities(logits: Floats) -> Floats:
    """Return [frames, labels] ln P of logits."""
    scores = logits - logits.max(1, keepdims=True)
    found: Floats = scores - np.log(np.exp(scores).sum(1, keepdims=True))
    return found


def best_path(scores: Floats, labels: list[int]) -> Longs | None:
    """Return for each frame of [frames, labels] ln P the place in `labels` that the best path is at, or -1 for a blank.

    None if the labels need more frames than there are, or if there are none.
    """
    blank, count = scores.shape[1] - 1, 2 * len(labels) + 1
    states = np.full(count, blank)
    states[1::2] = labels
    skips = np.zeros(count, np.bool_)  # whether a state may follow the one two before
    skips[3::2] = states[3::2] != states[1:-2:2]
    emitted = scores[:, states].astype(np.float64)  # [frames, states]
    reached = np.full(count, NEVER)
    reached[:2] = emitted[0, :2]
    steps = np.zeros((len(scores), count), np.int8)  # how many states back
    for time in range(1, len(scores)):
        ways = np.full((3, count), NEVER)
        ways[0], ways[1, 1:], ways[2, 2:] = reached, reached[:-1], np.where(skips[2:], reached[:-2], NEVER)
        steps[time] = ways.argmax(0)
        reached = ways.max(0) + emitted[time]
    state = count - 1 if count == 1 or reached[-1] > reached[-2] else count - 2
    if not labels or reached[state] <= NEVER / 2:
        return None
    path = np.empty(len(scores), np.int64)
    for time in range(len(scores) - 1, -1, -1):
        path[time] = state // 2 if state % 2 else -1
        state -= int(steps[time, state])
    return path
