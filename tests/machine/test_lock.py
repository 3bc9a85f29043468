"""Locks: one holder at a time, never stale."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import lock, processes
from tests.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "lock")


def held(path: str, then: str) -> subprocess.Popen[str]:
    """Start a process that takes the lock, reports that, and then runs `then`."""
    code = (
        f"import os, subprocess, sys, time\nfrom deepspeech_wer.machine import lock\nd = lock.acquire({path!r})\n{then}"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline()
    return process


def test_it_is_held_once_and_free_after_release(path: str) -> None:
    first = lock.acquire(path)
    assert first is not None
    assert lock.acquire(path) is None
    os.close(first)
    second = lock.acquire(path)
    assert second is not None
    os.close(second)


def test_the_death_of_its_holder_frees_it(path: str) -> None:
    process = held(path, "print('ok', flush=True); time.sleep(1000)")
    assert lock.acquire(path) is None
    assert lock.holder(path)
    assert lock.holder(path) == (process.pid, os.uname().nodename, (lock.holder(path) or ("", "", ""))[2])
    process.kill()
    process.communicate()
    descriptor = lock.acquire(path)
    assert descriptor is not None
    os.close(descriptor)


def test_it_knows_whether_the_previous_holder_was_killed(path: str) -> None:
    def follows_a_kill() -> bool:
        descriptor = lock.acquire(path)
        assert descriptor is not None
        told = lock.follows_a_kill(descriptor)
        lock.release(descriptor)
        return told

    assert not follows_a_kill()
    process = held(path, "print('ok', flush=True); time.sleep(1000)")
    process.kill()
    process.communicate()
    assert follows_a_kill()
    assert not follows_a_kill()


def test_a_process_that_inherited_it_signs_it(path: str) -> None:
    child = "import sys, time; from deepspeech_wer.machine import lock; lock.sign(int(sys.argv[1])); time.sleep(1000)"
    then = (
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}, str(d)], pass_fds=[d], start_new_session=True)\n"
        "os.close(d)\nprint(p.pid, flush=True)\np.wait()"
    )
    process = held(path, then)
    until(lambda: (lock.holder(path) or [process.pid])[0] != process.pid)
    holder = lock.holder(path)
    assert holder
    assert lock.acquire(path) is None
    processes.end([holder[0]], grace_s=1)
    process.communicate()
    assert not lock.is_held(path)


def until_the_others_left(tmp_path: Path, code: str, number: int, pause_s: float = 0) -> list[tuple[str, str]]:
    """Run code that sets `d` to the lock or None in `count` processes at once, and return the output of each.

    The process that holds the lock works until all others have exited, however long they take to start.
    """
    go = tmp_path / "go"
    code += (
        "import os, time\nif d is not None:\n    print('worked', flush=True)\n"
        f"    while not os.path.exists({str(go)!r}): time.sleep(0.05)\n"
    )
    ticks: list[subprocess.Popen[str]] = []
    try:
        for _ in range(number):
            command = [sys.executable, "-c", code]
            ticks.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
            time.sleep(pause_s)
        until(lambda: sum(tick.poll() is None for tick in ticks) <= 1, timeout_s=120)
    finally:
        go.touch()
        said = [tick.communicate() for tick in ticks]
    assert [tick.returncode for tick in ticks] == [0] * number
    return said


def test_a_reused_pid_is_not_taken_for_the_holder(path: str) -> None:
    descriptor = lock.acquire(path)
    assert descriptor is not None
    assert lock.holder(path)
    Path(path).write_text(f"{os.getpid()}\n{os.uname().nodename}\n2026-01-01T00:00:00Z\nanother boot:123\n")
    assert lock.holder(path) is None
    os.close(descriptor)


def test_a_replaced_file_is_locked_again(path: str) -> None:
    first = lock.acquire(path)
    assert first is not None
    Path(path).unlink()
    second = lock.acquire(path)
    assert second is not None
    for descriptor in (first, second):
        os.close(descriptor)


def test_it_is_private(path: str) -> None:
    descriptor = lock.acquire(path)
    assert descriptor is not None
    assert Path(path).stat().st_mode & 0o777 == 0o600
    os.close(descriptor)


def test_a_file_that_cannot_be_opened_is_reported_in_one_line(path: str) -> None:
    Path(path).mkdir()
    with pytest.raises(Trouble, match=r"cannot lock .*: Is a directory"):
        lock.acquire(path)
    assert lock.holder(path) is None  # nobody can hold that


def test_a_lock_that_cannot_be_signed_is_released(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(Trouble, match="No space left on device"):
            lock.acquire(path)
    descriptor = lock.acquire(path)
    assert descriptor is not None
    os.close(descriptor)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_disk_without_locks_is_told_with_the_cure(path: str, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As NFS without its daemon, and Lustre without an option, answer."""

    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)
    with pytest.raises(Trouble, match=r"cannot lock .*: mount it with locks .* or set XDG_CACHE_HOME and ds_dataroot"):
        lock.acquire(path)


def test_of_a_hundred_processes_one_gets_it(path: str, tmp_path: Path) -> None:
    code = f"from deepspeech_wer.machine import lock\nd = lock.acquire({path!r})\n"
    said = until_the_others_left(tmp_path, code, 100)
    assert sorted(said) == [("", "")] * 99 + [("worked\n", "")]


def test_a_process_is_identified_by_pid_and_start(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "1000"], env={"MARK": "x-1"}, cwd=tmp_path)
    until(lambda: processes.with_environment("MARK=x-1") == [process.pid])
    started = processes.start_time(process.pid)
    assert started
    assert process.pid in processes.descendants(os.getpid())
    processes.end([process.pid], grace_s=1)
    assert process.wait() == -15
    assert processes.start_time(process.pid) is None


def test_a_process_that_ignores_sigterm_is_killed() -> None:
    process = subprocess.Popen(
        ["bash", "-c", "trap '' TERM; echo; while :; do sleep 0.1; done"], stdout=subprocess.PIPE
    )
    assert process.stdout
    process.stdout.readline()
    processes.end([process.pid], grace_s=0.2)
    process.stdout.close()
    assert process.wait() == -9


def test_the_environment_of_a_hidden_process_cannot_be_read() -> None:
    code = "from deepspeech_wer.machine import prctl; prctl.hide(); print(flush=True); input()"
    hidden = subprocess.Popen(
        [sys.executable, "-c", code], env={"SECRET": "x"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert hidden.stdout
    assert hidden.stdin
    hidden.stdout.readline()
    assert (Path("/proc") / str(hidden.pid) / "environ").stat().st_uid == 0
    hidden.stdin.write(b"\n")
    hidden.stdin.close()
    hidden.stdout.close()
    assert hidden.wait() == 0


def test_a_lock_that_can_no_longer_be_emptied_is_released(path: str) -> None:
    """As where its disk became read-only meanwhile. What is told of that is another line's."""
    held = lock.acquire(path)
    assert held is not None
    reading = os.open(path, os.O_RDONLY)
    os.dup2(reading, held)
    os.close(reading)
    lock.release(held)
    again = lock.acquire(path)
    assert again is not None
    assert lock.follows_a_kill(again)
    lock.release(again)
