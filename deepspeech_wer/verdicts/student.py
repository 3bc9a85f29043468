"""Student's t distribution, without a library: the tracker has no SciPy."""

from __future__ import annotations

import math
import statistics
from functools import lru_cache

_TINY = 1e-300


def two_sided(t: float, df: float) -> float:
    """Return the probability that |T| exceeds |t| with `df` degrees of freedom; relative error below 1e-8.

    Abramowitz & Stegun 26.5.27: it is the regularised incomplete beta function at df / (df + t^2).
    """
    if math.isinf(t):
        return 0.0
    return _incomplete_beta(df / 2, 0.5, df / (df + t * t))


def quantile(confidence: float, df: float) -> float:
    """Return the t that |T| stays below with the probability `confidence`: 12.706 for 0.95 and one degree.

    Degrees need not be whole. Raises ValueError outside 0 <= confidence < 1 or for degrees that are not above 0.
    """
    if not 0 <= confidence < 1 or df <= 0:
        raise ValueError(f"t quantile of probability {confidence} with {df} degrees: expected 0 to 1, and above 0")
    return _quantile(confidence, df)


@lru_cache(maxsize=1024)
def _quantile(confidence: float, df: float) -> float:
    # Newton's method from the normal distribution's quantile, which is below: the tail is convex, so that no step goes
    # beyond the solution. A page of 10,000 runs asks for a hundred degrees.
    t = statistics.NormalDist().inv_cdf((1 + confidence) / 2)
    scale = 2 * math.exp(math.lgamma((df + 1) / 2) - math.lgamma(df / 2)) / math.sqrt(df * math.pi)
    while True:
        slope = scale * (1 + t * t / df) ** (-(df + 1) / 2)
        step = (two_sided(t, df) - (1 - confidence)) / slope if slope else 0.0
        if step <= 1e-14 * t:
            return t
        t += step


def _incomplete_beta(a: float, b: float, x: float) -> float:
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # the fraction converges fast only below
        return 1 - _incomplete_beta(b, a, 1 - x)
    log_factor = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_factor) / (a * _fraction(a, b, x))


def _fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction 26.5.8 by Lentz's method. It takes about sqrt(max(a, b)) steps."""
    value, c, d = 1.0, 1.0, 0.0
    for step in range(1, 100_000):
        half = step // 2
        term = half * (b - half) * x if step % 2 == 0 else -(a + half) * (a + b + half) * x
        term /= (a + step - 1) * (a + step)
        d = 1 / (1 + term * d or _TINY)
        c = 1 + term / c or _TINY
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value
