"""Signals that ask this process to end. The handler only sets a flag, which every wait checks.

The handler raises nothing: its exception could surface anywhere, even where the interpreter swallows it. Signals belong
to the whole process, so their state is module state.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from deepspeech_wer.errors import Stopped

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

_caught: list[int] = []
_wakeup: list[int] = []  # the reading end of a pipe; the interpreter writes a byte into it for each signal


def catch() -> None:
    """Make SIGTERM, SIGINT and SIGHUP set the flag from now on. SIGINT and SIGHUP stay ignored if they are.

    So `nohup` ignores SIGHUP, and a shell without job control ignores SIGINT of what it starts with `&`.
    """
    if not _wakeup:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        _wakeup.append(reading)
    _caught.clear()
    for number in ENDING:
        if number == signal.SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


@contextmanager
def held_back() -> Iterator[None]:
    """Block these signals within the block. A process that is started within inherits the mask, so no signal ends it
    before it calls `catch`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def count() -> int:
    """Return the number of signals so far. A second one means: end at once, without a grace period."""
    return len(_caught)


def check() -> None:
    """Raise Stopped if a signal came."""
    if _caught:
        raise Stopped(_caught[0], signal.Signals(_caught[0]).name)


def wait(seconds: float, *descriptors: int) -> None:
    """Sleep until a signal comes, a descriptor becomes readable, or the time is up."""
    ready = select.select([*_wakeup, *descriptors], [], [], max(seconds, 0))[0]
    if _wakeup and _wakeup[0] in ready:
        os.read(_wakeup[0], 4096)  # otherwise the next wait would return at once


def _note(number: int, _: FrameType | None) -> None:
    _caught.append(number)
