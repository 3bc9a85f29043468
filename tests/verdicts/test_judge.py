from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_wer.verdicts.judge import judge
from deepspeech_wer.verdicts.levels import Acceptance
from deepspeech_wer.verdicts.noise import Calibration
from deepspeech_wer.verdicts.plan import Rules
from deepspeech_wer.verdicts.series import Draw
from tests.verdicts.histories import SD, History, draw, inert, sha_of


def quiet(merges: int = 12, **options: object) -> History:
    history = History(**options)  # type: ignore[arg-type]
    for _ in range(merges):
        history.merge()
    return history


def test_nothing_to_judge_is_no_fault() -> None:
    assert judge([]).verdicts == ()


def test_a_quiet_history_says_what_could_have_been_seen() -> None:
    history = quiet()
    assert history.judgement
    first, *_, last = history.judgement.verdicts
    assert (first.verdict, last.verdict) == ("too few runs", "no change seen")
    assert last.mde_pp
    assert last.interval_pp
    assert last.interval_pp[0] < 0 < last.interval_pp[1]
    assert history.judgement.events == ()


def test_a_merge_that_changes_nothing_is_unchanged_and_no_evidence() -> None:
    history = quiet(4)
    lucky = history.add(draw(4, history.level - 3 * SD))
    same = [history.same() for _ in range(40)]
    assert {history.verdict(one) for one in same} == {"unchanged"}
    assert history.verdict(lucky) == "no change seen"
    assert history.asked == []


@pytest.mark.parametrize("seed", range(8))
def test_a_regression_is_trained_again_convicted_and_its_revert_closes_it(seed: int) -> None:
    history = quiet(20, seed=seed)
    bad = history.merge(8)
    assert history.verdict(bad) == "worse"
    assert bad.sha in history.asked
    after = [history.merge(), history.same()]
    assert [history.verdict(one) for one in after] == ["no change seen", "unchanged"]
    assert history.judgement
    (event,) = (one for one in history.judgement.events if one.state == "open")
    assert event.start == bad.sha
    assert event.step_pp == pytest.approx(2.4, abs=0.9)
    fix = history.merge(-8, reverts=(bad.sha[:12],))
    assert history.verdict(fix) == "recovered"
    assert history.verdict(bad) == "worse"
    (closed,) = (one for one in history.judgement.events if one.id == event.id)
    assert (closed.state, closed.closed_by) == ("recovered", fix.sha)


def test_a_revert_that_brings_the_result_back_to_the_digit_recovers_at_once() -> None:
    history = quiet(12)
    good = history.draws[-1]
    bad = history.merge(9)
    history.level -= 9 * SD
    fix = history.add(inert(good, bad.place + 1))
    assert (history.verdict(bad), history.verdict(fix)) == ("worse", "recovered")


def test_a_broken_training_is_trained_again_and_dismissed() -> None:
    history = quiet(15)
    broken = history.add(draw(15, history.level + 25 * SD))
    assert history.verdict(broken) == "no change seen"
    assert history.judgement
    assert history.asked[-1] == broken.sha
    assert [event.state for event in history.judgement.events][-1:] == ["dismissed"]


def test_two_broken_trainings_of_one_merge_convict_nobody() -> None:
    history = quiet(15)
    broken = draw(15, history.level + 25 * SD)
    history.draws.append(broken._replace(run="zbroken", rate=history.level + 18 * SD, digest="z", rerun_of=broken.run))
    history.levels["zbroken"] = history.level
    history.add(broken)
    assert history.verdict(broken) == "no change seen"


def test_an_improvement_needs_no_re_training_and_the_level_follows() -> None:
    history = quiet(15)
    asked = len(history.asked)
    good = history.merge(-9)
    assert history.verdict(good) == "better"
    assert len(history.asked) == asked
    assert history.verdict(history.merge()) == "no change seen"


def test_a_suspect_waits_for_its_re_training() -> None:
    history = quiet(15)
    bad = draw(15, history.level + 12 * SD)
    judgement = judge([*history.draws, bad])
    assert judgement.verdicts[-1].verdict == "suspect"
    assert judgement.verdicts[-1].culprits == (bad.sha,)
    assert judgement.next_retraining
    assert judgement.next_retraining.run == bad.run
    assert judgement.events[-1].state == "suspect"


