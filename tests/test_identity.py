"""A cache and a data root belong to one repository and branch, and no other is mixed in."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes
from deepspeech_wer.commands import crontab
from deepspeech_wer.configuration import settings
from deepspeech_wer.errors import Trouble
from tests.conftest import Repository
from tests.test_automation import JOB, tick, wers
from tests.test_automation import tracked as tracked  # the fixture


@pytest.fixture
def other(tmp_path: Path) -> Repository:
    """Another repository with a job that works."""
    repository = Repository(tmp_path / "other")
    repository.commit("other root", {"bin/run-wer-automation.sh": JOB, "wer": "wer=0.9\n"})
    return repository


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(list(arguments)) == exit_codes.TROUBLE
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize("arguments", [(), ("run",), ("run", "--dry-run"), ("build",)])
def test_another_repository_is_refused_with_the_cure(
    tracked: Repository,
    other: Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
) -> None:
    tick()
    monkeypatch.setenv("ds_repo_url", str(other.path))
    line = refusal(capsys, *arguments)
    assert f"belongs to url {tracked.path}, not {other.path}" in line
    assert "--crontab" in line
    assert "XDG_CACHE_HOME" in line
    monkeypatch.setenv("ds_repo_url", str(tracked.path))
    assert tick() == 0
    assert wers() == [0.5]


def test_another_spelling_of_the_same_repository_goes_on(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    tick()
    tracked.merge("next")
    for url in (f"file://{tracked.path}/", f"{tracked.path}/.git", str(tracked.path)):
        monkeypatch.setenv("ds_repo_url", url)
        assert tick() == 0
        assert wers() == [0.5, 0.5]


def test_another_branch_is_refused(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    tracked.git("branch", "release")
    monkeypatch.setenv("ds_github_ref", "release")
    assert "belongs to branch HEAD, not release" in refusal(capsys)


def test_a_second_cache_on_the_same_data_is_refused(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_dataroot", str(sealed / "data"))
    assert tracked.path.exists()
    tick()
    (sealed / ".cache").rename(sealed / "elsewhere")
    (sealed / ".cache").symlink_to(sealed / "elsewhere")
    assert tick() == 0  # the same place by another way
    note = sealed / "data" / "deepspeech_wer" / "tracker.json"
    note.write_text(note.read_text().replace(str(sealed / ".cache"), "/home/ben/.cache"))
    assert "belongs to cache /home/ben/.cache" in refusal(capsys)


def test_a_data_root_that_has_lost_its_runs_is_refused(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_dataroot", str(sealed / "data"))
    tick()
    tracked.merge("next")
    (sealed / "data").rename(sealed / "unmounted")
    (sealed / "data").mkdir()
    assert "is empty, but had runs before: is its disk mounted?" in refusal(capsys)
    assert not list((sealed / "data").rglob("hyper.js"))
    shutil.rmtree(sealed / "data")
    (sealed / "unmounted").rename(sealed / "data")
    assert tick() == 0
    assert wers() == [0.5, 0.5]


def test_a_project_that_has_moved_goes_on_once_its_notes_are_removed(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    shutil.copytree(tracked.path, tmp_path / "moved")
    monkeypatch.setenv("ds_repo_url", str(tmp_path / "moved"))
    _, cure = refusal(capsys).split("if the same project has moved, remove ")
    for note in cure.split(" and "):
        Path(note).unlink()
    assert tick() == 0
    assert wers() == [0.5]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("place", ["cache", "data"])
def test_what_another_user_could_not_read_afterwards_is_not_written(
    tracked: Repository, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    """As by an operator who is root, with the tracker's HOME: the queue would stop."""
    tick()
    places = settings.load().places
    note = (places.cache if place == "cache" else places.data) / "tracker.json"
    os.chown(note, 65534, -1)
    sha = tracked.git("rev-parse", "HEAD")
    for command in (
        [],
        ["retry", sha],
        ["accept", sha, "--why", "x"],
        ["skip", sha, "--why", "x"],
        ["cancel"],
        ["build"],
    ):
        assert f"{note.parent} belongs to the user nobody, and this is root: run this" in refusal(capsys, *command)
    assert not places.requests.exists()
    os.chown(note, 0, -1)
    assert tick() == 0


def test_without_its_cache_a_tracker_goes_on(tracked: Repository) -> None:
    tick()
    shutil.rmtree(settings.load().places.cache)
    tracked.merge("next")
    assert tick() == 0
    assert wers() == [0.5, 0.5]


