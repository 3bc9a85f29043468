"""What to train again while a step is suspected: one training at a time, where it tells most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from deepspeech_wer.verdicts.steps import Posterior

SUSPECT = 0.7  # of a step up: investigate
DISMISS = 0.2  # below it, the suspicion is over
DISMISS_AT_MOST = 0.35  # so it is below the probability before the merge that raised it, up to this
SURE = 0.995  # of a step up, with a fresh draw: a regression
SURE_UNTRAINED = 0.9995  # where nothing can be trained again
EXACT = 0.9  # share of one merge in the probability of a step: it is the culprit
IMPROVED = 0.95  # of a step down: the level follows
CONFIRMED = 3  # draws from the culprit on: two broken trainings in a row are one in a thousand merges
EARLY_FRESH = 2  # re-trainings on each side of a jump among the first runs


class Rules(NamedTuple):
    """What the settings allow."""

    budget: int = 12  # re-trainings per suspect, ds_retrain_budget
    retrain: bool = True  # ds_retrain is not off
    has_seed: bool | None = None  # whether the job takes a seed; None: unknown, tried
    tests: int = 1  # test sets and decoders that are judged, each with its share of the false alarms

    @property
    def sure(self) -> float:
        """From which probability a step up is a regression."""
        return 1 - (1 - SURE) / self.tests

    @property
    def sure_untrained(self) -> float:
        """The same where nothing can be trained again."""
        return 1 - (1 - SURE_UNTRAINED) / self.tests


class Target(NamedTuple):
    """A group to train again."""

    group: int
    why: str


def best(side: Sequence[float]) -> int:
    """Return the most probable group; of equals the first."""
    return max(range(len(side)), key=side.__getitem__)


def credible(side: Sequence[float], share: float = EXACT) -> list[int]:
    """Return the fewest groups that have this share of the probability, in the order of history."""
    whole, kept, found = sum(side), 0.0, []
    for group in sorted(range(len(side)), key=side.__getitem__, reverse=True):
        found.append(group)
        kept += side[group]
        if kept >= share * whole:
            break
    return sorted(found)


def beside_parent(culprit: int, fresh: Sequence[int]) -> Target:
    """Return which of a likely culprit and the merge before it is next. They take turns, the culprit first."""
    if fresh[culprit] <= fresh[culprit - 1]:
        return Target(culprit, "to see whether the step is at this merge")
    return Target(culprit - 1, "to see whether the merge before the step is still good")


def next_target(seen: Posterior, clean: Sequence[Sequence[float]], fresh: Sequence[int], sure: float) -> Target:
    """Return what to train again next for a suspected step.

    `clean` has the draws of each group that count, `fresh` how often each was trained again, `sure` the probability
    from which the step itself is certain and only its place is open.
    """
    culprit = best(seen.up)
    if seen.worse > sure:
        return beside_parent(culprit, fresh)
    newest = len(clean) - 1
    before, since = sum(map(len, clean[:culprit])), sum(map(len, clean[culprit:]))
    if since <= before + 1:
        return Target(newest, "to see whether there is a step at all")
    return Target(culprit - 1, "to see whether the level before the step is right")
