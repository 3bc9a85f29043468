"""`deepspeech-wer publish`, as typed by hand, into a real OpenSSH server on loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes
from tests.conftest import Repository
from tests.end_to_end.publishing import published
from tests.end_to_end.sshd import Sshd, running_sshd
from tests.test_automation import TICK
from tests.test_automation import tracked as tracked  # the fixture
from tests.test_cli import said

pytestmark = pytest.mark.usefixtures("tracked")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Sshd]:
    """A tracker with one run, and a web root in which nothing has been published."""
    cli.main([])
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
