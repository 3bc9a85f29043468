"""What the server can copy of its own files (copy-data, OpenSSH 9.0): of js/hyper.js, all but the new lines.

The tracker keeps the data files that it published last, to compare them with the new ones. Without them, or where the
server's file is not what was published, the whole file is sent.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import make_private
from deepspeech_wer.publish.plan import Entries, Entry
from deepspeech_wer.sftp.files import Span

LARGE = 32 << 10  # bytes; a smaller file is sent in less time than it takes to compare
WHOLE_EVERY = 50  # publishes: then files are sent whole, in case the server's were changed unseen
_READ = 1 << 16
_BLOCK = 512  # bytes that are looked for in the file before
_MOST_COMPARED = 4 << 20  # bytes between equal start and end: comparing takes twice that in memory
_MOST_STEPS = 200_000  # a tenth of a second
_HASHED = re.compile(r"(.+)\.[0-9a-f]{8}(\.\w+)")  # a name that tells versions apart


class Copied(NamedTuple):
    """How to make a file of an older one."""

    source: str  # its path in the web root
    parts: tuple[Span | int, ...]  # what is copied from it, and how many bytes are new, in turn

    @property
    def size(self) -> int:
        """Bytes that need not be sent."""
        return sum(part.size for part in self.parts if isinstance(part, Span))


def version_before(path: str, current: Entries) -> str | None:
    """Return which file of a manifest is an earlier version of one, if any: names may have a hash of the content."""
    if path in current or not (match := _HASHED.fullmatch(path)):
        return path if path in current else None
    found = (_HASHED.fullmatch(other) for other in current if other.startswith(f"{match[1]}."))
    return next((other[0] for other in found if other and other.groups() == match.groups()), None)


def compared(kept: Path, before: Entry, new: Path) -> tuple[Span | int, ...]:
    """Compare a file with its version before. Nothing is equal if that is not kept, or was changed since."""
    with suppress(OSError), (kept / before.sha256).open("rb") as old, new.open("rb") as stream:
        if hashlib.file_digest(old, "sha256").hexdigest() == before.sha256:
            return _compared(old, before.size, stream, os.fstat(stream.fileno()).st_size)
    return ()


def parts_of(old: bytes, new: bytes) -> tuple[Span | int, ...]:
    """Return how to make `new` of `old`."""
    places = {old[at : at + _BLOCK]: at for at in range(0, len(old) - _BLOCK + 1, _BLOCK)}
    parts: list[Span | int] = []
    at = done = steps = 0  # `done` bytes are in the parts
    while at + _BLOCK <= len(new) and steps < _MOST_STEPS:
        place = places.get(new[at : at + _BLOCK])
        steps += 1
        if place is None:
            at += 1
            continue
        size = _BLOCK
        while old[place + size : place + size + _READ] == new[at + size : at + size + _READ] != b"":
            size += len(new[at + size : at + size + _READ])
        size += _equal(old[place + size : place + size + _READ], new[at + size : at + size + _READ])
        back = _equal(old[max(0, place - _BLOCK) : place][::-1], new[max(done, at - _BLOCK) : at][::-1])
        parts += [at - back - done] if at - back > done else []
        parts.append(Span(place - back, size + back))
        at = done = at + size
    return (*parts, *([len(new) - done] if len(new) > done else []))


def common_start(old: bytes, new: bytes) -> int:
    """Return how many of the first bytes are equal."""
    return _common_start(io.BytesIO(old), io.BytesIO(new), min(len(old), len(new)))


def chunks(file: Path, entry: Entry, copied: Copied, size: int) -> Iterator[bytes | Span]:
    """Read what is to be sent of a file, and say what is to be copied.

    The whole file is read. Raises Trouble if its content is not what was planned.
    """
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        for part in copied.parts:
            if isinstance(part, Span):
                yield part
            left = part.size if isinstance(part, Span) else part
            while left and (chunk := stream.read(min(left, size))):
                digest.update(chunk)
                left -= len(chunk)
                if not isinstance(part, Span):
                    yield chunk
        digest.update(stream.read(1))
    if digest.hexdigest() != entry.sha256:
        raise Trouble(f"{file}: changed while it was being published: publish again")


def keep(kept: Path, site: Path, entries: Entries) -> None:
    """Keep the files of the site that change with each run, as hard links where the file system has them."""
    wanted = {entry.sha256: path for path, entry in entries.items() if entry.size >= LARGE and path.count("/") < 2}
    with suppress(OSError):  # the next publish sends more
        make_private(kept)
        for path in kept.iterdir():
            if path.name not in wanted:
                path.unlink()
        for sha256, name in wanted.items():
            if not (kept / sha256).exists():
                _link(site / name, kept / sha256)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target, follow_symlinks=False)


def _compared(old: IO[bytes], old_size: int, new: IO[bytes], new_size: int) -> tuple[Span | int, ...]:
    """Return how to make one file from another. Finds the common start and end without reading either whole."""
    shorter = min(old_size, new_size)
    start = _common_start(old, new, shorter)
    end = _common_end(old, new, old_size, new_size, shorter - start)
    old.seek(start)
    new.seek(start)
    old_left, new_left = old_size - start - end, new_size - start - end
    if max(old_left, new_left) <= _MOST_COMPARED:
        between = parts_of(old.read(old_left), new.read(new_left))
    else:
        between = (new_left,)
    moved = (Span(part.start + start, part.size) if isinstance(part, Span) else part for part in between)
    first, last = ([Span(at, size)] if size else [] for at, size in ((0, start), (old_size - end, end)))
    return (*first, *moved, *last)


def _common_start(old: IO[bytes], new: IO[bytes], most: int) -> int:
    """Return how many of the first bytes are equal, `most` at most."""
    old.seek(0)
    new.seek(0)
    done = 0
    while done < most:
        size = min(_READ, most - done)
        a, b = old.read(size), new.read(size)
        if a != b or not a:
            return done + _equal(a, b)
        done += len(a)
    return done


def _common_end(old: IO[bytes], new: IO[bytes], old_size: int, new_size: int, most: int) -> int:
    """Return how many of the last bytes are equal, `most` at most."""
    done = 0
    while done < most:
        size = min(_READ, most - done)
        old.seek(old_size - done - size)
        new.seek(new_size - done - size)
        a, b = old.read(size), new.read(size)
        if a != b or not a:
            return done + _equal(a[::-1], b[::-1])
        done += len(a)
    return done


def _equal(a: bytes, b: bytes) -> int:
    """Return how many first bytes are equal."""
    return next((at for at, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))
