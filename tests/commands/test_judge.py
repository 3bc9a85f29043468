"""A result that a job wrote before it failed: kept, and taken once a person has looked at it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepspeech_wer import archive, archive_order, archive_record, cli, clock, exit_codes
from deepspeech_wer.configuration import settings
from deepspeech_wer.records import Run
from tests.conftest import Repository
from tests.test_automation import JOB, tick, wers
from tests.test_automation import tracked as tracked  # the fixture
from tests.waiting import until

UTTERANCES = """
echo "{}" >"$ds_logs_dir/x/utterances.json"
echo "{}" >"$ds_logs_dir/x/history.json"
echo load >"$ds_logs_dir/x/gpu-usage.csv"
"""
ENDS = {
    "exit 1": "exit 1",
    "exit 137": "exit 137",
    "signal 15": "kill -TERM $$",
    "diverged": "echo diverged: at last >&2; exit 65",
    "timeout": "sleep 60",
}


def newest() -> Run:
    """The run that was archived last: several may have started in one second."""
    runs = archive.load(settings.load().places.runs)
    return max(runs, key=lambda run: (run.directory / "run.json").stat().st_mtime_ns)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(list(arguments)) == exit_codes.TROUBLE
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(params=ENDS)
def failing(request: pytest.FixtureRequest, tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> str:
    """A merge whose job writes a good record and fails after that. Returns its class."""
    monkeypatch.setenv("ds_job_grace", "1")
    monkeypatch.setenv("ds_job_timeout", "3")
    tick()
    job = f"{JOB}{UTTERANCES}{ENDS[request.param]}\n"
    tracked.merge("late", {"bin/run-wer-automation.sh": job, "wer": "wer=0.4\n"})
    return str(request.param)


def test_it_is_kept_and_no_result(failing: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, failing]
    run = newest()
    assert json.loads((run.directory / "hyper.json").read_text())["results"]["test_wer"] == 0.4
    assert (run.directory / "utterances.json").exists()
    assert (run.directory / "err.log").exists()
    assert run.hyper is None
    assert f"`retry --judge {run.merge.sha[:12]}` takes it" in capsys.readouterr().err
    page = (settings.load().places.site / "js" / "hyper.js").read_text()
    assert '"test_wer":0.5' in page
    assert '"test_wer":0.4' not in page
    assert (settings.load().places.site / "runs" / run.id / "hyper.json").exists()


def test_after_a_look_it_is_taken(failing: str, capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    before = newest()
    until(lambda: clock.stamp(clock.COMPACT) > before.id[:15])  # nobody looks at a run in the second of its start
    content = {path.name: path.read_bytes() for path in before.directory.iterdir()}
    assert cli.main(["retry", before.merge.sha[:12]]) == 0  # changed my mind
    capsys.readouterr()
    assert cli.main(["retry", "--judge", before.merge.sha[:10]]) == 0
    assert "test WER 40.00 %" in capsys.readouterr().out
    after = newest()
    assert after.id != before.id
    assert (after.merge, after.number, after.status) == (before.merge, before.number, "done")
    assert {path.name: path.read_bytes() for path in before.directory.iterdir()} == content
    for name in ("hyper.json", "utterances.json", "history.json", "gpu-usage.csv", "out.log", "err.log"):
        assert (after.directory / name).read_bytes() == content[name]
        assert (after.directory / name).stat().st_mode & 0o777 == 0o600
    taken = json.loads((after.directory / "run.json").read_text())["taken"]
    assert (taken["of"], taken["failure"]) == (before.id, failing)
    assert archive_record.blame(after.directory) == archive_record.blame(before.directory)
    assert archive_record.blame(after.directory)["files"]  # an event names them
    assert tick() == 0
    assert wers() == [0.5, failing, 0.4]  # and the request to run it again is gone
    assert '"test_wer":0.4' in (settings.load().places.site / "js" / "hyper.js").read_text()
    assert "has its result already" in refusal(capsys, "retry", "--judge", after.merge.sha)


def test_what_an_earlier_attempt_wrote_is_kept(tracked: Repository, tmp_path: Path) -> None:
    tick()
    job = f"[ -e {tmp_path}/second ] && exit 3\ntouch {tmp_path}/second\n"
    tracked.merge("late", {"bin/run-wer-automation.sh": "#!/bin/sh\n" + job + JOB[10:] + "exit 3\n"})
    tick()
    assert newest().attempt == 2
    assert (newest().directory / "hyper.json").exists()


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        ("exit 1\n", "left no hyper.json: `retry` runs it again"),
        (JOB.replace('"test_wer":%s', '"other":%s') + "exit 1\n", "left no hyper.json"),
        (JOB.replace('"test_wer":%s', '"other":%s'), "hyper.json: results.test_wer is missing"),
    ],
)
def test_what_is_no_result_is_not_taken(
    tracked: Repository, capsys: pytest.CaptureFixture[str], job: str, reason: str
) -> None:
    tick()
    tracked.merge("bad", {"bin/run-wer-automation.sh": job if job.startswith("#!") else f"#!/bin/sh\n{job}"})
    tick()
    names = archive.names(settings.load().places.runs)
    assert reason in refusal(capsys, "retry", "--judge", newest().merge.sha)
    assert archive.names(settings.load().places.runs) == names


@pytest.mark.usefixtures("tracked")
def test_without_a_commit_nothing_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    assert "name the commit" in refusal(capsys, "retry", "--judge")
    assert "has its result already" in refusal(capsys, "retry", "--judge", newest().merge.sha)


@pytest.mark.parametrize("place", ["runs", "held", "work"])
def test_a_taken_result_is_newer_than_every_run_wherever_it_waits(tracked: Repository, place: str) -> None:
    tick()
    tracked.merge("late", {"bin/run-wer-automation.sh": f"{JOB}exit 1\n", "wer": "wer=0.4\n"})
    assert tick() == exit_codes.FAILED
    places = settings.load().places
    other = getattr(places, place) / "20991231-235959-ffffffffffff-7"  # of a later era
    other.mkdir(parents=True)
    assert cli.main(["retry", "--judge", newest().merge.sha]) == exit_codes.DONE
    other.rmdir()
    assert archive_order.started(archive.names(places.runs)[-1]) > archive_order.started(other.name)
