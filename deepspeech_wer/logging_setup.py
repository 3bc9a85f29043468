"""The log on stderr. On a terminal a line is the bare message, elsewhere it has the time in UTC and the level."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from deepspeech_wer import clock
from deepspeech_wer.text import plain

LOGGER = "deepspeech_wer"


def set_up(*, quiet: bool = False, verbose: bool = False) -> None:
    """Set up logging to stderr. `quiet` logs warnings and errors only, `verbose` also what is done at each step."""
    pattern = "%(message)s" if sys.stderr.isatty() else "%(asctime)s %(levelname)s %(message)s"
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(pattern))
    handler.setLevel(logging.WARNING if quiet else logging.DEBUG)
    logger = logging.getLogger(LOGGER)
    for old in logger.handlers:
        old.close()
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if verbose else logging.INFO)


def formatter(pattern: str) -> logging.Formatter:
    """Return what makes a line of a record, by a pattern of logging: times in UTC, and nothing that forges a line."""
    made = _Plain(pattern, clock.UTC)
    made.converter = time.gmtime
    return made


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
