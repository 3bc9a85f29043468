"""`deepspeech-wer publish`, as typed by hand, into a real OpenSSH server on loopback."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes, xdg_directories
from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.end_to_end.publishing import published
from tests.end_to_end.sshd import Sshd, running_sshd
from tests.test_automation import TICK
from tests.test_automation import tracked as tracked  # the fixture
from tests.test_cli import said

pytestmark = pytest.mark.usefixtures("tracked")


@pytest.fixture
def server(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Sshd]:
    """A tracker with one run, and a web root in which nothing has been published."""
    assert cli.main([]) == 0, tracked.path
    capsys.readouterr()
    with running_sshd(tmp_path / "sshd") as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        yield server


def test_dry_then_for_real_then_back_again(
    server: Sshd, tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    *lines, last = said(capsys, "publish", "--dry-run").splitlines()
    assert all(line.startswith("send    ") and line.endswith(" bytes): new") for line in lines)
    assert last.startswith(f"would send {len(lines)} of {len(lines)} files, ")
    assert list(server.root.iterdir()) == []
    assert said(capsys, "publish").startswith(f"published {len(lines)} of {len(lines)} files, ")
    assert said(capsys, "publish").startswith(f"published 0 of {len(lines)} files, 0 bytes, ")
    first = published(server.root)
    tracked.merge("another")
    subprocess.run(TICK, check=True, capture_output=True)  # one in this process would forget the server's address
    second = published(server.root)
    assert second["index.htm"] != first["index.htm"]
    assert "send    index.htm (" in said(capsys, "publish", "--rollback", "--dry-run")
    assert published(server.root) == second
    assert said(capsys, "publish", "--rollback").startswith("rolled back ")
    first.pop("js/now.js")  # what the tracker does now has no earlier version
    assert {path: data for path, data in published(server.root).items() if path in first} == first
    said(capsys, "publish")
    assert published(server.root)["index.htm"] == second["index.htm"]


def test_what_others_put_there_is_replaced_only_with_adopt(server: Sshd, capsys: pytest.CaptureFixture[str]) -> None:
    (server.root / "index.htm").write_text("theirs")
    assert cli.main(["publish"]) == exit_codes.TROUBLE
    [line] = capsys.readouterr().err.splitlines()
    assert line.endswith("publish --adopt")
    assert published(server.root) == {"index.htm": b"theirs"}
    said(capsys, "publish", "--adopt")
    assert published(server.root)["index.htm"] != b"theirs"


def test_withdrawn_logs_are_nowhere_in_the_web_root(
    server: Sshd, tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked.merge("loud", {"bin/run-wer-automation.sh": "#!/bin/sh\necho hunter-two >&2\nexit 1\n"})
    monkeypatch.setenv("ds_publish_logs", "full")
    subprocess.run(TICK, check=False, capture_output=True)
    assert b"hunter-two" in b"".join(everything(server.root))
    monkeypatch.setenv("ds_publish_logs", "none")
    assert "published " in said(capsys, "publish")
    assert not list(server.root.rglob("*.log"))
    assert b"hunter-two" not in b"".join(everything(server.root))
    assert cli.main(["publish", "--rollback"]) == exit_codes.TROUBLE
    assert "nothing to roll back to" in capsys.readouterr().err
    monkeypatch.setenv("ds_publish_logs", "full")
    assert "published " in said(capsys, "publish")
    assert b"hunter-two" in b"".join(everything(server.root))


def become_another_tracker(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run later commands with an archive and a cache of their own."""
    monkeypatch.setenv("ds_dataroot", str(home / "other-data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "other-cache"))
    xdg_directories.read_again()


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert cli.main(list(arguments)) == exit_codes.TROUBLE
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    "arguments", [["publish"], ["publish", "--adopt"], ["publish", "--rollback"], ["publish", "--dry-run"]]
)
def test_the_web_root_of_another_tracker_is_left_alone(
    server: Sshd,
    sealed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    said(capsys, "publish")
    before = everything(server.root)
    become_another_tracker(sealed, monkeypatch)
    line = refused(capsys, *arguments)
    assert f"{server.root}: belongs to another tracker: found " in line
    assert f":{sealed}/.local/share/deepspeech_wer, id " in line
    assert f"; expected this one, {settings.load().repository.name}" in line
    assert f":{sealed}/other-data/deepspeech_wer, id " in line
    assert "ds_website_server_root" in line
    assert "publish --take-over" in line
    assert everything(server.root) == before


def test_a_tick_of_another_tracker_and_its_check_are_told_too(
    server: Sshd, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "publish")
    before = everything(server.root)
    become_another_tracker(sealed, monkeypatch)
    cli.main(["check"])
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("fault  publishing")]
    assert "belongs to another tracker" in line
    assert "id not made yet" in line
    assert not (sealed / "other-data").exists()
    done = subprocess.run(TICK, check=False, capture_output=True, text=True)
    assert done.returncode == exit_codes.FAILED
    assert "not published: " in done.stderr
    assert "belongs to another tracker" in done.stderr
    assert everything(server.root) == before


def test_a_web_root_can_be_taken_over(
    server: Sshd, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "publish")
    with monkeypatch.context() as there:
        become_another_tracker(sealed, there)
        assert said(capsys, "publish", "--take-over").startswith("published ")
        assert said(capsys, "publish").startswith("published 0 of ")
        theirs = everything(server.root)
    xdg_directories.read_again()
    assert "belongs to another tracker" in refused(capsys, "publish")
    assert everything(server.root) == theirs
    assert said(capsys, "publish", "--take-over", "--dry-run").splitlines()[-1].startswith("would send ")
    said(capsys, "publish", "--take-over")
    assert said(capsys, "publish").startswith("published 0 of ")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("change", ["machine", "data", "cache"])
def test_the_same_tracker_elsewhere_is_no_stranger(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    said(capsys, "publish")
    if change == "machine":
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "new-name", "6", "1", "x86_64")))
    elif change == "cache":
        shutil.rmtree(sealed / ".cache")
    else:
        old, new = sealed / ".local/share/deepspeech_wer", sealed / "moved/deepspeech_wer"
        new.parent.mkdir()
        old.rename(new)
        (new / "tracker.json").unlink(missing_ok=True)  # it and the cache's say where the other is
        shutil.rmtree(sealed / ".cache")
        monkeypatch.setenv("ds_dataroot", str(sealed / "moved"))
    assert said(capsys, "publish").startswith("published ")


