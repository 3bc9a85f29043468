"""Student's distribution, compared with SciPy."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepspeech_wer.verdicts import student


@pytest.mark.parametrize("df", [1, 2, 3, 7.5, 39, 2_619, 99_999])
@pytest.mark.parametrize("t", [0, 0.01, 0.5, 1, 1.96, -2.5, 5, 40])
def test_probabilities_agree_with_scipy(t: float, df: float) -> None:
    assert student.two_sided(t, df) == pytest.approx(2 * stats.t.sf(abs(t), df), rel=1e-8)


@pytest.mark.parametrize("df", [1, 2, 3, 7.5, 39, 2_619, 99_999])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_quantiles_agree_with_scipy(confidence: float, df: float) -> None:
    assert student.quantile(confidence, df) == pytest.approx(stats.t.ppf((1 + confidence) / 2, df), rel=1e-8)


def test_infinity_is_never_exceeded() -> None:
    assert student.two_sided(math.inf, 3) == 0


@given(st.floats(0.5, 0.9995), st.floats(1, 500))
def test_t_quantiles_are_those_of_scipy(probability: float, degrees: float) -> None:
    assert student.quantile(2 * probability - 1, degrees) == pytest.approx(
        stats.t.ppf(probability, degrees), rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize(("probability", "degrees"), [(0.4, 5), (1.0, 5), (0.9, 0)])
def test_a_quantile_that_does_not_exist_is_refused(probability: float, degrees: float) -> None:
    with pytest.raises(ValueError, match="t quantile of probability"):
        student.quantile(2 * probability - 1, degrees)
