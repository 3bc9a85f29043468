"""Writes a job's output to disk: a timestamp per line, limited in size, without terminal control sequences."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from deepspeech_wer import clock, files

HEAD_BYTES = 4 << 20  # written immediately, line by line
TAIL_BYTES = 1 << 20  # of the rest, the newest output is kept in memory and written at the end
LINE_BYTES = 64 << 10
_MOST_FOLLOWED = 4 * HEAD_BYTES  # at once: more than a whole log has

# Each sequence begins with ESC and a letter, or with one C1 character, here in UTF-8: ECMA-48, 5.3.
_ANSI = re.compile(
    rb"(\x1b\[|\xc2\x9b)[0-?]*[ -/]*[@-~]"
    rb"|(\x1b\]|\xc2\x9d)(?:[^\x07\x1b\xc2]|\xc2(?!\x9c))*(\x07|\x1b\\|\xc2\x9c)?"
    rb"|\x1b[@-Z\\-_]"
)
# C1 controls; what turns the direction of writing, so that a line reads as another; separators of lines
_UNSEEN = re.compile("[\x80-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_CONTROL = bytes({*range(0x20), 0x7F} - {0x09})


class JobLog:
    """The log of one stream. A full disk stops the log but not the job: the run is worth more than its log.

    A job may write gigabytes in one-letter lines: after the head, output is not split into lines until the end.
    """

    def __init__(self, path: Path) -> None:
        self._stream: BinaryIO | None = path.open("wb", buffering=0)
        path.chmod(0o600)
        self._last = ""
        self._room = HEAD_BYTES
        self._unfinished = b""  # the last line of the head, if its end has not come yet
        self._tail = deque[tuple[str, bytes]]()  # (time, chunk), at most TAIL_BYTES plus one chunk
        self._tail_bytes = 0
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Add a chunk of output."""
        if self._room <= 0:
            self._hold(data)
            return
        *lines, self._unfinished = _split(self._unfinished + data)
        if len(self._unfinished) > LINE_BYTES:
            lines.append(self._unfinished)
            self._unfinished = b""
        for number, line in enumerate(lines, start=1):
            self._line(line)
            if self._room <= 0:
                self._hold(b"\n".join((*lines[number:], self._unfinished)))
                self._unfinished = b""
                break

    def last_words(self) -> str:
        """Return the last line that is not blank, to report a failure with; "" if there is none."""
        newest = (self._unfinished, *(line for _, line in islice(self._held(), 20)))
        return next(filter(None, (_clean(line).strip()[:500] for line in newest)), self._last)

    def close(self) -> None:
        """Write the output that is still in memory."""
        self._line(self._unfinished)
        newest: list[bytes] = []
        size = 0
        for now, line in self._held():
            clean = _clean(line)
            stamped = _stamped(now, clean) if clean else b""
            size += len(stamped)
            if size > TAIL_BYTES:
                break
            newest.append(stamped)
            self._tail_bytes -= len(line) + 1
        if omitted := self._dropped + max(0, self._tail_bytes):
            self._write(b"[... %d bytes omitted ...]\n" % omitted)
        for stamped in reversed(newest):
            self._write(stamped)
        if self._stream:
            self._stream.close()

    def _line(self, line: bytes) -> None:
        clean = _clean(line)
        self._room -= len(line)
        if not clean:
            return
        self._last = clean.strip()[:500] or self._last
        stamped = _stamped(clock.utc_now(), clean)
        self._room -= len(stamped) - len(line)
        self._write(stamped)

    def _hold(self, data: bytes) -> None:
        self._tail.append((clock.utc_now(), data))
        self._tail_bytes += len(data)
        while self._tail_bytes - len(self._tail[0][1]) > TAIL_BYTES:
            dropped = len(self._tail.popleft()[1])
            self._tail_bytes -= dropped
            self._dropped += dropped

    def _held(self) -> Iterator[tuple[str, bytes]]:
        """Yield (time, line) of the tail, newest first. Lines over LINE_BYTES come in pieces."""
        now, rest = "", b""  # rest: the end of a line that began in the chunk before
        for now, data in reversed(self._tail):
            text = data.replace(b"\r", b"\n") + rest
            end = len(text)
            while (start := text.rfind(b"\n", max(0, end - LINE_BYTES), end)) >= 0 or end > LINE_BYTES:
                yield now, text[max(start + 1, end - LINE_BYTES) : end]
                end = max(start, end - LINE_BYTES)
            rest = text[:end]
        yield now, rest

    def _write(self, data: bytes) -> None:
        if self._stream:
            try:
                self._stream.write(data)
            except OSError:
                self._stream.close()
                self._stream = None


def _split(data: bytes) -> list[bytes]:
    """Split into lines at \\n and \\r: progress bars end with a carriage return."""
    return data.replace(b"\r", b"\n").split(b"\n")


def _clean(line: bytes) -> str:
    text = _ANSI.sub(b"", line).translate(None, _CONTROL).decode("utf-8", "replace")
    return text if text.isascii() else _UNSEEN.sub("", text)


def _stamped(now: str, clean: str) -> bytes:
    return f"{now} {clean}\n".encode()


class Follower:
    """Follows a log that a JobLog writes, line by line, without the timestamps."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def lines(self) -> list[str]:
        """Return the complete lines added since the last call."""
        try:
            with files.open_regular(self._path) as stream:
                stream.seek(self._at)
                added = stream.read(_MOST_FOLLOWED)
        except OSError:  # removed or replaced by the job
            return []
        whole = added[: added.rfind(b"\n") + 1]
        self._at += len(whole)
        return [line.partition(" ")[2] for line in whole.decode("utf-8", "replace").split("\n")[:-1]]
