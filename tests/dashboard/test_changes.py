"""What each run is compared with, and what the page is told of events."""

from __future__ import annotations

from typing import Any

from deepspeech_wer.dashboard.changes import changes
from deepspeech_wer.dashboard.judged import judged
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.records import Run
from tests.invented_runs import done, failed


def expanded(run_lengths: list[Any]) -> list[Any]:
    pairs = zip(run_lengths[::2], run_lengths[1::2], strict=True)
    return [value for value, count in pairs for _ in range(count)]


def compared(runs: list[Run], sigma: float = 0.3) -> dict[str, list[Any]]:
    columns = changes(runs, {run.id: sigma for run in runs})
    direction = columns["same_direction"]
    words = [direction["values"][code] for code in expanded(direction["codes"])]
    return {"before": expanded(columns["before"]), "same": expanded(columns["same"]), "direction": words}


def signed(run: Run, signature: str) -> Run:
    assert run.hyper
    return run._replace(hyper={**run.hyper, "results": {**run.hyper["results"], "signature": signature}})


def test_a_changed_parameter_has_a_merge_before_it_but_no_equal() -> None:
    """20.5 -> 45.0 -> 44.8: the page of version 1 said nothing of the first step."""
    runs = [done(1, 0.205), done(2, 0.45, dropout_rate=0.3), done(3, 0.448, dropout_rate=0.3), done(4, 0.206)]
    assert compared(runs) == {
        "before": [0, 1, 1, 1],
        "same": [0, 0, 1, 3],
        "direction": ["", "", "", "noise"],
    }


def test_the_second_change_has_a_direction_where_it_is_another_than_the_first() -> None:
    runs = [done(1, 0.2), done(2, 0.3, epochs=5), done(3, 0.25), done(4, 0.2, epochs=5)]
    assert compared(runs)["direction"] == ["", "", "worse", "better"]
    assert compared(runs, sigma=3)["direction"] == ["", "", "noise", "noise"]
    assert changes(runs, {})["same_direction"]["values"] == [""]


def test_failed_and_unmeasured_runs_are_compared_with_nothing_and_by_nobody() -> None:
    runs = [done(1, 0.2), failed(2), done(3, None), done(4, 0.2)]
    assert compared(runs)["before"] == [0, 0, 0, 3]


def test_another_test_set_is_not_compared() -> None:
    runs = [signed(done(1, 0.2), "a"), signed(done(2, 0.4), "b"), signed(done(3, 0.2), "a")]
    assert compared(runs)["before"] == [0, 0, 2]


def test_paths_are_no_parameters() -> None:
    runs = [done(n, 0.2, checkpoint_dir=f"/data/{n}") for n in (1, 2, 3)]
    assert compared(runs)["same"] == [0, 1, 1]


def verdicts(runs: list[Run], **event: Any) -> dict[str, Any]:
    start = runs[2].merge.sha
    verdict = {"verdict": "no change seen", "reason": "", "sigma_pp": 0.3, "sigma_df": 4.0, "retrained": 0}
    plain = {"id": start[:12], "start": start, "culprits": [[start, 0.97]], "step_pp": 5.0, "interval_pp": [4.0, 6.0]}
    return {
        "verdicts": [{**verdict, "run": run.id, "sha": run.merge.sha} for run in runs],
        "events": [{**plain, "state": "open", "closed_by": None, "retrained": 1, **event}],
        "calibrations": [],
        "marks": [{"run": runs[1].id, "sha": runs[1].merge.sha, "text": "other processor", "is_new_series": False}],
    }


def test_an_event_has_the_trainings_that_it_rests_on() -> None:
    runs = [done(1, 0.2), failed(2), done(3, 0.25), done(4, 0.251)]
    again = done(5, 0.252)._replace(merge=runs[2].merge, rerun_of=runs[2].id, seed=7)
    [event] = judged(verdicts(runs), runs, again=[again]).events
    assert [one["sha"] for one in event["trained"]] == [runs[0].merge.sha, runs[2].merge.sha]
    assert [[run, failure] for run, _, failure in event["trained"][1]["runs"]] == [[runs[2].id, None], [again.id, None]]
    assert event["why"] is None


