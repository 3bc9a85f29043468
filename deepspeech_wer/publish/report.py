"""How to publish, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer.publish.plan import Entry
from deepspeech_wer.records import Owner
from deepspeech_wer.text import in_bytes


class Options(NamedTuple):
    """How to publish."""

    dry_run: bool = False  # change nothing; Report.lines says what would happen
    probe: bool = False  # in a dry run, write a file and remove it again, to see whether that is possible
    adopt: bool = False  # replace files that others put in the way
    owner: Owner | None = None  # who publishes; None: whoever the web root belongs to
    take_over: bool = False  # publish into a web root that belongs to another tracker, and keep it
    progress: Callable[[int, int], None] | None = None  # called with bytes done and bytes in total
    kept: Path | None = None  # where to keep large files, so that the server can copy what stays; None: nowhere
    timeout_s: float = 30.0  # of silence
    lock_wait_s: float = 60.0  # for another publisher in the same web root
    retry_after_s: Sequence[float] = (1.0, 4.0, 10.0)  # after a broken connection
    is_stopped: Callable[[], bool] = bool  # asked between packets and in pauses; True ends it with Halted


class Report(NamedTuple):
    """What was done, or would be done without `dry_run`."""

    sent: tuple[str, ...]  # paths in the web root
    kept: int  # files that were there already
    removed: tuple[str, ...]
    size: int  # bytes of the files sent, without what a killed publish had sent and what the server copied
    seconds: float
    lines: tuple[str, ...] = ()  # of a dry run: one for each file that would be sent or removed
    notes: tuple[str, ...] = ()  # about the server, for the log
    shown: Mapping[str, Entry] = {}  # what the web root now holds, unless nothing was done

    @property
    def summary(self) -> str:
        """One line for the log: `4 of 1,204 files, 31 KB, 0.9 s`."""
        total = len(self.sent) + self.kept
        removed = f", {len(self.removed):,} removed" if self.removed else ""
        return f"{len(self.sent):,} of {total:,} files, {in_bytes(self.size)}{removed}, {self.seconds:.1f} s"
