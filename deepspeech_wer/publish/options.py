"""How to publish."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How to publish."""

    dry_run: bool = False  # change nothing; Report.lines says what would happen
    probe: bool = False  # in a dry run, write a file and remove it again, to see whether that is possible
    adopt: bool = False  # replace files that others put in the way
    url: str | None = None  # the site's public address: what was published is read back from there
    progress: Callable[[int, int], None] | None = None  # called with bytes done and bytes in total
    timeout_s: float = 30.0  # of silence
    lock_wait_s: float = 60.0  # for another publisher in the same web root
    retry_after_s: Sequence[float] = (1.0, 4.0, 10.0)  # after a broken connection
    is_stopped: Callable[[], bool] = bool  # asked between packets and in pauses; True ends it with Stopped
