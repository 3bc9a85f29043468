"""A day of an operator, from the setup to the upgrade: every exit code, and every line of the log, as cron mails them.

Each trouble is one line that says what, where and how to cure it. No step shows a traceback.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer import exit_codes
from tests.conftest import Repository
from tests.end_to_end.sshd import Sshd, running_sshd
from tests.end_to_end.visitor import all_the_data
from tests.waiting import until

JOB = """#!/bin/sh
set -e
. ./work
mkdir -p "$ds_logs_dir/x"
echo '{"context":{"time_started":"2026-01-01T00:00:00"},"parameters":{},"results":{"test_wer":'$wer'}}' \
> "$ds_logs_dir/x/hyper.json"
"""
WAITS = "echo x > $HOME/started; trap 'echo saved > $2/state; exit 1' TERM; while :; do sleep 0.05; done\n"
RESUMES = f"if [ ! -e $2/state ]; then echo first > $2/state; {WAITS.rstrip()}; fi; wer=0.30\n"


class Operator:
    """Somebody who sets the tracker up, and types commands; and cron, which runs its ticks."""

    def __init__(self, home: Path, disk: Path, server: Sshd, repository: Repository) -> None:
        self.home, self.disk, self.server, self.repository = home, disk, server, repository
        self.names: dict[str, str] = {}
        self.variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "ds_repo_url": str(repository.path),
            "ds_retrain": "off",
            "ds_job_attempts": "1",
            "ds_dataroot": str(disk),
            **server.environment(),
        }

    @property
    def runs(self) -> Path:
        return self.disk / "deepspeech_wer" / "runs"

    def commit(self, subject: str, work: str) -> str:
        """Bring a merge. From now on its SHA is read as its subject."""
        sha = self.repository.merge(subject, {"work": work})
        self.names[sha] = subject
        return sha

    def sha(self, subject: str) -> str:
        return next(sha for sha, name in self.names.items() if name == subject)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "deepspeech_wer", *arguments],
            env=self.variables,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self, process: subprocess.Popen[str], code: int) -> list[str]:
        """Wait for a command. Returns its lines, without what differs from day to day."""
        said = process.communicate(timeout=300)[0]
        assert process.returncode == code, said
        assert "Traceback" not in said
        return [self._plain(line) for line in said.splitlines()]

    def tick(self, code: int = 0) -> list[str]:
        return self.ended(self.start(), code)

    def types(self, *arguments: str, code: int = 0) -> list[str]:
        return self.ended(self.start(*arguments), code)

    def _plain(self, line: str) -> str:
        line = re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ", "", line)
        line = line.replace(str(self.disk), "DISK").replace(str(self.server.key), "KEY")
        line = line.replace(f"port {self.server.port}", "port PORT").replace(f" {os.uname().nodename} ", " HOST ")
        line = re.sub(rf"\b{getpass.getuser()}(?=@| on )", "USER", line)
        for sha, subject in self.names.items():
            line = line.replace(sha, f"<{subject}>").replace(sha[:12], f"<{subject}>")
        line = re.sub(r"\d{8}-\d{6}-(<\w+>)(-\d+)?", r"RUN-\1", line)
        line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", line)
        line = re.sub(r"published \d+ of \d+ files?, .*", "published", line)
        line = re.sub(r": verdict: .*", ": verdict", line)
        return re.sub(r"process(es)?:? [\d, ]+", r"process\1 N ", line)

    def loses_power(self) -> None:
        """End everything that this user runs, at once."""
        ours = f"HOME={self.home}".encode()
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if ours in (place / "environ").read_bytes().split(b"\0") and int(place.name) != os.getpid():
                    os.kill(int(place.name), signal.SIGKILL)

    def page(self) -> list[float | None]:
        """The test WERs of the published page, in its order."""
        return [record["results"]["test_wer"] for record in all_the_data(self.server.root)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk for the data root."""
    if os.geteuid():
        pytest.skip("mounting a tmpfs needs root")
    path = tmp_path / "disk"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4g,mode=0700", "none", str(path)], check=False).returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def resize(disk: Path, size: str | None) -> None:
    """Give the disk a size; None: that of what is on it, so that nothing more fits."""
    state = os.statvfs(disk)
    size = size or str((state.f_blocks - state.f_bfree) * state.f_frsize)
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