def test_an_accepted_step_is_the_new_level_before_and_after_it_is_convicted() -> None:
    history = quiet(15)
    bad = draw(15, history.level + 12 * SD)
    told = judge([*history.draws, bad], accepted=[bad.sha[:10]])
    assert told.next_retraining is None
    assert (told.verdicts[-1].verdict, told.events[-1].state) == ("worse", "accepted")
    convicted = quiet(15)
    culprit = convicted.merge(9)
    assert judge(convicted.draws, accepted=[culprit.sha]).events[-1].state == "accepted"


@pytest.mark.parametrize("is_named", [True, False])
@pytest.mark.parametrize("before", [2, 12])
@pytest.mark.parametrize("after", [0, 3])
def test_what_had_recovered_when_it_was_accepted_is_not_told_anew(before: int, after: int, *, is_named: bool) -> None:
    history = quiet(before)
    bad = history.merge(30)
    fix = history.merge(-30, reverts=(bad.sha,) if is_named else ())
    for _ in range(after):
        history.merge()
    assert history.judgement
    assert history.verdict(fix) == "recovered"
    assert judge(history.draws, accepted=[Acceptance(bad.sha, history.draws[-1].place)]) == history.judgement


@pytest.mark.parametrize("before", [2, 12])
def test_an_accepted_step_is_the_new_level_so_its_revert_makes_it_better(before: int) -> None:
    history = quiet(before)
    bad = history.merge(30)
    convicted = next(one for one in history.judgement.verdicts if one.sha == bad.sha) if history.judgement else None
    history.accepted = (Acceptance(bad.sha[:12], bad.place),)
    fix = history.merge(-30, reverts=(bad.sha,))
    assert history.judgement
    assert (history.verdict(bad), history.verdict(fix)) == ("worse", "better")
    told = {one.sha: one for one in history.judgement.verdicts}
    assert convicted
    assert told[bad.sha] == convicted._replace(reason=f"{convicted.reason}; accepted")
    low, high = told[fix.sha].interval_pp or (0.0, 0.0)
    assert low < -9 < high
    assert [(one.state, one.closed_by) for one in history.judgement.events if one.start == bad.sha] == [
        ("accepted", None)
    ]


def test_a_step_of_an_earlier_series_is_accepted_later() -> None:
    history = quiet(12)
    bad = history.merge(30)
    same = history.same()
    for _ in range(3):
        last = history.merge(variables="other", changed_variables=("ds_epochs",))
    for name in (bad.sha, same.sha):
        told = judge(history.draws, accepted=[Acceptance(name, last.place)])
        assert [one.state for one in told.events] == ["accepted"]
        assert [one.reason.endswith("; accepted") for one in told.verdicts if one.sha == bad.sha] == [True]


def test_a_verdict_that_sees_no_change_beside_an_interval_without_0_says_why() -> None:
    found = []
    for seed in range(12):
        history = quiet(2, seed=seed)
        bad = history.merge(30)
        fix = draw(3, history.level - 30 * SD, reverts=(bad.sha,))
        for accepted in ([], [Acceptance(bad.sha, bad.place)]):
            told = judge([*history.draws, fix], accepted=accepted).verdicts
            found += [one for one in told if one.verdict in ("no change seen", "too few runs")]
        history = quiet(20, seed=seed)
        assert history.judgement
        found += history.judgement.verdicts
    far = [one for one in found if one.interval_pp and not one.interval_pp[0] <= 0 <= one.interval_pp[1]]
    assert len(far) > 12
    plain = [one.reason for one in far if one.verdict == "no change seen" and "probability" not in one.reason]
    assert not [reason for reason in plain if "rather at" not in reason]
    assert {one.verdict for one in far if one.effect_pp and one.effect_pp < -5} == {"too few runs"}


def test_a_spent_budget_is_cannot_tell() -> None:
    few = quiet(25, seed=3, rules=Rules(budget=1))
    small = [few.merge(2.2)] + [few.merge() for _ in range(12)]
    assert len(few.asked) <= 13
    assert few.judgement
    assert "cannot tell" in [few.verdict(one) for one in small] + [event.state for event in few.judgement.events]


@pytest.mark.parametrize("rules", [Rules(retrain=False), Rules(has_seed=False), Rules(budget=0)])
def test_without_re_training_a_step_is_believed_after_two_more_merges(rules: Rules) -> None:
    history = quiet(15, rules=rules)
    bad = history.merge(12)
    assert history.verdict(bad) == "suspect"
    history.merge()
    history.merge()
    assert history.verdict(bad) == "worse"
    assert history.asked == []


