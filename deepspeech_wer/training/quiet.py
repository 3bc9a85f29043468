"""TensorFlow's greeting, kept out of the log.

What it writes while it is loaded comes from C++, before its own switch (TF_CPP_MIN_LOG_LEVEL) is heeded
(tensorflow/tensorflow#100442): some eight lines in every log that say nothing of the training. Errors go through.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

SWITCH = "TF_CPP_MIN_LOG_LEVEL"
NOISE = "|".join(
    (
        r"^(I[0-9]{4} |[0-9. :-]+: I )",  # of severity "info"
        r"^WARNING: All log messages before absl::InitializeLog\(\)",
        r"Unable to register cu[A-Z]+ factory",
        r"failed call to cuInit: .*\(303\)",  # no GPU driver: the usual machine of a CPU training
    )
)


@contextmanager
def quiet_start() -> Iterator[None]:
    """Keep the greeting out of stderr, unless TF_CPP_MIN_LOG_LEVEL is set: then its setter decides."""
    if SWITCH in os.environ:
        yield
        return
    os.environ[SWITCH] = "2"
    with without_lines(NOISE):
        yield


@contextmanager
def without_lines(noise: str) -> Iterator[None]:
    """Keep the lines that a regular expression finds out of stderr, also those that C++ writes.

    By a process of its own, so that the last words of a library that aborts (another CPU, say) are not lost. Where
    there is no grep, everything goes through.
    """
    grep = shutil.which("grep")
    if not grep:
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
                os.dup2(stderr, 2)  # and so closes the pipe: grep ends
    finally:
        os.close(stderr)