@pytest.fixture
def operator(sealed: Path, tmp_path: Path, disk: Path, repository: Repository) -> Iterator[Operator]:
    with running_sshd(tmp_path / "sshd") as server:
        yield Operator(sealed, disk, server, repository)


SHOWN = "INFO published"
DOWN = (
    "ERROR not published: USER@127.0.0.1 port PORT: the server refuses KEY: add the public key to that user's "
    "~/.ssh/authorized_keys on the server, or correct ds_website_username; where both are right, its log names what "
    "forbids it: PubkeyAcceptedAlgorithms, AllowUsers, modes of that file, from= in it"
)
FULL = (
    "ERROR deepspeech_wer: cannot write DISK/deepspeech_wer/lock: No space left on device: make room there (`df`, "
    "`df -i`); the next tick tries again"
)


def good(subject: str, rate: str, why: str = "") -> list[str]:
    """The lines of a tick about a merge that is trained and published."""
    return [
        f'INFO <{subject}> "{subject}" by Ada: training{why}',
        f'INFO <{subject}> "{subject}": done, test WER {rate} %',
        f"INFO <{subject}>: verdict",
        SHOWN,
    ]


def bad(subject: str, failure: str, why: str = "") -> list[str]:
    """The lines of a tick about a merge that failed."""
    log = f"DISK/deepspeech_wer/runs/RUN-<{subject}>/err.log"
    return [
        f'INFO <{subject}> "{subject}" by Ada: training{why}',
        f'ERROR <{subject}> "{subject}": failed: {failure} (log: {log})',
        SHOWN,
    ]


def test_a_day(operator: Operator) -> None:
    _morning(operator)
    _web_host_down(operator)
    _disk_full(operator)
    _branch_rewritten(operator)
    _cancelled_and_retried(operator)
    _rebooted(operator)
    _upgraded(operator)


def _morning(operator: Operator) -> None:
    """Setup, check, the first tick, and three merges of which one is broken."""
    operator.names[operator.repository.commit("root", {"bin/run-wer-automation.sh": JOB, "work": "wer=0.50\n"})] = (
        "root"
    )
    checked = operator.types("check")
    assert [line for line in checked if line.startswith("fault")] == []
    assert operator.tick() == good("root", "50.00")
    assert operator.tick() == []
    operator.commit("good", "wer=0.48\n")
    operator.commit("broken", "echo no such layer >&2; exit 3\n")
    operator.commit("better", "wer=0.46\n")
    first, last = good("good", "48.00", ", 2 more in the queue"), good("better", "46.00")
    between = bad("broken", "exit 3: no such layer", ", 1 more in the queue")
    # Jobs that end at once are shown together.
    trained = [*first[:2], *between[:2], *last[:2]]
    assert operator.tick(exit_codes.FAILED) == [*trained, first[2], last[2], SHOWN]
    assert operator.tick() == []
    assert operator.page() == [0.5, 0.48, 0.46]


def _web_host_down(operator: Operator) -> None:
    """A run is done, and waits for the web host. Each tick says so, until it is back."""
    keys = operator.server.key.with_name("authorized_keys")
    away = keys.rename(keys.with_name("away"))
    operator.commit("host down", "wer=0.44\n")
    assert operator.tick(exit_codes.FAILED) == [*good("host down", "44.00")[:-1], DOWN]
    assert operator.tick(exit_codes.FAILED) == [DOWN]
    status = operator.types("status")
    assert f"last error: TIME: {DOWN.removeprefix('ERROR ')}" in status
    assert any(line.startswith("site: not up to date, published to ") for line in status)
    away.rename(keys)
    assert operator.tick() == [SHOWN]
    assert operator.tick() == []
    assert operator.page()[-1] == 0.44


