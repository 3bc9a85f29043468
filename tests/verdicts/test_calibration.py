"""What seeds of one commit say of the noise, and how the verdicts use it."""

from __future__ import annotations

import random
from statistics import stdev

import pytest

from deepspeech_wer.verdicts import calibration, noise
from deepspeech_wer.verdicts.calibration import Measured, chi_square, measured, sd_interval, unbroken
from deepspeech_wer.verdicts.judge import judge
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw
from tests.verdicts.histories import SD, History, draw


@pytest.mark.parametrize(
    ("probability", "degrees", "value"),
    [  # from the tables of Abramowitz & Stegun, and the NIST handbook's section 1.3.6.7.4
        (0.025, 1, 0.000982069),
        (0.975, 1, 5.02389),
        (0.025, 7, 1.68987),
        (0.975, 7, 16.0128),
        (0.95, 30, 43.7730),
        (0.975, 100, 129.561),
        (0.5, 999, 998.3333),
    ],
)
def test_the_quantiles_are_those_of_the_tables(probability: float, degrees: int, value: float) -> None:
    assert chi_square(probability, degrees) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("runs", [2, 3, 8, 20])
def test_the_interval_holds_the_true_deviation_in_95_percent(runs: int) -> None:
    source = random.Random(runs)
    held, count = 0, 2000
    for _ in range(count):
        low, high = sd_interval(stdev(source.gauss(0.3, SD) for _ in range(runs)), runs - 1)
        held += low <= SD <= high
    assert 0.935 < held / count < 0.965


def seeds(of: Draw, rates: list[float], **changes: object) -> list[Draw]:
    return [
        of._replace(
            run=f"z{of.run}-{number:03}",
            rate=rate,
            digest=f"z{number}",
            rerun_of=of.run,
            calibrates=True,
            **changes,  # type: ignore[arg-type]
        )
        for number, rate in enumerate(rates)
    ]


RATES = [0.160, 0.163, 0.157, 0.161, 0.159, 0.164, 0.158, 0.162]


def only(draws: list[Draw]) -> Measured:
    (one,) = measured(draws)
    return one


def test_the_original_is_no_part_of_what_is_measured() -> None:
    first = draw(0, 0.99)
    one = only([first, *seeds(first, RATES)])
    assert (one.sha, one.runs, one.broken, one.repeated) == (first.sha, 8, 0, None)
    assert one.sd_pp == pytest.approx(100 * stdev(RATES), abs=1e-4)
    assert (one.mean_percent, one.lowest_percent, one.highest_percent) == (16.05, 15.7, 16.4)
    assert one.mde_pp == pytest.approx(3.34 * one.sd_pp * (1 / 3.5 + 1 / 8) ** 0.5, abs=1e-3)
    assert one.sentence.startswith("noise of one training: sd 0.24 pp (95 %: 0.16 to 0.50; 8 seeds of ")


@pytest.mark.parametrize(("rates", "runs"), [([], 0), ([0.16], 1), ([0.16, 0.16], 2), ([0.16, 0.162], 2)])
def test_a_few_seeds_say_what_they_can(rates: list[float], runs: int) -> None:
    first = draw(0, 0.16)
    found = measured([first, *seeds(first, rates)])
    assert [one.runs for one in found] == ([runs] if rates else [])
    for one in found:
        assert (one.sd_pp is not None) == (len(set(rates)) > 1)
        assert one.sentence


def test_a_broken_training_is_left_out_and_a_high_one_is_not() -> None:
    first = draw(0, 0.16)
    assert only([first, *seeds(first, [*RATES, 0.3])]).broken == 1
    assert only([first, *seeds(first, [*RATES, 0.3, 1.0])]).broken == 2
    assert "1 broken left out" in only([first, *seeds(first, [*RATES, 0.3])]).sentence
    source = random.Random(3)
    out = [8 - len(unbroken([source.gauss(0.16, SD) for _ in range(8)])) for _ in range(2000)]
    assert sum(out) <= 5


def test_equal_results_are_one_and_failed_ones_none() -> None:
    first = draw(0, 0.16)
    again = seeds(first, RATES)
    ignored = again[1]._replace(run="zz", digest=first.digest, rate=first.rate)
    twice = again[1]._replace(run="zzz")
    failed = again[1]._replace(run="zzzz", rate=None)
    one = only([first, *again, ignored, twice, failed])
    assert (one.runs, one.repeated) == (8, "zzz")


