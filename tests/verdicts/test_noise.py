from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepspeech_wer.verdicts import noise
from deepspeech_wer.verdicts.noise import Calibration, Estimate


@given(st.floats(-37, 8))
def test_normal_probabilities_are_those_of_scipy(x: float) -> None:
    assert noise.normal_cdf(x) == pytest.approx(stats.norm.cdf(x), rel=1e-9)


def test_the_prior_is_a_third_of_a_point_on_test_clean_and_near_two_points_on_an4() -> None:
    assert noise.prior(0.161, 53374).sigma == pytest.approx(0.0030, abs=0.0001)
    assert noise.prior(0.27, 773).sigma == pytest.approx(0.0188, abs=0.0002)
    assert noise.prior(0.27, None).sigma == noise.UNKNOWN_PRIOR


def test_differences_estimate_the_noise_whatever_the_steps_between_them() -> None:
    draws = random.Random(1)
    rates = [draws.gauss(0.16 + 0.1 * (n >= 500), 0.003) for n in range(1000)]
    estimate = noise.from_differences([abs(b - a) for a, b in pairwise(rates)])
    assert estimate
    assert estimate.sigma == pytest.approx(0.003, rel=0.07)
    assert noise.from_differences([]) is None


def test_estimates_are_pooled_by_their_degrees_of_freedom() -> None:
    pooled = noise.pooled(Estimate(3.0, 4), None, Estimate(1.0, 12))
    assert pooled == Estimate(math.sqrt((4 * 9 + 12) / 16), 16)


def test_the_newest_calibration_that_fits_replaces_the_prior() -> None:
    known = [Calibration(0.01, 8, "set", "a"), Calibration(0.02, 4, "set", "b"), Calibration(0.03, 8, "other")]
    assert noise.calibrated(known, "set", "a") == Estimate(0.01, 7)
    assert noise.calibrated(known, "set", "") == Estimate(0.02, 3)
    assert noise.calibrated(known, "third", "") is None
    assert noise.calibrated([Calibration(0.01, 1, "set")], "set", "") is None
