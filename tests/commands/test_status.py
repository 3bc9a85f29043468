"""What `status` says of publishing and of errors."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes
from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.end_to_end.sshd import Sshd, running_sshd
from tests.test_automation import TICK, tick
from tests.test_automation import tracked as tracked  # the fixture

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


@pytest.fixture
def server(tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """A tracker with one run, and a web root in which nothing has been published."""
    assert tick() == 0, tracked.path
    with running_sshd(tmp_path / "sshd") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def told(capsys: pytest.CaptureFixture[str], subject: str) -> str:
    """Return what `status` says of a subject; "" if nothing."""
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith(f"{subject}: ")), "")


def test_a_dry_run_is_no_publish(server: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(rf"nothing published to \S+:{server.root} yet", told(capsys, "site"))
    assert cli.main(["publish", "--dry-run"]) == 0
    assert re.fullmatch(rf"nothing published to .* yet, only a dry run at {TIME}", told(capsys, "site"))
    assert cli.main(["publish"]) == 0
    assert re.fullmatch(rf"up to date, published to .* at {TIME}", told(capsys, "site"))
    published = told(capsys, "site")
    assert cli.main(["publish", "--dry-run"]) == 0
    assert told(capsys, "site") == published
    assert told(capsys, "last error") == ""


def test_a_publish_by_a_tick_is_told_and_one_elsewhere_is_not(
    server: Sshd, tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked.merge("next")
    assert subprocess.run(TICK, check=False, capture_output=True).returncode == 0
    assert told(capsys, "site").startswith("up to date, published to ")
    other = server.root.with_name("other root")
    other.mkdir()
    monkeypatch.setenv("ds_website_server_root", str(other))
    assert told(capsys, "site").startswith(f"nothing published to 127.0.0.1:{other} yet")


def test_a_publish_that_failed_is_told_with_reason_and_time(
    server: Sshd, tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    (server.root / "theirs").touch()
    assert cli.main(["publish"]) == exit_codes.TROUBLE
    by_hand = told(capsys, "last error")
    assert re.fullmatch(rf"{TIME}: not published: .*holds theirs.*publish --adopt", by_hand)
    settings.load().places.cache.joinpath("last_error.json").unlink()
    tracked.merge("next")
    assert subprocess.run(TICK, check=False, capture_output=True).returncode == exit_codes.FAILED
    assert re.fullmatch(rf"{TIME}: not published: .*holds theirs.*", told(capsys, "last error"))
    assert told(capsys, "site").startswith("nothing published to ")


@pytest.mark.parametrize("kind", ["unreachable", "another branch"])
def test_a_tick_that_failed_is_told_with_reason_and_time(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    assert tick() == 0
    assert told(capsys, "last error") == ""
    if kind == "unreachable":
        tracked.path.rename(tracked.path.with_name("gone"))
    else:
        monkeypatch.setenv("ds_github_ref", "none-such")
    assert tick() == exit_codes.TROUBLE
    [line] = capsys.readouterr().err.splitlines()
    reason = line.partition("deepspeech_wer: ")[2]
    assert re.fullmatch(rf"{TIME}: {re.escape(reason)}", told(capsys, "last error"))


def test_a_failed_publish_is_got_over_by_a_good_one_alone(
    server: Sshd, tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = server.root / "theirs"
    theirs.touch()
    tracked.merge("next")
    assert subprocess.run(TICK, check=False, capture_output=True).returncode == exit_codes.FAILED
    assert "resolved" not in told(capsys, "last error")
    theirs.unlink()
    assert subprocess.run(TICK, check=False, capture_output=True).returncode == 0
    line = told(capsys, "last error")
    assert re.fullmatch(rf"{TIME}: not published: .*holds theirs.* \(resolved at {TIME}\)", line)
    assert subprocess.run(TICK, check=False, capture_output=True).returncode == 0
    assert told(capsys, "last error") == line  # since the first good one


def test_a_failed_tick_is_got_over_by_a_good_one_and_may_come_back(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tick() == 0
    gone = tracked.path.with_name("gone")
    tracked.path.rename(gone)
    assert tick() == exit_codes.TROUBLE
    gone.rename(tracked.path)
    assert tick() == 0
    assert re.fullmatch(rf"{TIME}: cannot fetch .* \(resolved at {TIME}\)", told(capsys, "last error"))
    assert cli.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["last_error"]["over_at"]
    tracked.path.rename(gone)
    assert tick() == exit_codes.TROUBLE
    assert "resolved" not in told(capsys, "last error")


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("content", ["", "{}", "[]", '{"what": 1'])
def test_a_damaged_note_is_no_error(capsys: pytest.CaptureFixture[str], content: str) -> None:
    assert tick() == 0
    settings.load().places.cache.joinpath("last_error.json").write_text(content)
    assert told(capsys, "last error") == ""


def test_before_anything_was_fetched_it_says_so(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_repo_url", str(sealed / "nowhere"))
    assert cli.main([]) == exit_codes.TROUBLE
    assert told(capsys, "queue") in ("", "not known, as nothing of the branch has been fetched yet")
    assert "cannot fetch" in told(capsys, "last error")
    for command, said in (("runs", "no run is archived yet\n"), ("verdicts", "no merge is judged yet")):
        capsys.readouterr()
        assert cli.main([command]) == 0
        assert capsys.readouterr().out.startswith(said)
        assert cli.main([command, "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == []


def test_a_site_that_was_built_and_never_sent_is_not_called_published(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with running_sshd(tmp_path / "sshd") as host:
        for name, value in host.environment().items():
            monkeypatch.setenv(name, value)
        (host.root / ".htaccess").write_text("DirectoryIndex index.htm\n")
        assert cli.main(["publish"]) == exit_codes.TROUBLE
        assert "put an empty index.htm beside it" in capsys.readouterr().err
        assert (
            told(capsys, "site")
            == f"nothing published to {host.environment()['ds_website_server_fqdn']}:{host.root} yet"
        )
        (host.root / "index.htm").touch()
        assert cli.main(["publish"]) == exit_codes.DONE
        assert told(capsys, "site").startswith("up to date, published to ")
    assert sealed.exists()


def test_a_failed_run_is_called_failed_once(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert tick() == 0
    tracked.merge("breaks it", {"wer": "exit 3\n"})
    assert tick() == exit_codes.FAILED
    assert told(capsys, "result").endswith(" failed: exit 3: breaks it")
