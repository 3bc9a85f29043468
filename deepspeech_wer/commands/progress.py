"""What a person at a terminal sees of a tick. Under cron there is no terminal, and nothing of this."""

from __future__ import annotations

import sys
from collections.abc import Callable

_WIDTH = 30


def job_line() -> Callable[[str], None] | None:
    """Shows the job's output as it comes, set off from the tracker's own lines."""
    if not sys.stderr.isatty():
        return None
    return lambda line: print(f"\x1b[2m  | {line}\x1b[0m", file=sys.stderr)


def upload_bar() -> Callable[[int, int], None] | None:
    """Draws a bar from (bytes done, bytes in all)."""
    return _draw if sys.stderr.isatty() else None


def _draw(done: int, total: int) -> None:
    filled = _WIDTH * done // max(total, 1)
    end = "\n" if done >= total else ""
    bar = "#" * filled + "." * (_WIDTH - filled)
    print(f"\r  uploading [{bar}] {done / 1e6:.1f} of {total / 1e6:.1f} MB", end=end, file=sys.stderr, flush=True)
