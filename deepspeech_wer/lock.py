"""Kernel locks on files that are never unlinked: one tick at a time, one supervisor for each job.

No stale lock can exist: the kernel releases it with the last process that holds the descriptor. What stands in the file
is for people, and tells a living holder from a pid that was reused. Light: each busy tick imports it.
"""

from __future__ import annotations

import fcntl
import os

from deepspeech_wer import clock, processes
from deepspeech_wer.errors import Trouble

_AFTER_A_KILL = b"after a kill\n"  # below the signature


def acquire(path: str) -> int | None:
    """Take the lock; None where another process holds it. The descriptor is the lock: keep it open.

    Raises Trouble: the file cannot be opened or written.
    """
    try:
        while True:
            descriptor = _try(path)
            if descriptor is None or _is_still(descriptor, path):
                break
            os.close(descriptor)  # the file was replaced between open and lock
    except OSError as error:
        raise Trouble(f"cannot lock {path}: {error.strerror}") from None
    if descriptor is not None:
        try:
            sign(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise Trouble(f"cannot write {path}: {error.strerror}") from None
    return descriptor


def sign(descriptor: int) -> None:
    """Write into the file that this process holds the lock: for one that inherited the descriptor. Raises OSError."""
    pid = os.getpid()
    text = f"{pid}\n{os.uname().nodename}\n{clock.utc_now()}\n{processes.start_time(pid)}\n".encode()
    was_signed = os.pread(descriptor, 1, 0)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text + (_AFTER_A_KILL if was_signed else b""), 0)


def release(descriptor: int) -> None:
    """Give the lock back in good order and empty the file: a signature without a lock means that the holder died."""
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


def follows_a_kill(descriptor: int) -> bool:
    """Whether the holder before us died without giving the lock back."""
    return os.pread(descriptor, 1000, 0).endswith(_AFTER_A_KILL)


def holder(path: str) -> tuple[int, str, str] | None:
    """(pid, host, start time in UTC) of the living process that holds the lock; None where there is none."""
    lines = _signature(path) if is_held(path) else []
    if len(lines) < 4 or lines[1] != os.uname().nodename:
        return None
    alive = lines[0].isdigit() and not processes.is_gone(int(lines[0]), lines[3])
    return (int(lines[0]), lines[1], lines[2]) if alive else None


def is_held(path: str) -> bool:
    """Whether any process holds the lock. Raises Trouble: the file cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Trouble(f"cannot open {path}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _try(path: str) -> int | None:
    descriptor = os.open(
        path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )  # O_RDWR: NFS emulates flock by write locks
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _is_still(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _signature(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1000).splitlines()
    except OSError:
        return []
