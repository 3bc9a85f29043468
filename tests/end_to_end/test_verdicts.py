"""A story of merges with a scripted job of known noise: each gets the verdict that it deserves, and only once."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, exit_codes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.machine import lock
from tests.conftest import Repository
from tests.end_to_end.test_crowd import tracking
from tests.test_automation import TICK
from tests.waiting import until

# A #! line cannot name an interpreter whose path has a space: sh reads two commands here, Python a string.
# The result is the level that the commit says, with noise of .3 pp that depends on the seed and on the code.
JOB = f"""#!/bin/sh
'''exec' '{sys.executable}' "$0" "$@"
' '''
import hashlib, json, os, pathlib, random, time
code = {{}}
exec(pathlib.Path("code").read_text(), code)
seed = os.environ.get("ds_random_seed", "4567")
inputs = pathlib.Path("code").read_text() + seed + os.environ.get("ds_epochs", "")
noise = random.Random(int(hashlib.sha256(inputs.encode()).hexdigest(), 16))
wer = code["level"] + noise.gauss(0, 0.003)
if "ds_wer_rerun_of" in os.environ:
    while pathlib.Path(os.environ["HOME"], "hold").exists():
        time.sleep(0.02)
out = pathlib.Path(os.environ["ds_logs_dir"], "x")
out.mkdir()
record = {{
    "context": {{"time_started": "2026-01-01T00:00:00"}},
    "parameters": {{"dropout_rate": code["dropout_rate"]}},
    "results": {{
        "test_wer": wer,
        "last_validation_wer": wer + noise.gauss(0, 0.003),
        "test_errors": {{"substitutions": round(wer * 52000), "deletions": 0, "insertions": 0, "words": 52000}},
        "signature": {{"test_set_sha256": code["test_set"]}},
    }},
}}
(out / "hyper.json").write_text(json.dumps(record))
"""


FINE = (0, 4)  # exit codes of a tick; 4: a merge made it worse


class Story:
    """A repository whose merges change `code`, and the tracker that follows it."""

    def __init__(self, repository: Repository, directory: Path, **variables: str) -> None:
        self.repository = repository
        self.code: dict[str, Any] = {"level": 0.16, "dropout_rate": 0.05, "test_set": "a", "version": 0}
        repository.commit("root", {"bin/run-wer-automation.sh": JOB, "code": self.text()})
        self.environment = {**tracking(repository, directory), "ds_retrain": "on", **variables}
        self.log = ""
        self.codes: list[int] = []  # of the ticks: 4 where a regression is confirmed
        self.tick()

    def text(self) -> str:
        return "".join(f"{name} = {value!r}\n" for name, value in self.code.items())

    def merge(self, subject: str, **changes: Any) -> str:
        """Merge a change of the code, and run a tick."""
        self.code |= {"version": self.code["version"] + 1, **changes}
        sha = self.repository.merge(subject, {"code": self.text()})
        self.tick()
        return sha

    def document(self, subject: str) -> str:
        """Merge a change that no training sees, and run a tick."""
        sha = self.repository.merge(subject, {"README": f"{subject}\n"})
        self.tick()
        return sha

    def tick(self) -> None:
        done = self.call()
        assert done.returncode == (exit_codes.FAILED if "regression: " in done.stderr else 0), done.stderr
        self.codes.append(done.returncode)
        self.log += done.stderr

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "deepspeech_wer", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=300, check=False)

    def verdicts(self) -> list[dict[str, Any]]:
        done = self.call("verdicts", "--json")
        assert done.returncode == 0, done.stderr
        listed: list[dict[str, Any]] = json.loads(done.stdout)
        return listed


def test_the_story_of_a_bad_merge_and_its_revert(repository: Repository, tmp_path: Path) -> None:
    story = Story(repository, tmp_path)
    documents = [story.document("a document")]
    for number in range(5):
        story.merge(f"quiet {number}")
        if number % 2:
            documents.append(story.document(f"document {number}"))
    bad = story.merge("more dropout", level=0.19, dropout_rate=0.3)
    found = {verdict["sha"]: verdict for verdict in story.verdicts()}
    assert found[bad]["verdict"] == "worse"
    assert found[bad]["culprits"] == [bad]
    assert found[bad]["retrained"] >= 1
    assert found[bad]["effect_pp"] == pytest.approx(3, abs=1)
    assert {found[sha]["verdict"] for sha in documents} == {"unchanged"}
    fix = story.merge(f"Revert more dropout\n\nThis reverts commit {bad}.", level=0.16, dropout_rate=0.05)
    found = {verdict["sha"]: verdict for verdict in story.verdicts()}
    assert found[fix]["verdict"] == "recovered"
    others = {verdict["verdict"] for sha, verdict in found.items() if sha not in (bad, fix)}
    assert others <= {"unchanged", "no change seen", "too few runs"}
    assert "again with seed" in story.log
    page = next(Path(story.environment["ds_dataroot"]).glob("deepspeech_wer/site/js/index.*.js")).read_text()
    assert '"recovered"' in page


def test_a_tick_judges_first_what_an_earlier_one_left_unjudged(repository: Repository, tmp_path: Path) -> None:
    story = Story(repository, tmp_path)
    for number in range(5):
        story.merge(f"quiet {number}")
    story.environment["ds_retrain"] = "off"
    bad = story.merge("worse", level=0.19)
    assert "again with seed" not in story.log
    story.environment["ds_retrain"] = "on"  # its verdicts are others: nothing is judged by them yet
    story.tick()
    assert "again with seed" in story.log
    assert {verdict["sha"]: verdict["verdict"] for verdict in story.verdicts()}[bad] == "worse"


class Killed:
    """A second tracker of the same repository, whose ticks are killed at random moments."""

    def __init__(self, story: Story, directory: Path) -> None:
        directory.mkdir()
        self.environment = {**tracking(story.repository, directory), "ds_retrain": "on"}
        self.random = random.Random(11)
        self.kills = 0

    def tick(self, kills: int) -> None:
        """Kill so many ticks, every third with its supervisor; then let one end."""
        for _ in range(kills):
            with subprocess.Popen(TICK, env=self.environment, stderr=subprocess.DEVNULL) as tick:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    tick.wait(self.random.uniform(0.1, 1.2))
                tick.kill()
            self.kills += 1
            if self.kills % 3 == 0:
                self._kill_supervisors()
        done = subprocess.run(TICK, env=self.environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode in FINE, done.stderr

    def _kill_supervisors(self) -> None:
        work = Path(self.environment["ds_dataroot"], "deepspeech_wer", "work")
        for one in works.unfinished(work):
            if holder := lock.holder(str(one.lock)):
                os.kill(holder[0], signal.SIGKILL)


def test_the_same_story_is_told_however_often_ticks_are_killed(repository: Repository, tmp_path: Path) -> None:
    story = Story(repository, tmp_path / "story")
    killed = Killed(story, tmp_path / "killed")
    killed.tick(6)

    def both(sha: str) -> str:
        killed.tick(2)
        return sha

    inert = [both(story.document("a document"))]
    for number in range(5):
        both(story.merge(f"quiet {number}"))
        if number in (1, 3):
            inert.append(both(story.document(f"document {number}")))
    bad = both(story.merge("more dropout", level=0.19, dropout_rate=0.3))
    fix = both(story.merge(f"Revert more dropout\n\nThis reverts commit {bad}.", level=0.16, dropout_rate=0.05))
    other_set = both(story.merge("another test set", test_set="b", level=0.3))
    for one in (story, killed):
        one.environment["ds_epochs"] = "5"
    other_variables = both(story.merge("after the operator's change"))

    told = {verdict["sha"]: verdict["verdict"] for verdict in story.verdicts()}
    assert {told[sha] for sha in inert} == {"unchanged"}
    assert (told[bad], told[fix]) == ("worse", "recovered")
    assert told[other_set] == "not comparable"
    assert told[other_variables] in ("too few runs", "not comparable")
    assert set(told.values()) <= {"unchanged", "no change seen", "too few runs", "worse", "recovered", "not comparable"}
    assert (
        len(re.findall("regression: .*: worse: ", story.log)) == len(re.findall("verdict: recovered", story.log)) == 1
    )
    record, again = (_record(one.environment) for one in (story, killed))
    assert [mark["text"] for mark in record["marks"]] == [
        "another test set, normaliser or decoder: test_set_sha256 a -> b",
        "the operator changed ds_epochs",
    ]
    assert killed.kills >= 30
    assert again == record


def _record(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return verdicts.json without what differs between two trackers: the names of runs, the digest of the archive."""
    path = Path(environment["ds_dataroot"], "deepspeech_wer", "verdicts.json")
    record = json.loads(re.sub(r"\b\d{8}-\d{6}-([0-9a-f]{12})(-\d+)?", r"\1", path.read_text("utf-8")))
    del record["of"]
    return dict(record)


