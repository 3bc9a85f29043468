"""The log on stderr: the bare message on a terminal, elsewhere with the time in UTC and the level."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from deepspeech_wer import clock
from deepspeech_wer.text import plain

LOGGER = "deepspeech_wer"


def set_up(*, quiet: bool = False) -> None:
    """Set up logging to stderr. `quiet` logs warnings and errors only."""
    pattern = "%(message)s" if sys.stderr.isatty() else "%(asctime)s %(levelname)s %(message)s"
    formatter = _Plain(pattern, clock.UTC)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


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