CRONTAB = """\
# ds_repo_url=/comment
MAILTO=ada
ds_repo_url = "https://example.com/a b.git"
'ds_website_server_root'=/var/www
ds_wer_automation=$HOME/job.sh
XDG_CACHE_HOME=/var/cache
*/5 * * * * python -m deepspeech_wer >> log ds_x=1
"""


def test_the_variables_of_a_crontab_are_read_as_cron_reads_them() -> None:
    assert crontab.taken(CRONTAB, "") == {
        "ds_repo_url": "https://example.com/a b.git",
        "ds_website_server_root": "/var/www",
        "ds_wer_automation": "$HOME/job.sh",
        "XDG_CACHE_HOME": "/var/cache",
    }


TWO = """\
ds_website_username=web
*/5 * * * * ds_instance=french ds_repo_url=/srv/fr.git exec python -P -m deepspeech_wer >>fr.log 2>&1
ds_instance=german
ds_repo_url=/srv/de.git
@hourly exec python -P -m deepspeech_wer >>de.log 2>&1
ds_repo_url=/below
"""


def test_of_several_lines_the_instance_tells_which_one_counts() -> None:
    both = {"ds_website_username": "web"}
    assert crontab.taken(TWO, "french") == {**both, "ds_instance": "french", "ds_repo_url": "/srv/fr.git"}
    assert crontab.taken(TWO, "german") == {**both, "ds_instance": "german", "ds_repo_url": "/srv/de.git"}
    with pytest.raises(Trouble, match="it has several trackers: set ds_instance to one of french, german"):
        crontab.taken(TWO, "")
    with pytest.raises(Trouble, match="no line in it has ds_instance=dutch: set ds_instance to one of french, german"):
        crontab.taken(TWO, "dutch")
    unnamed = "*/5 * * * * python -m deepspeech_wer\n" + TWO
    assert crontab.taken(unnamed, "") == {}
    with pytest.raises(Trouble, match="ds_instance=dutch: unset ds_instance"):
        crontab.taken("*/5 * * * * python -m deepspeech_wer", "dutch")


@pytest.mark.parametrize(
    "command",
    [
        "cd ~ && ds_repo_url=/srv/50\\% exec python -P -m deepspeech_wer >>log 2>&1",
        "env ds_repo_url=/srv/50\\% nice -n 9 venv/bin/deepspeech-wer -q run || true",
        "export ds_repo_url='/srv/50\\%'; python -m deepspeech_wer # every hour",
        'sh -c "ds_repo_url=/srv/50\\% exec deepspeech-wer"',
    ],
)
def test_variables_in_a_command_are_read_as_its_shell_reads_them(command: str) -> None:
    others = "ds_repo_url=/below\n1 1 * * * deepspeech-wer overview a\n2 2 * * * rsync ~/deepspeech_wer x:\n"
    assert crontab.taken(f"ds_repo_url=/above\n@hourly {command}\n{others}", "") == {"ds_repo_url": "/srv/50%"}


def test_the_instance_of_a_line_may_be_in_its_file(sealed: Path) -> None:
    lines = []
    for name in ("french", "german"):
        (sealed / f"{name}.env").write_text(f"ds_instance={name}\n")
        (sealed / f"{name}.env").chmod(0o600)
        lines.append(f"*/5 * * * * ds_env_file={sealed}/{name}.env exec python -m deepspeech_wer\n")
    assert crontab.taken("".join(lines), "german") == {"ds_env_file": f"{sealed}/german.env"}


def test_a_command_may_use_the_variables_of_the_crontab(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stand-in for `crontab -l`: the real one would need a crontab of this user's."""
    (sealed / "bin").mkdir()
    program = sealed / "bin" / "crontab"
    program.write_text(f"#!/bin/sh\ncat <<'END'\nds_track=commits\nXDG_CACHE_HOME={sealed}/cron-cache\nEND\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("ds_track", "merges")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert cli.main(["--crontab", "settings"]) == 0
    assert "ds_track                         commits" in capsys.readouterr().out
    assert (sealed / "cron-cache" / "deepspeech_wer").is_dir()


def test_variables_that_only_a_shell_reads_are_told(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without them another repository would be looked at. The stand-in's comment is in Latin-1, as people have it."""
    program = sealed / "crontab"
    program.write_bytes(b"#!/bin/sh\necho '# f\xfcr alle'\necho '0 * * * * . ~/wer.env; python -m deepspeech_wer'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sealed}:/usr/bin:/bin")
    assert "no ds_* variable is set in it" in refusal(capsys, "--crontab", "status")


def test_no_crontab_is_one_line(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(sealed))
    assert "--crontab: cannot run crontab" in refusal(capsys, "--crontab", "settings")
