"""Files of a newer release end a command with one line, and stay as they are."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deepspeech_wer import archive, archive_record, cli, decision_files, exit_codes
from deepspeech_wer.configuration import settings
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.jobs import work as works
from deepspeech_wer.notify import ledger
from deepspeech_wer.places import Places
from tests.conftest import Repository
from tests.test_automation import TICK, tick, wers
from tests.test_automation import tracked as tracked  # the fixture
from tests.waiting import until


def newest_run(places: Places) -> Path:
    return places.runs / archive.newest(places.runs) / "run.json"


def decided(kind: Callable[[Path, Decision], None]) -> Callable[[Places], Path]:
    def make(places: Places) -> Path:
        sha = archive_record.read(newest_run(places).parent).merge.sha
        kind(places.requests, Decision(sha, "ada", "x", "2026-01-01T00:00:00Z"))
        (path,) = places.requests.glob("*.json")
        return path

    return make


def file(name: str, content: object) -> Callable[[Places], Path]:
    def make(places: Places) -> Path:
        (places.cache / name).write_text(json.dumps(content))
        return places.cache / name

    return make


ENTRY = {"version": 2, "phase": "job", "sha": "a", "subject": "b", "attempt": 1, "since": "2026-01-01T00:00:00Z"}


def released(places: Places) -> Path:
    decision_files.release(places.requests, "ada", "")
    return places.requests / "released.json"


@pytest.mark.parametrize(
    "make",
    [
        newest_run,
        lambda places: places.cache / "tracker.json",
        lambda places: places.data / "tracker.json",
        file("tick.json", ENTRY),
        file("told.json", {"version": ledger.VERSION, "channels": {}}),
        decided(decision_files.ask_retry),
        decided(decision_files.accept),
        decided(decision_files.skip),
        released,
    ],
    ids=["run", "cache", "data", "tick", "told", "retry", "accept", "skip", "released"],
)
def test_it_is_refused_and_left_alone(
    tracked: Repository, capsys: pytest.CaptureFixture[str], make: Callable[[Places], Path]
) -> None:
    assert tick() == 0
    path = make(settings.load().places)
    record = json.loads(path.read_bytes())
    newer = json.dumps({**record, "version": record["version"] + 1, "more": "of the future"})
    path.write_text(newer)
    tracked.merge("next", {"wer": "wer=0.4\n"})
    for command in ([], ["run", "--dry-run"]):
        capsys.readouterr()
        assert cli.main(command) == exit_codes.TROUBLE
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{path}: written by a newer deepspeech_wer (version {record['version'] + 1} of the file" in line
    assert path.read_text() == newer
    assert [one.name for one in path.parent.glob("*unreadable*")] == []
    path.write_text(json.dumps(record))
    assert tick() == 0
    assert wers()[-1] == 0.4


def test_the_order_of_a_run_in_work_is_refused_too(
    tracked: Repository, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tick() == 0
    tracked.merge(
        "slow", {"wer": f"touch {sealed}/started; while [ ! -e {sealed}/go ]; do sleep 0.05; done; wer=0.4\n"}
    )
    with subprocess.Popen(TICK, stderr=subprocess.DEVNULL) as process:
        until((sealed / "started").exists)
        process.kill()
    (work,) = works.unfinished(settings.load().places.work)
    (sealed / "go").touch()
    until((work.path / "outcome.json").exists)
    until(lambda: "outcome.reserve" not in {path.name for path in work.path.iterdir()})
    path = work.path / "order.json"
    record = json.loads(path.read_bytes())
    path.write_text(json.dumps({**record, "version": 2}))
    capsys.readouterr()
    assert tick() == exit_codes.TROUBLE
    assert f"{path}: written by a newer deepspeech_wer" in capsys.readouterr().err
    path.write_text(json.dumps(record))
    assert tick() == 0
    assert wers() == [0.5, 0.4]


def test_the_file_of_an_earlier_release_is_kept_when_it_is_written_anew(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tick() == 0
    cache = settings.load().places.cache
    old = json.dumps({"version": 1, "channels": {"webhook": {"names": archive.names(cache), "last": None}}})
    (cache / "told.json").write_text(old)
    (cache / "told.json").chmod(0o600)
    monkeypatch.setenv("ds_webhook_url", "http://127.0.0.1:1/")
    tracked.merge("next", {"wer": "wer=0.4\n"})
    tick()
    assert json.loads((cache / "told.json").read_bytes())["version"] == ledger.VERSION
    assert (cache / "told.json.version-1").read_text() == old


def test_a_note_of_an_earlier_release_is_read(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert tick() == 0
    old = {"version": 1, "phase": "job", "merge": {"sha": "f" * 40, "subject": "old"}, "attempt": 1, "since": "x"}
    (settings.load().places.cache / "tick.json").write_text(json.dumps(old))
    assert tick() == 0
    assert "the last tick was killed at ffffffffffff" in capsys.readouterr().err
    assert tracked.path.exists()


@pytest.mark.parametrize(
    "upgrade", ["mv {0}/deepspeech_wer {0}/old", "touch -d 2020-01-01 {0}/deepspeech_wer/showing.py"]
)
def test_a_tick_ends_after_its_job_if_the_program_was_replaced_meanwhile(
    tracked: Repository, tmp_path: Path, upgrade: str
) -> None:
    lib = tmp_path / "lib"
    shutil.copytree(Path(cli.__file__).parent, lib / "deepspeech_wer")
    tick()
    tracked.merge("upgrades", {"wer": f"{upgrade.format(lib)}\nwer=0.4\n"})
    tracked.merge("after", {"wer": "wer=0.3\n"})
    environment = os.environ | {"PYTHONPATH": str(lib)}

    done = subprocess.run(TICK, env=environment, check=False, stderr=subprocess.PIPE, text=True)

    assert done.returncode == exit_codes.TROUBLE
    assert "another deepspeech_wer was installed while this tick ran" in done.stderr.splitlines()[-1]
    assert wers() == [0.5, 0.4]
    assert tick() == 0
    assert wers() == [0.5, 0.4, 0.3]
