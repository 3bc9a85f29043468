"""Processes that leave their job's process group, session, parents or environment are ended with it all the same."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer.jobs import group, limit
from deepspeech_wer.jobs import work as works
from deepspeech_wer.machine import processes
from tests.jobs.test_supervisor import GOOD, Started, run, start, wait_for

# A daemon as a book has it: two forks, a session, no descriptor, no environment, another directory. It ignores SIGTERM.
DAEMON = """
import os, signal, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.chdir("/"); os.umask(0); signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + ".new", "w").write(str(os.getpid())); os.rename(sys.argv[1] + ".new", sys.argv[1])
os.closerange(0, 1000)
if len(sys.argv) < 3: os.execve("/bin/sleep", ["kworker/0:1", "1000"], {})
time.sleep(1000)
"""
ADOPTS = "import ctypes; ctypes.CDLL(None).prctl(36, 1)\n"  # PR_SET_CHILD_SUBREAPER

LEAVERS = {
    "in the background": "sleep 1000 & echo $! > {pid}",
    "in a session of its own": "setsid bash -c 'echo $$ > {pid}; exec sleep 1000' &",
    "without hang-up": "nohup sleep 1000 >/dev/null 2>&1 & echo $! > {pid}; disown",
    "without environment": "env -i setsid bash -c 'echo $$ > {pid}; trap \"\" TERM; while :; do /bin/sleep 1; done' &",
    "a daemon": "env -i {interpreter} {daemon} {pid}",
    "a daemon that stays what it was": "env -i {interpreter} {daemon} {pid} stay",
    "stopped": "bash -c 'echo $$ > {pid}; kill -STOP $$' &",
    "adopted by another": '{interpreter} -c \'{adopts}import subprocess, time; subprocess.run(["env", "-i", '
    '"{python}", "{daemon}", "{pid}"]); time.sleep(1000)\' &',
}


@pytest.fixture(params=LEAVERS)
def leaver(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A script that starts a process which leaves, and which writes its pid to tmp_path/pid."""
    (tmp_path / "daemon.py").write_text(DAEMON)
    places = {"pid": tmp_path / "pid", "daemon": tmp_path / "daemon.py", "adopts": ADOPTS}
    places |= {"python": sys.executable, "interpreter": shlex.quote(sys.executable)}
    return LEAVERS[request.param].format(**places)


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """A process of this user that has nothing to do with the job."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process
        assert process.poll() is None
        process.kill()


def left(tmp_path: Path) -> int | None:
    """The pid of the process that left, if it is still there."""
    pid = int((tmp_path / "pid").read_text())
    return pid if processes.start_time(pid) else None


@pytest.mark.usefixtures("stranger")
def test_with_the_job(tmp_path: Path, leaver: str) -> None:
    assert run(tmp_path, f"{leaver}\nwhile [ ! -s {tmp_path}/pid ]; do sleep 0.02; done\n{GOOD}").status == "done"
    assert left(tmp_path) is None


@pytest.mark.usefixtures("stranger")
def test_on_a_signal(tmp_path: Path, leaver: str) -> None:
    started = start(tmp_path, f"{leaver}\nsleep 1000", timeout_s=None)
    wait_for(tmp_path / "pid")
    os.kill(started.supervisor(), signal.SIGTERM)
    outcome = started.outcome()
    assert outcome
    assert outcome.failure == "interrupted"
    assert left(tmp_path) is None


def forget(started: Started, *names: str) -> None:
    """Remove fields from the record of the job, as if they had not been available."""
    place = started.work.path / "job.json"
    record = {name: value for name, value in json.loads(place.read_text()).items() if name not in names}
    place.write_text(json.dumps(record))


def recorded(started: Started) -> works.Job:
    """Wait for the record of the job's first process."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = works.read_job(started.work)
        if job and job.pid:
            return job
        time.sleep(0.02)
    raise AssertionError("the job is not recorded")


@pytest.mark.usefixtures("stranger")
@pytest.mark.parametrize("known_by", ["all", "limit", "group"])
@pytest.mark.parametrize("job", ["has ended", "runs"])
def test_after_the_supervisor_was_killed(tmp_path: Path, leaver: str, known_by: str, job: str) -> None:
    """Then no process knows its children any more: the cgroup or, without one, the limit does."""
    started = start(
        tmp_path, f"{leaver}\nwhile [ ! -s {tmp_path}/pid ]; do sleep 0.02; done\nsleep 1000", timeout_s=None
    )
    wait_for(tmp_path / "pid")
    found = recorded(started)
    of_job = group.find(found.group, started.order.token)
    if known_by == "group" and of_job is None:
        pytest.skip("needs a cgroup of version 2 in which this user may make another")
    os.kill(started.supervisor(), signal.SIGKILL)
    assert started.outcome() is None
    if job == "has ended" and found.pid:
        os.kill(found.pid, signal.SIGKILL)
    if known_by != "all":
        forget(started, "group" if known_by == "limit" else "limit")
    assert left(tmp_path) in {None, *started.runner.clear(started.work, started.order)}
    assert left(tmp_path) is None
    if known_by == "limit":
        group.end(of_job)
    assert not (of_job and of_job.exists())


def test_no_cgroup_is_left_behind(tmp_path: Path) -> None:
    if group.own() is None or (made := group.make("probe")) is None:
        pytest.skip("needs a cgroup of version 2 in which this user may make another")
    group.end(made)
    name = "$(sed -n 's|^0::.*/||p' /proc/self/cgroup)"
    nested = (
        f"here=$(find {group.own()} -type d -name {name}); echo $here > {tmp_path}/group\n"
        "mkdir -p $here/a/b; sleep 1000 & echo $! > $here/a/b/cgroup.procs"
    )
    assert run(tmp_path, f"{nested}\n{GOOD}").status == "done"
    used = (tmp_path / "group").read_text().strip()
    assert "/deepspeech_wer-token-" in used
    assert not Path(used).exists()


@pytest.mark.parametrize("written", ["/sys/fs/cgroup", "/tmp", "/", "relative", "/sys/fs/cgroup/../x/deepspeech_wer-t"])
def test_a_record_that_the_job_wrote_names_no_other_cgroup(written: str) -> None:
    assert group.find(written, "t") is None


@pytest.mark.usefixtures("stranger")
def test_a_record_that_the_job_wrote_names_no_other_limit(tmp_path: Path) -> None:
    usual = '{"version":1,"pid":null,"started":"","since":"%s","group":null,"limit":819200}'
    started = start(tmp_path, GOOD)
    assert started.outcome()
    since = processes.start_time(os.getppid()) or ""
    (started.work.path / "job.json").write_text(usual % since)
    assert started.runner.clear(started.work, started.order) == []


def test_two_jobs_have_limits_of_their_own() -> None:
    found = {limit.of(f"token {number}") for number in range(20)}
    assert len(found) > 15
    assert None not in found
