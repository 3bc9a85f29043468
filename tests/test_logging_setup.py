"""The log that a tick keeps below the data root."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes, kept_log, logging_setup
from deepspeech_wer.configuration import settings
from tests.conftest import Repository
from tests.test_automation import TICK, tick
from tests.test_automation import tracked as tracked  # the fixture

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR|DEBUG) ([0-9a-f]{12}|-) (\w+|-) .+")


def kept() -> list[str]:
    path = settings.load().places.log / "deepspeech_wer.log"
    return path.read_text("utf-8").splitlines() if path.exists() else []


def test_each_line_has_its_time_commit_and_phase(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tracked.merge("broken", {"wer": "exit 7\n"})
    assert tick() == exit_codes.FAILED
    told = capsys.readouterr().err.splitlines()
    lines = kept()
    assert all(LINE.fullmatch(line) for line in lines), lines
    assert [line.split(" ", 4)[4] for line in lines] == [line.split(" ", 2)[2] for line in told]
    (failed,) = [line for line in lines if " ERROR " in line]
    assert f" ERROR {broken[:12]} advance " in failed
    assert any(f" WARNING {broken[:12]} wipe " in line for line in lines)
    assert (settings.load().places.log.stat().st_mode & 0o777) == 0o700
    assert ((settings.load().places.log / "deepspeech_wer.log").stat().st_mode & 0o777) == 0o600


def test_the_line_that_announces_a_merge_belongs_to_it(tracked: Repository) -> None:
    assert tick() == 0
    merges = [tracked.merge(name, {"wer": f"wer=0.{len(name)}\n"})[:12] for name in ("one", "two")]
    assert tick() == 0
    announced = [line.split(" ", 4) for line in kept() if ": training" in line]
    assert [(merge, phase) for _, _, merge, phase, _ in announced if merge in merges] == [(one, "-") for one in merges]


def test_a_tick_that_finds_nothing_writes_no_line(tracked: Repository) -> None:
    assert tick() == 0
    before = kept()
    assert tick() == 0
    assert (kept(), bool(tracked.path)) == (before, True)


def test_what_ends_a_tick_is_kept_too(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert tick() == 0
    tracked.path.rename(tracked.path.with_name("gone"))
    assert tick() == exit_codes.TROUBLE
    assert " ERROR - - cannot fetch " in kept()[-1]
    assert capsys.readouterr().err.count("cannot fetch") == 1


def test_the_traceback_of_a_bug_is_kept(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tracked.path.exists()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("deepspeech_wer.automation._work", broken)
    assert cli.main([]) == exit_codes.BUG
    assert "ZeroDivisionError" in "\n".join(kept())
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_it_rotates_and_keeps_so_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_log, "KEPT_BYTES", 1000)
    logging_setup.set_up(quiet=True)
    logger = logging.getLogger(logging_setup.LOGGER)
    with kept_log.kept(tmp_path / "log"):
        for number in range(300):
            logger.info("line %d", number)
    files = sorted((tmp_path / "log").iterdir())
    assert len(files) == 1 + kept_log.KEPT_FILES
    assert all(file.stat().st_size <= 1000 for file in files)
    assert (tmp_path / "log" / "deepspeech_wer.log").read_text().splitlines()[-1].endswith("line 299")


WRITER = """
import logging, sys
from pathlib import Path
from deepspeech_wer import kept_log, logging_setup
kept_log.KEPT_BYTES = 400
logging_setup.set_up(quiet=True)
with kept_log.kept(Path(sys.argv[1])):
    for number in range(10**9):
        logging.getLogger("deepspeech_wer").info("line %d of %s", number, sys.argv[2])
"""


def test_writers_that_are_killed_do_it_no_harm(tmp_path: Path) -> None:
    for name in range(5):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "log"), str(name)]) as process:
            try:
                process.wait(1.5)
            except subprocess.TimeoutExpired:
                process.kill()
            process.wait(60)
    logging_setup.set_up(quiet=True)
    with kept_log.kept(tmp_path / "log"):
        logging.getLogger(logging_setup.LOGGER).warning("the end")
    lines = (tmp_path / "log" / "deepspeech_wer.log").read_text().splitlines()
    assert lines[-1].endswith("the end")
    whole = [LINE.fullmatch(line) for file in (tmp_path / "log").iterdir() for line in file.read_text().splitlines()]
    assert len(whole) > 5
    assert sum(match is None for match in whole) <= 1  # a line that a kill cut in two


def test_a_log_that_cannot_be_written_stops_nothing(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    places = settings.load().places
    places.data.mkdir(parents=True)
    places.log.write_text("a file in its place")
    assert tick() == 0
    err = capsys.readouterr().err
    assert "done, test WER 50.00 %" in err
    assert "Traceback" not in err
    assert tracked.path.exists()


def test_a_link_in_its_place_is_not_followed(tracked: Repository, tmp_path: Path) -> None:
    places = settings.load().places
    places.log.mkdir(parents=True)
    (tmp_path / "foreign").write_text("theirs")
    (places.log / "deepspeech_wer.log").symlink_to(tmp_path / "foreign")
    assert tick() == 0
    assert (tmp_path / "foreign").read_text() == "theirs"
    assert tracked.path.exists()


def test_crons_redirection_goes_on_working(tracked: Repository, tmp_path: Path) -> None:
    assert tracked.path.exists()
    with (tmp_path / "cron.log").open("ab") as log:
        assert subprocess.run(TICK, stdout=log, stderr=log, check=False, env=os.environ, timeout=120).returncode == 0
    told = (tmp_path / "cron.log").read_text().splitlines()
    assert [line.split(" ", 4)[4] for line in kept()] == [line.split(" ", 2)[2] for line in told]


@pytest.mark.parametrize(
    ("option", "has_info", "has_debug"), [("--quiet", False, False), ("--verbose", True, True), ("", True, False)]
)
def test_how_much_is_told(
    tracked: Repository, capsys: pytest.CaptureFixture[str], option: str, has_info: bool, has_debug: bool
) -> None:
    assert cli.main([*([option] if option else []), "run"]) == 0
    err = capsys.readouterr().err
    assert (": training" in err) == has_info
    assert (": checkout" in err) == has_debug
    assert ("git fetch ended with 0" in err) == has_debug
    assert tracked.path.exists()
