"""The log that a tick keeps below the data root. A line also has the commit and the phase that the tick is in."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from deepspeech_wer.logging_setup import LOGGER, formatter

KEPT_BYTES, KEPT_FILES = 2 << 20, 5  # the newest file, and how many older ones

_KEPT = "%(asctime)s %(levelname)s %(merge)s %(phase)s %(message)s"
_now = {"merge": "-", "phase": "-"}  # a log belongs to the whole process, and so does what it is working on


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
    handler.setFormatter(formatter(_KEPT))
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
