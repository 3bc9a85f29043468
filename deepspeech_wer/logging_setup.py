"""The log on stderr, and the one that a tick keeps below the data root.

On a terminal a line is the bare message, elsewhere it has the time in UTC and the level. In the kept log it also has
the commit and the phase that the tick is in.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from deepspeech_wer import clock
from deepspeech_wer.text import plain

LOGGER = "deepspeech_wer"
KEPT_BYTES, KEPT_FILES = 2 << 20, 5  # the newest file, and how many older ones

_KEPT = "%(asctime)s %(levelname)s %(merge)s %(phase)s %(message)s"
_now = {"merge": "-", "phase": "-"}  # a log belongs to the whole process, and so does what it is working on


def set_up(*, quiet: bool = False, verbose: bool = False) -> None:
    """Set up logging to stderr. `quiet` logs warnings and errors only, `verbose` also what is done at each step."""
    pattern = "%(message)s" if sys.stderr.isatty() else "%(asctime)s %(levelname)s %(message)s"
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(pattern))
    handler.setLevel(logging.WARNING if quiet else logging.DEBUG)
    logger = logging.getLogger(LOGGER)
    for old in logger.handlers:
        old.close()
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)


def working_on(phase: str, sha: str) -> None:
    """Say which phase and commit the lines of the kept log belong to from now on; "" where there is none."""
    _now.update(merge=sha[:12] or "-", phase=phase or "-")


@contextmanager
def kept(directory: Path) -> Iterator[None]:
    """Also log into deepspeech_wer.log in a directory within the block, which is made for the first line.

    The file is rotated by size. A process that is killed meanwhile leaves files that the next one goes on with. What
    cannot be written, for example on a full disk, is lost here and stands on stderr alone.
    """
    handler = _Kept(directory / "deepspeech_wer.log", maxBytes=KEPT_BYTES, backupCount=KEPT_FILES, delay=True)
    handler.setFormatter(_formatter(_KEPT))
    handler.addFilter(_add_place)
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)  # after an error it stays, for `report_bug`
    handler.close()


def keep(message: str) -> None:
    """Write an error into the kept log alone: stderr gets it from the caller's caller."""
    logger = logging.getLogger(LOGGER)
    record = logger.makeRecord(LOGGER, logging.ERROR, __file__, 0, message, (), None)
    for handler in logger.handlers:
        if isinstance(handler, _Kept):
            handler.handle(record)


class _Kept(RotatingFileHandler):
    """Makes its directory when the first line comes, private; follows no link that a job put in the file's place."""

    def _open(self) -> TextIOWrapper:
        path = Path(self.baseFilename)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return open(os.open(path, flags, 0o600), "a", encoding="utf-8", errors="replace")  # noqa: PTH123 - a descriptor

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """A log that cannot be written stops nothing."""


def _add_place(record: logging.LogRecord) -> bool:
    vars(record).update(_now)
    return True


def _formatter(pattern: str) -> logging.Formatter:
    formatter = _Plain(pattern, clock.UTC)
    formatter.converter = time.gmtime
    return formatter


class _Plain(logging.Formatter):
    """Escapes what would forge a line or reach the terminal: a message may quote a branch's name or a job's output."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        record.message = plain(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return "\n".join(map(plain, super().formatException(ei).split("\n")))


def report_bug() -> None:
    """Log the current exception with its traceback."""
    logging.getLogger(LOGGER).exception("bug in deepspeech_wer: please report it with this traceback")
