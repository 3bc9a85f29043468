"""Old checkpoints and exports make room; results never."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes
from deepspeech_wer.configuration import settings
from deepspeech_wer.machine import lock
from tests.conftest import Repository
from tests.test_automation import TICK, tick, wers
from tests.test_automation import tracked as tracked  # the fixture
from tests.waiting import until


def prune(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    capsys.readouterr()
    assert cli.main(["prune", *arguments]) == 0
    return capsys.readouterr().out.splitlines()


def checkpoint(sha: str, age: int, size: int = 5000) -> Path:
    path = settings.load().places.checkpoints / sha
    path.mkdir(parents=True, exist_ok=True)
    (path / "weights").write_bytes(b"x" * size)
    (path / ".deepspeech_wer").write_text(f"{settings.load().places.data}\n")
    os.utime(path, (10**9 - age, 10**9 - age))
    return path


def export(top: Path, name: str, age: int, marker: str = "model.json") -> Path:
    path = top / name
    path.mkdir(parents=True)
    (path / marker).write_bytes(b"{}" * 5000)
    os.utime(path, (10**9 - age, 10**9 - age))
    return path


def test_the_newest_checkpoints_stay_and_a_dry_run_tells_the_same_bytes(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    assert tracked.path.exists()
    made = [checkpoint(letter * 40, age) for age, letter in enumerate("abc")]
    foreign = settings.load().places.checkpoints / ("d" * 40)
    foreign.mkdir()
    dry = prune(capsys, "--keep", "1", "--dry-run")
    assert all(path.exists() for path in made)
    assert [line.partition("/")[2].rpartition("/")[2] for line in dry[:2]] == ["b" * 40, "c" * 40]
    (would,) = re.findall(r"would free ([\d,]+) bytes", dry[-1])
    assert int(would.replace(",", "")) >= 2 * 5000
    real = prune(capsys, "--keep", "1")
    assert [path.exists() for path in made] == [True, False, False]
    assert foreign.exists()
    assert f"freed {would} bytes" in real[-1]
    assert prune(capsys, "--keep", "1")[-1].startswith("freed 0 bytes (0.0 MB) in 0 directories")
    assert wers() == [0.5]


def test_the_checkpoint_that_a_person_wants_stays(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    assert tracked.path.exists()
    wanted, other = checkpoint("a" * 40, 5), checkpoint("b" * 40, 1)
    settings.load().places.checkpoint_request.write_text(f"{wanted}\n")
    prune(capsys, "--keep", "0")
    assert wanted.exists()
    assert not other.exists()


def test_the_exports_of_archived_merges_go_and_nothing_else(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    for number in range(3):
        tracked.merge(f"m{number}")
    tick()
    shas = tracked.git("log", "--first-parent", "--format=%H").split()
    top = tmp_path / "exports"
    oldest, older, linked, newest = (export(top, sha[:7], age) for sha, age in zip(shas, (9, 8, 7, 1), strict=True))
    others = [export(top, "0000000", 20), export(top, "models", 20), top / "notes.txt"]
    others[-1].touch()
    (top / "latest").symlink_to(linked.name)
    (top / "fffffff").symlink_to(tmp_path)
    monkeypatch.setenv("ds_export_dir", str(top))
    prune(capsys, "--keep", "1")
    assert [path.exists() for path in (oldest, older, linked, newest)] == [False, False, True, True]
    assert all(path.exists() for path in others)
    assert (top / "fffffff").is_symlink()
    (older.mkdir(), (older / "thesis.txt").touch())  # a directory of the user's that happens to have the name
    prune(capsys, "--keep", "0")
    assert (older / "thesis.txt").exists()
    assert len(wers()) == 4


def test_the_checkpoint_of_a_running_job_is_not_touched(
    tracked: Repository, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    waits = f"touch {sealed}/started; while [ ! -e {sealed}/go ]; do sleep 0.05; done; wer=0.1\n"
    running = tracked.merge("runs", {"wer": waits})
    try:
        with subprocess.Popen(TICK, stderr=subprocess.DEVNULL) as process:
            until((sealed / "started").exists)
            assert cli.main(["prune", "--keep", "0"]) == exit_codes.TROUBLE
            assert "a tick is running" in capsys.readouterr().err
            process.kill()
        old = checkpoint("a" * 40, 1)
        prune(capsys, "--keep", "0")
        assert not old.exists()
        assert (settings.load().places.checkpoints / running).exists()
    finally:
        (sealed / "go").touch()
    tick()
    assert wers() == [0.5, 0.1]
    assert not lock.is_held(str(settings.load().places.lock))


@pytest.mark.parametrize("arguments", [[], ["--keep", "-1"], ["--keep", "x"]])
def test_a_number_must_be_given(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["prune", *arguments])
    assert left.value.code == exit_codes.USAGE
