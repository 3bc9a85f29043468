"""What the commands print, and progress on a terminal. Under cron there is no terminal, and no progress is shown."""

from __future__ import annotations

import sys
from collections.abc import Callable

from deepspeech_wer.text import plain

_WIDTH = 30


def say(line: str, *, flush: bool = False) -> None:
    """Print a line on stdout. It may quote anything: a subject, a file's name, what a server said."""
    print(plain(line), flush=flush)


def job_line() -> Callable[[str], None] | None:
    """Return a function that prints a line of the job's output, dimmed; None without a terminal."""
    if not sys.stderr.isatty():
        return None
    return lambda line: print(f"\x1b[2m  | {plain(line)}\x1b[0m", file=sys.stderr)


def upload_bar() -> Callable[[int, int], None] | None:
    """Return a function that draws a bar from (bytes sent, total bytes); None without a terminal."""
    return _draw if sys.stderr.isatty() else None


def _draw(done: int, total: int) -> None:
    filled = _WIDTH * done // max(total, 1)
    end = "\n" if done >= total else ""
    bar = "#" * filled + "." * (_WIDTH - filled)
    print(f"\r  uploading [{bar}] {done / 1e6:.1f} of {total / 1e6:.1f} MB", end=end, file=sys.stderr, flush=True)
