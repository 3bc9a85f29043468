"""Sizes in the header of a wav file. A recorder that is cut off, or writes to a pipe, never fills them in."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Literal

from ..errors import Trouble

STREAMED = 0x7FFFF000  # sizes from here on mean "unknown": the file was written to a pipe
MOST = 0xFFFFFFFF
LARGE = (b"RF64", b"BW64")  # wav files of more than 4 GB
MAGIC = (b"RIFF", b"RIFX", *LARGE)
STRAY = 4096  # bytes after the sound: fewer are what some tool or somebody added
Order = Literal["little", "big"]


Mends = tuple[tuple[int, bytes], ...]  # places in the header, and what should be there


@dataclass(frozen=True)
class Data:
    """The chunk with the samples."""

    start: int  # place in the file of its first byte
    promised: int  # bytes of sound, as the header says
    there: int  # bytes from its start to the end of the file
    is_unfinished: bool  # the header's sizes were never filled in
    is_early: bool = False  # the sizes were written after the first of the sound, and more of it followed
    is_foreign: bool = False  # libsndfile reads no such header
    mends: Mends = ()  # of the sizes, to what is there

    @property
    def is_odd(self) -> bool:
        """Whether libsndfile does not read all the sound by this header."""
        return self.is_unfinished or self.is_early or self.is_foreign

    @property
    def length(self) -> int:
        """Bytes of sound."""
        return self.there if self.is_unfinished or self.is_early else min(self.promised, self.there)


def find_data(stream: BinaryIO) -> Data | None:
    """Return the data chunk of a wav file, RF64 and RIFX included; None where there is none.

    Raises Trouble for what other tools do not read, or read differently: a chunk without its padding byte (none finds
    what follows), and several data chunks (sox takes the first, ffmpeg the last, libsndfile none).
    """
    head = stream.read(12)
    if head[:4] not in MAGIC or head[8:] != b"WAVE":
        return None
    order: Order = "big" if head[:4] == b"RIFX" else "little"
    riff_end, is_foreign = 8 + int.from_bytes(head[4:8], order), head[:4] == b"BW64"
    size = os.fstat(stream.fileno()).st_size
    long = None  # the size of the data in 64 bits, which RF64 has
    while len(head := stream.read(8)) == 8:
        promised, start = int.from_bytes(head[4:], order), stream.tell()
        if head[:4] == b"ds64":
            long = int.from_bytes(stream.read(promised)[8:16], "little")
            continue
        if head[:4] == b"data":
            if long:
                is_unfinished = long >= 1 << 63
                is_early = not is_unfinished and goes_on(stream, start + long, size)
                return _data(start, long, size, order, is_unfinished, is_early, is_foreign)
            # A size of 0 is true where the sizes say that the rest of the file is something else, and it is.
            # Some recorders count the header too.
            is_unfinished = (
                promised >= STREAMED
                or (size > start and promised in (size, size - 8))
                or (promised == 0 and (riff_end <= start or riff_end > size or not are_chunks(stream, size, order)))
            )
            if size == start:
                promised = 0
            if not is_unfinished:
                _check_single(stream, start, promised, order)
            is_early = promised > 0 and not is_unfinished and goes_on(stream, start + promised, size)
            return _data(start, promised, size, order, is_unfinished and size > start, is_early, is_foreign)
        if promised % 2:
            _check_padding(stream, head[:4], promised)
        stream.seek(promised + promised % 2, os.SEEK_CUR)
    return None


def _data(
    start: int, promised: int, size: int, order: Order, is_unfinished: bool, is_early: bool, is_foreign: bool
) -> Data:
    found = Data(start, promised, size - start, is_unfinished, is_early, is_foreign)
    sizes = (min(value, MOST).to_bytes(4, order) for value in (start + found.length - 8, found.length))
    magic = b"RIFX" if order == "big" else b"RIFF"
    return replace(found, mends=tuple(zip((0, 4, start - 4), (magic, *sizes), strict=True)))


def _check_padding(stream: BinaryIO, name: bytes, size: int) -> None:
    """Raise Trouble if the next chunk begins right after an odd number of bytes. Leaves the stream where it is."""
    start = stream.tell()
    stream.seek(size, os.SEEK_CUR)
    after = stream.read(4)
    stream.seek(start)
    if len(after) == 4 and after.rstrip(b" ").isalnum():  # a pad is 0, and 0 is no letter
        raise Trouble(
            f"the chunk {name.decode(errors='replace')!r} has {size} bytes and no padding byte: expected one after an "
            f"odd size, found the next chunk, {after.decode()!r}: write the file anew"
        )


def _check_single(stream: BinaryIO, start: int, length: int, order: Order) -> None:
    """Raise Trouble if a second data chunk follows the one whose sound starts at `start`."""
    sizes = [length]
    stream.seek(start + length + length % 2)
    while len(head := stream.read(8)) == 8 and head[:4].isascii():
        size = int.from_bytes(head[4:], order)
        sizes += [size] if head[:4] == b"data" else []
        stream.seek(size + size % 2, os.SEEK_CUR)
    if len(sizes) > 1:
        raise Trouble(
            f"expected one data chunk, found {len(sizes)}, of {', '.join(map(str, sizes))} bytes, of which each tool "
            "reads another: write the file anew with one"
        )


def are_chunks(stream: BinaryIO, size: int, order: Order, width: int = 4) -> bool:
    """Return whether the rest of a file of `size` bytes is chunks: names in ASCII, and sizes that end with the file.

    The sizes have `width` bytes; those of 8 bytes, in CAF, are not padded.
    """
    while len(head := stream.read(4 + width)) == 4 + width:
        if not _is_name(head[:4]):
            return False
        length = int.from_bytes(head[4:], order)
        if length > size:
            return False
        stream.seek(length + (length % 2 if width == 4 else 0), os.SEEK_CUR)
    return stream.tell() <= size + 1


def goes_on(stream: BinaryIO, end: int, size: int) -> bool:
    """Return whether there seems to be more sound after the place where it should end: no chunk, tag or padding."""
    if size - end < STRAY:
        return False
    stream.seek(end)
    after = stream.read(STRAY)
    return any(after) and not any(_is_name(after[pad : pad + 4]) for pad in (0, 1)) and not after.startswith(b"ID3")


def _is_name(four: bytes) -> bool:
    return four.isascii() and four.decode().isprintable()


class Finished(io.RawIOBase):
    """A recording as it would be if its recorder had filled in the sizes: everything that follows is sound.

    Also one whose header libsndfile does not know, as a plain wav file.
    """

    def __init__(self, stream: BinaryIO, data: Data) -> None:
        self.name = os.fsdecode(stream.name)
        self._stream = stream
        stream.seek(0)
        head = bytearray(stream.read(data.start))
        for place, mended in data.mends:
            head[place : place + len(mended)] = mended
        self._head = bytes(head)
        stream.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def readinto(self, buffer: Any) -> int:
        place = self._stream.tell()
        found = bytearray(self._stream.read(len(buffer)))
        covered = self._head[place : place + len(found)]
        found[: len(covered)] = covered
        buffer[: len(found)] = bytes(found)
        return len(found)