def test_a_job_that_ignores_its_seed_is_noticed_once_and_judged_without() -> None:
    history = quiet(15, ignores_seed=True)
    asked = len(history.asked)
    bad = history.merge(12)
    assert len(history.asked) - asked <= 1
    assert history.judgement
    assert "ignores its seed" in history.judgement.notes[0]
    history.merge()
    history.merge()
    assert history.verdict(bad) == "worse"


def test_a_large_change_among_the_first_runs_is_trained_twice_on_both_sides() -> None:
    history = quiet(1)
    bad = history.merge(20)
    assert history.verdict(bad) == "worse"
    assert sorted(history.asked) == sorted([sha_of(0)] * 2 + [bad.sha] * 2)
    good = quiet(1)
    assert good.verdict(good.merge(-20)) == "better"


@pytest.mark.parametrize("step", [-20, -60])
def test_a_large_improvement_among_the_first_runs_is_no_suspect_while_it_is_trained_again(step: float) -> None:
    first = draw(0, 0.5)
    good = draw(1, 0.5 + step * SD)
    told = judge([first, good])
    assert told.next_retraining
    assert told.verdicts[-1].verdict == "too few runs"
    assert told.events == ()


def test_an_operators_change_starts_again_and_is_marked() -> None:
    history = quiet(10)
    changed = [history.merge(15, variables="other", changed_variables=("ds_epochs",)), history.merge(variables="other")]
    assert [history.verdict(one) for one in changed] == ["not comparable", "too few runs"]
    assert history.judgement
    (mark,) = history.judgement.marks
    assert (mark.run, mark.text, mark.is_new_series) == (changed[0].run, "the operator changed ds_epochs", True)
    assert history.judgement.events == ()


def test_another_machine_is_marked_and_nothing_is_unchanged_across_it() -> None:
    history = quiet(10)
    last = history.draws[-1]
    other = history.add(inert(last, 10)._replace(machine="other"))
    assert history.verdict(other) == "no change seen"
    assert history.judgement
    assert [mark.is_new_series for mark in history.judgement.marks] == [False]


def test_a_failed_merge_shares_the_blame_of_the_next() -> None:
    history = quiet(12)
    failed = history.add(draw(12, None))
    bad = history.merge(10)
    assert history.verdict(failed) == "failed"
    assert history.judgement
    assert history.judgement.verdicts[-1].culprits == (bad.sha, failed.sha)


def at(history: History, place: int) -> None:
    """A merge at a place that was skipped, or after some that are."""
    history.add(draw(place, history.random.gauss(history.level, SD)))


def test_merges_that_never_ran_share_the_blame_and_training_them_narrows_it() -> None:
    history = quiet(20)
    history.level += 12 * SD
    at(history, 26)
    assert history.judgement
    (event,) = (one for one in history.judgement.events if one.state == "open")
    (gap,) = event.gaps
    assert (gap.after, gap.before, gap.merges) == (sha_of(19), sha_of(26), 6)
    assert gap.chance == pytest.approx(event.culprits[0][1], abs=1e-3)
    assert gap.chance * 7 == pytest.approx(1, abs=0.11)
    assert [(one.after, one.merges) for one in history.judgement.gaps] == [(gap.after, 6)]
    told = history.judgement.verdicts[-1]
    assert told.verdict == "worse"
    assert "one of 7 merges, 6 of them not trained" in told.reason
    assert told.p == pytest.approx(1 / 7, abs=0.02)
    at(history, 23)  # the culprit is among 20 to 23
    (event,) = (one for one in history.judgement.events if one.state == "open")
    assert (event.start, [one.merges for one in event.gaps]) == (sha_of(23), [3])
    history.level -= 12 * SD
    at(history, 22)
    (event,) = (one for one in history.judgement.events if one.state == "open")
    assert (event.start, event.gaps, history.judgement.gaps) == (sha_of(23), (), ())


def test_no_gap_is_left_in_doubt_once_the_step_is_accepted_or_recovered() -> None:
    history = quiet(20)
    history.level += 12 * SD
    at(history, 24)
    assert history.judgement
    assert history.judgement.gaps
    assert judge(history.draws, accepted=[sha_of(24)]).gaps == ()
    history.merge(-12)
    assert history.judgement.gaps == ()


