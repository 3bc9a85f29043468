"""Where the level of a series stepped: the posterior over the groups, and the draws that must not count.

The model: since the last accepted step there was at most one more, up or down, at one of the groups, of a size that is
normal with standard deviation TAU sigmas; the level is unknown. Rates and sigma are fractions.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from statistics import median
from typing import NamedTuple

PRIOR = 0.01  # of a step up at a given group, and as much of a step down
TAU = 2.0  # standard deviation of a step, in sigmas
BROKEN = 4.5  # sigmas above the lower third of its group: a broken training
LEFT_OUT = 3.5  # sigmas above the neighbours: a lone draw that waits for its re-training
NEIGHBOURS = 5  # on each side
MOST_MERGES = 20  # that raise the prior: hundreds of skipped merges are no evidence by themselves
ROOT_HALF = math.sqrt(0.5)


class Posterior(NamedTuple):
    """The probability of a step up, and down, at each group."""

    up: tuple[float, ...]
    down: tuple[float, ...]

    @property
    def worse(self) -> float:
        """The probability that there was a step up."""
        return math.fsum(self.up)

    @property
    def better(self) -> float:
        """The probability that there was a step down."""
        return math.fsum(self.down)


def posterior(
    groups: Sequence[Sequence[float]], sigma: float, extra: Collection[int] = (), merges: Sequence[int] = ()
) -> Posterior:
    """Return the posterior over groups of clean draws, oldest first.

    `merges` says how many merges came with each group: one, and those before it that never ran.

    A group is a candidate if there are three draws before it, from the third group on if there are 4 or 5 groups, or if
    it is in `extra`.
    """
    count, total = len(groups), sum(map(len, groups))
    everything = math.fsum(x for group in groups for x in group)
    up, down = [-math.inf] * count, [-math.inf] * count
    before, sum_before = 0, 0.0
    log, erfc, root = math.log, math.erfc, math.sqrt
    log_prior, tau2 = log(PRIOR), TAU * TAU
    for c, group in enumerate(groups):
        after = total - before
        if before and after and (before >= 3 or c in extra or (c >= 2 and 4 <= count < 6)):
            z = ((everything - sum_before) / after - sum_before / before) / sigma
            v = 1 / before + 1 / after
            # Logarithms: the Bayes factor of a large step exceeds every float.
            prior = log_prior + log(min(merges[c], MOST_MERGES)) if merges else log_prior
            base = prior + 0.5 * log(v / (v + tau2)) + z * z / 2 * (1 / v - 1 / (v + tau2))
            x = z * TAU / root(v * (v + tau2)) * ROOT_HALF
            chance_up, chance_down = erfc(-x), erfc(x)  # twice the normal probabilities
            if chance_up > 0:
                up[c] = base + log(chance_up)
            if chance_down > 0 and group:  # an empty one was left out because it is high
                down[c] = base + log(chance_down)
        before += len(group)
        sum_before += math.fsum(group)
    return _normalised(up, down)


def _normalised(up: list[float], down: list[float]) -> Posterior:
    top = max(0.0, *up, *down)  # 0 is the logarithm of "no step"
    up_weights, down_weights = ([math.exp(one - top) for one in side] for side in (up, down))
    whole = math.exp(-top) + math.fsum(up_weights) + math.fsum(down_weights)
    return Posterior(tuple(w / whole for w in up_weights), tuple(w / whole for w in down_weights))


def clean(groups: Sequence[Sequence[float]], sigma: float) -> list[Sequence[float]]:
    """Return the groups without broken trainings and without lone draws that need a re-training first.

    The newest group is never left out: it may be the first of a higher level.
    """
    kept: list[Sequence[float]] = []
    lowest = min((min(group) for group in groups if group), default=0.0)
    for number, group in enumerate(groups):
        if len(group) == 1 and number < len(groups) - 1:
            is_out = group[0] - lowest > LEFT_OUT * sigma and _is_above_neighbours(groups, number, sigma)
            kept.append(() if is_out else group)
        else:
            kept.append(unbroken(group, sigma))
    return kept


def unbroken(draws: Sequence[float], sigma: float) -> Sequence[float]:
    """Return the draws of one group that are no broken trainings."""
    if len(draws) < 2:
        return draws
    # Not the median: of three draws, two may be broken.
    middle = sorted(draws)[(len(draws) - 1) // 3]
    return [draw for draw in draws if draw - middle <= BROKEN * sigma]


def _is_above_neighbours(groups: Sequence[Sequence[float]], number: int, sigma: float) -> bool:
    low = max(0, min(number - NEIGHBOURS, len(groups) - 2 * NEIGHBOURS - 1))
    around = [*groups[low:number], *groups[number + 1 : low + 2 * NEIGHBOURS + 1]]
    middles = [median(group) for group in around if group]
    return bool(middles) and groups[number][0] - median(middles) > LEFT_OUT * sigma