@pytest.mark.parametrize("killed", ["tick", "both"])
def test_a_re_training_that_is_killed_goes_on_with_its_seed(
    repository: Repository, tmp_path: Path, killed: str
) -> None:
    story = Story(repository, tmp_path)
    for number in range(5):
        story.merge(f"quiet {number}")
    hold = Path(story.environment["HOME"], "hold")
    hold.touch()
    story.code |= {"version": 9, "level": 0.19}
    bad = repository.merge("worse", {"code": story.text()})
    work = Path(story.environment["ds_dataroot"], "deepspeech_wer", "work")
    with subprocess.Popen(TICK, env=story.environment, stderr=subprocess.DEVNULL) as tick:
        order = until(lambda: next((one for one in orders(work) if one["rerun_of"]), None), timeout_s=120)
        until(lambda: any(works.read_job(one) for one in works.unfinished(work)))
        tick.kill()
    if killed == "both":
        for one in works.unfinished(work):
            holder = lock.holder(str(one.lock))
            assert holder
            os.kill(holder[0], signal.SIGKILL)
    hold.unlink()
    story.tick()
    again = [run for run in archive.load(work.parent / "runs") if run.merge.sha == bad and run.rerun_of]
    seeds = [run.seed for run in again]
    assert seeds.count(order["seed"]) == 1
    assert len(set(seeds)) == len(seeds)
    assert {verdict["sha"]: verdict["verdict"] for verdict in story.verdicts()}[bad] == "worse"


def orders(work: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in work.glob("*/order.json")]
