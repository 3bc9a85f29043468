"""A merge that somebody decided not to train."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer import archive, cli, decision_files, exit_codes
from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.test_automation import TICK, tick, wers
from tests.test_automation import tracked as tracked  # the fixture
from tests.waiting import until


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(list(arguments)) == exit_codes.TROUBLE
    (line,) = capsys.readouterr().err.splitlines()
    return line


def last_sha1() -> str:
    return settings.load().places.last_sha1.read_text().strip()


def test_a_skipped_merge_is_passed_over_and_shown(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    unwanted = tracked.merge("unwanted", {"wer": "wer=0.9\n"})  # not fetched yet
    after = tracked.merge("after", {"wer": "wer=0.4\n"})
    assert cli.main(["skip", unwanted[:9], "--why", "costs a week"]) == 0
    assert f'{unwanted[:12]} "unwanted": skipped; `retry {unwanted[:12]}`' in capsys.readouterr().out
    assert cli.main(["status"]) == 0
    out = capsys.readouterr().out
    assert f"skipped: {unwanted[:12]}, asked for by " in out
    assert ": costs a week" in out
    assert "unwanted (new)" not in out
    assert tick() == 0
    assert wers() == [0.5, 0.4]
    assert last_sha1() == after
    site = settings.load().places.site
    said = f"{unwanted[:12]} unwanted: skipped by "
    (index,) = (site / "js").glob("index.*.js")
    assert said in index.read_text()
    shutil.rmtree(settings.load().places.cache)
    tick()
    assert wers() == [0.5, 0.4]  # the decision lies below the data root


def test_a_skipped_merge_at_the_end_is_no_longer_due(tracked: Repository) -> None:
    tick()
    unwanted = tracked.merge("unwanted", {"wer": "wer=0.9\n"})
    assert cli.main(["skip", unwanted, "--why", "x"]) == 0
    tick()
    assert (wers(), last_sha1()) == ([0.5], unwanted)
    tracked.merge("after", {"wer": "wer=0.4\n"})
    tick()
    assert wers() == [0.5, 0.4]


def test_the_very_first_merge_may_be_skipped(tracked: Repository) -> None:
    assert cli.main(["skip", tracked.git("rev-parse", "HEAD"), "--why", "x"]) == 0
    tick()
    assert wers() == []
    tracked.merge("after", {"wer": "wer=0.4\n"})
    tick()
    assert wers() == [0.4]


@pytest.mark.parametrize("is_passed", [False, True])
def test_retry_undoes_it(tracked: Repository, capsys: pytest.CaptureFixture[str], is_passed: bool) -> None:
    tick()
    unwanted = tracked.merge("unwanted", {"wer": "wer=0.9\n"})
    assert cli.main(["skip", unwanted, "--why", "x"]) == 0
    if is_passed:
        tracked.merge("after", {"wer": "wer=0.4\n"})
        tick()
    capsys.readouterr()
    assert cli.main(["retry", unwanted[:8]]) == 0
    assert f"no longer skipped, and run by the next tick: {unwanted[:12]}" in capsys.readouterr().out
    assert tick() == 0
    assert wers() == ([0.5, 0.9, 0.4] if is_passed else [0.5, 0.9])
    requests = settings.load().places.requests
    assert (decision_files.skipped(requests), decision_files.retries(requests)) == ([], [])
    tick()
    assert len(wers()) == (3 if is_passed else 2)


def test_skip_withdraws_a_request_to_run_it_again_and_its_checkpoint(tracked: Repository) -> None:
    tick()
    unwanted = tracked.merge("unwanted", {"wer": "wer=0.9\n"})
    assert cli.main(["run", "--dry-run"]) == 0
    places = settings.load().places
    (places.checkpoints / unwanted).mkdir(parents=True)
    (places.checkpoints / unwanted / ".deepspeech_wer").write_text(f"{places.data}\n")
    decision_files.ask_retry(places.requests, decision_files.Decision(unwanted, "ada", "x", "2026-01-01T00:00:00Z"))
    assert cli.main(["skip", unwanted, "--why", "x"]) == 0
    tick()
    assert wers() == [0.5]
    assert not (places.checkpoints / unwanted).exists()


def test_what_ran_or_runs_cannot_be_skipped(
    tracked: Repository, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    line = refused(capsys, "skip", tracked.git("rev-parse", "HEAD"), "--why", "x")
    assert "has run already: `show" in line
    running = tracked.merge(
        "runs", {"wer": f"touch {sealed}/started; while [ ! -e {sealed}/go ]; do sleep 0.05; done; wer=0.1\n"}
    )
    with subprocess.Popen(TICK, stderr=subprocess.DEVNULL) as process:
        try:
            until((sealed / "started").exists)
            assert "its job is running: `cancel` ends it" in refused(capsys, "skip", running, "--why", "x")
        finally:
            (sealed / "go").touch()
            process.wait(120)
    assert wers() == [0.5, 0.1]


@pytest.mark.parametrize("name", ["HEAD", "ffffffffff", "abc", "--upload-pack=x"])
@pytest.mark.usefixtures("tracked")
def test_an_unknown_commit_is_reported_in_one_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    tick()
    assert name in refused(capsys, "skip", "--why", "x", "--", name)


@pytest.mark.parametrize("command", ["skip", "accept"])
@pytest.mark.parametrize("why", ["", " \n"])
def test_a_decision_without_a_reason_is_refused(capsys: pytest.CaptureFixture[str], command: str, why: str) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "c0ffee0", "--why", why])
    assert ended.value.code == exit_codes.USAGE
    assert "argument --why: expected a reason, found none" in capsys.readouterr().err


def test_a_damaged_decision_is_set_aside_and_the_merge_is_trained(tracked: Repository) -> None:
    tick()
    unwanted = tracked.merge("unwanted", {"wer": "wer=0.9\n"})
    assert cli.main(["skip", unwanted, "--why", "x"]) == 0
    requests = settings.load().places.requests
    (decision,) = requests.glob("*-skip-*.json")
    assert json.loads(decision.read_text())["why"] == "x"
    decision.write_text("{")
    assert tick() == 0
    assert wers() == [0.5, 0.9]
    assert decision.with_name(decision.name + ".unreadable").exists()
    assert len(archive.names(settings.load().places.runs)) == 2


def test_a_user_of_a_container_without_a_name_decides_too(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacks(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    tick()
    sha = tracked.merge("unwanted")
    monkeypatch.setattr(pwd, "getpwuid", lacks)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    first = tracked.git("rev-parse", "HEAD~1")
    for decision in (
        ["skip", sha, "--why", "costs a week"],
        ["retry", sha],
        ["accept", first, "--why", "meant"],
        ["calibrate", "--sha", first],
    ):
        assert cli.main(decision) == 0
    assert cli.main(["status"]) == 0
    assert f"asked for by uid {os.getuid()} at" in capsys.readouterr().out
