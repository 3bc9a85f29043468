"""Failures that are alike stop the queue, and what they wrote off is run again."""

from __future__ import annotations

import getpass
import json
import subprocess
import time
from pathlib import Path

import pytest

from deepspeech_wer import cli, decision_files, exit_codes
from deepspeech_wer.backlog import Ended, Release, alike
from deepspeech_wer.configuration import settings
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.records import RUN_ID
from tests.conftest import Repository
from tests.test_automation import tick, wers
from tests.test_automation import tracked as tracked  # the fixture


def ended(*failures: str | None) -> list[Ended]:
    """Runs that ended so, newest first as the archive gives them."""
    return [
        Ended(f"20260101-0000{n:02}-{n:012x}", failure, f"2026-01-01T00:00:{n:02}Z")
        for n, failure in enumerate(failures)
    ][::-1]


@pytest.mark.parametrize(
    ("failures", "since", "count"),
    [
        ((), "", 0),
        ((None,), "", 0),
        (("exit 1", "exit 1", None), "", 0),
        ((None, "exit 1", "exit 1", "exit 1"), "", 3),
        (("exit 1", "exit 2", "exit 2"), "", 2),
        (("exit 1", "exit 1", "exit 1"), "2026-01-01T00:00:00Z", 2),
        (("exit 1", "exit 1", "exit 1"), "2026-01-01T00:00:09Z", 0),
    ],
)
def test_runs_that_failed_alike(failures: tuple[str | None, ...], since: str, count: int) -> None:
    assert len(alike(ended(*failures), Release(since))) == count


@pytest.fixture
def broken(tracked: Repository, tmp_path: Path) -> Repository:
    """Five merges waiting on a machine that fails every job."""
    (tmp_path / "broken").touch()
    tick()
    for number in range(1, 6):
        tracked.merge(str(number), {"wer": f"[ ! -e {tmp_path}/broken ] || exit 7; wer=0.{number}\n"})
    return tracked


@pytest.mark.usefixtures("broken")
def test_a_machine_that_fails_every_job_writes_off_three_merges_and_says_so_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, "exit 7", "exit 7", "exit 7"]
    said = capsys.readouterr().err
    assert "the queue is stopped with 2 waiting: the last 3 runs failed alike (exit 7)" in said
    assert "`deepspeech-wer retry`" in said
    assert tick() == 0
    assert capsys.readouterr().err == ""
    assert len(wers()) == 4


@pytest.mark.usefixtures("broken")
def test_retry_runs_them_again_and_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    (tmp_path / "broken").unlink()
    assert cli.main(["retry"]) == 0
    assert "to be run again by the next tick: " in capsys.readouterr().out
    assert tick() == 0
    assert {wer for wer in wers() if isinstance(wer, float)} == {0.1, 0.2, 0.3, 0.4, 0.5}
    assert not list(settings.load().places.requests.glob("*-retry-*"))
    assert tick() == 0


def test_after_a_run_that_succeeds_they_are_due_again(broken: Repository, tmp_path: Path) -> None:
    tick()
    (tmp_path / "broken").unlink()
    assert tick("run", "--sha", broken.git("rev-parse", "HEAD")) == 0
    assert tick() == 0
    assert {wer for wer in wers() if isinstance(wer, float)} == {0.1, 0.2, 0.3, 0.4, 0.5}


@pytest.mark.usefixtures("broken")
def test_a_retry_on_a_machine_that_is_still_broken_stops_again(tmp_path: Path) -> None:
    tick()
    assert cli.main(["retry"]) == 0
    time.sleep(1.1)  # times are whole seconds: what fails within the second of the release is forgiven, too
    assert tick() == exit_codes.FAILED
    assert 3 <= wers().count("exit 7") - 3 <= 5
    (tmp_path / "broken").unlink()
    assert cli.main(["retry"]) == 0
    assert tick() == 0
    assert {wer for wer in wers() if isinstance(wer, float)} == {0.1, 0.2, 0.3, 0.4, 0.5}


