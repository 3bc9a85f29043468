"""Writes a large file of lines, copying from the one before whatever lines it has: one line more costs no other.

A line is recognised by its size and checksum, so neither a note of what the file holds nor its time is trusted: a file
that was cut, changed by hand or made by another release is repaired.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import IO, NamedTuple

from deepspeech_wer.files import open_file, write_atomically

_COPIED_AT_ONCE = 1 << 18  # bytes


Mark = tuple[int, int]  # what a line is recognised by: bytes, CRC-32


def mark_of(line: bytes) -> Mark:
    """Return the mark of a line."""
    return len(line), zlib.crc32(line)


class Pieces(NamedTuple):
    """The parts of a file."""

    texts: list[bytes]  # what comes before each line
    names: list[str | None]  # of the lines; None: there is none


class Lines(NamedTuple):
    """Where lines come from, by their names."""

    mark: Callable[[str], Mark | None]  # a line without one is made for comparison
    make: Callable[[str], bytes]
    is_of: Callable[[str, bytes], bool]  # tells apart two lines whose marks are equal by chance


def splice(path: Path, wanted: Pieces, lines: Lines) -> None:
    """Bring a file up to date. One that holds these pieces already keeps its mtime. Raises OSError."""
    with _opened(path) as old:
        count, end = _common(old, wanted, lines)
        if count == len(wanted.names) and not old.read(1):
            return
        left = Pieces(wanted.texts[count:], wanted.names[count:])
        write_atomically(path, chain(_copy(old, end), _rest(old, end, left, lines)))


def _opened(path: Path) -> IO[bytes]:
    with suppress(FileNotFoundError, IsADirectoryError):
        return open_file(path)
    return io.BytesIO()


def _common(old: IO[bytes], wanted: Pieces, lines: Lines) -> tuple[int, int]:
    """Return how many of the first pieces the old file has, and how many bytes these take."""
    end = 0
    for count, (text, name) in enumerate(zip(*wanted, strict=True)):
        size, crc = (lines.mark(name) or mark_of(lines.make(name))) if name is not None else (0, 0)
        found = old.read(len(text) + size)
        if len(found) != len(text) + size or not found.startswith(text) or zlib.crc32(found[len(text) :]) != crc:
            return count, end
        end += len(found)
    return len(wanted.names), end


def _copy(old: IO[bytes], size: int) -> Iterator[bytes]:
    old.seek(0)
    while size:
        chunk = old.read(min(size, _COPIED_AT_ONCE))
        if not chunk:
            raise OSError(f"{size} bytes are missing: the file was cut while it was read")
        size -= len(chunk)
        yield chunk


def _rest(old: IO[bytes], start: int, wanted: Pieces, lines: Lines) -> Iterator[bytes]:
    places = _places(old, start)
    for text, name in zip(*wanted, strict=True):
        yield text
        if name is not None:
            yield _found(old, places, name, lines) or lines.make(name)


def _places(old: IO[bytes], start: int) -> dict[Mark, int]:
    """Return where the old file has which line, from `start` on."""
    old.seek(start)
    places = {}
    for physical in old:
        line = physical.rstrip(b",\n")
        places[mark_of(line)] = start
        start += len(physical)
    return places


def _found(old: IO[bytes], places: Mapping[Mark, int], name: str, lines: Lines) -> bytes | None:
    mark = lines.mark(name)
    if mark is None or mark not in places:
        return None
    old.seek(places[mark])
    line = old.read(mark[0])
    return line if mark_of(line) == mark and lines.is_of(name, line) else None
