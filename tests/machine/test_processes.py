"""Processes told apart, also where /proc shows little of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_wer.machine import processes

ROOT = Path(__file__).parents[2]
HIDDEN = {
    "no /proc": "mount -t tmpfs none /proc",
    "pids alone": "mount -t proc -o subset=pid proc /proc",
    "no /proc/sys": "mount -t tmpfs none /proc/sys",
    "no names of others": "mount -t proc -o hidepid=2 proc /proc",
    "none but our own": "mount -t proc -o hidepid=4,subset=pid proc /proc",
}


def with_proc(setup: str, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command where /proc is another; skip where only root could."""
    script = f'mount --make-rprivate / && {setup} || exit 77; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "x", *command], capture_output=True, text=True, check=False
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("only root can mount")
    return done


def test_a_process_is_gone_once_it_ended_or_its_pid_is_anothers() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    started = processes.start_time(process.pid)
    assert started
    assert not processes.is_gone(process.pid, started)
    assert processes.is_gone(process.pid, f"{started}0")
    assert processes.is_gone(process.pid, f"another boot:{started.rpartition(':')[2]}")
    assert not processes.is_gone(
        process.pid, f":{started.rpartition(':')[2]}"
    )  # /proc/sys was hidden when it was noted
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert processes.is_gone(process.pid, started)  # nobody took its exit status yet
    process.wait()
    assert processes.is_gone(process.pid, started)


CODE = """
import os, subprocess, sys
from deepspeech_wer import places
from deepspeech_wer.machine import lock, processes
from deepspeech_wer.publish import web_root_lock
from pathlib import Path
child = subprocess.Popen(["sleep", "10"])
started = processes.start_time(child.pid) or "None"
assert not processes.is_gone(child.pid, started)
assert processes.orphans("ds_wer_git_of") == []
assert processes.with_environment("no=such") == []
assert places.doubt_of_locks(Path("/")) is None
assert web_root_lock.this_process()["machine"] == web_root_lock.this_process()["machine"]
descriptor = lock.acquire(sys.argv[1])
assert lock.holder(sys.argv[1])[0] == os.getpid()
lock.release(descriptor)
child.kill(); child.wait()
assert processes.is_gone(child.pid, started)
"""


@pytest.mark.parametrize("kind", HIDDEN)
def test_a_proc_that_hides_processes_is_no_hindrance(tmp_path: Path, kind: str) -> None:
    done = with_proc(HIDDEN[kind], sys.executable, "-c", CODE, str(tmp_path / "lock"))
    assert (done.returncode, done.stderr) == (0, "")


NOBODY = 65534
HOLDS = """
import sys, time
sys.path.insert(0, {root!r})
from deepspeech_wer.machine import lock, prctl, processes
prctl.hide()
lock.acquire(sys.argv[1])
print(processes.own_identity(), flush=True)
time.sleep(100)
"""
LOOKS = """
import os, sys
sys.path.insert(0, {root!r})
from deepspeech_wer.machine import lock, processes
pid, _, started = sys.argv[2].partition("@")
assert not os.path.exists("/proc/" + pid), "not hidden"
assert not processes.is_gone(int(pid), started)
assert lock.holder(sys.argv[1])[0] == int(pid)
"""


def test_a_tick_that_proc_hides_from_its_own_user_is_not_taken_for_dead(tmp_path: Path) -> None:
    """With hidepid=2 a process whose memory nobody may read is shown to root alone."""
    if os.geteuid() or subprocess.run(["setpriv", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("only root can become another user")
    path = Path("/tmp") / f"lock-{os.getpid()}-{tmp_path.name}"  # where another user may write
    root = str(path.with_suffix(".code"))  # a copy: this checkout may lie where the other user may not look
    shutil.copytree(
        ROOT / "deepspeech_wer", f"{root}/deepspeech_wer", ignore=shutil.ignore_patterns("website", "__pycache__")
    )
    python = "/usr/bin/python3"  # one that another user may run
    script = (
        f"become='setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups env PYTHONDONTWRITEBYTECODE=1 {python} -c'; "
        '$become "$1" "$3" >"$4" & until [ -s "$4" ]; do sleep 0.1; kill -0 $! || exit 1; done; '
        '$become "$2" "$3" "$(cat "$4")"; code=$?; kill $!; exit $code'
    )
    code = [text.format(root=root) for text in (HOLDS, LOOKS)]
    try:
        done = with_proc(
            HIDDEN["no names of others"], "sh", "-c", script, "x", *code, str(path), str(tmp_path / "said")
        )
    finally:
        path.unlink(missing_ok=True)
        shutil.rmtree(root)
    assert (done.returncode, done.stderr) == (0, "")
