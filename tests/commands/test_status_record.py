"""What `status` tells while a job runs, and the JSON of every command that has it."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, cli
from deepspeech_wer.commands import verdicts
from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.test_automation import JOB, TICK, tick
from tests.test_automation import tracked as tracked  # the fixture

ROOT = Path(__file__).parents[2]
DEADLINE_S = 120.0
SLOW = """#!/bin/sh
echo "epoch 1/4, train loss 8.5"
sleep 1.1
echo "epoch 2/4, train loss 4.25, validation loss 5.5"
while [ ! -e "$GO" ]; do sleep 0.1; done
"""


def told(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert cli.main(list(arguments)) == code
    return json.loads(capsys.readouterr().out)


def text(capsys: pytest.CaptureFixture[str]) -> list[str]:
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    return capsys.readouterr().out.splitlines()


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.2)
    return found


def test_status_follows_a_job_through_its_epochs_and_tells_what_comes_after(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    assert tick() == 0
    running = tracked.merge("slow", {"bin/run-wer-automation.sh": SLOW + JOB.partition("\n")[2]})
    after = tracked.merge("after")
    with subprocess.Popen(TICK, stderr=subprocess.DEVNULL) as process:
        try:

            def second_epoch() -> Any:
                record = told(capsys, "status", "--json")
                return record if record["jobs"] and record["jobs"][0]["epoch"] == 2 else None

            record = until(second_epoch)
            (job,) = record["jobs"]
            assert (job["sha"], job["epochs"], job["train_loss"], job["validation_loss"]) == (running, 4, 4.25, 5.5)
            assert job["ends_at_by"] == "epochs"
            assert job["ends_at"] > job["since"]
            assert record["tick"]["pid"] == process.pid
            assert (record["tick"]["merge"]["sha"], record["tick"]["phase"]) == (running, "job")
            assert [one["sha"] for one in record["queue"]["due"]] == [after]
            assert record["queue"]["waiting"] == 1
            assert record["next"].startswith(f"the running tick waits for the job of {running[:12]}")
            assert f'then trains {after[:12]} "after" (a new merge)' in record["next"]
            lines = text(capsys)
            assert any(
                re.match(rf"job: {running[:12]} slow, .*epoch 2 of 4, train loss 4\.25, .*ends at", line)
                for line in lines
            )
            assert f"due: {after[:12]} after (new)" in lines
        finally:
            (tmp_path / "go").touch()
            assert process.wait(DEADLINE_S) == 0
    record = told(capsys, "status", "--json")
    assert (record["tick"], record["jobs"], record["queue"]["due"]) == (None, [], [])
    assert [one["sha"] for one in record["results"][:2]] == [after, running]
    assert record["next"].startswith("the next tick looks for new merges")


@pytest.mark.parametrize("content", [{}, {"job.json": ""}, {"order.json": "{"}])
def test_a_look_changes_nothing_in_what_a_tick_has_just_made_or_is_removing(
    tracked: Repository, capsys: pytest.CaptureFixture[str], content: dict[str, str]
) -> None:
    tracked.merge("one")
    assert tick() == 0
    work = settings.load().places.work / "20260102-030405-c0ffeec0ffee"
    work.mkdir(parents=True)
    for name, text_of in content.items():
        (work / name).write_text(text_of)
    for command in (["status"], ["status", "--json"], ["cancel"], ["prune", "--keep", "1"]):
        cli.main(command)
    assert sorted(path.name for path in work.iterdir()) == sorted(content)
    assert [path.name for path in work.parent.iterdir()] == [work.name]
    capsys.readouterr()
    assert tick() == 0
    assert not work.exists()


def test_a_job_that_names_no_epochs_is_expected_to_take_as_long_as_earlier_ones(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GO", str(tmp_path / "go"))
    assert tick() == 0
    tracked.merge("slow", {"bin/run-wer-automation.sh": SLOW.replace("epoch", "step") + JOB.partition("\n")[2]})
    with subprocess.Popen(TICK, stderr=subprocess.DEVNULL) as process:
        try:
            (job,) = until(lambda: told(capsys, "status", "--json")["jobs"])
            assert job["ends_at_by"] == "earlier runs"
            assert job["epoch"] is None
        finally:
            (tmp_path / "go").touch()
            assert process.wait(DEADLINE_S) == 0


def test_status_tells_of_failures_requests_and_a_stopped_queue(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tick() == 0
    monkeypatch.setenv("ds_stop_after_alike", "1")
    monkeypatch.setenv("ds_job_attempts", "1")
    broken = tracked.merge("broken", {"wer": "echo 'the end of\\033[31m it' >&2; exit 7\n"})
    waiting = tracked.merge("waiting", {"wer": "wer=0.5\n"})
    tick()
    record = told(capsys, "status", "--json")
    assert record["queue"]["waiting"] == 1
    assert "failed alike (exit 7)" in record["queue"]["stopped"]
    assert record["next"] == "the next tick trains nothing until `retry`: the queue is stopped"
    failure = record["last_failure"]
    assert (failure["sha"], failure["failure"]) == (broken, "exit 7")
    assert failure["log"][-1].endswith("the end of it")
    assert record["results"][0]["sha"] == broken
    assert any(line.startswith("  | ") and line.endswith("the end of it") for line in text(capsys))
    assert cli.main(["retry", broken[:9]]) == 0
    record = told(capsys, "status", "--json")
    assert [(one["kind"], one["sha"]) for one in record["requests"]] == [("retry", broken)]
    assert [(one["sha"], one["why"]) for one in record["queue"]["due"]] == [(broken, "retried"), (waiting, "new")]


def test_of_the_results_of_one_second_the_last_in_history_comes_first(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        tracked.merge(f"m{number}")
    assert tick() == 0
    for number in range(7):
        tracked.merge(f"n{number}")
    assert tick() == 0
    places = settings.load().places
    for run in archive.load(places.runs):
        digits = f"{99 - run.merge.ordinal:012d}"  # the later, the smaller
        (places.runs / run.id).rename(places.runs / f"20260601-120000-{digits}")
    subjects = [one["subject"] for one in told(capsys, "status", "--json")["results"]]
    assert subjects == ["n6", "n5", "n4", "n3", "n2"]


def documented(what: str) -> set[str]:
    page = (ROOT / "docs" / "commands.md").read_text("utf-8")
    (cell,) = re.findall(rf"^\| {re.escape(what)} \| (.*) \|$", page, re.MULTILINE)
    without_values = re.sub(r"\([^)]*\)", "", cell)
    return set(re.findall(r"`(\w+)`", without_values)) - {"runs"} | (
        {"runs"} & set(re.findall(r"`requests`, `(\w+)`", cell))
    )


def test_the_keys_are_those_that_the_page_documents(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_website_url", "")
    assert tick() == 0
    broken = tracked.merge("broken", {"wer": "exit 7\n"})
    tick()
    tracked.merge("next", {"wer": "wer=0.5\n"})
    cli.main(["retry", broken[:9]])
    cli.main(["accept", broken[:9], "--why", "it is"])
    cli.main(["run", "--dry-run"])
    places = settings.load().places
    (places.cache / "last_error.json").write_text('{"version": 1, "what": "x", "at": "2026-01-01T00:00:00Z"}')
    (places.cache / "tick.json").write_text(
        '{"version": 2, "phase": "job", "sha": "a", "subject": "b", "attempt": 1, "since": "2026-01-01T00:00:00Z"}'
    )
    of_run = documented("`runs`: a list")
    found = told(capsys, "runs", "--json")
    assert [one["ordinal"] for one in found] == [1, 2]
    assert set(found[0]) == of_run
    assert set(told(capsys, "show", broken, "--json")) == of_run | documented("`show`")
    assert set(told(capsys, "settings", "--json")[0]) == documented("`settings`: a list")
    assert set(told(capsys, "verdicts", "--json")[0]) == documented("`verdicts`: a list") == set(verdicts.FIELDS)
    record = told(capsys, "status", "--json")
    assert set(record) == documented("`status`")
    for name in ("tracked", "tick", "queue", "site", "last_error"):
        assert set(record[name]) == documented(f"`status`: {name}"), name
    assert set(record["runs"]) == {"count", "directory"}
    assert set(record["queue"]["due"][0]) == documented("`status`: each of due")
    assert {key for one in record["requests"] for key in one} == documented("`status`: each of requests")
    assert set(record["results"][0]) == of_run | documented("`status`: each of results")
    assert set(record["last_failure"]) == of_run | documented("`status`: last_failure")


def test_check_as_json_has_the_findings_and_the_exit_code(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    found = told(capsys, "check", "--json")
    assert set(found[0]) == documented("`check`: a list")
    tracked.path.rename(tracked.path.with_name("gone"))
    found = told(capsys, "check", "--json", code=1)
    assert [one["subject"] for one in found if one["level"] == "fault"] == ["repository"]


def test_secrets_are_masked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ds_github_token", "hunter2-token")
    monkeypatch.setenv("ds_repo_url", "https://ada:hunter2-password@example.com/x.git")
    capsys.readouterr()
    assert cli.main(["settings", "--json"]) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    rows = {one["name"]: one for one in json.loads(out)}
    assert rows["ds_github_token"]["value"] == "********"
    assert rows["ds_repo_url"] == {"name": "ds_repo_url", "value": "https://example.com/x.git", "origin": "environment"}


def test_before_the_first_run_there_is_little_to_tell(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    record = told(capsys, "status", "--json")
    assert tracked.path.exists()
    assert (record["results"], record["last_failure"], record["last_sha1"], record["tick"]) == ([], None, None, None)
    assert told(capsys, "runs", "--json") == []
