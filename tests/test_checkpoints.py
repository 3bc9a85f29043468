"""The checkpoints of merges, in complete ticks."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer import exit_codes
from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.test_automation import JOB, SHA, TICK, TICK_PID, names, tick, wers
from tests.test_automation import tracked as tracked  # the fixture


def test_checkpoints_of_a_rewritten_branch_are_removed(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    kept = tracked.git("rev-parse", "HEAD")
    tracked.write({"bin/run-wer-automation.sh": JOB.replace(". ./wer", '. ./wer "$@"')})
    sha = tracked.merge("lost", {"wer": f'touch "$2/saved"; kill -TERM {TICK_PID}; sleep 100\n'})
    assert subprocess.run(TICK, check=False).returncode == 143
    checkpoints = settings.load().places.data / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == [sha]
    capsys.readouterr()
    assert subprocess.run(TICK, check=False).returncode == 143
    assert names(checkpoints) == [sha, f"{sha}/.deepspeech_wer", f"{sha}/saved"]  # it is still due
    (checkpoints / sha / ".deepspeech_wer").unlink()  # of an earlier release
    tracked.git("reset", "--quiet", "--hard", kept)
    assert tick() == 0
    assert list(checkpoints.iterdir()) == []
    assert f"removing the checkpoint of {sha[:12]}" in capsys.readouterr().err


def test_a_checkpoint_file_names_a_checkpoint(tracked: Repository) -> None:
    cache = settings.load().places.cache
    tracked.merge("x", {"wer": 'test -e "$ds_checkpoint_dir/epoch3"; wer=0.2\n'})
    good = tracked.path.parent / "checkpoint"
    good.mkdir()
    (good / "epoch3").touch()
    (cache / "checkpoint_file").write_text(f"{good}\n")
    assert tick() == 0
    assert not (cache / "checkpoint_file").exists()
    assert (good / "epoch3").exists()


@pytest.mark.parametrize("text", ["", "relative", "/", "/no/such/checkpoint"])
def test_a_checkpoint_file_that_names_none_does_not_stop_the_queue(
    tracked: Repository, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = settings.load().places.cache
    (cache / "checkpoint_file").write_text(text)
    tracked.merge("x", {"wer": "wer=0.2\n"})
    assert tick() == 0
    assert wers() == [0.2]
    assert (cache / "checkpoint_file.unusable").read_text() == text
    assert "expected the absolute path of a checkpoint directory" in capsys.readouterr().err


def test_an_idle_tick_removes_only_checkpoints_that_it_made(tracked: Repository) -> None:
    assert tick() == 0
    head = tracked.git("rev-parse", "HEAD")
    checkpoints = settings.load().places.checkpoints
    by_hand = ["best", "epoch-12.keras", SHA[:12], SHA + "0", SHA.upper(), f"{SHA}.bak", ".keep"]
    foreign = [*by_hand, "e" * 40, head, "d" * 64, f".{'e' * 40}.partial"]  # a whole SHA by hand too
    for name in foreign:
        (checkpoints / name / "d").mkdir(parents=True)
    (checkpoints / "notes.txt").touch()
    for name in [*by_hand, SHA, SHA + "0" * 24, f".{SHA}.partial"]:
        (checkpoints / name / "d").mkdir(parents=True, exist_ok=True)
        (checkpoints / name / ".deepspeech_wer").write_text(f"{checkpoints.parent}\n")
    assert tick() == 0
    assert sorted(path.name for path in checkpoints.iterdir()) == sorted([*foreign, "notes.txt"])


@pytest.mark.parametrize("below", ["", "/step-3"])
def test_a_checkpoint_that_is_to_be_used_is_kept(tracked: Repository, below: str) -> None:
    assert tick() == 0
    where = settings.load().places
    (where.checkpoints / SHA / "step-3").mkdir(parents=True)
    (where.checkpoints / SHA / ".deepspeech_wer").write_text(f"{where.data}\n")
    where.checkpoint_request.write_text(f"{where.checkpoints}/{SHA}{below}\n")
    assert tick() == 0
    assert (where.checkpoints / SHA / "step-3").exists()
    tracked.merge("goes on from it", {"wer": f'test -e "$ds_checkpoint_dir{"" if below else "/step-3"}"; wer=0.4\n'})
    assert tick() == 0
    assert wers() == [0.5, 0.4]
    assert not where.checkpoint_request.exists()
    assert list(where.checkpoints.iterdir()) == []


def test_what_is_no_file_in_a_checkpoint_is_left_out_and_stops_nothing(tracked: Repository, tmp_path: Path) -> None:
    assert tick() == 0
    source = tmp_path / "good"
    (source / "step-3").mkdir(parents=True)
    (source / "step-3" / "weights").write_text("w")
    (source / "latest").symlink_to("step-3")
    (source / "gone").symlink_to("nowhere")
    os.mkfifo(source / "step-3" / "pipe")
    settings.load().places.checkpoint_request.write_text(f"{source}\n")
    tracked.merge(
        "goes on from it", {"wer": 'cd "$ds_checkpoint_dir" && test -f latest/weights -a ! -e gone; wer=0.4\n'}
    )
    assert tick() == 0
    assert wers() == [0.5, 0.4]


def test_a_checkpoint_that_cannot_be_copied_is_told_with_the_file_and_the_cure(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tick() == 0
    (tmp_path / "good").mkdir()
    weights = tmp_path / "good" / "weights"
    weights.write_text("w")
    settings.load().places.checkpoint_request.write_text(f"{weights.parent}\n")
    tracked.merge("waits", {"wer": "wer=0.4\n"})

    def refuse(source: str, _target: str, **_: object) -> None:  # root may read everything
        raise PermissionError(13, "Permission denied", os.fspath(source))

    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfile", refuse)
        capsys.readouterr()
        assert tick() == exit_codes.TROUBLE
    (line,) = (line for line in capsys.readouterr().err.splitlines() if " ERROR " in line)
    assert line.endswith(
        f"cannot copy the checkpoint {weights.parent}: [Errno 13] Permission denied: '{weights}': mend that, or remove "
        "the file checkpoint_file; the next tick tries again"
    )
    assert tick() == 0
    assert wers() == [0.5, 0.4]


def test_other_contents_of_a_disk_for_checkpoints_stay(tracked: Repository, tmp_path: Path) -> None:
    """Two trackers may share a scratch disk: the names alone do not tell whose a checkpoint is."""
    where, scratch = settings.load().places, tmp_path / "scratch"
    (scratch / SHA / "d").mkdir(parents=True)
    (scratch / "data").mkdir()
    (scratch / ("f" * 40)).mkdir()
    (scratch / ("f" * 40) / ".deepspeech_wer").write_text("/another/data/root\n")
    before = names(scratch)
    where.checkpoints.parent.mkdir(parents=True)
    where.checkpoints.symlink_to(scratch)
    assert tick() == 0
    kept = tracked.git("rev-parse", "HEAD")
    sha = tracked.merge("lost", {"wer": f"touch $ds_checkpoint_dir/saved; kill -TERM {TICK_PID}; sleep 100\n"})
    assert subprocess.run(TICK, check=False).returncode == 143
    assert names(scratch) == sorted([*before, sha, f"{sha}/.deepspeech_wer", f"{sha}/saved"])
    tracked.git("reset", "--quiet", "--hard", kept)
    assert tick() == 0
    assert tick() == 0
    assert where.checkpoints.is_symlink()
    assert names(scratch) == before
