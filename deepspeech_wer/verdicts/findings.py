"""What is told of merges: verdicts, events, marks. Effects are in percentage points, `_pp`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

UNCHANGED, NO_CHANGE, SUSPECT = "unchanged", "no change seen", "suspect"
WORSE, BETTER, RECOVERED = "worse", "better", "recovered"
CANNOT_TELL, TOO_FEW, NOT_COMPARABLE, FAILED = "cannot tell", "too few runs", "not comparable", "failed"


class Verdict(NamedTuple):
    """What is known of a merge. A field that does not apply is None."""

    sha: str
    run: str
    verdict: str
    reason: str  # one line
    effect_pp: float | None = None  # against the level before it, in percentage points
    interval_pp: tuple[float, float] | None = None  # of 95 %
    sigma_pp: float | None = None  # the noise of one training
    sigma_df: float | None = None
    mde_pp: float | None = None  # the effect that is found within 5 merges in 80 % of cases
    p: float | None = None  # that this merge made it worse
    culprits: tuple[str, ...] = ()
    retrained: int = 0


class Gap(NamedTuple):
    """Merges that never ran, between two that did. Each may have made it worse."""

    after: str
    before: str
    merges: int
    chance: float  # of each of them, and of the merge at its end


class Event(NamedTuple):
    """A step, told once. Its id stays the same while its state changes."""

    id: str  # from the merge at which it was first seen
    start: str  # the most likely culprit
    culprits: tuple[tuple[str, float], ...]  # the merges that may have done it, each with its probability
    step_pp: float
    interval_pp: tuple[float, float]
    state: str  # suspect | open | accepted | recovered | dismissed | cannot tell
    closed_by: str | None
    retrained: int
    gaps: tuple[Gap, ...] = ()
    test_set: str | None = None  # whose figures these are; None: the main one
    sets: Mapping[str, Effect] = {}  # of several test sets: what it did in each


class Effect(NamedTuple):
    """A step in one of several test sets."""

    step_pp: float
    interval_pp: tuple[float, float]
    state: str


class Retraining(NamedTuple):
    """The training that would tell most."""

    sha: str
    run: str  # the merge's own run
    why: str


class Mark(NamedTuple):
    """Something to draw on the line, before a run."""

    run: str
    sha: str
    text: str
    is_new_series: bool
