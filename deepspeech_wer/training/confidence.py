"""How likely a recognised word is right: a logistic regression on the network's scores, fitted to the validation set.

The scores alone promise too much: a network that was trained to the end is sure of its errors, too (Guo et al. 2017,
arXiv:1706.04599).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from .. import wer
from .alignment import Edges, Word, words
from .arrays import Flags, Floats
from .text import Alphabet

MOST = 7.0  # of log odds either way: what is surer says no more
BINS = 10  # of the expected calibration error
ROUNDS = 30
PENALTY = 1e-3  # on the coefficients: else they grow without bound where every word is right


@dataclass(frozen=True)
class Calibration:
    """The coefficients of the regression, and how well it predicts on other speech."""

    bias: float
    mean: float  # coefficient of the mean log odds of a word's letters
    least: float  # coefficient of those of its least certain letter
    validation_words: int
    test_words: int = 0
    error: float | None = None  # expected calibration error on the test set, as a fraction

    def of(self, word: Word) -> float:
        """Return the probability that a word is right."""
        mean, least = scores(word)
        return 1 / (1 + math.exp(-max(-50.0, min(50.0, self.bias + self.mean * mean + self.least * least))))


@dataclass(frozen=True)
class Calibrations:
    """What an export knows of its own words: the calibration of each decoder's confidences, and their times."""

    decoders: Mapping[str, Calibration] = field(default_factory=dict)
    edges: Edges = field(default_factory=Edges)


NONE = Calibration(0.0, 0.2, 0.8, 0)  # for exports without a calibration: about what AN4's networks get


def scores(word: Word) -> tuple[float, float]:
    """Return the (mean, least) log odds of the letters of a word."""
    each = [_log_odds(letter.score) for letter in word.letters]
    return sum(each) / len(each), min(each)


def _log_odds(score: float) -> float:
    """Return ln(P / (1 - P)) of ln P."""
    return max(-MOST, min(MOST, score - math.log(-math.expm1(min(score, -1e-9)))))


def judged(heard: Iterable[tuple[Floats, str, str]], alphabet: Alphabet) -> list[tuple[Word, bool]]:
    """Return each recognised word and whether it is right, of ([frames, labels] logits, text, transcript)."""
    found: list[tuple[Word, bool]] = []
    for logits, text, transcript in heard:
        said = words(logits, text, alphabet)
        pairs = wer.align(wer.words(transcript), [one.word for one in said]).pairs
        right = [reference == hypothesis for reference, hypothesis in pairs if hypothesis is not None]
        found += zip(said, right, strict=True)
    return found


def fit(known: Sequence[tuple[Word, bool]]) -> Calibration | None:
    """Return the regression on words of which it is known whether they are right; None if all or none of them are."""
    right = np.array([is_right for _, is_right in known], np.float64)
    if not 0 < right.sum() < len(right):
        return None
    inputs = np.array([(1.0, *scores(word)) for word, _ in known])
    penalty = PENALTY * len(right) * np.diag([0.0, 1.0, 1.0])
    weights = np.zeros(3)
    for _ in range(ROUNDS):  # Newton's method; the function is convex
        found = 1 / (1 + np.exp(-np.clip(inputs @ weights, -50, 50)))
        gradient = inputs.T @ (found - right) + penalty @ weights
        curvature = (inputs * (found * (1 - found))[:, None]).T @ inputs + penalty + 1e-9 * np.eye(3)
        weights -= np.linalg.solve(curvature, gradient)
    bias, mean, least = map(float, weights)
    return Calibration(bias, mean, least, len(right))


def measured(calibration: Calibration, known: Sequence[tuple[Word, bool]]) -> Calibration:
    """Return the calibration with its error on other words."""
    if not known:
        return calibration
    probabilities = np.array([calibration.of(word) for word, _ in known])
    error = calibration_error(probabilities, np.array([is_right for _, is_right in known]))
    return replace(calibration, test_words=len(known), error=error)


def calibration_error(probabilities: NDArray[np.float64], right: Flags) -> float:
    """Return the expected calibration error: mean |share of right words - mean probability|, over ten even bins.

    Each bin counts as much as it has words (Naeini et al. 2015).
    """
    bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
    gaps = [abs(float((right - probabilities)[bins == one].sum())) for one in range(BINS)]
    return sum(gaps) / len(probabilities)
