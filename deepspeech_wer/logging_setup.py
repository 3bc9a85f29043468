"""The log on stderr: the bare message on a terminal, elsewhere with the time in UTC and the level."""

from __future__ import annotations

import logging
import sys
import time

from deepspeech_wer import clock

LOGGER = "deepspeech_wer"


def set_up(*, quiet: bool = False) -> None:
    """Set up logging to stderr. `quiet` logs warnings and errors only."""
    pattern = "%(message)s" if sys.stderr.isatty() else "%(asctime)s %(levelname)s %(message)s"
    formatter = logging.Formatter(pattern, clock.UTC)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logger = logging.getLogger(LOGGER)
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def report_bug() -> None:
    """Log the current exception with its traceback."""
    logging.getLogger(LOGGER).exception("bug in deepspeech_wer: please report it with this traceback")