def _disk_full(operator: Operator) -> None:
    operator.commit("disk full", "wer=0.42\n")
    resize(operator.disk, None)
    for _ in range(2):
        assert operator.tick(exit_codes.TROUBLE) == [FULL]
    resize(operator.disk, "4g")
    assert operator.tick() == good("disk full", "42.00")
    assert operator.tick() == []


def _branch_rewritten(operator: Operator) -> None:
    operator.repository.git("reset", "--quiet", "--hard", "HEAD~1")
    operator.commit("rewritten", "wer=0.40\n")
    assert operator.tick() == [
        "WARNING the branch was rewritten: last_sha1 <disk full> is not in its history; continuing after <host down>, "
        "the newest commit up to which all merges are archived",
        *good("rewritten", "40.00"),
    ]
    assert operator.tick() == []


def _cancelled_and_retried(operator: Operator) -> None:
    operator.commit("cancelled", WAITS)
    ticking = operator.start()
    until((operator.home / "started").exists)
    job = "job: <cancelled> cancelled, attempt 1: process N since TIME"
    until(lambda: any(line.startswith(job) for line in operator.types("status")))
    assert operator.types("cancel") == ['<cancelled> "cancelled": cancelled; the job has 60 s to save its checkpoint']
    assert operator.ended(ticking, exit_codes.FAILED) == bad("cancelled", "cancelled: by USER on HOST")
    assert operator.types("cancel", code=exit_codes.TROUBLE) == [
        "ERROR deepspeech_wer: no job is running, so there is nothing to cancel: see `status`"
    ]
    assert operator.types("retry", operator.sha("host down")) == ["to be run again by the next tick: <host down>"]
    again = good("host down", "44.00", " again, requested by hand")
    assert operator.tick() == [line for line in again if not line.endswith("verdict")]  # it stays what it was
    assert operator.types("accept", operator.sha("host down"), "--why", "a smaller network") == [
        "accepted: <host down>; the next tick shows it"
    ]
    assert operator.tick() == [SHOWN]
    assert operator.tick() == []


def _rebooted(operator: Operator) -> None:
    (operator.home / "started").unlink()
    operator.commit("resumes", RESUMES)
    ticking = operator.start()
    until((operator.home / "started").exists)
    operator.loses_power()
    ticking.communicate(timeout=60)
    assert operator.tick() == [
        'WARNING the last tick was killed at <resumes> "resumes" (phase job); resuming it',
        *good("resumes", "30.00"),
    ]
    assert operator.tick() == []
    assert operator.page() == [0.5, 0.48, 0.46, 0.44, 0.44, 0.42, 0.4, 0.3]
    assert [line.split()[0] for line in operator.types("runs")] == ["1", "2", "3", "4", "5", "5", "6", "6", "7", "8"]


def _upgraded(operator: Operator) -> None:
    """The archive as the first version left it, and nothing else: its runs knew neither numbers nor circumstances."""
    listed = operator.types("runs")
    for record in operator.runs.glob("*/run.json"):
        found = json.loads(record.read_text())
        later = ("number", "processor", "variables", "rerun_of", "seed", "base")
        record.write_text(json.dumps({name: value for name, value in found.items() if name not in later}))
    for place in (operator.disk / "deepspeech_wer").iterdir():
        if place != operator.runs:
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    shutil.rmtree(operator.home / ".cache")
    operator.variables["ds_website_server_root"] = str(operator.server.root.with_name("new root"))
    operator.server.root.with_name("new root").mkdir()
    said = operator.tick()
    assert [line for line in said if not line.endswith(("verdict", SHOWN))] == []
    assert operator.types("runs") == listed
    assert operator.tick() == []
    operator.commit("upgraded", "wer=0.28\n")
    assert operator.tick() == good("upgraded", "28.00")
    assert operator.types("runs")[-1].endswith("upgraded")
