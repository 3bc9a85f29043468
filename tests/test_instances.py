"""Several trackers of one user, told apart by ds_instance."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer import archive, cli, exit_codes, xdg_directories
from deepspeech_wer.configuration import settings
from deepspeech_wer.machine import lock
from tests.conftest import Repository
from tests.test_automation import JOB, TICK

DEADLINE_S = 120
MEETING = """\
#!/bin/sh
# Waits until the other repository's job runs as well: they can only both succeed side by side.
touch "$MEETING/$ds_instance"
for i in $(seq 600); do
    [ -e "$MEETING/french" ] && [ -e "$MEETING/german" ] && break
    sleep 0.1
done
[ -e "$MEETING/french" ] && [ -e "$MEETING/german" ] || exit 9
pwd >"$MEETING/$ds_instance.checkout"
"""


def two_repositories(tmp_path: Path, job: str) -> dict[str, Repository]:
    made = {}
    for name, rate in (("french", 0.25), ("german", 0.75)):
        made[name] = Repository(tmp_path / name)
        made[name].commit(f"{name} root", {"bin/run-wer-automation.sh": job, "wer": f"wer={rate}\n"})
    return made


def variables(name: str, repository: Repository, meeting: Path) -> dict[str, str]:
    return {**os.environ, "ds_instance": name, "ds_repo_url": str(repository.path), "MEETING": str(meeting)}


def test_two_repositories_tick_at_once_and_do_not_meet(sealed: Path, tmp_path: Path) -> None:
    (tmp_path / "meeting").mkdir()
    made = two_repositories(tmp_path, MEETING + JOB.partition("\n")[2])
    ticks = {
        name: subprocess.Popen(TICK, env=variables(name, one, tmp_path / "meeting"), stderr=subprocess.PIPE, text=True)
        for name, one in made.items()
    }
    for name, one in ticks.items():
        _, told = one.communicate(timeout=DEADLINE_S)
        assert one.returncode == 0, told
        assert f'"{name} root"' in told
    for name, rate in (("french", 0.25), ("german", 0.75)):
        (run,) = archive.load(sealed / ".local/share" / f"deepspeech_wer-{name}" / "runs")
        assert (run.merge.subject, run.hyper["results"]["test_wer"] if run.hyper else None) == (f"{name} root", rate)
        hyper_js = (sealed / ".local/share" / f"deepspeech_wer-{name}" / "site/js/hyper.js").read_text()
        assert run.merge.sha in hyper_js
        assert hyper_js.count("time_started") == 1
        note = json.loads((sealed / ".cache" / f"deepspeech_wer-{name}" / "tracker.json").read_text())
        assert note["url"] == str(made[name].path)
        place = Path((tmp_path / "meeting" / f"{name}.checkout").read_text().strip())
        assert place.parent == sealed / f"ds_exec_clone-{name}"
        assert not place.exists()
    assert not (sealed / ".cache/deepspeech_wer").exists()
    assert not (sealed / ".local/share/deepspeech_wer").exists()


def test_the_lock_of_one_instance_does_not_hold_up_another(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = two_repositories(tmp_path, JOB)
    held = lock.acquire(f"{xdg_directories.cache_directory('french')}/lock")
    assert held is not None
    try:
        for name, count in (("french", 0), ("german", 1)):
            monkeypatch.setenv("ds_instance", name)
            monkeypatch.setenv("ds_repo_url", str(made[name].path))
            assert subprocess.run(TICK, check=False, timeout=DEADLINE_S).returncode == 0
            assert len(archive.names(sealed / ".local/share" / f"deepspeech_wer-{name}" / "runs")) == count
    finally:
        lock.release(held)


def test_without_an_instance_a_second_repository_is_refused_and_the_cure_works(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = two_repositories(tmp_path, JOB)
    monkeypatch.setenv("ds_repo_url", str(made["french"].path))
    assert subprocess.run(TICK, check=False, timeout=DEADLINE_S).returncode == 0
    monkeypatch.setenv("ds_repo_url", str(made["german"].path))
    assert cli.main([]) == exit_codes.TROUBLE
    (line,) = capsys.readouterr().err.splitlines()
    assert "set ds_instance to a name of its own" in line
    (sealed / "wer.env").write_text("ds_instance=german\n")
    (sealed / "wer.env").chmod(0o600)
    monkeypatch.setenv("ds_env_file", str(sealed / "wer.env"))
    assert subprocess.run(TICK, check=False, timeout=DEADLINE_S).returncode == 0
    assert len(archive.names(sealed / ".local/share/deepspeech_wer-german/runs")) == 1
    assert len(archive.names(sealed / ".local/share/deepspeech_wer/runs")) == 1


@pytest.mark.parametrize("name", ["../x", "a/b", ".", "a b", "ä", "a.b", "x" * 41, "-\n"])
def test_a_name_that_is_no_part_of_a_directory_is_refused(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.setenv("ds_instance", name)
    for command in ([], ["run"], ["status"]):
        assert cli.main(command) == exit_codes.USAGE
        assert "ds_instance: " in capsys.readouterr().err
    assert list(sealed.iterdir()) == []


@pytest.mark.parametrize(("text", "end"), [("", ""), ("fr", "-fr")])
def test_all_places_of_an_instance_have_its_name(sealed: Path, text: str, end: str) -> None:
    loaded = settings.load({"ds_instance": text, "ds_dataroot": f"{sealed}/data", "ds_clone_path": f"{sealed}/c/"})
    assert loaded.places.data == sealed / f"data/deepspeech_wer{end}"
    assert loaded.places.cache == sealed / f".cache/deepspeech_wer{end}"
    assert loaded.clone_path == sealed / f"c{end}"
