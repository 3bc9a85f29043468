"""Kernel locks (flock(2)): one tick at a time, one supervisor per job. The files are never unlinked.

A lock cannot go stale: the kernel releases it when the last process that holds the descriptor ends. The file's content
is for people, and distinguishes the holder from a process that reuses its pid. A busy tick loads this module, so keep
it light.
"""

from __future__ import annotations

import fcntl
import os

from deepspeech_wer import clock
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.machine import processes

_AFTER_A_KILL = b"after a kill\n"  # the last line, if the holder before was killed


def acquire(path: str) -> int | None:
    """Take the lock and return its descriptor, which must stay open; None if another process holds the lock.

    Raises Trouble if the file cannot be opened or written.
    """
    try:
        while True:
            descriptor = _try(path)
            if descriptor is None or is_current(descriptor, path):
                break
            os.close(descriptor)  # the file was replaced between open and flock
    except OSError as error:
        raise Trouble(f"cannot lock {path}: {with_cure(error)}; the next tick tries again") from None
    if descriptor is not None:
        try:
            sign(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise Trouble(f"cannot write {path}: {with_cure(error)}; the next tick tries again") from None
    return descriptor


def sign(descriptor: int) -> None:
    """Write this process into the file as the holder. Also for a process that inherited the descriptor.

    Raises OSError.
    """
    pid = os.getpid()
    text = f"{pid}\n{os.uname().nodename}\n{clock.utc_now()}\n{processes.start_time(pid)}\n".encode()
    was_signed = os.pread(descriptor, 1, 0)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text + (_AFTER_A_KILL if was_signed else b""), 0)


def release(descriptor: int) -> None:
    """Empty the file and release the lock. A file with a signature but no lock means that the holder was killed.

    A file that cannot be emptied keeps its signature: its disk fails, which was told before.
    """
    try:  # noqa: SIM105 - each tick that finds the lock held would import contextlib
        os.ftruncate(descriptor, 0)
    except OSError:
        pass
    os.close(descriptor)


def follows_a_kill(descriptor: int) -> bool:
    """Return whether the previous holder died without releasing the lock."""
    return os.pread(descriptor, 1000, 0).endswith(_AFTER_A_KILL)


def holder(path: str) -> tuple[int, str, str] | None:
    """Return the holder's (pid, host, time of acquisition in UTC); None if nobody on this host holds the lock."""
    lines = _signature(path) if is_held(path) else []
    if len(lines) < 4 or lines[1] != os.uname().nodename:
        return None
    alive = lines[0].isdigit() and not processes.is_gone(int(lines[0]), lines[3])
    return (int(lines[0]), lines[1], lines[2]) if alive else None


def is_held(path: str) -> bool:
    """Return whether any process holds the lock. Raises Trouble if the file cannot be opened."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except (FileNotFoundError, IsADirectoryError):  # a job may have put a directory in the place of its own
        return False
    except OSError as error:
        raise Trouble(f"cannot open {path}: {with_cure(error)}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def is_current(descriptor: int, path: str) -> bool:
    """Return whether the file that `descriptor` locks is still the one at its path."""
    try:
        there = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def check(descriptor: int, path: str) -> None:
    """Raise Trouble if the file that we hold is no longer the one at its path: another process may hold that one."""
    if not is_current(descriptor, path):
        raise Trouble(
            f"{path} was removed or replaced while this tick held it, so another tick may be at work: this one ends, "
            "and the next one continues; leave lock files where they are"
        )


def _try(path: str) -> int | None:
    # O_RDWR: NFS emulates flock with write locks, which need a writable descriptor.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _signature(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1000).splitlines()
    except OSError:
        return []
