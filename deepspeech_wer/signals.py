"""Signals that ask this process to end. The handler only sets a flag; every wait looks at it.

An exception raised out of a handler can come up anywhere, also where the interpreter swallows it, so none is. Signals
belong to the process as a whole: that is why their state lives in this module.
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
_wakeup: list[int] = []  # the reading end of a pipe into which the interpreter writes a byte for each signal


def catch() -> None:
    """From now on SIGTERM, SIGINT and SIGHUP set the flag."""
    if not _wakeup:
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        _wakeup.append(reading)
    _caught.clear()
    for number in ENDING:
        signal.signal(number, _note)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


@contextmanager
def held_back() -> Iterator[None]:
    """Let these signals wait until the block ends. A process that is started within keeps them waiting until it
    catches them, so that none ends it while it is being started.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def count() -> int:
    """How many such signals came so far. A second one means: at once."""
    return len(_caught)


def check() -> None:
    """Raise Stopped where such a signal came."""
    if _caught:
        raise Stopped(_caught[0], signal.Signals(_caught[0]).name)


def wait(seconds: float, *descriptors: int) -> None:
    """Sleep; less where a signal comes or one of the descriptors becomes readable."""
    ready = select.select([*_wakeup, *descriptors], [], [], max(seconds, 0))[0]
    if _wakeup and _wakeup[0] in ready:
        os.read(_wakeup[0], 4096)  # else the next wait would end at once


def _note(number: int, _: FrameType | None) -> None:
    _caught.append(number)
