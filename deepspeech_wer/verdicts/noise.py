"""How much the word error rate of one training varies when nothing but the seed changes.

All values are fractions, not percentage points. docs/verdicts.md describes the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

PRIOR_DEGREES = 4.0
BETWEEN_SEEDS = 0.0025  # two seeds make different errors, even on a test set without end
UNKNOWN_PRIOR = 0.01  # standard deviation, where the job does not say how many words its test set has
DEGREES_PER_DIFFERENCE = 0.37  # efficiency of the median of absolute successive differences
MIN_DIFFERENCES = 3  # one of two may be a step
FROM_DIFFERENCES = 1.4826 / math.sqrt(2)  # median of absolute differences -> standard deviation of one draw
POWER_FACTOR = 3.34  # 2.5 + 0.84: found in 80 % of cases


class Estimate(NamedTuple):
    """A standard deviation and its degrees of freedom."""

    sigma: float
    degrees: float


class Calibration(NamedTuple):
    """What `calibrate` measured: several seeds of one commit."""

    sd: float  # as a fraction
    runs: int
    signature: str
    variables: str = ""  # digest of the operator's variables; "" fits any


def prior(rate: float, words: int | None) -> Estimate:
    """Return what is known of the noise before any comparison: the errors counted, and a quarter point for the seed."""
    if not words:
        return Estimate(UNKNOWN_PRIOR, PRIOR_DEGREES)
    return Estimate(math.sqrt(rate / words + BETWEEN_SEEDS**2), PRIOR_DEGREES)


def calibrated(calibrations: Sequence[Calibration], signature: str, variables: str) -> Estimate | None:
    """Return the newest calibration that fits a series, as the estimate that replaces the prior; None without one."""
    for one in reversed(calibrations):
        if one.runs > 1 and one.sd > 0 and fits(one.signature, one.variables, signature, variables):
            return Estimate(one.sd, one.runs - 1.0)
    return None


def fits(signature: str, variables: str, of_series: str, its_variables: str) -> bool:
    """Return whether a calibration under these conditions says something of a series. Unknown variables fit any."""
    return signature == of_series and (not variables or not its_variables or variables == its_variables)


def from_differences(differences: Sequence[float]) -> Estimate | None:
    """Return a robust estimate from the absolute differences of successive groups' first draws."""
    if len(differences) < MIN_DIFFERENCES:
        return None
    return Estimate(FROM_DIFFERENCES * median(differences), DEGREES_PER_DIFFERENCE * len(differences))


def pooled(*estimates: Estimate | None) -> Estimate:
    """Pool estimates by their degrees of freedom."""
    known = [one for one in estimates if one is not None and one.degrees > 0]
    degrees = sum(one.degrees for one in known)
    return Estimate(math.sqrt(sum(one.degrees * one.sigma**2 for one in known) / degrees), degrees)


def detectable(sigma: float, before: float, after: float) -> float:
    """Return the step that is found in 80 % of cases, with so many draws before and after it."""
    return POWER_FACTOR * sigma * math.sqrt(1 / before + 1 / after)


def normal_cdf(x: float) -> float:
    """Return the probability that a standard normal variable is below x. Relative error under 1e-12 in the tails."""
    return 0.5 * math.erfc(-x / math.sqrt(2))