def test_an_unsure_suspicion_asks_for_re_trainings_not_for_skipped_merges() -> None:
    history = quiet(20)
    judgement = judge([*history.draws, draw(24, history.level + 4 * SD)])
    assert judgement.next_retraining
    assert judgement.gaps == ()


def test_skipped_merges_in_a_row_of_equal_results_changed_nothing() -> None:
    history = quiet(12)
    history.add(inert(history.draws[-1], 20))
    history.merge(12)
    assert history.judgement
    assert history.judgement.events[-1].gaps == ()


@pytest.mark.parametrize("seed", range(4))
def test_a_gap_of_hundreds_alarms_nobody(seed: int) -> None:
    history = quiet(20, seed=seed)
    at(history, 900)
    for place in range(901, 910):
        at(history, place)
    assert history.judgement
    assert {event.state for event in history.judgement.events} <= {"dismissed"}


def test_a_calibration_replaces_the_prior() -> None:
    runs = [draw(n, 0.16 + 0.0001 * n) for n in range(3)]
    plain, known = judge(runs), judge(runs, calibrations=[Calibration(0.03, 9, runs[0].signature)])
    assert plain.sigma
    assert known.sigma
    assert known.sigma.sigma > 4 * plain.sigma.sigma


STEPS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 3.0, -3.0, 9.0, -9.0, None, "same"]), min_size=1, max_size=40)


@settings(deadline=None, max_examples=40)
@given(STEPS, st.integers(0, 1000))
def test_the_same_runs_give_the_same_verdicts_in_any_order(steps: list[object], seed: int) -> None:
    history = History(seed=seed)
    for step in steps:
        if step == "same" and history.draws and history.draws[-1].rate is not None:
            history.same()
        elif step is None:
            history.add(draw(len({one.place for one in history.draws}), None))
        else:
            history.merge(step if isinstance(step, float) else 0.0)
    shuffled = history.draws[:]
    random.Random(seed).shuffle(shuffled)
    assert history.judgement
    anew = judge(shuffled)
    assert anew == history.judgement
    assert repr(anew.verdicts) == repr(history.judgement.verdicts)
    assert [one.sha for one in anew.verdicts] == [sha_of(n) for n in range(len(anew.verdicts))]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_suspect_whose_re_trainings_fail_ends_undecided_until_more_merges_tell(seed: int) -> None:
    history = History(seed=seed)
    for _ in range(12):
        history.merge()
    history.fails = {f"run{place:06d}" for place in range(100)}
    bad = history.merge(step=5)
    assert bad.sha in history.asked
    assert max(map(history.asked.count, history.asked)) == 2
    assert history.verdict(bad) == "cannot tell"
    assert history.judgement
    (event,) = history.judgement.events
    assert (event.start, event.state) == (bad.sha, "cannot tell")
    for _ in range(3):
        history.merge()
    assert history.judgement.next_retraining is None
    history.fails = set()  # mended
    for _ in range(3):
        history.merge()
    assert history.verdict(bad) == "worse"


def test_a_suspect_is_trained_again_after_one_failure() -> None:
    history = History(seed=3)
    for _ in range(12):
        history.merge()
    bad = draw(12, 0.16 + 6 * SD)._replace(run="run000012")
    history.level += 6 * SD
    history.draws += [bad, bad._replace(run="run000012-f", rate=None, digest="", rerun_of=bad.run)]
    history.levels[bad.run] = history.level
    history._retrain()
    assert history.verdict(bad) == "worse"


def states(history: History) -> list[tuple[str, str, str | None]]:
    assert history.judgement
    return [(one.start, one.state, one.closed_by) for one in history.judgement.events if one.state != "dismissed"]


@pytest.mark.parametrize("further", [0, 3])
def test_a_merge_that_ends_two_regressions_closes_both(further: int) -> None:
    history = History(seed=4)
    for _ in range(12):
        history.merge()
    first, second = history.merge(step=10), history.merge(step=8)
    assert [state for _, state, _ in states(history)] == ["open", "open"]
    fix = history.merge(step=-18 - further)
    assert states(history) == [(first.sha, "recovered", fix.sha), (second.sha, "recovered", fix.sha)]
    assert history.verdict(fix) == "recovered"


