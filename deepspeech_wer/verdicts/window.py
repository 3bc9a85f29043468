"""The groups of merges since the last step: their draws, the noise, and what the model says of them."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from statistics import fmean, median

from deepspeech_wer.verdicts import noise, steps
from deepspeech_wer.verdicts.levels import Comparison, Group, Side, View, compare
from deepspeech_wer.verdicts.series import Draw, is_same_result

MOST = 100  # groups that are looked at
DIFFERENCES = 100
ENOUGH = 4  # groups before the posterior decides
JUMP = 4 * math.sqrt(2)  # sigmas between two of the first runs: investigated
REPLICATED = 50  # groups whose re-trainings are remembered for the noise


@dataclass
class Window:
    """What is known since the last step, and of the noise in the whole series."""

    calibrated: noise.Estimate | None = None  # replaces the prior
    groups: list[Group] = field(default_factory=list)
    count: int = 0  # groups of the series so far
    is_first: bool = True  # there was no step yet
    differences: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=DIFFERENCES))
    # ^ (number of the later group, difference)
    replicates: dict[int, tuple[float, int]] = field(default_factory=dict)  # group number -> squares, degrees
    early: set[int] = field(default_factory=set)  # numbers of groups at which the first runs jumped
    refreshed: set[int] = field(default_factory=set)  # numbers of groups whose verdicts must be made anew
    _view: View | None = field(default=None, compare=False, repr=False)

    def copy(self) -> Window:
        """Return a window that goes on by itself."""
        groups = [replace(g, entries=g.entries[:], draws=g.draws[:], digests=g.digests[:]) for g in self.groups]
        return replace(
            self,
            groups=groups,
            differences=self.differences.copy(),
            replicates=self.replicates.copy(),
            early=self.early.copy(),
            refreshed=self.refreshed.copy(),
        )

    def calibrate(self, calibrated: noise.Estimate | None) -> None:
        """Replace what is known of the noise before any comparison."""
        self.calibrated, self._view = calibrated, None

    def open(self, group: Group, rate: float) -> None:
        """Begin a group with its first merge."""
        entry = group.entries[0]
        if self.groups:
            self.differences.append((self.count, abs(rate - (self.groups[-1].original.rate or 0.0))))
        same = next(
            (old for old in self.groups if any(is_same_result(entry.original.result, one) for one in old.digests)), None
        )
        group.digests.append(entry.original.result)
        if same is None:
            group.draws.append(rate)
        else:
            group.repeats = same.number
        self.groups.append(group)
        self._view = None
        self.count += 1
        del self.groups[: max(0, len(self.groups) - MOST)]

    def add_calibrated(self, group: Group, draw: Draw, rate: float) -> None:
        """Take a calibration run of a group."""
        group.calibrated += 1
        group.draws.insert(1, rate)  # before the re-trainings, which are the last ones
        group.digests.append(draw.result)
        self._view = None

    def add_fresh(self, group: Group, draw: Draw, rate: float) -> None:
        """Take a re-training of a group."""
        group.fresh += 1
        group.draws.append(rate)
        group.digests.append(draw.result)
        self._view = None
        self.refreshed.add(group.number)
        # The original is left out: it was noticed because it was extreme.
        fresh = steps.unbroken(group.draws[-group.fresh :], self.sigma().sigma)
        if len(fresh) > 1:
            mean = fmean(fresh)
            self.replicates[group.number] = (math.fsum((x - mean) ** 2 for x in fresh), len(fresh) - 1)
            while len(self.replicates) > REPLICATED:
                del self.replicates[min(self.replicates)]

    def restart(self, c: int) -> None:
        """A new level begins at group `c`."""
        self.groups = self.groups[c:]
        first = self.groups[0]
        if not first.draws and first.original.rate is not None:
            first.draws, first.repeats = [first.original.rate], None
        self.refreshed |= {group.number for group in self.groups[1:]}
        self.early.discard(first.number)
        for pair in [pair for pair in self.differences if pair[0] == first.number]:  # a step is no noise
            self.differences.remove(pair)
        self.is_first = False
        self._view = None

    def sigma(self) -> noise.Estimate:
        """Return the noise of one training."""
        rates = [draw for group in self.groups for draw in group.draws[:1]]
        first = noise.prior(median(rates), self.groups[-1].original.words)
        if self.calibrated:  # a few seeds alone could say that there is next to no noise
            is_enough = self.calibrated.degrees >= first.degrees
            first = self.calibrated if is_enough else noise.pooled(first, self.calibrated)
        degrees = sum(count for _, count in self.replicates.values())
        squares = math.fsum(square for square, _ in self.replicates.values())
        repeated = noise.Estimate(math.sqrt(squares / degrees), degrees) if degrees else None
        return noise.pooled(first, noise.from_differences([size for _, size in self.differences]), repeated)

    def view(self) -> View:
        """Return the window as the model sees it."""
        if self._view is None:
            sigma = self.sigma()
            clean = steps.clean([group.draws for group in self.groups], sigma.sigma)
            early = {number for number, group in enumerate(self.groups) if group.number in self.early}
            if not self.has_enough(len(self.groups)) and not early:
                seen = steps.Posterior((0.0,) * len(clean), (0.0,) * len(clean))
            else:
                seen = steps.posterior(clean, sigma.sigma, early, [1 + group.skipped for group in self.groups])
            self._view = View(sigma, clean, seen)
        return self._view

    def has_enough(self, count: int) -> bool:
        """Return whether the first `count` groups have results enough for the posterior to decide."""
        return not self.is_first or self._results(count) >= ENOUGH

    def side(self, start: int, end: int) -> Side:
        """Return the mean of the clean draws of some groups; of all draws where none is clean."""
        draws = [x for group in self.view().clean[start:end] for x in group]
        draws = draws or [x for group in self.groups[start:end] for x in group.draws]
        draws = draws or [group.original.rate for group in self.groups[start:end] if group.original.rate is not None]
        return Side(fmean(draws), len(draws))

    def since(self, c: int) -> Side:
        """Return the level from a group on."""
        return self.side(c, len(self.groups))

    def quiet(self, number: int) -> Comparison | None:
        """Compare a group with the level before it; None for the first of a level."""
        if number == 0:
            return None
        return compare(self.side(0, number), self.side(number, number + 1), self.view().sigma)

    def _results(self, count: int) -> int:
        """Return the groups, and the calibration runs in them: they show the level and the noise as well."""
        return count + sum(group.calibrated for group in self.groups[:count])

    def look_for_jump(self) -> None:
        """Note whether the newest of the first groups lies far from the one before it."""
        if len(self.groups) < 2 or self._results(len(self.groups)) >= ENOUGH:
            return
        before, newest = self.groups[-2:]
        if before.draws and newest.draws:
            jump = abs(newest.draws[0] - fmean(steps.unbroken(before.draws, self.sigma().sigma)))
            if jump > JUMP * self.sigma().sigma:
                self.early.add(newest.number)
