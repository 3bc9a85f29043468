"""Standard output and standard error: of a training, whose results count more, and of commands, whose result it is."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import Trouble


class Lasting(io.RawIOBase):
    """A file descriptor. What it does not take, on a full disk or without a reader, is lost, and told once."""

    def __init__(self, descriptor: int, tell: Callable[[str], None] | None) -> None:
        self._descriptor, self._tell = descriptor, tell

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        try:
            return os.write(self._descriptor, data)
        except OSError as error:
            tell, self._tell = self._tell, None
            if tell:
                tell(error.strerror or str(error))
            return len(memoryview(data))


def last() -> None:
    """Make standard output and standard error ones that no failure to print raises from; closed ones take all in vain.

    What cannot be written on standard output is told on standard error.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # It gets the lowest free number: else a checkpoint might, and TensorFlow would log into it.
            os.open(os.devnull, os.O_RDWR)
    for output in (sys.stdout, sys.stderr):
        if output is not None:
            with suppress(OSError):
                output.flush()
    sys.stdout, sys.stderr = _text(1, _tell), _text(2, None)


def _tell(why: str) -> None:
    print(f"standard output cannot be written: {why}: the training goes on without it", file=sys.stderr, flush=True)


def _text(descriptor: int, tell: Callable[[str], None] | None) -> io.TextIOWrapper:
    """Text is written line by line; a letter that cannot be shown must not end a training either."""
    return io.TextIOWrapper(
        io.BufferedWriter(Lasting(descriptor, tell)), encoding="utf-8", errors="backslashreplace", line_buffering=True
    )


@contextmanager
def until_reader_leaves() -> Iterator[None]:
    """End quietly when the reader of the output, such as `head`, closes it. Raises Trouble for other write errors."""
    try:
        yield
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at exit
        if not isinstance(error, BrokenPipeError):
            raise Trouble(f"the text cannot be written: {error.strerror}") from error