def test_merges_that_fail_in_ways_of_their_own_stop_nothing(tracked: Repository) -> None:
    tick()
    for number in range(1, 6):
        tracked.merge(str(number), {"wer": f"exit {number}\n"})
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, *(f"exit {number}" for number in range(1, 6))]


def test_retry_of_one_commit(tracked: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sha = tracked.merge("a", {"wer": f"[ -e {tmp_path}/ok ] || exit 7; wer=0.2\n"})
    assert tick() == exit_codes.FAILED
    tracked.merge("b", {"wer": "wer=0.3\n"})
    assert tick() == 0
    (tmp_path / "ok").touch()
    assert cli.main(["retry", sha[:9]]) == 0
    assert tick() == 0
    assert "training again, requested by hand" in capsys.readouterr().err
    assert sorted(wers(), key=str) == [0.2, 0.3, "exit 7"]
    assert tick() == 0


@pytest.mark.usefixtures("tracked")
def test_nothing_to_retry_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    capsys.readouterr()
    assert cli.main(["retry"]) == exit_codes.TROUBLE
    assert "nothing to retry" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 0}', '{"version": "9"}'])
def test_a_decision_that_cannot_be_read_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, content: str
) -> None:
    name = "20260102-030405-retry-c0ffeec0ffee.json"
    (tmp_path / name).write_text(content)
    assert decision_files.retries(tmp_path) == []
    assert f"{name} cannot be read" in caplog.text
    assert (tmp_path / f"{name}.unreadable").read_text() == content
    caplog.clear()
    assert decision_files.retries(tmp_path) == []
    assert caplog.text == ""


def test_a_decision_is_a_file_with_who_and_when(tmp_path: Path) -> None:
    decision_files.retry_all(tmp_path, ["c0ffee" * 6 + "abcd"], "ada", "20260102-030405-c0ffeec0ffee")
    (file,) = tmp_path.glob("*-retry-*")
    record = json.loads(file.read_text())
    assert (record["version"], record["who"], record["sha"]) == (1, "ada", "c0ffee" * 6 + "abcd")
    released = decision_files.released(tmp_path)
    assert (bool(released.at), released.after) == (True, "20260102-030405-c0ffeec0ffee")