def test_a_merge_that_ends_the_second_regression_leaves_the_first_one_open() -> None:
    history = History(seed=5)
    for _ in range(12):
        history.merge()
    first, second = history.merge(step=10), history.merge(step=8)
    fix = history.merge(step=-8, reverts=(second.sha,))
    for _ in range(6):
        history.merge()
    assert states(history) == [(first.sha, "open", None), (second.sha, "recovered", fix.sha)]
    other = history.merge(step=-10, reverts=(first.sha,))
    assert states(history) == [(first.sha, "recovered", other.sha), (second.sha, "recovered", fix.sha)]


def test_a_re_training_of_an_earlier_merge_that_nobody_asked_for_ends_no_suspicion() -> None:
    history = History(seed=6)
    for _ in range(12):
        history.merge()
    early = history.draws[9]
    history.draws.append(early._replace(run="person", rate=0.1605, digest="person", rerun_of=early.run))
    bad = draw(12, 0.16 + 9 * SD)
    judgement = judge([*history.draws, bad])
    assert judgement.verdicts[-1].verdict == "suspect"
    assert judgement.next_retraining
    assert judgement.next_retraining.sha == bad.sha
    assert [(event.start, event.state, event.retrained) for event in judgement.events] == [(bad.sha, "suspect", 0)]


@pytest.mark.parametrize(("fall", "expected"), [(6, "recovered"), (9, "recovered"), (2.5, "open")])
def test_a_revert_in_a_later_series_closes_its_event(fall: float, expected: str) -> None:
    history = History(seed=7)
    for _ in range(12):
        history.merge()
    bad = history.merge(step=6)
    assert states(history) == [(bad.sha, "open", None)]
    for _ in range(8):
        history.merge(signature="another test set")
    fix = history.merge(step=-fall, signature="another test set", reverts=(bad.sha,))
    for _ in range(4):
        history.merge(signature="another test set")
    assert states(history) == [(bad.sha, expected, fix.sha if expected == "recovered" else None)]
    assert (history.verdict(fix) == "recovered") is (expected == "recovered")


def test_a_fall_that_reverts_nothing_closes_no_event_of_an_earlier_series() -> None:
    history = History(seed=7)
    for _ in range(12):
        history.merge()
    bad = history.merge(step=6)
    for _ in range(8):
        history.merge(variables="others")
    better = history.merge(step=-6, variables="others")
    assert states(history) == [(bad.sha, "open", None)]
    assert history.verdict(better) == "better"


def reverted_in_a_new_series(
    seed: int, before: int, fall: float, *, rise: float = 8, is_named: bool = True
) -> tuple[History, Draw, Draw]:
    """A regression, then the operator's change, so many merges under it, and a revert."""
    history = quiet(15, seed=seed)
    bad = history.merge(rise)
    for _ in range(before):
        history.merge(variables="other", changed_variables=("ds_epochs",))
    history.asked.clear()
    fix = history.merge(-fall, variables="other", reverts=(bad.sha,) if is_named else ())
    return history, bad, fix


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("before", [1, 2, 3])
@pytest.mark.parametrize("rise", [9, 12])
def test_a_revert_among_the_first_merges_of_a_new_series_closes_its_event(seed: int, before: int, rise: int) -> None:
    history, bad, fix = reverted_in_a_new_series(seed, before, rise, rise=rise)
    assert history.judgement
    event = next(one for one in history.judgement.events if one.start == bad.sha)
    assert (event.state, event.closed_by, history.verdict(fix)) == ("recovered", fix.sha, "recovered")
    assert history.asked == []
    history.merge(variables="other")
    assert history.verdict(fix) == "recovered"


@pytest.mark.parametrize("seed", range(6))
def test_a_revert_that_brings_nothing_back_in_a_new_series_says_why_its_event_stays_open(seed: int) -> None:
    for before, fall, why in [(2, 0.0, "has not fallen as far as it rose"), (0, 8, "was not measured in this series")]:
        history, bad, fix = reverted_in_a_new_series(seed, before, fall)
        assert history.judgement
        event = next(one for one in history.judgement.events if one.start == bad.sha)
        assert event.state == "open"
        reason = next(one.reason for one in history.judgement.verdicts if one.sha == fix.sha)
        assert f"the event of {bad.sha[:8]}, which it reverts, stays open" in reason
        assert why in reason


def test_a_fall_among_the_first_merges_of_a_new_series_closes_no_event_that_it_does_not_name() -> None:
    history, bad, _ = reverted_in_a_new_series(1, 2, 8, is_named=False)
    assert history.judgement
    assert next(one.state for one in history.judgement.events if one.start == bad.sha) == "open"
