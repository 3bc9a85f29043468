"""A job's output on disk: each line with its time, bounded in size, without what would harm a terminal."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

HEAD_BYTES = 4 << 20  # written as it comes
TAIL_BYTES = 1 << 20  # kept in memory and written at the end
LINE_BYTES = 64 << 10

_ANSI = re.compile(rb"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")


class JobLog:
    """One of a job's two streams. A full disk ends the writing, not the job: the run is worth more than its log."""

    def __init__(self, path: Path, *, echo: Callable[[str], None] | None = None) -> None:
        self.last = deque[str](maxlen=20)  # the last lines, for the one-line account of a failure
        self._stream: BinaryIO | None = path.open("wb", buffering=0)
        path.chmod(0o600)
        self._echo = echo
        self._unfinished = b""
        self._written = 0
        self._tail = deque[bytes]()
        self._tail_bytes = 0
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Take output as it comes."""
        *lines, self._unfinished = re.split(rb"\r?\n|\r", self._unfinished + data)
        for line in lines:
            self._line(line)
        if len(self._unfinished) > LINE_BYTES:
            self._line(self._unfinished)
            self._unfinished = b""

    def close(self) -> None:
        """Write what is held back."""
        if self._unfinished:
            self._line(self._unfinished)
        if self._dropped:
            self._write(b"[... %d bytes left out ...]\n" % self._dropped)
        for line in self._tail:
            self._write(line)
        if self._stream:
            self._stream.close()

    def _line(self, line: bytes) -> None:
        clean = _CONTROL.sub(b"", _ANSI.sub(b"", line)).decode("utf-8", "replace")
        if not clean:
            return
        self.last.append(clean[:500])
        if self._echo:
            self._echo(clean)
        stamped = f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {clean}\n".encode()
        if self._written < HEAD_BYTES:
            self._write(stamped)
        else:
            self._hold(stamped)

    def _hold(self, line: bytes) -> None:
        self._tail.append(line)
        self._tail_bytes += len(line)
        while self._tail_bytes > TAIL_BYTES:
            dropped = len(self._tail.popleft())
            self._tail_bytes -= dropped
            self._dropped += dropped

    def _write(self, data: bytes) -> None:
        self._written += len(data)
        if self._stream:
            try:
                self._stream.write(data)
            except OSError:
                self._stream.close()
                self._stream = None
