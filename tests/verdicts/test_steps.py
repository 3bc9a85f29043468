from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from deepspeech_wer.verdicts import plan, steps
from deepspeech_wer.verdicts.noise import normal_cdf

RATES = st.lists(st.lists(st.floats(-5, 5), min_size=1, max_size=3), min_size=6, max_size=12)


def by_definition(groups: list[list[float]]) -> float:
    """The weight of a step up at the last group, as the densities of its size say; sigma is 1."""
    before = [x for group in groups[:-1] for x in group]
    d = sum(groups[-1]) / len(groups[-1]) - sum(before) / len(before)
    v, tau = 1 / len(before) + 1 / len(groups[-1]), steps.TAU
    factor = stats.norm.pdf(d, 0, math.sqrt(v + tau**2)) / stats.norm.pdf(d, 0, math.sqrt(v))
    return float(steps.PRIOR * factor * 2 * normal_cdf(d * tau / math.sqrt(v * (v + tau**2))))


@given(RATES)
def test_the_posterior_is_that_of_the_densities(groups: list[list[float]]) -> None:
    seen = steps.posterior(groups, 1.0)
    none = 1 - seen.worse - seen.better
    if none > 1e-6:
        assert seen.up[-1] / none == pytest.approx(by_definition(groups), rel=1e-4, abs=1e-12)


@given(RATES)
def test_down_mirrors_up_and_all_is_a_probability(groups: list[list[float]]) -> None:
    seen = steps.posterior(groups, 1.0)
    mirrored = steps.posterior([[-x for x in group] for group in groups], 1.0)
    assert seen.up == pytest.approx(mirrored.down)
    assert 0 <= seen.worse + seen.better <= 1 + 1e-9


def test_a_step_of_any_size_overflows_nothing() -> None:
    seen = steps.posterior([[0.0]] * 10 + [[1e6]], 1.0)
    assert seen.up[10] == pytest.approx(1)


def test_the_first_three_groups_are_no_candidates() -> None:
    assert steps.posterior([[0.0], [9.0], [9.0], [9.0], [9.0], [9.0]], 1.0).up[:3] == (0, 0, 0)
    assert steps.posterior([[0.0], [0.0], [9.0], [9.0]], 1.0).up[2] > 0.9
    assert steps.posterior([[0.0], [9.0]], 1.0, extra=[1]).up[1] > 0.9


@pytest.mark.parametrize(
    ("draws", "kept"),
    [([0.0, 9.0], [0.0]), ([9.0, 8.0, 0.0], [0.0]), ([0.0, 4.0], [0.0, 4.0]), ([9.0], [9.0]), ([-9.0, 0.0], [-9.0])],
)
def test_broken_trainings_do_not_count(draws: list[float], kept: list[float]) -> None:
    assert steps.unbroken(draws, 1.0) == kept


def test_a_lone_high_draw_waits_for_its_re_training_unless_it_is_the_newest() -> None:
    quiet = [[0.0]] * 6
    assert steps.clean([*quiet, [5.0], *quiet], 1.0)[6] == ()
    assert steps.clean([*quiet, [5.0]], 1.0)[6] == [5.0]
    assert steps.clean([*quiet, [5.0, 5.1], *quiet], 1.0)[6] == [5.0, 5.1]


def test_the_plan_takes_the_newest_then_the_side_with_fewer_draws_then_the_culprit_beside_its_parent() -> None:
    clean = [[0.0]] * 8
    unsure = steps.Posterior((0, 0, 0, 0, 0, 0, 0.8, 0.0), (0.0,) * 8)
    early = steps.Posterior((0, 0, 0, 0.8, 0, 0, 0, 0.0), (0.0,) * 8)
    sure = steps.Posterior((0, 0, 0, 0, 0, 0.5, 0.499, 0.0), (0.0,) * 8)
    fresh = [0] * 8
    assert plan.next_target(unsure, clean, fresh, plan.SURE).group == 7
    assert plan.next_target(early, clean, fresh, plan.SURE).group == 2
    assert plan.next_target(sure, clean, fresh, plan.SURE).group == 5
    fresh[5] = 1
    assert plan.next_target(sure, clean, fresh, plan.SURE).group == 4
    assert plan.credible(sure.up) == [5, 6]
