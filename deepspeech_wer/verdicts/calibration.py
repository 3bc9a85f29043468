"""What several trainings of one commit, with nothing but another seed, say about the noise of one training.

Rates are fractions in, percent and percentage points (pp) out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from deepspeech_wer.verdicts import levels, noise, student
from deepspeech_wer.verdicts.series import Draw

BROKEN_P = 1e-4  # one-sided: a training that far above the others is a broken one
FEW = 4  # with fewer no training can be called broken


class Measured(NamedTuple):
    """The noise that seeds of one commit showed, under one set of conditions. None: it needs two seeds."""

    sha: str
    run: str  # the merge's own run
    newest: str  # the newest of the runs
    signature: str
    variables: str  # digest of the operator's variables
    runs: int  # different results that count
    broken: int  # trainings that do not count, see `unbroken`
    repeated: str | None  # a run that repeats another one to the digit: the job ignores its seed
    mean_percent: float | None
    lowest_percent: float | None
    highest_percent: float | None
    sd_pp: float | None
    sd_interval_pp: tuple[float, float] | None  # of 95 %, from the chi-square distribution
    mde_pp: float | None  # the step from this level that is found within 5 merges in 80 % of cases

    def for_noise(self) -> noise.Calibration | None:
        """Return it as the estimate that the verdicts use."""
        if self.sd_pp is None:
            return None
        return noise.Calibration(self.sd_pp / 100, self.runs, self.signature, self.variables)

    @property
    def sentence(self) -> str:
        """Say it in one line."""
        seeds = f"{self.runs} seed{'' if self.runs == 1 else 's'} of {self.sha[:8]}"
        if self.sd_pp is None or self.sd_interval_pp is None:
            return f"noise of one training: not known yet ({seeds})"
        low, high = self.sd_interval_pp
        broken = f", {self.broken} broken left out" if self.broken else ""
        return (
            f"noise of one training: sd {self.sd_pp:.2f} pp (95 %: {low:.2f} to {high:.2f}; {seeds}{broken}: "
            f"mean {self.mean_percent:.2f} %, {self.lowest_percent:.2f} to {self.highest_percent:.2f}); "
            f"a step of {self.mde_pp:.2g} pp is found within 5 merges"
        )


def measured(draws: Iterable[Draw]) -> list[Measured]:
    """Return what the calibration runs among the draws show, oldest first; one per commit and conditions."""
    groups: dict[tuple[str, str, str], list[Draw]] = {}
    originals: dict[str, list[Draw]] = {}
    for draw in draws:
        if draw.rate is not None and draw.calibrates:
            groups.setdefault((draw.sha, draw.signature, draw.variables), []).append(draw)
        elif draw.rate is not None:
            originals.setdefault(draw.sha, []).append(draw)
    found = [_measured(sorted(group, key=lambda one: one.run), originals) for group in groups.values()]
    return sorted(found, key=lambda one: one.newest)


def unbroken(rates: Sequence[float]) -> list[float]:
    """Return the rates without those of broken trainings, in ascending order.

    The highest is broken if Student's t against all others says so with a one-sided p below 1e-4.
    """
    kept = sorted(rates)
    while len(kept) >= FEW:
        *others, top = kept
        scale = stdev(others) * math.sqrt(1 + 1 / len(others))
        t = (top - fmean(others)) / scale if scale > 0 else 0.0
        if student.two_sided(t, len(others) - 1) / 2 >= BROKEN_P:
            break
        kept = others
    return kept


def sd_interval(sd: float, degrees: int) -> tuple[float, float]:
    """Return the interval of 95 % of a standard deviation with so many degrees of freedom."""
    return tuple(sd * math.sqrt(degrees / chi_square(p, degrees)) for p in (0.975, 0.025))  # type: ignore[return-value]


def chi_square(probability: float, degrees: float) -> float:
    """Return the value that chi-square with so many degrees of freedom stays below with this probability.

    Relative error below 1e-9 for up to 1,000 degrees.
    """
    low, high = 0.0, degrees + 10 * math.sqrt(2 * degrees) + 20
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _incomplete_gamma(degrees / 2, middle / 2) < probability else (low, middle)
    return (low + high) / 2


def _incomplete_gamma(a: float, x: float) -> float:
    """Return the regularised lower incomplete gamma function by its series, Abramowitz & Stegun 6.5.29."""
    if x <= 0:
        return 0.0
    term = total = 1 / a
    n = a
    while term > 1e-17 * total:
        n += 1
        term *= x / n
        total += term
    return min(1.0, total * math.exp(a * math.log(x) - x - math.lgamma(a)))


def _measured(group: Sequence[Draw], originals: dict[str, list[Draw]]) -> Measured:
    seen: dict[tuple[str, str], Draw] = {
        (one.digest, one.machine): one for one in originals.get(group[0].sha, ()) if one.digest
    }
    rates, repeated = [], None
    for one in group:
        key = (one.digest, one.machine)
        if one.digest and key in seen:
            repeated = one.run
            continue
        seen[key] = one
        rates.append(one.rate or 0.0)
    kept = unbroken(rates)
    sd = stdev(kept) if len(kept) > 1 else 0.0
    is_known = sd > 0
    return Measured(
        sha=group[0].sha,
        run=group[0].rerun_of or "",
        newest=group[-1].run,
        signature=group[0].signature,
        variables=group[0].variables,
        runs=len(kept),
        broken=len(rates) - len(kept),
        repeated=repeated,
        mean_percent=_percent(fmean(kept)) if kept else None,
        lowest_percent=_percent(kept[0]) if kept else None,
        highest_percent=_percent(kept[-1]) if kept else None,
        sd_pp=_percent(sd) if is_known else None,
        sd_interval_pp=_pair(sd_interval(sd, len(kept) - 1)) if is_known else None,
        mde_pp=_percent(noise.detectable(sd, len(kept), levels.POWER_DRAWS)) if is_known else None,
    )


def _percent(fraction: float) -> float:
    return round(100 * fraction, 4)


def _pair(fractions: tuple[float, float]) -> tuple[float, float]:
    return _percent(fractions[0]), _percent(fractions[1])
