"""Real ticks with clocks that are set back, jump forward, change to winter time or stop.

The time of day is faked inside each Python process of a tick, because libfaketime makes Python's time.sleep fail. The
monotonic clock keeps running, as it does when an administrator sets the time.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from deepspeech_wer import archive
from tests.conftest import Repository

NOON = "2026-06-01T12:00:00Z"

JOB = """#!/bin/sh
set -e
. ./work
mkdir -p "$ds_logs_dir/x"
echo '{"context":{"time_started":"'$(date -u +%Y-%m-%dT%H:%M:%S)'"},"results":{"test_wer":'$wer'}}' \
> "$ds_logs_dir/x/hyper.json"
"""


# A sitecustomize for the tick and its supervisor. The file $CLOCK holds "SECONDS +" for a running clock or "SECONDS"
# for a stopped one. It may be written at any moment.
FALSIFYING = """
import os, time
from pathlib import Path
clock, start, gmtime, localtime = Path(os.environ["CLOCK"]), time.monotonic(), time.gmtime, time.localtime
def now():
    moment, *passes = clock.read_text().split()
    return float(moment) + (time.monotonic() - start if passes else 0)
time.time = now
time.gmtime = lambda seconds=None: gmtime(now() if seconds is None else seconds)
time.localtime = lambda seconds=None: localtime(now() if seconds is None else seconds)
"""


class Machine:
    """A tracker on a machine whose time of day can be set."""

    def __init__(self, directory: Path, repository: Repository) -> None:
        self.repository = repository
        self.clock = directory / "clock"
        self.data = directory / "data" / "deepspeech_wer"
        self.cache = directory / ".cache" / "deepspeech_wer"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "TZ": "Europe/Berlin",
            "ds_dataroot": str(directory / "data"),
            "ds_repo_url": str(repository.path),
            "ds_retrain": "off",
            "ds_clone_path": str(directory / "clone"),
            "CLOCK": str(self.clock),
            "PYTHONPATH": str(directory / "site"),
        }
        (directory / "site").mkdir()
        (directory / "site" / "sitecustomize.py").write_text(FALSIFYING)
        repository.commit("root", {"bin/run-wer-automation.sh": JOB, "work": "wer=0.9\n"})

    def tick(self, moment: str, *arguments: str, code: int = 0, stands_still: bool = False, **variables: str) -> str:
        """Run a tick that begins at a moment. Returns its output."""
        self.clock.write_text(seconds(moment) + ("" if stands_still else " +"))
        done = subprocess.run(
            [sys.executable, "-P", "-m", "deepspeech_wer", *arguments],
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def runs(self) -> list[str]:
        """Return the names of the archived runs."""
        return sorted(path.name for path in (self.data / "runs").glob("[0-9]*"))

    def wers(self) -> list[float]:
        """Return the results of all runs, in the order of the history, as `runs` prints them."""
        return [float(wer) for wer in re.findall(r"(\d+\.\d\d) % ", self.tick(NOON, "runs"))]


def seconds(moment: str) -> str:
    """Convert a moment with an offset to UTC into a Unix time."""
    return str(datetime.fromisoformat(moment).timestamp())


@pytest.fixture
def machine(sealed: Path, repository: Repository) -> Machine:
    return Machine(sealed, repository)


def test_each_merge_runs_once_in_order_however_the_clock_is_set(machine: Machine) -> None:
    machine.tick(NOON)
    moments = ["2020-01-01T12:00:00Z", "2038-01-19T03:14:08Z", "1971-01-01T12:00:00Z", "2026-06-01T12:00:05Z"]
    for number, moment in enumerate(moments, start=1):
        sha = machine.repository.merge(f"at {moment}", {"work": f"wer=0.{number}\n"})
        assert f"{moment[:14]}" in machine.tick(moment)
        assert (machine.cache / "last_sha1").read_text() == f"{sha}\n"
        assert machine.tick(moment) == ""
    assert machine.wers() == [90, 10, 20, 30, 40]
    assert [name[:8] for name in machine.runs()] == ["19710101", "20200101", "20260601", "20260601", "20380119"]
    assert (machine.data / "site" / "js" / "hyper.js").read_text().count('"test_wer"') == 5


AHEAD, BACK = "2026-06-02T12:00:00Z", "2026-06-01T12:01:00Z"  # a clock that was a day ahead, and was put right


def started(machine: Machine) -> list[str]:
    """The first letters of the subjects, in the order in which the runs started."""
    runs = machine.data / "runs"
    return [json.loads((runs / name / "run.json").read_text())["merge"]["subject"][0] for name in archive.names(runs)]


def newest(machine: Machine, moment: str = BACK) -> str:
    """The line of `status` about the newest run, which ends with its subject."""
    (line,) = (line for line in machine.tick(moment, "status").splitlines() if line.startswith("newest: "))
    return line


@pytest.mark.parametrize(
    ("wrong", "right", "eras"),
    [
        (AHEAD, BACK, [1, 1, 2, 2]),  # ahead for a day
        ("2099-06-02T12:00:00Z", BACK, [1, 1, 2, 2]),
        ("1970-01-01T00:10:00Z", BACK, [1, 2, 2, 2]),  # a battery that is empty
        (NOON, NOON, None),  # within a second: one era or several, as the commits' names fall
    ],
)
def test_the_newest_run_is_the_last_that_was_archived_whatever_the_clock_was(
    machine: Machine, wrong: str, right: str, eras: list[int] | None
) -> None:
    machine.tick(NOON, stands_still=True)
    machine.repository.merge("wrong clock", {"work": "wer=0.5\n"})
    machine.tick(wrong, stands_still=True)
    for number, subject in enumerate(("first", "second")):
        machine.repository.merge(subject, {"work": f"wer=0.{number}\n"})
        machine.tick(right, stands_still=True)
        assert newest(machine, right).endswith(subject)
        right = right if wrong == right else right.replace("01Z", "02Z").replace(":00Z", ":01Z")
    names = archive.names(machine.data / "runs")
    assert eras in (None, [int(name[29:] or 1) for name in names])
    assert started(machine) == ["r", "w", "f", "s"]
    assert machine.wers() == [90, 50, 0, 10]


@pytest.mark.parametrize("what", ["fails", "works"])
def test_a_run_of_the_future_neither_hides_nor_makes_failures_that_are_alike(machine: Machine, what: str) -> None:
    """In a row are the last runs, and not those with the highest time."""
    machine.tick(NOON)
    machine.repository.merge("ahead", {"work": "exit 7\n" if what == "fails" else "wer=0.5\n"})
    machine.tick(AHEAD, code=4 if what == "fails" else 0, ds_job_attempts="1")
    for number in range(3):
        machine.repository.merge(f"broken {number}", {"work": f"# {number}\nexit 8\n"})
        said = machine.tick(BACK, code=4, ds_job_attempts="1")
        assert ("failed alike (exit 8)" in machine.tick(BACK, "status")) == (number == 2), said
    machine.repository.merge("waits", {"work": "wer=0.3\n"})
    assert "the queue is stopped with 1 waiting: the last 3 runs failed alike (exit 8)" in machine.tick(BACK)


@pytest.mark.parametrize("released", ["2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z", BACK])
def test_a_retry_under_a_wrong_clock_releases_what_failed_before_it_and_nothing_else(
    machine: Machine, released: str
) -> None:
    machine.tick(NOON)
    for number in range(3):
        machine.repository.merge(f"broken {number}", {"work": f"# {number}\nexit 8\n"})
    machine.tick(NOON, code=4, ds_job_attempts="1")
    assert "the queue is stopped" in machine.tick(NOON, "status")
    machine.tick(released, "retry")
    assert "the queue is stopped" not in machine.tick(NOON, "status")
    machine.tick(BACK, code=4, ds_job_attempts="1")  # all three fail again
    assert "the queue is stopped" in machine.tick(BACK, "status")


def test_a_run_that_an_earlier_release_archived_under_a_future_clock_is_not_newest_for_ever(machine: Machine) -> None:
    """It knew no eras: its archive is told by the numbers, and the next run begins an era."""
    machine.tick(NOON)
    machine.repository.merge("ahead", {"work": "wer=0.5\n"})
    machine.tick("2099-01-01T00:00:00Z")
    machine.repository.merge("good", {"work": "wer=0.4\n"})
    machine.tick(BACK)
    runs = machine.data / "runs"
    good = archive.names(runs)[-1]
    (runs / good).rename(runs / good.removesuffix("-2"))
    assert archive.names(runs)[-1].startswith("2099")
    assert newest(machine).endswith("good")
    machine.repository.merge("later", {"work": "wer=0.3\n"})
    machine.tick(BACK)
    assert archive.names(runs)[-1].endswith("-2")
    assert newest(machine).endswith("later")
    assert machine.wers() == [90, 50, 40, 30]


def test_names_are_unique_and_sorted_in_the_repeated_hour(machine: Machine) -> None:
    for number, moment in enumerate(["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"]):
        machine.repository.merge(str(number), {"work": f"wer=0.{number}\n"})
        machine.tick(moment)
    assert machine.wers() == [0, 10]
    assert [name[:11] for name in machine.runs()] == ["20261025-00", "20261025-01"]


def test_runs_of_one_second_have_different_names(machine: Machine) -> None:
    machine.tick(NOON, stands_still=True)
    for number in range(1, 4):
        sha = machine.repository.merge(str(number), {"work": f"wer=0.{number}\n"})
    machine.tick(NOON, stands_still=True)
    for _ in range(2):
        machine.tick(NOON, "run", "--sha", sha, stands_still=True)
    assert machine.wers() == [90, 10, 20, 30, 30, 30]
    assert {name[:15] for name in machine.runs()} == {"20260601-120000"}
    names = archive.names(machine.data / "runs")
    assert len(set(names)) == 6
    assert [name[16:28] for name in names[-3:]] == [sha[:12]] * 3
    assert started(machine) == ["r", "1", "2", "3", "3", "3"]


def test_a_stopped_clock_does_not_prevent_a_time_out(machine: Machine) -> None:
    machine.repository.merge("hangs", {"work": "sleep 1000\n"})
    said = machine.tick(NOON, code=4, stands_still=True, ds_job_timeout="1", ds_job_attempts="1")
    assert "failed: timeout: not done after 1 s" in said


@pytest.mark.parametrize("moment", ["2036-06-01T12:00:00Z", "2016-06-01T12:00:00Z"])
def test_setting_the_clock_does_not_end_a_job(machine: Machine, moment: str) -> None:
    sets = f"echo '{seconds(moment)} +' > {machine.clock}; sleep 1; wer=0.2\n"
    machine.repository.merge("sets the clock", {"work": sets})
    machine.tick(NOON, ds_job_timeout="600")
    assert machine.wers() == [20]
    (run,) = machine.runs()
    record = json.loads((machine.data / "runs" / run / "run.json").read_text())
    assert (record["started_at"][:4], record["finished_at"][:4]) == ("2026", moment[:4])
