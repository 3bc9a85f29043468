"""Keeps TensorFlow's start-up messages out of the log.

They are written in C++, partly before its own switch TF_CPP_MIN_LOG_LEVEL takes effect (tensorflow/tensorflow#100442):
some eight lines in every log that say nothing about the training. Errors pass through.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SWITCH = "TF_CPP_MIN_LOG_LEVEL"
_MOMENT_S = 0.05
NOISE = "|".join(
    (
        r"^(I[0-9]{4} |[0-9. :-]+: I )",  # of severity "info"
        r"^WARNING: All log messages before absl::InitializeLog\(\)",
        r"Unable to register cu[A-Z]+ factory",
        r"failed call to cuInit: .*\(303\)",  # no GPU driver, as usual on a machine without a GPU
    )
)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Drop start-up messages from stderr, unless the user has set TF_CPP_MIN_LOG_LEVEL."""
    if SWITCH in os.environ:
        yield
        return
    os.environ[SWITCH] = "2"
    with without_lines(NOISE):
        yield


@contextmanager
def without_lines(noise: str) -> Iterator[None]:
    """Drop the lines that match a regular expression from stderr, those written in C++ included.

    grep filters them in its own process, so the last words of a library that aborts (on an unsupported CPU, for
    example) are not lost. Without a grep on PATH, nothing is dropped.
    """
    grep = shutil.which("grep")
    if not grep or sys.stderr is None:  # None: it is closed, and nobody reads the lines
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        reading, writing = os.pipe()
        with subprocess.Popen([grep, "--line-buffered", "-Ev", noise], stdin=reading, stdout=stderr):
            os.close(reading)
            os.dup2(writing, 2)
            os.close(writing)
            try:
                yield
            finally:
                sys.stderr.flush()
                os.dup2(stderr, 2)  # closes the pipe's last writing end: grep ends
    finally:
        os.close(stderr)


def last_words(text: str) -> None:
    """Write a line to stderr that nothing follows: TensorFlow's threads write there until the process is gone.

    Takes no lock, which another thread may hold.
    """
    with suppress(OSError):
        stderr = os.dup(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        time.sleep(_MOMENT_S)  # a write that another thread began before, into a full pipe, ends first
        os.write(stderr, f"{text}\n".encode(errors="backslashreplace"))
