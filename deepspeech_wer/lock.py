"""One tick at a time: a kernel lock on a file that is never unlinked.

No stale lock can exist: the kernel releases it with the last process that holds the descriptor. The job inherits the
descriptor, so a job that outlives a killed tick keeps the next tick from training beside it. What stands in the file
is for people, and for telling a living tick from such an orphan. Imports nothing heavy: a busy tick must cost nothing.
"""

from __future__ import annotations

import fcntl
import os
import time

from deepspeech_wer import processes
from deepspeech_wer.errors import Trouble

_AFTER_A_KILL = b"after a kill\n"  # below the signature

ORPHAN_CHECK_S = 2.0  # a tick writes its name within milliseconds of locking; so long must the lock be nobody's


def acquire(path: str) -> int | None:
    """Take the lock; None where another process holds it. The descriptor is the lock: keep it open.

    O_RDWR because NFS emulates flock by a write lock. The file may be replaced between open and lock: look again.
    Raises Trouble: the file cannot be opened or written.
    """
    try:
        while True:
            descriptor = _try(path)
            if descriptor is None or _is_still(descriptor, path):
                break
            os.close(descriptor)
    except OSError as error:
        raise Trouble(f"cannot lock {path}: {error.strerror}") from None
    if descriptor is not None:
        try:
            _sign(descriptor)
        except OSError as error:
            os.close(descriptor)
            raise Trouble(f"cannot write {path}: {error.strerror}") from None
    return descriptor


def release(descriptor: int) -> None:
    """Give the lock back in good order, and say so in the file: what is signed there was killed, or is at work."""
    os.ftruncate(descriptor, 0)
    os.close(descriptor)


def follows_a_kill(descriptor: int) -> bool:
    """Whether the one that held the lock before us did not give it back."""
    return os.pread(descriptor, 1000, 0).endswith(_AFTER_A_KILL)


def holder(path: str) -> tuple[int, str, str] | None:
    """(pid, host, start time in UTC) of the tick that holds the lock and still lives; None where there is none."""
    lines = _signature(path) if _is_held(path) else []
    if len(lines) < 4 or lines[1] != os.uname().nodename:
        return None
    alive = lines[0].isdigit() and processes.start_time(int(lines[0])) == lines[3]
    return (int(lines[0]), lines[1], lines[2]) if alive else None


def is_orphaned(path: str) -> bool:
    """Whether a busy lock is held by no living tick, seen twice: the tick was killed and its job lives on."""
    if holder(path) or _signed_elsewhere(path):
        return False
    time.sleep(ORPHAN_CHECK_S)
    return holder(path) is None


def end_orphans(path: str) -> list[int] | None:
    """End every process that holds the lock of a killed tick; their pids. None: another tick is about it.

    Also finds daemons that left their session. A tick that only looks, or has just taken the lock, is none of them.
    """
    try:
        takeover = _try(f"{path}.takeover")
        if takeover is None:
            return None
        try:
            return _end_orphans(path)
        finally:
            os.close(takeover)
    except OSError as error:
        raise Trouble(f"cannot lock {path}.takeover: {error.strerror}") from None


def _end_orphans(path: str) -> list[int]:
    status = os.stat(path)
    ended: list[int] = []
    for _ in range(10):  # what is ended may have started something meanwhile
        owners = processes.locking((status.st_dev, status.st_ino))
        orphans = [pid for pid, owner in owners.items() if owner not in owners]  # inherited, from one that is gone
        if not orphans or holder(path):
            break
        processes.end(orphans, grace_s=0.5 if ended else 3.0)
        ended += orphans
    return ended


def _try(path: str) -> int | None:
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


def _is_held(path: str) -> bool:
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


def _is_still(descriptor: int, path: str) -> bool:
    try:
        there = os.stat(path)
    except FileNotFoundError:
        return False
    ours = os.fstat(descriptor)
    return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)


def _sign(descriptor: int) -> None:
    pid = os.getpid()
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    text = f"{pid}\n{os.uname().nodename}\n{started}\n{processes.start_time(pid)}\n".encode()
    was_signed = os.pread(descriptor, 1, 0)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text + (_AFTER_A_KILL if was_signed else b""), 0)


def _signature(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(1000).splitlines()
    except OSError:
        return []


def _signed_elsewhere(path: str) -> bool:
    """Over NFS the holder may be another host's, out of sight."""
    lines = _signature(path)
    return len(lines) > 1 and lines[1] != os.uname().nodename
