"""Commands that change what runs."""

from __future__ import annotations

import getpass
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer import __version__, archive, cli, exit_codes
from deepspeech_wer.configuration import misspelt, settings
from deepspeech_wer.jobs import work as works
from deepspeech_wer.machine import lock
from deepspeech_wer.training import parameters
from tests.conftest import Repository
from tests.test_automation import JOB, TICK, tick, wers
from tests.test_automation import tracked as tracked  # the fixture
from tests.waiting import until


def merge_that_hangs(tracked: Repository, sealed: Path) -> None:
    saves = f"trap 'touch {sealed}/saved; exit 1' TERM; touch {sealed}/started; while :; do sleep 0.05; done"
    tracked.merge("hangs", {"wer": f"{saves}\n"})


def test_cancel_ends_the_running_job_and_the_queue_continues(
    tracked: Repository, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    merge_that_hangs(tracked, sealed)
    tracked.merge("next", {"wer": "wer=0.4\n"})
    with subprocess.Popen(TICK, stderr=subprocess.PIPE, text=True) as running:
        until((sealed / "started").exists)
        capsys.readouterr()
        assert cli.main(["cancel"]) == 0
        assert '"hangs": cancelled; the job has 60 s to save its checkpoint\n' in capsys.readouterr().out
        _, err = running.communicate(timeout=120)
    assert running.returncode == exit_codes.FAILED
    assert (sealed / "saved").exists()
    assert wers() == [0.5, "cancelled", 0.4]
    who = f"by {getpass.getuser()} on {os.uname().nodename}"
    assert f'"hangs": failed: cancelled: {who}' in err
    assert tick() == 0  # it is not tried again
    assert wers() == [0.5, "cancelled", 0.4]


def test_cancel_also_reaches_the_job_of_a_killed_tick(
    tracked: Repository, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    merge_that_hangs(tracked, sealed)
    with subprocess.Popen(TICK, stderr=subprocess.DEVNULL) as running:
        until((sealed / "started").exists)
        running.kill()
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    said = capsys.readouterr().out
    assert "no tick is running" in said
    assert " hangs, attempt 1: process " in said
    assert cli.main(["cancel"]) == 0
    (work,) = works.unfinished(settings.load().places.work)
    until(lambda: not lock.is_held(str(work.lock)))
    assert tick() == exit_codes.FAILED
    assert wers() == ["cancelled"]


@pytest.mark.usefixtures("tracked")
def test_cancel_without_a_job_is_reported_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cancel"]) == exit_codes.TROUBLE
    assert "no job is running, so there is nothing to cancel: see `status`" in capsys.readouterr().err


def test_a_job_that_was_interrupted_too_often_is_given_up(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked.merge("kills its supervisor", {"wer": "kill -9 $PPID; sleep 100\n"})
    assert [tick() for _ in range(4)] == [*[exit_codes.TROUBLE] * 3, exit_codes.FAILED]
    assert wers() == ["interrupted"]
    err = capsys.readouterr().err
    assert "interrupted 11 times without a new checkpoint" in err
    assert err.count("its supervisor was killed; ended the processes that it left") == 11


@pytest.mark.parametrize("command", ["run --sha", "retry"])
def test_what_runs_is_not_promised_to_run_again(tracked: Repository, sealed: Path, command: str) -> None:
    asks = f'{shlex.join(TICK)} {command} "$ds_wer_sha" > {sealed}/said 2>&1'
    sha = tracked.merge("runs", {"wer": f"[ -e {sealed}/again ] || exit 1; {asks}; wer=0.4\n"})
    assert tick() == exit_codes.FAILED
    (sealed / "again").touch()
    assert cli.main(["retry", sha]) == 0
    assert tick() == 0
    said = (sealed / "said").read_text()
    assert f"{sha[:12]}: its job is running already: `cancel` ends it" in said
    assert "noted" not in said
    assert "run again" not in said


def test_a_training_that_makes_progress_is_never_given_up(tracked: Repository) -> None:
    work = 'n=$(ls "$2" | wc -l); touch "$2/epoch$n"; [ $n -ge 13 ] || { kill -9 $PPID; sleep 100; }; wer=0.4\n'
    tracked.merge("long", {"wer": work, "bin/run-wer-automation.sh": JOB.replace(". ./wer", '. ./wer "$@"')})
    assert [tick() for _ in range(5)] == [*[exit_codes.TROUBLE] * 4, 0]
    assert wers() == [0.4]


def test_files_of_a_run_interrupted_under_an_earlier_release_are_kept(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    places = settings.load().places
    left = places.work / "logs" / "x"
    left.mkdir(parents=True)
    (left / "hyper.json").write_text("{}")
    (places.work / "outcome.json").write_text('{"version": 1}')
    assert tracked.path.exists()
    assert tick() == 0
    assert wers() == [0.5]
    assert (places.data / "work.earlier" / "logs" / "x" / "hyper.json").exists()
    assert "its files are kept in" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", '{"version": 2}', '{"version": "99", "phase": "job"}', "[]"])
def test_a_damaged_journal_is_reported_and_set_aside(
    tracked: Repository, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    cache = settings.load().places.cache
    (cache / "tick.json").write_text(content)
    assert tracked.path.exists()
    assert tick() == 0
    assert f"{cache / 'tick.json'} cannot be read" in capsys.readouterr().err
    assert (cache / "tick.json.unreadable").read_text() == content
    assert len(archive.names(settings.load().places.runs)) == 1


def test_a_commit_that_is_asked_for_beside_a_tick_runs_once_its_job_has_ended(
    tracked: Repository, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    old = tracked.git("rev-parse", "HEAD")
    tracked.merge(
        "waits", {"wer": f"touch {sealed}/started; while [ ! -e {sealed}/go ]; do sleep 0.05; done; wer=0.4\n"}
    )
    with subprocess.Popen(TICK, stderr=subprocess.DEVNULL) as running:
        until((sealed / "started").exists)
        capsys.readouterr()
        assert cli.main(["run", "--sha", old[:10]]) == 0
        said = capsys.readouterr().err
        (sealed / "go").touch()
    assert running.returncode == 0
    assert f"a tick is already at work (process {running.pid} since " in said
    assert ": noted; it runs once the running job has ended" in said
    assert sorted(str(wer) for wer in wers()) == ["0.4", "0.5", "0.5"]


def test_a_commit_that_is_asked_for_while_the_mirror_is_made_leaves_the_mirror_alone(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    places = settings.load().places
    descriptor = lock.acquire(str(places.lock))
    assert descriptor is not None
    try:
        for content in (None, "half"):
            if content:
                places.mirror.mkdir()
                (places.mirror / "HEAD").write_text(content)
            assert cli.main(["run", "--sha", tracked.git("rev-parse", "HEAD")]) == exit_codes.TROUBLE
            assert "try again once the running tick has fetched it" in capsys.readouterr().err
        assert (places.mirror / "HEAD").read_text() == "half"
    finally:
        lock.release(descriptor)


def test_a_rate_in_percent_is_doubted(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    tracked.merge("in percent", {"wer": "wer=12.34\n"})
    assert tick() == 0
    assert '"in percent": results.test_wer is 12.34: expected a fraction, 0.12 for 12 %' in capsys.readouterr().err


@pytest.mark.usefixtures("tracked")
def test_a_misspelt_variable_is_told_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ds_job_timeuot", "60")
    assert [tick(), tick()] == [0, 0]
    assert capsys.readouterr().err.count("ds_job_timeuot: the tracker has no such variable") == 1


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"deepspeech-wer {__version__}\n"


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("ds_use_warpctc", "the CTC loss is the training's own"),
        ("ds_batch_size", "ds_train_batch_size"),
        ("ds_h6_stddev", "ds_default_stddev"),
        ("ds_dropout_rate4", "ds_dropout_rate, for all layers"),
        ("ds_restore_checkpoint", "ds_checkpoint_dir"),
    ],
)
def test_a_variable_of_2016_that_is_gone_is_told_once_with_what_replaces_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, instead: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert cli.main([]) == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if name in line]
    assert f"{name}: of the scripts of 2016, does nothing here; instead: " in line
    assert instead in line
    assert cli.main([]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", ["ds_webhook_ulr", "DS_WEBSITE_SERVER_ROOT", "DS_GITHUB_TOKEN", "ds_github_branch"])
def test_a_misspelt_variable_is_told_once_though_a_secret_is_forgotten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv(name, "t0ps3cret")
    assert cli.main([]) == 0
    told = capsys.readouterr().err
    assert f"{name}: the tracker has no such variable: is ds_" in told
    assert "t0ps3cret" not in told
    assert cli.main([]) == 0
    assert capsys.readouterr().err == ""


def test_no_variable_that_exists_is_called_gone() -> None:
    ours = {variable.name for variable in settings.VARIABLES} | {name for name, _, _ in parameters.table()}
    assert ours.isdisjoint(misspelt.GONE)
