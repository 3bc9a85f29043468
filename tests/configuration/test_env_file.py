"""Variables from a file."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes
from deepspeech_wer.configuration import env_file, environment, settings
from tests.conftest import Repository
from tests.test_automation import TICK, tick, wers
from tests.test_automation import tracked as tracked  # the fixture


@pytest.fixture
def file(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty file that ds_env_file names."""
    path = sealed / "wer.env"
    path.touch(mode=0o600)
    monkeypatch.setenv("ds_env_file", str(path))
    monkeypatch.setattr(env_file, "_origins", {})
    return path


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(list(arguments)) == exit_codes.TROUBLE
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """Return the rest of each line that `settings` prints, by the variable's name."""
    capsys.readouterr()
    assert cli.main([*arguments, "settings"]) == 0
    rows = (line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    return {name: " ".join(rest.split()) for name, rest in rows}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("x=a", "a"),
        ("  x=a  ", "a"),
        ("export x=a", "a"),
        ("declare -x x=a", "a"),
        ("typeset -x x=a", "a"),
        ("x = a b", "a b"),
        ("x='a  b'", "a  b"),
        ('x="a # b"', "a # b"),
        ("x=a # b", "a"),
        ("x=a#b", "a#b"),
        ("x=#a", "#a"),
        ("x= # a", ""),
        ("x=", ""),
        ("x=''", ""),
        ("x=a=b", "a=b"),
        (r"x=a\ \'b", "a 'b"),
        (r'x="a\"\\\$b\c"', 'a"\\$b\\c'),
        (r"x='a\b'", r"a\b"),
        ("x='a'\"b\"c", "abc"),
        ("x='it'\\''s'", "it's"),
        ("x=a\\\nb", "ab"),
        ("x='a '", "a "),
        ("x=$HOME/a", "$HOME/a"),
        ("x=1\nx=2", "2"),
        ("x=ä 字\r\n", "ä 字"),
        ("; c\n# x=b\n\nx=a", "a"),
    ],
)
def test_a_line_is_read_as_a_shell_or_systemd_reads_it(text: str, value: str) -> None:
    assert env_file.parse(text) == ({"x": value}, [])


@pytest.mark.parametrize("value", ["a b", "it's", 'q"\\$x', "#a # b", "  ", "x\\", "$(id) `id` !!"])
def test_what_a_shell_exports_is_read_back(value: str) -> None:
    done = subprocess.run(
        ["bash", "-c", "export -p"], env={**os.environ, "ds_x": value}, capture_output=True, text=True, check=True
    )
    found, _ = env_file.parse(done.stdout)
    assert found["ds_x"] == value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("ds_x=1\nds_track commits\n", "line 2: no assignment"),
        ("\n# c\nset -a\n", "line 3: no assignment"),
        ("export ds_x\n", "line 1: no assignment"),
        ("a b=c\n", "line 1: no assignment"),
        ("1x=c\n", "line 1: no assignment"),
        ("=c\n", "line 1: no assignment"),
        ("ds_x=it's\nds_y='b'\n", "line 1: ds_x: a quote that does not end"),
        ('ds_x=1\nds_y="b\n', "line 2: ds_y: a quote that does not end"),
        ("ds_x=a\0b\n", "line 1: ds_x: a NUL"),
        ("one\ntwo\n", "line 1: no assignment; line 2: no assignment"),
        ("?\n" * 12, "line 10: no assignment; and 2 more"),
    ],
)
def test_a_line_of_another_kind_is_named_by_its_number(
    file: Path, capsys: pytest.CaptureFixture[str], text: str, fault: str
) -> None:
    file.write_text(text)
    line = refusal(capsys, "settings")
    assert fault in line
    assert f"ds_env_file {file}" in line
    assert "expected NAME=value" in line


