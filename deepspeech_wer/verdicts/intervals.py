"""How sure a word error rate is: its standard error with utterances that fail together, interval and p.

With e errors and n reference words in an utterance, W = sum e / sum n, r = e - W n. Utterances of one speaker fail
together, so r is summed for each of the G speakers first. The standard error is sqrt(G / (G - 1) sum r^2) / sum n, the
interval has Student's t with G - 1 degrees of freedom. Where speakers are unknown, each utterance counts as one, which
makes the interval too narrow; `by` says which it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from deepspeech_wer.verdicts import student

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A 95 % confidence interval, as fractions of the reference words."""

    low: float
    high: float
    by: str  # "speaker", or "utterance" where speakers are unknown or all are one
    clusters: int  # speakers or utterances; one of unknown speaker counts as a speaker


def clusters_of(speakers: Sequence[str | None]) -> tuple[list[int], str]:
    """Return the number of each utterance's cluster, and what the clusters are."""
    place: dict[str, int] = {}
    for one in speakers:
        if one is not None:
            place.setdefault(one, len(place))
    unknown = sum(one is None for one in speakers)
    if not place or len(place) + unknown < 2:
        return list(range(len(speakers))), "utterance"
    numbers, following = [], len(place)
    for one in speakers:
        numbers.append(following if one is None else place[one])
        following += one is None
    return numbers, "speaker"


class StandardError(NamedTuple):
    value: float  # the standard error of a rate
    clusters: int


def standard_error(errors: Sequence[int], words: Sequence[int], clusters: Sequence[int]) -> StandardError | None:
    """Return the standard error of sum errors / sum words; None of a single cluster."""
    count, total = max(clusters) + 1, sum(words)
    if count < 2:
        return None
    # Whole numbers, so that no order of summing changes a digit: r times the number of words.
    all_errors, residuals = sum(errors), [0] * count
    for error, length, cluster in zip(errors, words, clusters, strict=True):
        residuals[cluster] += error * total - all_errors * length
    square = sum(one * one for one in residuals)
    return StandardError(math.sqrt(count / (count - 1) * (square / total**2)) / total, count)


def around(rate: float, error: StandardError | None, by: str) -> Interval | None:
    if error is None:
        return None
    half = student.quantile(CONFIDENCE, error.clusters - 1) * error.value
    return Interval(rate - half, rate + half, by, error.clusters)


def p_value(difference: float, error: StandardError | None) -> float | None:
    if error is None:
        return None
    if not difference:
        return 1.0
    return student.two_sided(difference / error.value, error.clusters - 1) if error.value else 0.0
