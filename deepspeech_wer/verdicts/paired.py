"""Two runs on one test set, utterance by utterance: what differs, and what changed for good.

The interval and p are those of `intervals`, with the difference of the errors as e. They say whether two models differ
on these recordings, never whether a merge did it: two trainings of one commit differ as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations
from operator import ne
from typing import NamedTuple

from deepspeech_wer.verdicts import edits
from deepspeech_wer.verdicts.intervals import Interval, around, clusters_of, p_value, standard_error
from deepspeech_wer.verdicts.utterance_scores import Each

NEWEST, BEFORE = 3, 5  # the draws that `lasting` compares


class Change(NamedTuple):
    """The errors of one utterance in two runs."""

    id: str
    before: int
    after: int


class Comparison(NamedTuple):
    """Two runs on the utterances that both have, paired. Differences are fractions of the words: after - before."""

    same_test_set: bool  # False: only the utterances of equal id and length are paired, and no verdict may rest on it
    utterances: int
    before: float  # WER on the paired utterances
    after: float
    difference: float
    interval: Interval | None
    p: float | None  # two-sided: of a difference as large between two models that are equally good
    worse: tuple[Change, ...]  # largest change first
    better: tuple[Change, ...]
    by_noise: float | None  # as many are worse, and as many better, between two trainings of one commit; None: unknown


class Lasting(NamedTuple):
    """Utterances that changed for good: all the newest runs lie on one side of all the runs before."""

    worse: tuple[int, ...]  # places in the lists of errors
    better: tuple[int, ...]
    worse_by_noise: float  # expected if nothing changed
    better_by_noise: float
    newest: int  # runs compared; runs with equal errors count once
    before: int


class Edit(NamedTuple):
    """A word substituted, deleted (`heard` is None) or inserted (`said` is None), with its number in two runs."""

    said: str | None
    heard: str | None
    before: int
    after: int

    @property
    def kind(self) -> str:
        return "insertion" if self.said is None else "deletion" if self.heard is None else "substitution"


def compare(before: Each, after: Each, replicates: Sequence[Each] = ()) -> Comparison | None:
    """Compare two runs on one test set; None if they have no reference word in common.

    `replicates` are runs of one commit on the same test set, at least two: they show what noise alone changes.
    """
    pairs = _pairs(before, after)
    old, new = [before.errors[one] for one, _ in pairs], [after.errors[other] for _, other in pairs]
    words = [after.words[other] for _, other in pairs]
    total = sum(words)
    if not total:
        return None
    ids = [after.ids[other] for _, other in pairs]
    changes = [
        Change(key, one, other) for key, one, other in zip(ids, old, new, strict=True) if one != other
    ]  # in the order of ids
    changes.sort(key=lambda one: -abs(one.after - one.before))
    difference = (sum(new) - sum(old)) / total
    clusters, by = clusters_of([after.speakers[other] for _, other in pairs])
    error = standard_error([two - one for one, two in zip(old, new, strict=True)], words, clusters)
    return Comparison(
        same_test_set=before.test_set == after.test_set,
        utterances=len(pairs),
        before=sum(old) / total,
        after=sum(new) / total,
        difference=difference,
        interval=around(difference, error, by),
        p=p_value(difference, error),
        worse=tuple(one for one in changes if one.after > one.before),
        better=tuple(one for one in changes if one.after < one.before),
        by_noise=by_noise([one.errors for one in replicates if one.test_set == after.test_set]),
    )


def lasting(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> Lasting | None:
    """Return the utterances of which the 3 newest runs all made more errors than any of the 5 runs before.

    Each run is the list of its errors by utterance (`Each.errors`), all on one test set, oldest first. None without at
    least one run on each side. Equal lists are one draw. If nothing changed, every choice of "the newest" among the
    runs is as likely, so an utterance whose three worst runs stand apart from the others is found in one of 56 cases:
    that is the number expected by noise.
    """
    newest, old = _draws(after)[-NEWEST:], _draws(before)[-BEFORE:]
    if not newest or not old:
        return None
    size = len(newest)
    choices = math.comb(size + len(old), size)
    worse, better, apart_above, apart_below = [], [], 0, 0
    for place, values in enumerate(zip(*newest, *old, strict=True)):
        new, past = values[:size], values[size:]
        if min(new) > max(past):
            worse.append(place)
        elif max(new) < min(past):
            better.append(place)
        ordered = sorted(values)
        apart_above += ordered[-size] > ordered[-size - 1]
        apart_below += ordered[size - 1] < ordered[size]
    return Lasting(tuple(worse), tuple(better), apart_above / choices, apart_below / choices, size, len(old))


def words(before: Iterable[str], after: Iterable[str], most: int = 20) -> tuple[Edit, ...]:
    """Return the commonest word errors of two runs on one test set, given as `edits`, at most `most` of each kind.

    Of each kind those that changed most come first, then those more frequent.
    """
    old, new = _counted(before), _counted(after)
    found = [Edit(said, heard, old[said, heard], new[said, heard]) for said, heard in old.keys() | new.keys()]
    found.sort(key=lambda one: (-abs(one.after - one.before), -one.after - one.before, one.said or "", one.heard or ""))
    kinds = ("substitution", "deletion", "insertion")
    return tuple(one for kind in kinds for one in [each for each in found if each.kind == kind][:most])


def _pairs(before: Each, after: Each) -> list[tuple[int, int]]:
    """Return the places of the utterances that both have, in the order of their ids."""
    if before.ids == after.ids and before.words == after.words:
        return [(place, place) for place in range(len(after.ids))]
    place_of = {key: place for place, key in enumerate(before.ids)}
    pairs = [(place_of[key], place) for place, key in enumerate(after.ids) if key in place_of]
    return [(one, other) for one, other in pairs if before.words[one] == after.words[other]]


def by_noise(draws: Sequence[Sequence[int]]) -> float | None:
    """Return how many utterances are worse in one run than in another, on average over all pairs of runs."""
    pairs = list(combinations(_draws(draws)[-8:], 2))
    if not pairs:
        return None
    differing: list[int] = [sum(map(ne, one, other)) for one, other in pairs]
    return sum(differing) / len(pairs) / 2  # half of them are worse


def _draws(runs: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the runs without repeats: the same seed and the same code repeat a result to the digit."""
    return list(dict.fromkeys(map(tuple, runs)))


def _counted(texts: Iterable[str]) -> Counter[tuple[str | None, str | None]]:
    return Counter((said, heard) for text in texts for _, said, heard in edits.decode(text))
