"""Archived runs as the verdicts see them, and what is trained again."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, cli, dashboard, decision_files, exit_codes
from deepspeech_wer.commands import verdicts as commands
from deepspeech_wer.configuration import settings
from deepspeech_wer.configuration.settings import PublishedLogs, Retraining
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.judging import calibrating, standing, verdict_file
from deepspeech_wer.records import Merge, Run
from tests.conftest import Repository
from tests.test_automation import JOB, tick
from tests.test_automation import tracked as tracked  # the fixture

WANTED = Retraining("on", 12, 0.3, anchor=True)


def run(number: int, rate: Any, *, sha: str | None = None, **fields: Any) -> Run:
    """A run of the merge `number`, with a test WER; None if it failed."""
    sha = sha or f"{number:040x}"
    stamp = f"2026-01-01T00:{number:02}:00Z"
    hyper = {
        "context": {"time_started": stamp[:-1]},
        "parameters": {},
        "results": {"test_wer": rate, "last_validation_wer": None, "last_train_wer": None},
    }
    made = Run(
        id=f"20260101-00{number:02}00-{sha[:12]}",
        root=Path("/nowhere"),
        merge=Merge(sha, number, f"merge {number}", "Ada", stamp, ()),
        status="done",
        failure=None,
        detail="",
        attempt=1,
        started_at=stamp,
        finished_at=stamp,
        machine="m",
        hyper=hyper,
        number=number,
        variables={},
    )
    failed = {"status": "failed", "failure": "exit 1", "hyper": None} if rate is None else {}
    return made._replace(**failed, **fields)


def judged(tmp_path: Path, runs: list[Run], results: dict[str, str] | None = None) -> dict[str, Any]:
    places = settings.load().places._replace(data=tmp_path)
    return verdict_file.make(places, runs, results or {}, WANTED)


@pytest.mark.parametrize("odd", [1e308, 1.7e308, 101, 10**300, 5e-324, 0, 0.0, 100, None])
@pytest.mark.parametrize("place", [0, 3, 7])
def test_no_rate_that_a_job_may_write_stops_the_judging(tmp_path: Path, odd: Any, place: int) -> None:
    runs = [run(number, odd if number == place + 1 else 0.16 + number / 1e4) for number in range(1, 9)]
    record = judged(tmp_path, runs)
    assert len(record["verdicts"]) == 8
    json.dumps(record, allow_nan=False)


@pytest.mark.parametrize("count", [10**400, -1, 1.5, "7", None, [1]])
def test_no_count_that_a_job_may_write_stops_the_judging(tmp_path: Path, count: Any) -> None:
    runs = [run(number, 0.16 + number / 1e4) for number in range(1, 9)]
    for one in runs:
        assert one.hyper
        one.hyper["results"]["test_errors"] = dict.fromkeys(
            ("substitutions", "deletions", "insertions", "words"), count
        )
    assert len(judged(tmp_path, runs)["verdicts"]) == 8


def test_a_run_repeated_by_hand_does_not_accuse_the_job(tmp_path: Path) -> None:
    runs = [run(number, 0.16 + number % 3 / 1e3) for number in range(1, 9)]
    again = run(9, 0.162, sha=runs[-1].merge.sha)._replace(number=8)
    results = {one.id: one.merge.sha for one in (*runs, again)}
    assert judged(tmp_path, [*runs, again], results)["notes"] == []


def test_a_failed_merge_ends_no_series(tmp_path: Path) -> None:
    runs = [run(number, None if number == 5 else 0.16 + number / 1e4) for number in range(1, 9)]
    found = [verdict["verdict"] for verdict in judged(tmp_path, runs)["verdicts"]]
    assert found[4] == "failed"
    assert "not comparable" not in found


def test_the_order_in_which_runs_finished_does_not_matter(tmp_path: Path) -> None:
    runs = [run(number, 0.16 + number % 4 / 1e3) for number in range(1, 12)]
    assert judged(tmp_path, runs) == judged(tmp_path, runs[::-1])


def numbers(name: str = "rerun_of") -> list[Any]:
    return [getattr(one, name) for one in archive.load(settings.load().places.runs)]


@pytest.mark.usefixtures("tracked")
def test_after_the_operator_changed_a_variable_the_newest_merge_is_trained_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_epochs", "3")
    assert tick() == 0
    assert numbers() == [None]
    monkeypatch.setenv("ds_epochs", "5")
    assert tick() == tick() == 0
    first, anchor = archive.load(settings.load().places.runs)
    assert (anchor.rerun_of, anchor.seed, anchor.variables) == (first.id, None, {"ds_epochs": "5"})
    assert "again, as the first run after the operator changed ds_epochs" in capsys.readouterr().err


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("off", ["ds_anchor=0", "ds_retrain_share=0"])
def test_no_anchor_is_trained_where_nobody_wants_one(monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    monkeypatch.setenv(*off.split("="))
    assert tick() == 0
    monkeypatch.setenv("ds_epochs", "5")
    assert tick() == 0
    assert numbers() == [None]


@pytest.mark.usefixtures("tracked")
def test_a_variable_that_differs_in_every_tick_trains_no_endless_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(7):
        monkeypatch.setenv("ds_name_of_run", f"at {number}")
        assert tick() == 0
    assert len(numbers()) == 1 + 3


def test_a_re_training_that_fails_is_given_up_and_stops_no_queue(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = JOB.replace("#!/bin/sh\n", '#!/bin/sh\n[ -z "$ds_wer_rerun_of" ] || exit 1\n')
    assert fails != JOB
    monkeypatch.setenv("ds_retrain", "on")
    monkeypatch.setenv("ds_job_attempts", "1")
    assert tick() == 0
    tracked.merge("much better", {"bin/run-wer-automation.sh": fails, "wer": "wer=0.3\n"})
    assert tick() == 0  # the merge itself is good
    assert tick() == 0
    tracked.merge("the next", {"wer": "wer=0.31\n"})
    assert tick() == 0
    own = {one.merge.subject for one in archive.load(settings.load().places.runs) if one.rerun_of is None}
    assert own == {"root", "much better", "the next"}
    again = [one for one in archive.load(settings.load().places.runs) if one.rerun_of]
    # The parent's takes its turn, and repeats its result: the job ignores its seed.
    assert [one.failure for one in again] == ["exit 1", None]


def test_a_suspect_whose_re_trainings_fail_is_no_suspect_for_ever(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fails = JOB.replace("#!/bin/sh\n", '#!/bin/sh\n[ -z "$ds_wer_rerun_of" ] || exit 1\n')
    monkeypatch.setenv("ds_retrain", "on")
    monkeypatch.setenv("ds_retrain_share", "1")
    monkeypatch.setenv("ds_job_attempts", "1")
    for number, rate in enumerate(("0.301", "0.300", "0.299", "0.302", "0.301", "0.303", "0.45")):
        tracked.merge(f"merge {number}", {"bin/run-wer-automation.sh": fails, "wer": f"wer={rate}\n"})
        tick()
    for _ in range(4):
        tick()
    failed = [one for one in archive.load(settings.load().places.runs) if one.rerun_of]
    assert [one.failure for one in failed] == ["exit 1"] * 4
    assert len({one.merge.sha for one in failed}) == 2  # the suspect, and the merge before it
    record = standing.read(settings.load().places)
    assert record["retraining"] is None
    newest = record["verdicts"][-1]
    assert newest["verdict"] == "cannot tell"
    assert newest["reason"].endswith(f"and no more is learnt: the re-trainings of {newest['sha'][:8]} failed")
    assert newest["retrained"] == 4
    assert f"verdict: cannot tell: {newest['reason']}" in capsys.readouterr().err


@pytest.mark.usefixtures("tracked")
def test_a_decision_of_another_shape_is_set_aside() -> None:
    assert tick() == 0
    requests = settings.load().places.requests
    decision_files.accept(requests, Decision("a" * 40, "ada", "why", "2026-01-01T00:00:00Z"))
    (path,) = requests.iterdir()
    path.write_text('{"version": 1, "sha": "b", "colour": "red"}')
    assert decision_files.accepted(requests) == []
    assert [one.name for one in requests.iterdir()] == [f"{path.name}.unreadable"]
    assert cli.main(["verdicts"]) == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9}', "\x00" * 9])
def test_damaged_verdicts_are_made_again(tracked: Repository, text: str) -> None:
    assert tick() == 0
    path = settings.load().places.verdicts
    before = path.read_bytes()
    path.write_text(text)
    assert cli.main(["verdicts", "--json"]) == 0
    tracked.merge("next", {"wer": "wer=0.5\n"})
    assert tick() == 0
    assert json.loads(path.read_bytes())["verdicts"][0] == json.loads(before)["verdicts"][0]


def test_the_log_tells_each_verdict_once(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tick() == 0
    assert "verdict: too few runs" in capsys.readouterr().err
    sha = tracked.merge("a document", {"README": "x\n"})
    assert tick() == 0
    assert capsys.readouterr().err.count(f"{sha[:12]}: verdict: unchanged: ") == 1
    monkeypatch.setenv("ds_retrain_budget", "3")  # judged anew
    assert tick() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("lost", ["cache/retraining.json", "data/verdicts.json"])
@pytest.mark.parametrize("how", ["removed", "damaged"])
def test_what_is_derived_of_the_verdicts_is_made_again_by_an_idle_tick(
    tracked: Repository, capsys: pytest.CaptureFixture[str], lost: str, how: str
) -> None:
    tracked.merge("next", {"wer": "wer=0.4\n"})
    assert tick() == 0
    places = settings.load().places
    path = places.retraining if lost.startswith("cache") else places.verdicts
    before, times = path.read_bytes(), []
    if how == "removed":
        path.unlink()
    else:
        path.write_text('{"version": 1')
    capsys.readouterr()
    for _ in range(2):
        assert tick() == 0
        times.append(path.stat().st_mtime_ns if path.exists() else 0)
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if ": verdict: " not in line] == []
    assert len(said) <= 1  # without the record from before, the newest verdict is told again
    assert times[0] == times[1]
    if how == "removed" or lost.startswith("cache"):
        assert path.read_bytes() == before


@pytest.mark.parametrize("named", ["the culprit", "a merge that changed nothing after it"])
def test_an_accepted_event_names_who_accepted_it_and_why(tmp_path: Path, named: str) -> None:
    runs = [run(number, 0.16 + number % 4 / 1e3) for number in range(1, 10)]
    bad, document = run(10, 0.31), run(11, 0.31)
    results = {one.id: "the same" for one in (bad, document)}
    sha = bad.merge.sha if named == "the culprit" else document.merge.sha
    places = settings.load().places._replace(data=tmp_path)
    decision_files.accept(places.requests, Decision(sha, "ada", "new corpus", "2026-02-01T00:00:00Z"))
    record = verdict_file.make(places, [*runs, bad, document], results, WANTED)
    accepted, logs = decision_files.accepted(places.requests), PublishedLogs("trimmed", ("corpus",))
    (event,) = dashboard.decided(record, accepted)["events"]
    assert event["state"] == "accepted"
    assert event["accepted"] == {"who": "ada", "why": "new corpus", "at": "2026-02-01T00:00:00Z"}
    shown = dashboard.judged(record, [*runs, bad, document], accepted=accepted, logs=logs)
    assert shown.events[0]["why"] == {"who": "ada", "why": "new ********", "at": "2026-02-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("at", "expected"), [("2026-01-01T00:00:00Z", "accepted"), ("2027-01-01T00:00:00Z", "recovered")]
)
def test_a_decision_counts_from_when_it_was_made(tmp_path: Path, at: str, expected: str) -> None:
    runs = [run(number, 0.16 + number % 4 / 1e3) for number in range(1, 10)]
    bad = run(10, 0.31)
    again = [
        run(number, rate)._replace(merge=of.merge, number=of.number, rerun_of=of.id, seed=number)
        for number, of, rate in [(11, bad, 0.3111), (12, bad, 0.3112), (13, runs[-1], 0.1603), (14, runs[-1], 0.1601)]
    ]
    history = [*runs, bad, *again, *(run(number, 0.16 + number % 4 / 1e3) for number in range(15, 20))]
    places = settings.load().places._replace(data=tmp_path)
    before = verdict_file.make(places, history, {}, WANTED)
    assert [event["state"] for event in before["events"]] == ["recovered"]
    decision_files.accept(places.requests, Decision(bad.merge.sha, "ada", "new corpus", at))
    record = verdict_file.make(places, history, {}, WANTED)
    (event,) = dashboard.decided(record, decision_files.accepted(places.requests))["events"]
    assert (event["state"], event["accepted"]["who"]) == (expected, "ada")
    assert (record["verdicts"] == before["verdicts"]) == (expected == "recovered")


def test_an_event_that_nobody_accepted_names_nobody(tmp_path: Path) -> None:
    runs = [run(number, 0.16 + number % 4 / 1e3) for number in range(1, 10)]
    (event,) = dashboard.decided(judged(tmp_path, [*runs, run(10, 0.31)]), [])["events"]
    assert (event["state"], event["accepted"]) == ("suspect", None)


def seeds(own: Run, rates: list[float], **fields: Any) -> list[Run]:
    """Calibration runs of a merge."""
    return [
        run(40 + number, rate, sha=own.merge.sha, rerun_of=own.id, seed=number, calibrates=True, **fields)._replace(
            number=own.number
        )
        for number, rate in enumerate(rates, 1)
    ]


def test_calibration_runs_give_the_noise_of_their_series(tmp_path: Path) -> None:
    own = run(1, 0.16)
    rates = [0.16, 0.17, 0.15, 0.165, 0.155, 0.158]
    record = judged(tmp_path, [own, *seeds(own, rates), run(2, 0.161)])
    (one,) = record["calibrations"]
    assert (one["runs"], one["is_used"], one["run"]) == (6, True, own.id)
    assert record["verdicts"][-1]["sigma_pp"] == pytest.approx(one["sd_pp"], abs=0.01)
    assert [verdict["sha"] for verdict in record["verdicts"]] == [own.merge.sha, run(2, 0).merge.sha]
    (other,) = judged(tmp_path, [own, *seeds(own, rates), run(2, 0.161, variables={"ds_epochs": "9"})])["calibrations"]
    assert other["is_used"] is False
    assert judged(tmp_path, [own, run(2, 0.161)])["calibrations"] == []


def stored(runs: Path, start: datetime, took: timedelta, *, era: int = 1, calibrates: bool = False) -> None:
    """Archive the record of a re-training."""
    sha = f"{start.timestamp():040.0f}"
    name = f"{start:%Y%m%d-%H%M%S}-{sha[:12]}{'' if era == 1 else f'-{era}'}"
    (runs / name).mkdir(parents=True)
    stamps = [moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in (start, start + took)]
    merge = {"sha": sha, "ordinal": 1, "subject": "", "author": "", "committed_at": stamps[0], "parents": []}
    told = {"status": "failed", "failure": "exit 1", "detail": "", "attempt": 1, "machine": "m", "rerun_of": "x"}
    told["calibrates"] = calibrates
    record = {"version": 1, "merge": merge, "started_at": stamps[0], "finished_at": stamps[1], **told}
    (runs / name / "run.json").write_text(json.dumps(record))


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("what", "trainings", "is_spent"),
    [
        ("nothing", [], False),
        ("a third of the day", [(-9, 8, 1)], True),
        ("little of it", [(-9, 7, 1)], False),
        ("several", [(-20, 4, 1), (-9, 4, 1)], True),
        ("yesterday", [(-30, 8, 1)], False),
        ("a clock that was ahead", [(24, 8, 1), (48, 8, 1)], False),
        ("one that was ahead hides nothing", [(24, 8, 1), (-9, 8, 2)], True),
        ("one that was behind hides nothing", [(-20, 4, 1), (-9999, 8, 2), (-9, 4, 2)], True),
        ("set forward in a run", [(-1, 9999, 1)], False),
        ("set back in a run", [(-20, 8, 1), (-1, -9999, 1)], True),
    ],
)
def test_the_share_of_the_day_is_that_of_this_day(
    tmp_path: Path, what: str, trainings: list[tuple[int, int, int]], is_spent: bool
) -> None:
    places = settings.load().places._replace(data=tmp_path)
    for start, hours, era in trainings:
        stored(places.runs, datetime.now(UTC) + start * HOUR, hours * HOUR, era=era)
    assert standing.is_share_spent(places, 1 / 3) == is_spent, what


def test_a_regression_among_skipped_merges_is_narrowed_down_to_its_culprit(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_backlog", "newest")
    monkeypatch.setenv("ds_retrain", "off")
    for number in range(6):
        tracked.merge(f"good {number}", {"wer": f"wer=0.31{number}\n"})
        assert tick() in (0, exit_codes.FAILED)
    names = [f"new {number}" for number in range(12)]
    shas = [
        tracked.merge(name, {"wer": f"wer=0.{'6' if number >= 3 else '3'}{number:02}\n"})
        for number, name in enumerate(names)
    ]
    capsys.readouterr()
    assert tick() == 4  # the regression
    said = capsys.readouterr().err
    began = re.findall(r'"(new \d+)" by .*: training(.*)', said)
    assert began[0][0] == "new 11"
    sought = [number for number, (_, why) in enumerate(began) if why.startswith(", to find the merge that made")]
    assert sought == list(range(1, len(sought) + 1))
    assert {"new 2", "new 3"} <= {name for name, _ in began[1 : len(sought) + 1]}
    assert len(sought) <= 6
    assert sorted(name for name, _ in began) == sorted(names)
    record = standing.load(settings.load().places, settings.load().retraining)
    assert record
    (event,) = (one for one in record["events"] if one["state"] == "open")
    assert (event["start"], event["gaps"]) == (shas[3], [])


@pytest.mark.parametrize("calibrates", [True, False])
def test_what_people_want_takes_nothing_of_the_share(tmp_path: Path, calibrates: bool) -> None:
    places = settings.load().places._replace(data=tmp_path)
    stored(places.runs, datetime.now(UTC) - 9 * HOUR, 9 * HOUR, calibrates=calibrates)
    assert standing.is_share_spent(places, 1 / 3) is not calibrates


def test_what_is_calibrated_was_trained_here_with_its_own_seed() -> None:
    own, imported, failed = run(1, 0.16), run(2, 0.16, imported="/old/hyper.js"), run(3, None)
    assert calibrating.own_run([own, imported, failed, *seeds(own, [0.17])]) == own
    assert calibrating.own_run([imported, failed]) is None


def test_a_calibration_that_is_not_in_use_says_why(tmp_path: Path) -> None:
    first, second = run(1, 0.16), run(2, 0.161)
    rates = [0.16, 0.17, 0.15, 0.165, 0.155]
    later = [one._replace(id=f"{one.id[:11]}5{one.id[12:]}") for one in seeds(second, rates)]
    lines = commands.calibrated(judged(tmp_path, [first, *seeds(first, rates), second, *later])["calibrations"])
    assert [line.endswith("(a newer one is in use)") for line in lines] == [True, False]
    other = run(3, 0.3, variables={"ds_epochs": "9"})
    (line,) = commands.calibrated(judged(tmp_path, [first, *seeds(first, rates), other])["calibrations"])
    assert "(of another series: null, variables " in line


@pytest.mark.parametrize(
    "change", ["none", "a verdict", "an event's line", "cut", "no list", "of an earlier release", "cache lost", "empty"]
)
def test_what_was_judged_is_read_as_the_file_says(tmp_path: Path, change: str) -> None:
    """Verdicts are parsed as they are looked at only where the file is as it was written."""
    places = settings.load().places._replace(data=tmp_path / "data", cache=tmp_path / "cache")
    places.data.mkdir()
    places.cache.mkdir()
    runs = [run(number, 0.3 + number % 3 / 1000) for number in range(1, 0 if change == "empty" else 12)]
    verdict_file.update(places, runs, {}, WANTED)
    text = places.verdicts.read_text()
    match change:
        case "a verdict":
            text = text.replace("no change seen", "not to be seen", 1)
        case "an event's line":
            text = text.replace('"events": []', '"events": [1]')
        case "cut":
            text = text[: len(text) // 2]
        case "no list":
            text = json.dumps({**json.loads(text), "verdicts": {"a": 1}})
        case "of an earlier release":
            text = json.dumps(json.loads(text), indent=1)
        case "cache lost":
            places.retraining.unlink()
    places.verdicts.write_text(text)
    record = standing.read(places)
    expected = {} if change == "cut" else json.loads(text)
    if record:
        record["verdicts"] = record["verdicts"] if change == "no list" else list(record["verdicts"])
    assert record == expected
