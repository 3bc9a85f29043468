"""What others write never reaches the terminal or the log as it is: no control character, nothing that is not seen."""

from __future__ import annotations

import logging
import os
import pty
import subprocess
import unicodedata
from pathlib import Path

import pytest

from deepspeech_wer import archive, cli, logging_setup
from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.test_automation import JOB, TICK, tick
from tests.test_automation import tracked as tracked  # the fixture

EVIL = "\x1b[2J\x9b31m\u202egpj\u2066\u200b\x07\u2028\x85"
BRANCH = "evil\x9b31m\u202egpj\u2066\u200b\u2028\x85end"  # git refuses C0 alone
NAMED = JOB.replace('"n":1', f'"n":"{EVIL[1:].replace(chr(7), "")}"')


def hidden(text: str) -> set[str]:
    """Return the characters of a text that a reader does not see, besides line breaks."""
    unseen = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    return {char for char in text if unicodedata.category(char) in unseen and char != "\n"}


@pytest.fixture
def hostile(tracked: Repository) -> Repository:
    """A repository whose branch, author, subject, file names, record and output are all hostile."""
    tracked.git("config", "user.name", f"Mallory{EVIL}")
    tracked.git("checkout", "--quiet", "-b", BRANCH)
    tracked.merge(f"subject {EVIL}", {"bin/run-wer-automation.sh": NAMED, f"bin/{EVIL}": "x"})
    return tracked


def fail(hostile: Repository) -> None:
    hostile.merge(f"broken {EVIL}", {"wer": f"printf '{EVIL}last words{EVIL}' >&2\nexit 7\n"})


@pytest.mark.parametrize("command", [["status"], ["runs"], ["settings"], ["check"], ["show", "HEAD"]])
def test_no_command_prints_it(hostile: Repository, capfd: pytest.CaptureFixture[str], command: list[str]) -> None:
    assert tick() == 0
    fail(hostile)
    assert tick() == 4
    head = hostile.git("rev-parse", "HEAD")
    for shown in (
        command,
        [archive.names(settings.load().places.runs)[0] if one == "HEAD" else one for one in command],
    ):
        cli.main([head if one == "HEAD" else one for one in shown])
    said = "".join(capfd.readouterr())
    assert said
    assert hidden(said) == set()


def test_a_dry_run_names_the_next_merge_plainly(hostile: Repository, capfd: pytest.CaptureFixture[str]) -> None:
    fail(hostile)
    assert cli.main(["run", "--dry-run"]) == 0
    assert hidden("".join(capfd.readouterr())) == set()


def test_a_tick_on_a_terminal_shows_the_output_of_the_job_escaped(hostile: Repository) -> None:
    fail(hostile)
    ours, theirs = pty.openpty()
    done = subprocess.Popen(TICK, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = bytearray()
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert done.wait(60) == 4
    text = shown.decode().replace("\r\n", "\n").replace("\x1b[2m", "").replace("\x1b[0m", "")  # our own
    assert "last words" in text
    assert hidden(text) == set()


def test_a_branch_that_is_gone_is_named_in_one_line(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_github_ref", BRANCH)
    assert tracked.path.exists()
    assert tick() != 0
    said = capfd.readouterr().err
    assert len(said.splitlines()) == 1 + said.startswith("usage")
    assert hidden(said) == set()


@pytest.mark.parametrize("name", [b"latin \xe9", b"ends here\n2026-01-01T00:00:00Z INFO all is well", EVIL.encode()])
def test_the_name_of_a_directory_forges_no_line(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: bytes
) -> None:
    taken = tmp_path / os.fsdecode(name)
    taken.write_text("a file, where a directory is expected")
    monkeypatch.setenv("ds_dataroot", str(taken))
    assert tracked.path.exists()
    assert tick() != 0
    lines = capfd.readouterr().err.splitlines()
    assert [line for line in lines if "all is well" in line] == [line for line in lines if "all is well" in line][:1]
    assert not any(line.startswith("2026-01-01T00:00:00Z") for line in lines)
    assert hidden("\n".join(lines)) == set()


def test_a_traceback_quotes_nothing_as_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    logging_setup.set_up()
    try:
        raise ValueError(EVIL)
    except ValueError:
        logging_setup.report_bug()
    logging.getLogger(logging_setup.LOGGER).warning("two %s", "lines\n2026-01-01T00:00:00Z INFO forged")
    said = capfd.readouterr().err
    assert "ValueError" in said
    assert not any(line.startswith("2026-01-01") for line in said.splitlines())
    assert hidden(said) == set()