def test_an_accepted_event_has_its_reason() -> None:
    runs = [done(1, 0.2), done(2, 0.2), done(3, 0.25)]
    decision = Decision(runs[2].merge.sha, "kdavis", "the new test set is harder", "2023-03-05T00:00:00Z")
    [event] = judged(verdicts(runs, state="accepted"), runs, accepted=[decision]).events
    assert event["why"] == {"who": "kdavis", "why": "the new test set is harder", "at": "2023-03-05T00:00:00Z"}
    fixed = verdicts(runs, state="recovered", closed_by=runs[2].merge.sha)  # accepted afterwards
    [event] = judged(fixed, runs, accepted=[decision]).events
    assert event["why"]["who"] == "kdavis"
    [event] = judged(verdicts(runs), runs, accepted=[decision]).events
    assert event["why"] is None


def test_a_band_is_the_95_percent_interval_of_one_training() -> None:
    runs = [done(1, 0.2), done(2, 0.2), done(3, 0.25)]
    shown = judged(verdicts(runs), runs)
    assert round(shown.bands[runs[0].id], 3) == 0.833  # 2.776 * 0.3
    assert shown.marks == [(runs[1].id, "other processor", False)]


def test_the_headline_names_the_run_that_it_is_about() -> None:
    runs = [done(1, 0.2), done(2, 0.2), done(3, 0.25), done(4, 0.25)]
    headline = judged(verdicts(runs), runs).headline
    assert headline
    assert headline[0] == "worse"
    assert headline[2] == runs[2].id


def test_the_headline_of_a_step_that_is_accepted_does_not_call_it_worse() -> None:
    runs = [done(1, 0.2), done(2, 0.2), done(3, 0.25)]
    record = verdicts(runs, state="accepted")
    record["verdicts"][-1] |= {"verdict": "worse", "reason": "+5.00 pp (95 %: 4.00 to 6.00); accepted"}
    headline = judged(record, runs).headline
    assert headline
    assert headline[0] == "accepted"
    assert headline[1].startswith("Accepted: 25.00 %, ")
    assert headline[1].endswith(". +5.00 pp (95 %: 4.00 to 6.00).")
    record["events"][0]["start"] = runs[1].merge.sha
    headline = judged(record, runs).headline
    assert headline
    assert headline[0] == "worse"


def test_the_headline_ends_its_sentence_since_the_page_says_after_it_when() -> None:
    runs = [done(1, 0.2), done(2, 0.2), done(3, 0.25)]
    record = verdicts(runs, state="recovered")
    for reason in ("the level is back", "the level is back."):
        record["verdicts"][-1]["reason"] = reason
        headline = judged(record, runs).headline
        assert headline
        assert headline[1].endswith(" the level is back.")


def test_a_recovery_names_the_culprit_its_author_and_how_large_it_was() -> None:
    runs = [done(1, 0.2), done(2, 0.2), done(3, 0.25), done(4, 0.2)]
    runs[2] = runs[2]._replace(merge=runs[2].merge._replace(author="Ben"))
    record = verdicts(runs, state="recovered", closed_by=runs[3].merge.sha)
    record["verdicts"][-1] |= {"verdict": "recovered", "reason": "-5.00 pp (95 %: -6.00 to -4.00): the level is back"}
    headline = judged(record, runs).headline
    assert headline
    assert headline[1].endswith(f" -5.00 pp: the level is back. This ends +5.0 pp of {runs[2].merge.sha[:8]} by Ben.")
    record["events"][0]["start"] = "f" * 40  # its run cannot be read
    headline = judged(record, runs).headline
    assert headline
    assert headline[1].endswith("This ends +5.0 pp of ffffffff.")
    record["events"][0]["closed_by"] = runs[1].merge.sha
    headline = judged(record, runs).headline
    assert headline
    assert "This ends" not in headline[1]
