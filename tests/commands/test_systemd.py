"""The units that `systemd` makes, checked by systemd itself where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes
from tests.commands.test_check import found
from tests.conftest import Repository
from tests.test_automation import tracked as tracked  # the fixture


@pytest.fixture
def file(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = sealed / 'odd "50 % \\ name'
    place.mkdir()
    path = place / "wer.env"
    path.write_text("ds_job_grace=30\nds_instance=french\n")
    path.chmod(0o600)
    monkeypatch.setenv("ds_env_file", str(path))
    return path


def written(sealed: Path) -> dict[str, Path]:
    return {path.name: path for path in (sealed / ".config/systemd/user").iterdir()}


def test_the_units_are_written_and_systemd_finds_no_fault(
    file: Path, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["systemd", "--write"]) == 0
    assert "systemctl --user enable --now deepspeech-wer-french.timer" in capsys.readouterr().out
    made = written(sealed)
    assert set(made) == {"deepspeech-wer-french.service", "deepspeech-wer-french.timer"}
    text = made["deepspeech-wer-french.service"].read_text()
    assert f'ExecStart="{sys.executable}" -P -m deepspeech_wer\n' in text
    assert "TimeoutStopSec=90\n" in text
    assert '"ds_instance=french"' in text
    assert "{{" not in text + made["deepspeech-wer-french.timer"].read_text()
    assert file.exists()
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (Debian: systemd)")
    for path in made.values():
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={"PATH": "/usr/bin:/bin", "HOME": str(sealed), "XDG_RUNTIME_DIR": str(sealed)},
        )
        assert (done.returncode, str(path.name) in done.stderr) == (0, False), done.stderr


def test_what_stands_in_the_service_starts_a_tick(
    file: Path, tracked: Repository, sealed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """systemd's own quoting is read back by hand: no systemd runs in a test."""
    with file.open("a") as stream:
        stream.write(f"ds_repo_url={tracked.path}\nds_clone_path={sealed}/clone\nPATH=/usr/bin:/bin\n")
    assert cli.main(["systemd"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (words,) = [line.removeprefix("Environment=") for line in lines if line.startswith("Environment=")]
    read = words.replace("%%", "%").replace('\\"', "\0").replace("\\\\", "\\").split('"')
    variables = dict(one.replace("\0", '"').partition("=")[::2] for one in read if "=" in one)
    assert variables == {"ds_env_file": str(file), "ds_instance": "french"}
    command = [sys.executable, "-P", "-m", "deepspeech_wer"]
    env = {"HOME": str(sealed), "ds_retrain": "off", **variables}
    assert subprocess.run(command, env=env, check=False, timeout=120).returncode == 0
    assert list((sealed / ".local/share/deepspeech_wer-french/runs").iterdir())


def test_another_version_of_a_unit_is_kept(file: Path, sealed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["systemd", "--write"]) == 0
    assert cli.main(["systemd", "--write"]) == 0
    assert capsys.readouterr().out.count("as it was") == 2
    service = written(sealed)["deepspeech-wer-french.service"]
    service.write_text("mine")
    assert cli.main(["systemd", "--write"]) == 0
    assert service.with_name(service.name + ".before").read_text() == "mine"
    assert file.exists()


def test_without_a_file_of_variables_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["systemd"]) == exit_codes.TROUBLE
    (line,) = capsys.readouterr().err.splitlines()
    assert "write the variables into a file and set ds_env_file" in line


@pytest.mark.usefixtures("tracked", "file")
def test_check_knows_an_enabled_timer(sealed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["systemd", "--write"]) == 0
    assert found(capsys)["crontab"].startswith("hint ")
    wants = sealed / ".config/systemd/user/timers.target.wants"
    wants.mkdir()
    (wants / "deepspeech-wer-french.timer").symlink_to("../deepspeech-wer-french.timer")
    assert found(capsys)["crontab"] == "ok the systemd timer deepspeech-wer-french.timer is enabled"
