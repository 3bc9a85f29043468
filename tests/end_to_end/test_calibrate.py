"""`calibrate` with a scripted job of known noise: the seeds it wants, once each, whatever is killed on the way."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
from pathlib import Path
from statistics import stdev
from typing import Any

import pytest

from deepspeech_wer import archive
from deepspeech_wer.jobs import work as works
from deepspeech_wer.machine import lock
from deepspeech_wer.records import Run
from tests.conftest import Repository
from tests.end_to_end.test_verdicts import JOB, Story, orders
from tests.test_automation import TICK
from tests.waiting import until


def runs(story: Story) -> list[Run]:
    """Return the runs in the order in which they were archived: ids do not tell it within a second."""
    return sorted(archive.load(data(story) / "runs"), key=lambda run: (run.directory / "run.json").stat().st_mtime_ns)


def data(story: Story) -> Path:
    return Path(story.environment["ds_dataroot"], "deepspeech_wer")


def said(story: Story, *arguments: str) -> str:
    done = story.call(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def measured(story: Story) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((data(story) / "verdicts.json").read_text())["calibrations"]
    return found


def test_eight_seeds_of_the_newest_merge_give_the_noise(repository: Repository, tmp_path: Path) -> None:
    story = Story(repository, tmp_path)
    newest = story.merge("quiet")
    assert "nothing is calibrated yet" in said(story, "calibrate", "--show")
    assert f"{newest[:12]} " in said(story, "calibrate")
    assert "to be calibrated: " in said(story, "status")
    assert "8 to come, `calibrate --stop` withdraws it" in said(story, "calibrate")
    story.tick()
    own, *again = [run for run in runs(story) if run.merge.sha == newest]
    assert [(run.calibrates, run.rerun_of) for run in again] == [(True, own.id)] * 8
    assert len({run.seed for run in again}) == 8
    (one,) = measured(story)
    rates = [run.hyper["results"]["test_wer"] for run in again if run.hyper]
    assert one["sd_pp"] == pytest.approx(100 * stdev(rates), abs=1e-4)
    assert one["sd_interval_pp"][0] < 0.3 < one["sd_interval_pp"][1]  # the job's noise
    assert (one["runs"], one["broken"], one["is_used"]) == (8, 0, True)
    assert f"calibrated: {one['sentence']}" in story.log
    for command in (("verdicts",), ("status",), ("calibrate", "--show")):
        assert one["sentence"] in said(story, *command)
    assert "to be calibrated" not in said(story, "status")
    assert f"{own.id} with seed {again[0].seed}, to measure the noise\n" in said(story, "show", again[0].id)
    verdict = story.verdicts()[-1]  # two merges, but a level that is known
    assert (verdict["verdict"], verdict["retrained"]) == ("no change seen", 0)
    assert verdict["sigma_df"] >= 7
    assert "calibrates" in (data(story) / "site" / "js" / "hyper.js").read_text()
    page = next((data(story) / "site" / "js").glob("index.*.js")).read_text()
    assert f"sd {one['sd_pp']:.2f} pp" in page
    assert len(list((data(story) / "runs").iterdir())) == 10
    story.tick()
    assert len(runs(story)) == 10
    said(story, "calibrate", "--runs", "2")  # once fulfilled, another call adds
    story.tick()
    assert [one["runs"] for one in measured(story)] == [10]


@pytest.mark.parametrize("killed", ["tick", "both", "stopped"])
def test_a_kill_repeats_no_seed_and_loses_none(repository: Repository, tmp_path: Path, killed: str) -> None:
    story = Story(repository, tmp_path)
    hold = Path(story.environment["HOME"], "hold")
    said(story, "calibrate", "--runs", "3")
    hold.touch()
    work = data(story) / "work"
    with subprocess.Popen(TICK, env=story.environment, stderr=subprocess.DEVNULL) as tick:
        order = until(lambda: next((one for one in orders(work) if one["calibrates"]), None), timeout_s=120)
        until(lambda: any(works.read_job(one) for one in works.unfinished(work)))
        if killed == "stopped":
            tick.terminate()
        else:
            tick.kill()
    if killed == "both":
        for one in works.unfinished(work):
            holder = lock.holder(str(one.lock))
            assert holder
            os.kill(holder[0], signal.SIGKILL)
    hold.unlink()
    story.merge("a merge on the way") if killed == "both" else story.tick()
    again = [run for run in runs(story) if run.calibrates]
    assert len(again) == len({run.seed for run in again}) == 3
    assert [run.seed for run in again].count(order["seed"]) == 1
    assert not list((data(story) / "requests").glob("*calibrate*"))


def test_a_tick_that_is_killed_again_and_again_trains_each_seed_once(repository: Repository, tmp_path: Path) -> None:
    story = Story(repository, tmp_path)
    said(story, "calibrate", "--runs", "6")
    draw = random.Random(1)
    for _ in range(12):
        with subprocess.Popen(TICK, env=story.environment, stderr=subprocess.DEVNULL, start_new_session=True) as tick:
            with contextlib.suppress(subprocess.TimeoutExpired):
                tick.wait(draw.uniform(0.1, 2.0))
            tick.kill()
    story.tick()
    again = [run for run in runs(story) if run.calibrates]
    assert len(again) == len({run.seed for run in again}) == 6
    assert not (data(story) / "work").exists()
    assert measured(story)[0]["runs"] == 6


def test_new_merges_come_first_and_a_withdrawn_request_trains_nothing_more(
    repository: Repository, tmp_path: Path
) -> None:
    story = Story(repository, tmp_path)
    story.environment |= {"ds_retrain": "off", "ds_retrain_share": "0"}  # these are of suspects
    said(story, "calibrate", "--runs", "2")
    first = story.merge("on the way")  # its tick trains the merge, then the seeds
    assert [run.merge.sha == first for run in runs(story)] == [False, True, False, False]
    said(story, "calibrate", "--runs", "5", "--sha", first[:8])
    assert "withdrawn: " in said(story, "calibrate", "--stop")
    assert "nothing to withdraw" in story.call("calibrate", "--stop").stderr
    story.tick()
    assert len(runs(story)) == 4


def test_a_job_that_ignores_its_seed_is_told_once(repository: Repository, tmp_path: Path) -> None:
    story = Story(repository, tmp_path)
    deaf = JOB.replace('os.environ.get("ds_random_seed", "4567")', '"4567"')
    assert deaf != JOB
    repository.merge("deaf", {"bin/run-wer-automation.sh": deaf})
    story.tick()
    said(story, "calibrate")
    story.tick()
    assert len([run for run in runs(story) if run.calibrates]) == 1
    assert story.log.count("calibration ended: the job ignores its seed (ds_random_seed)") == 1
    assert "the job ignores its seed" in said(story, "verdicts")
    story.tick()
    assert story.log.count("ignores its seed") == 1


def test_a_job_that_fails_with_a_seed_is_given_up(repository: Repository, tmp_path: Path) -> None:
    story = Story(repository, tmp_path)
    fails = JOB.replace("import hashlib", 'import os; "ds_wer_rerun_of" in os.environ and os._exit(1)\nimport hashlib')
    assert fails != JOB
    story.environment["ds_job_attempts"] = "1"
    repository.merge("fails", {"bin/run-wer-automation.sh": fails})
    story.tick()
    said(story, "calibrate")
    story.tick()
    assert [run.failure for run in runs(story) if run.calibrates] == ["exit 1", "exit 1"]
    assert "calibration given up: 2 of its trainings failed" in story.log
    assert measured(story) == []
    said(story, "calibrate")  # another request may fail as often
    story.tick()
    assert len([run for run in runs(story) if run.calibrates]) == 4