def test_no_value_is_quoted(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text("ds_github_token hunter-two\nds_webhook_url='hunter-two\n")
    assert "hunter" not in refusal(capsys, "settings")


@pytest.mark.parametrize("text", ["ds_github_token=hunter", "# mine\nexport ds_github_token='hunter'", "hunter\n"])
def test_its_content_in_the_place_of_its_path_is_not_quoted(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("ds_env_file", text)
    line = refusal(capsys, "settings")
    assert "ds_env_file: expected the path of a file, found what should stand in it" in line
    assert "hunter" not in line


@pytest.mark.parametrize("command", [(), ("settings",), ("status",)])
@pytest.mark.parametrize(
    ("mode", "fault"),
    [(0o602, "others can write"), (0o620, "others can write"), (0o666, "mode 0666): chmod go-w")],
)
def test_a_file_that_others_can_write_is_refused(
    file: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], mode: int, fault: str
) -> None:
    file.write_text("ds_track=commits\n")
    file.chmod(mode)
    assert fault in refusal(capsys, *command)


def test_a_directory_that_others_can_write_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.parent.chmod(0o777)
    assert f"others can write {file.parent}" in refusal(capsys, "settings")
    file.parent.chmod(0o1777)  # as /tmp is
    assert shown(capsys)
    file.parent.chmod(0o700)


def test_a_file_of_another_user_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid():
        pytest.skip("needs root")
    os.chown(file, 12345, -1)
    assert "belongs to another user (uid 12345)" in refusal(capsys, "settings")


@pytest.mark.parametrize("kind", ["missing", "directory", "pipe", "large", "unreadable"])
def test_a_file_that_cannot_be_read_is_refused(file: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    file.unlink()
    if kind == "directory":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "large":
        file.write_bytes(b"#" * (env_file.MAX_BYTES + 1))
    elif kind == "unreadable":
        file.symlink_to("/proc/self/mem/x")
    assert f"ds_env_file {file}: " in refusal(capsys, "settings")


def test_the_environment_counts_more_than_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("ds_track=commits\nds_backlog=newest\nds_job_attempts=7\nds_github_token=hunter-two\n")
    monkeypatch.setenv("ds_track", "all-merges")
    monkeypatch.setenv("ds_backlog", "")  # counts as not set
    rows = shown(capsys)
    assert rows["ds_track"] == "all-merges (environment)"
    assert rows["ds_backlog"] == f"newest ({file})"
    assert rows["ds_job_attempts"] == f"7 ({file})"
    assert rows["ds_github_token"] == f"{settings.MASK} ({file})"
    assert rows["ds_job_grace"] == "60 (default)"
    cli.main(["check"])
    assert f"all are valid, 3 of them from {file}; " in capsys.readouterr().out


def test_the_crontab_may_name_the_file_and_counts_more(
    sealed: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stand-in for `crontab -l`: the real one would need a crontab of this user's."""
    monkeypatch.delenv("ds_env_file")
    file.write_text("ds_track=commits\nds_backlog=newest\n")
    program = sealed / "bin" / "crontab"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho ds_track=all-merges\necho ds_env_file={file}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    rows = shown(capsys, "--crontab")
    assert rows["ds_track"] == "all-merges (crontab)"
    assert rows["ds_backlog"] == f"newest ({file})"
    assert rows["ds_env_file"] == f"{file} (crontab)"


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_a_tick_uses_it_from_the_cache_to_the_job(
    tracked: Repository, sealed: Path, file: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """The cache's directory, the repository, the clone and a variable of the job; no secret reaches the job."""
    job = '#!/bin/sh\nenv >"$HOME/seen"\n' + (tracked.path / "bin/run-wer-automation.sh").read_text()[10:]
    tracked.commit("shows", {"bin/run-wer-automation.sh": job})
    lines = {name: os.environ[name] for name in ("ds_repo_url", "ds_clone_path")}
    lines |= {"XDG_CACHE_HOME": f"{sealed}/other cache", "corpus": "an4", "ds_github_token": "hunter-two"}
    file.write_text("".join(f"export {name}='{value}'\n" for name, value in lines.items()))
    for name in ("ds_repo_url", "ds_clone_path"):
        monkeypatch.delenv(name)
    subprocess.run([*TICK, *arguments], check=True, capture_output=True)
    assert (sealed / "other cache" / "deepspeech_wer" / "last_sha1").exists()
    assert not (sealed / ".cache").exists()
    seen = (sealed / "seen").read_text()
    assert "\ncorpus=an4\n" in f"\n{seen}"
    assert "hunter" not in seen
    assert "ds_env_file" not in seen


def test_without_the_file_nothing_changes(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_env_file", "")
    assert tick() == 0
    assert wers() == [0.5]
    assert tracked.path.exists()


def test_variables_of_git_in_the_file_point_git_nowhere_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("GIT_DIR=/elsewhere\nSSH_AUTH_SOCK=/run/agent\n")
    monkeypatch.delenv("GIT_DIR", raising=False)
    assert shown(capsys)
    assert "GIT_DIR" not in os.environ
    assert "SSH_AUTH_SOCK" not in environment.job_environment()
