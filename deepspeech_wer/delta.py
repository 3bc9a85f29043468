"""What of a new content an old one holds already, as rsync finds it; only the rest need travel."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import open_file

_READ = 1 << 16
_BLOCK = 512  # bytes that are looked for in the old content
_MOST_COMPARED = 16 << 20  # bytes between equal start and end: comparing takes four times that in memory
_MOST_STEPS = 200_000  # a tenth of a second


class Span(NamedTuple):
    """A part of the old content."""

    start: int
    size: int


def between(old: bytes, new: bytes) -> tuple[Span | int, ...]:
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
        size = common_start(old, new, place, at)
        back = _common([(old[max(0, place - _BLOCK) : place][::-1], new[max(done, at - _BLOCK) : at][::-1])])
        parts += [at - back - done] if at - back > done else []
        parts.append(Span(place - back, size + back))
        at = done = at + size
    return (*parts, *([len(new) - done] if len(new) > done else []))


def common_start(old: bytes, new: bytes, old_at: int = 0, new_at: int = 0) -> int:
    """Return how many bytes are equal from these places on."""
    return _common(
        (old[old_at + n : old_at + n + _READ], new[new_at + n : new_at + n + _READ]) for n in count(0, _READ)
    )


def between_files(old: int, new: int) -> tuple[Span | int, ...]:
    """Return how to make one open file of another, without reading their common start and end into memory."""
    old_size, new_size = os.fstat(old).st_size, os.fstat(new).st_size
    start = _common((os.pread(old, _READ, n), os.pread(new, _READ, n)) for n in count(0, _READ))
    left = min(old_size, new_size) - start
    ends = [(n, min(n + _READ, left)) for n in range(0, left, _READ)]  # distances from the end
    end = _common(
        (os.pread(old, far - near, old_size - far)[::-1], os.pread(new, far - near, new_size - far)[::-1])
        for near, far in ends
    )
    old_left, new_left = old_size - start - end, new_size - start - end
    if max(old_left, new_left) <= _MOST_COMPARED:
        middle = between(os.pread(old, old_left, start), os.pread(new, new_left, start))
    else:
        middle = (new_left,)
    moved = (Span(part.start + start, part.size) if isinstance(part, Span) else part for part in middle)
    first, last = ([Span(at, size)] if size else [] for at, size in ((0, start), (old_size - end, end)))
    return (*first, *moved, *last)


def read(file: Path, sha256: str, size: int, parts: Sequence[Span | int] = ()) -> Iterator[bytes | Span]:
    """Read what is to be sent of a file, at most `size` bytes at a time, and give back the spans of `parts`.

    The whole file is read all the same. Raises OSError, and Trouble if it does not have this digest.
    """
    digest = hashlib.sha256()
    with open_file(file, sys.maxsize) as stream:
        for part in parts or [os.fstat(stream.fileno()).st_size]:
            if isinstance(part, Span):
                yield part
            left = part.size if isinstance(part, Span) else part
            while left and (chunk := stream.read(min(left, size))):
                digest.update(chunk)
                left -= len(chunk)
                if not isinstance(part, Span):
                    yield chunk
        digest.update(stream.read(1))
    if digest.hexdigest() != sha256:
        raise Trouble(f"{file}: changed while it was being published: publish again")


def _common(pieces: Iterable[tuple[bytes, bytes]]) -> int:
    """Return how many first bytes are equal, of two contents that come in pieces of the same size."""
    done = 0
    for one, other in pieces:
        if one != other or not one:
            differing = (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
            return done + next(differing, min(len(one), len(other)))
        done += len(one)
    return done