def test_each_set_of_conditions_has_its_own() -> None:
    first = draw(0, 0.16)
    other = seeds(first, RATES, variables="new")
    found = measured([first, *seeds(first, RATES), *[one._replace(run=f"z{one.run}") for one in other]])
    assert [one.variables for one in found] == ["operator", "new"]


def test_conditions_that_fit() -> None:
    assert noise.fits("a", "x", "a", "x")
    assert noise.fits("a", "", "a", "x")
    assert noise.fits("a", "x", "a", "")
    assert not noise.fits("a", "x", "a", "y")
    assert not noise.fits("a", "x", "b", "x")


def estimates(draws: list[Draw]) -> list[noise.Calibration]:
    return [one for one in (found.for_noise() for found in measured(draws)) if one]


def noisy(count: int, sd: float, seed: int = 1) -> list[float]:
    source = random.Random(seed)
    return [source.gauss(0.16, sd) for _ in range(count)]


def test_eight_seeds_replace_the_prior_and_count_once() -> None:
    first = draw(0, 0.16)
    draws = [first, *seeds(first, noisy(8, 0.02))]
    judged = judge(draws, calibrations=estimates(draws))
    assert judged.sigma
    assert judged.sigma.degrees == 7
    assert judged.sigma.sigma == pytest.approx((only(draws).sd_pp or 0) / 100, rel=1e-3)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_few_that_agree_do_not_say_that_there_is_no_noise(count: int) -> None:
    first = draw(0, 0.16)
    draws = [first, *seeds(first, [0.16 + number / 1e6 for number in range(count)])]
    judged = judge(draws, calibrations=estimates(draws))
    assert judged.sigma
    assert judged.sigma.sigma > 0.0015
    assert judged.sigma.degrees == 4 + count - 1


def test_after_a_calibration_the_next_merge_is_judged() -> None:
    first = draw(0, 0.16)
    draws = [first, *seeds(first, noisy(8, SD))]
    quiet, bad = draw(1, 0.161), draw(1, 0.178)
    few = judge([first, quiet])
    assert few.verdicts[-1].verdict == "too few runs"
    calm = judge([*draws, quiet], calibrations=estimates(draws))
    assert (calm.verdicts[-1].verdict, calm.next_retraining) == ("no change seen", None)
    again = judge([*draws, bad], calibrations=estimates(draws))
    assert again.next_retraining
    assert again.next_retraining.sha == bad.sha  # the parent has seeds enough
    assert again.verdicts[-1].verdict == "suspect"


def test_a_calibrated_history_raises_no_false_alarm_and_finds_the_step() -> None:
    for number in range(30):
        history = History(seed=number, rules=Rules())
        first = history.merge()
        history.draws += seeds(first, [history.random.gauss(history.level, SD) for _ in range(8)])
        for _ in range(15):
            history.merge()
        bad = history.merge(step=4)
        for _ in range(4):
            history.merge()
        judged = judge(history.draws, calibrations=estimates(history.draws))
        found = {verdict.sha: verdict.verdict for verdict in judged.verdicts}
        assert found.pop(bad.sha) == "worse"
        assert {*found.values()} <= {"no change seen", "too few runs", "better"}


def test_the_order_of_the_runs_changes_nothing() -> None:
    history = History(seed=5)
    first = history.merge()
    history.draws += seeds(first, noisy(8, SD))
    for _ in range(60):
        history.merge()
    use = estimates(history.draws)
    whole = judge(history.draws, calibrations=use)
    assert judge(history.draws[::-1], calibrations=use) == whole


def test_seeds_of_a_merge_that_changed_nothing_count_for_its_group() -> None:
    first = draw(0, 0.16)
    same = draw(1, 0.16, digest=first.digest)
    again = seeds(same, RATES)
    judged = judge([first, same, *again, draw(2, 0.1605)], calibrations=estimates([first, same, *again]))
    assert [one.verdict for one in judged.verdicts] == ["too few runs", "unchanged", "no change seen"]
    assert judged.verdicts[-1].effect_pp == pytest.approx(0.0, abs=0.05)


def test_a_job_that_ignores_its_seed_is_noted_once() -> None:
    first = draw(0, 0.16)
    again = [one._replace(digest=first.digest, rate=first.rate) for one in seeds(first, RATES[:2])]
    judged = judge([first, *again, draw(1, 0.17)])
    assert len([note for note in judged.notes if "ignores its seed" in note]) == 1
    assert only([first, *again]).repeated
    assert calibration.measured([first]) == []
