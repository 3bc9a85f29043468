"""What the server can copy from the file before (copy-data, OpenSSH 9.0): of js/hyper.js, all but the new lines.

The tracker keeps the large files that it published last, to compare them with the new ones. Without them, or where the
server's file is not what was published, the whole file is sent.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, NamedTuple

from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import make_private
from deepspeech_wer.publish.plan import Entries, Entry
from deepspeech_wer.sftp.files import Span

LARGE = 256 << 10  # bytes; a smaller file is sent in less time than it takes to compare
WHOLE_EVERY = 50  # publishes: then it is sent whole, in case the server's file was changed unseen
_BLOCK = 1 << 16


class Same(NamedTuple):
    """What two versions of a file have in common."""

    start: int  # bytes at the start
    end: int  # bytes at the end
    before: int  # size of the version before

    @property
    def size(self) -> int:
        """Bytes that need not be sent."""
        return self.start + self.end


def same(kept: Path, before: Entry, new: Path) -> Same | None:
    """Compare a file with its version before, if that is kept. None where it is not, or was changed since."""
    try:
        with (kept / before.sha256).open("rb") as old, new.open("rb") as stream:
            if hashlib.file_digest(old, "sha256").hexdigest() != before.sha256:
                return None
            size = os.fstat(stream.fileno()).st_size
            start = _common_start(old, stream, min(size, before.size))
            end = _common_end(old, stream, before.size, size, min(size, before.size) - start)
            return Same(start, end, before.size)
    except OSError:
        return None


def chunks(file: Path, entry: Entry, same: Same, size: int) -> Iterator[bytes | Span]:
    """Read what is to be sent of a file, and say what is to be copied.

    The whole file is read. Raises Trouble if its content is not what was planned.
    """
    digest, at, end = hashlib.sha256(), 0, entry.size - same.end
    if same.start:
        yield Span(0, same.start)
    with file.open("rb") as stream:
        while chunk := stream.read(size):
            digest.update(chunk)
            new = chunk[max(0, same.start - at) : max(0, end - at)]
            at += len(chunk)
            if new:
                yield new
    if same.end:
        yield Span(same.before - same.end, same.end)
    if digest.hexdigest() != entry.sha256:
        raise Trouble(f"{file}: changed while it was being published: publish again")


def keep(kept: Path, site: Path, entries: Entries) -> None:
    """Keep the large files of the site that change with each run, as hard links where the file system has them."""
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


def _common_start(old: IO[bytes], new: IO[bytes], most: int) -> int:
    """Return how many of the first bytes are equal, `most` at most."""
    old.seek(0)
    done = 0
    while done < most:
        size = min(_BLOCK, most - done)
        a, b = old.read(size), new.read(size)
        if a != b or not a:
            return done + _equal(a, b)
        done += len(a)
    return done


def _common_end(old: IO[bytes], new: IO[bytes], old_size: int, new_size: int, most: int) -> int:
    """Return how many of the last bytes are equal, `most` at most."""
    done = 0
    while done < most:
        size = min(_BLOCK, most - done)
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