def test_a_web_root_of_an_older_release_gets_its_owner(
    server: Sshd, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said(capsys, "publish")
    manifest = server.root / ".deepspeech_wer" / "manifest.json.gz"
    record = json.loads(gzip.decompress(manifest.read_bytes()))
    owner = record.pop("owner")
    del record["owner_name"]
    manifest.write_bytes(gzip.compress(json.dumps(record).encode()))
    assert said(capsys, "publish").startswith("published 0 of ")
    assert json.loads(gzip.decompress(manifest.read_bytes()))["owner"] == owner
    become_another_tracker(sealed, monkeypatch)
    assert "belongs to another tracker" in refused(capsys, "publish")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("kind", ["damaged", "unreadable"])
def test_an_id_that_cannot_be_read_is_never_replaced(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    said(capsys, "publish")
    place = settings.load().places.owner
    place.unlink()
    if kind == "damaged":
        place.write_text("?")
    else:
        place.mkdir()
    assert str(place) in refused(capsys, "publish")
    assert place.is_dir() or place.read_text() == "?"


def everything(root: Path) -> list[bytes]:
    """What every file holds, those that no visitor sees included."""
    return [path.read_bytes() for path in root.rglob("*") if path.is_file()]


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_drawn_on_a_terminal_only(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert cli.main(["publish"]) == 0
    drawn = capsys.readouterr().err
    if not terminal:
        assert drawn == ""
        return
    assert drawn.startswith("\r  uploading [")
    assert re.search(r"\r  uploading \[#{30}\] ([\d.]+) of \1 MB\n\Z", drawn)