def test_status_says_what_was_asked_for_and_that_the_queue_is_stopped(
    broken: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    assert "the queue is stopped: the last 3 runs failed alike (exit 7)" in capsys.readouterr().out
    assert cli.main(["run", "--dry-run"]) == 0
    assert capsys.readouterr().out == "nothing is due, though 2 wait: see `status`\n"
    assert cli.main(["retry"]) == 0
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    assert said.count(f", asked for by {getpass.getuser()} at 20") == 3
    assert "the queue is stopped" not in said
    assert broken.path.exists()


@pytest.mark.parametrize("how", ["rewritten", "rewritten and forgotten by git"])
def test_a_request_for_a_commit_that_left_the_branch_is_dropped_with_one_line(
    tracked: Repository, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    tick()
    gone = tracked.merge("gone", {"wer": "wer=0.4\n"})
    stays = tracked.git("rev-parse", "HEAD^")
    tick()
    places = settings.load().places
    for sha in (gone, gone, stays):
        decision_files.ask_retry(places.requests, Decision(sha, "ada", "a look", "2026-01-01T00:00:00Z"))
    tracked.git("reset", "--quiet", "--hard", stays)
    tracked.merge("instead", {"wer": "wer=0.3\n"})
    if how != "rewritten":
        assert tick("run", "--dry-run") == 0
        for arguments in (("reflog", "expire", "--expire=now", "--all"), ("gc", "--quiet", "--prune=now")):
            subprocess.run(["git", "-C", str(places.mirror), *arguments], check=True, capture_output=True)
    assert tick("run", "--dry-run") == 0
    assert len(decision_files.retries(places.requests)) == 2  # a look changes nothing
    capsys.readouterr()
    tick()
    said = capsys.readouterr().err
    assert said.count("is no longer in the branch: it is not run again, as ada asked") == 1
    assert gone[:12] in said
    assert decision_files.retries(places.requests) == []
    capsys.readouterr()
    assert tick() == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("tracked")
def test_a_damaged_request_to_calibrate_is_set_aside(capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    requests = settings.load().places.requests
    assert cli.main(["calibrate", "--runs", "3"]) == 0
    (path,) = requests.glob("*-calibrate-*")
    good = json.loads(path.read_text())
    assert [request.runs for request in decision_files.calibrations(requests)] == [3]
    for damaged in ({**good, "runs": "many"}, {**good, "more": 1}, {key: good[key] for key in good if key != "sha"}):
        path.write_text(json.dumps(damaged))
        assert decision_files.calibrations(requests) == []
        assert path.with_name(path.name + decision_files.UNREADABLE).exists()
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.usefixtures("tracked")
def test_another_number_of_seeds_replaces_a_request_that_is_pending(capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    requests = settings.load().places.requests
    for number in ("3", "5", "5"):
        assert cli.main(["calibrate", "--runs", number]) == 0
    assert [request.runs for request in decision_files.calibrations(requests)] == [5]
    assert "asked for already: " in capsys.readouterr().out
    assert cli.main(["calibrate", "--stop", "--sha", "0000000"]) == exit_codes.TROUBLE
    assert cli.main(["calibrate", "--stop"]) == 0
    assert not list(requests.glob("*-calibrate-*"))


@pytest.mark.parametrize("number", ["0", "-1", "1001", "x", ""])
def test_a_number_of_seeds_that_is_none(number: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["calibrate", "--runs", number])


@pytest.mark.usefixtures("tracked")
def test_there_is_nothing_to_calibrate_before_a_merge_has_a_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["calibrate"]) == exit_codes.TROUBLE
    assert "has a result yet in " in capsys.readouterr().err
    assert cli.main(["calibrate", "--sha", "abcdef1"]) == exit_codes.TROUBLE


def test_a_request_to_calibrate_a_commit_that_left_the_branch_is_dropped(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    tracked.merge("gone", {"wer": "wer=0.4\n"})
    tick()
    assert cli.main(["calibrate"]) == 0
    tracked.git("reset", "--quiet", "--hard", "HEAD~1")
    assert tick() == 0
    assert "is no longer in the branch: it is not calibrated" in capsys.readouterr().err
    assert not list(settings.load().places.requests.glob("*-calibrate-*"))
    assert wers() == [0.5, 0.4]


def test_what_is_asked_for_in_one_second_is_in_its_order(tmp_path: Path) -> None:
    shas = [f"{digit}" * 40 for digit in "c5a901e3"]
    decision_files.retry_all(tmp_path, shas, "ada", "20260102-030405-c0ffeec0ffee")
    assert [one.sha for one in decision_files.retries(tmp_path)] == shas


def test_decisions_on_a_disk_that_is_not_mounted_are_not_taken_for_none(
    tracked: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    skipped = tracked.merge("skipped", {"wer": "wer=0.4\n"})
    assert cli.main(["skip", skipped, "--why", "broken"]) == 0
    requests, disk = settings.load().places.requests, tmp_path / "disk"
    requests.rename(disk)
    requests.symlink_to(tmp_path / "mount")
    capsys.readouterr()
    assert tick() == exit_codes.TROUBLE
    assert f"{requests}: a link to {tmp_path / 'mount'}, which is not there: mount its disk" in capsys.readouterr().err
    disk.rename(tmp_path / "mount")
    assert (tick(), wers()) == (0, [0.5])


@pytest.mark.usefixtures("broken")
def test_a_directory_among_the_runs_that_is_none_neither_counts_nor_releases_the_queue(
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = settings.load().places.runs
    for name in ("lost+found", "old", f"{next(runs.iterdir()).name}.bak"):
        (runs / name).mkdir()
    tick()  # three fail alike
    assert cli.main(["retry"]) == 0
    capsys.readouterr()
    assert RUN_ID.fullmatch(decision_files.released(settings.load().places.requests).after or "")
    assert cli.main(["status"]) == 0
    told = capsys.readouterr()
    assert "cannot be read" not in told.out
    assert "runs: 4 in " in told.out
    assert "skipping a run" not in told.err
    assert {path.name for path in runs.iterdir()} > {"lost+found", "old"}
