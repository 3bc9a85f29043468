"""What the walk through a series reckons with: groups of merges, levels, steps from one to the other, suspicions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from deepspeech_wer.verdicts import noise, steps, student
from deepspeech_wer.verdicts.findings import Gap
from deepspeech_wer.verdicts.series import Draw, Entry, Result

MAX_FAILED = 2  # re-trainings of one merge; then it is given up
POWER_DRAWS = 3.5  # after a step: with it, `detectable` is the effect that simulations find within the next 5 merges


@dataclass
class Group:
    """Successive merges with one result: one draw, and re-trainings of it."""

    entries: list[Entry]  # the first merge, and those of the others that say more than that they are the same
    number: int  # in the series
    first: int  # index of its first entry in the series
    unmeasured: tuple[str, ...] = ()  # merges that failed since the group before
    skipped: int = 0  # merges since then that never ran
    after: str = ""  # the merge before it that was measured
    draws: list[float] = field(default_factory=list)  # that have been asked for, the original first
    digests: list[Result] = field(default_factory=list)
    fresh: int = 0  # re-trainings that have been asked for
    taken: int = 0  # re-trainings looked at, those that gave nothing too
    failed: int = 0  # re-trainings that gave nothing
    calibrated: int = 0  # draws that `calibrate` gave
    repeats: int | None = None  # number of an earlier group with the same result to the digit: no draw of its own

    @property
    def original(self) -> Draw:
        return self.entries[0].original

    @property
    def sha(self) -> str:
        return self.original.sha

    def hidden(self) -> list[Draw]:
        """Return its re-trainings that have not been asked for, oldest first."""
        return [draw for entry in self.entries for draw in entry.fresh if not draw.calibrates][self.taken :]

    @property
    def is_given_up(self) -> bool:
        """Whether its re-trainings fail."""
        return self.failed >= MAX_FAILED

    @property
    def trained_again(self) -> int:
        """How often it was trained with another seed, for whatever reason."""
        return self.taken + self.calibrated


class Side(NamedTuple):
    """The mean of some draws."""

    mean: float
    draws: int


class Comparison(NamedTuple):
    """Two levels: what changed, and what could have been seen."""

    effect: float
    low: float
    high: float
    detectable: float


class Step(NamedTuple):
    """A change of level, or a suspicion of one. `state` is that of the event; `worse` and `better` are certain."""

    kind: str  # worse | better | recovered | dismissed | cannot tell | suspect
    raised: str  # the merge at which it was first seen
    sha: str  # the most likely culprit, or the merge that brought the level down
    run: str
    entry: int  # its index in the series
    place: int
    seen: int  # index in the series of the merge at which it was decided
    culprits: tuple[tuple[str, float], ...]
    compared: Comparison
    sigma: noise.Estimate
    probability: float
    retrained: int
    before: Side
    state: str = "open"
    closed_by: str | None = None
    digests: tuple[Result, ...] = ()  # of a regression that is open: results at the level before it
    reverts: str = ""  # the culprit that it says it reverts
    named: tuple[str, ...] = ()  # all that its merges say they revert
    entries: Mapping[str, int] = {}  # of the culprits that were measured: index in the series
    runs: Mapping[str, str] = {}
    gaps: tuple[Gap, ...] = ()  # merges that never ran, and may have done it
    failed: str = ""  # the merge whose re-trainings failed, so that the suspicion had to end
    same: tuple[str, ...] = ()  # in an earlier series: merges that changed nothing after it, which people accept

    @property
    def skipped(self) -> int:
        return sum(gap.merges for gap in self.gaps)


@dataclass(frozen=True, order=True)
class Acceptance:
    """A person's decision that a step is the new level. It counts from when it was made: earlier verdicts stay."""

    sha: str  # full or abbreviated
    after: int = -1  # place of the last merge that had run by then


@dataclass
class Suspicion:
    """A step up that is being looked into."""

    raised: str
    worse_before: float  # the probability of a step up before the merge that raised it
    retrained: int = 0
    touched: set[int] = field(default_factory=set)  # numbers of the groups trained again


class View(NamedTuple):
    """The window as the model sees it."""

    sigma: noise.Estimate
    clean: Sequence[Sequence[float]]
    seen: steps.Posterior


Source = Callable[[Group], Draw | None]


def archived(group: Group) -> Draw | None:
    """Return the next re-training of a group that the archive has; the `Source` of judging."""
    return next(iter(group.hidden()), None)


def compare(before: Side, after: Side, sigma: noise.Estimate) -> Comparison:
    """Return the change from one level to another with its interval of 95 %."""
    effect = after.mean - before.mean
    quantile = student.quantile(0.95, round(sigma.degrees, 1))
    half = quantile * sigma.sigma * math.sqrt(1 / before.draws + 1 / after.draws)
    return Comparison(effect, effect - half, effect + half, noise.detectable(sigma.sigma, before.draws, POWER_DRAWS))
