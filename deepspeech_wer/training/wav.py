"""Sizes in the header of a wav or CAF file. A recorder that is cut off, or writes to a pipe, never fills them in."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..errors import Trouble

STREAMED = 0x7FFFF000  # sizes from here on mean "unknown": the file was written to a pipe
MOST = 0xFFFFFFFF
LARGE = (b"RF64", b"BW64")  # wav files of more than 4 GB


@dataclass(frozen=True)
class Data:
    """The chunk with the samples."""

    start: int  # place in the file of its first byte
    promised: int  # bytes of sound, as the header says
    there: int  # bytes from its start to the end of the file
    is_unfinished: bool  # the header's sizes were never filled in
    is_foreign: bool = False  # libsndfile knows no such header

    @property
    def is_odd(self) -> bool:
        """Whether libsndfile does not read the sound by this header."""
        return self.is_unfinished or self.is_foreign

    @property
    def length(self) -> int:
        """Bytes of sound."""
        return self.there if self.is_unfinished else min(self.promised, self.there)


def find_data(stream: BinaryIO) -> Data | None:
    """Return the data chunk of a wav file, RF64 included, or of a CAF file; None where there is none, or of another.

    Raises Trouble for what other tools do not read, or read differently: a chunk without its padding byte (none finds
    what follows), and several data chunks (sox takes the first, ffmpeg the last, libsndfile none).
    """
    head = stream.read(12)
    if head[:4] == b"caff":
        return _find_data_of_caf(stream)
    if head[:4] not in (b"RIFF", *LARGE) or head[8:] != b"WAVE":
        return None
    riff_end, is_foreign = 8 + int.from_bytes(head[4:8], "little"), head[:4] == b"BW64"
    size = os.fstat(stream.fileno()).st_size
    long = None  # the size of the data in 64 bits, which RF64 has
    while len(head := stream.read(8)) == 8:
        promised, start = int.from_bytes(head[4:], "little"), stream.tell()
        if head[:4] == b"ds64":
            long = int.from_bytes(stream.read(promised)[8:16], "little")
            continue
        if head[:4] == b"data":
            if long:
                return Data(start, long, size - start, long >= 1 << 63, is_foreign)
            # A size of 0 is true where the sizes say that the rest of the file is something else, and it is.
            is_unfinished = promised >= STREAMED or (
                promised == 0 and (riff_end <= start or riff_end > size or not _are_chunks(stream, size))
            )
            if size == start:
                promised = 0
            if not is_unfinished:
                _check_single(stream, start, promised)
            return Data(start, promised, size - start, is_unfinished and size > start, is_foreign)
        if promised % 2:
            _check_padding(stream, head[:4], promised)
        stream.seek(promised + promised % 2, os.SEEK_CUR)
    return None


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


def _check_single(stream: BinaryIO, start: int, length: int) -> None:
    """Raise Trouble if a second data chunk follows the one whose sound starts at `start`."""
    sizes = [length]
    stream.seek(start + length + length % 2)
    while len(head := stream.read(8)) == 8 and head[:4].isascii():
        size = int.from_bytes(head[4:], "little")
        sizes += [size] if head[:4] == b"data" else []
        stream.seek(size + size % 2, os.SEEK_CUR)
    if len(sizes) > 1:
        raise Trouble(
            f"expected one data chunk, found {len(sizes)}, of {', '.join(map(str, sizes))} bytes, of which each tool "
            "reads another: write the file anew with one"
        )


def _are_chunks(stream: BinaryIO, size: int) -> bool:
    """Return whether the rest of a file of `size` bytes is chunks: names in ASCII, and sizes that end with the file."""
    while len(head := stream.read(8)) == 8:
        if not (head[:4].isascii() and head[:4].decode().isprintable()):
            return False
        length = int.from_bytes(head[4:], "little")
        stream.seek(length + length % 2, os.SEEK_CUR)
    return stream.tell() <= size + 1


def _find_data_of_caf(stream: BinaryIO) -> Data | None:
    """Apple's Core Audio Format: a data chunk of the size -1 reaches to the end of the file."""
    size = os.fstat(stream.fileno()).st_size
    stream.seek(8)
    while len(head := stream.read(12)) == 12:
        promised, start = int.from_bytes(head[4:], "big", signed=True), stream.tell()
        if head[:4] == b"data":
            return Data(start, promised, size - start, is_unfinished=promised < 0 and size > start)
        if promised < 0:
            return None
        stream.seek(promised, os.SEEK_CUR)
    return None


class Finished(io.RawIOBase):
    """A recording as it would be if its recorder had filled in the sizes: everything that follows is sound.

    Also one whose header libsndfile does not know, as a plain wav file.
    """

    def __init__(self, stream: BinaryIO, data: Data) -> None:
        self.name = os.fsdecode(stream.name)
        self._stream = stream
        stream.seek(0)
        head = bytearray(stream.read(data.start))
        if head[:4] == b"caff":
            head[-8:] = data.length.to_bytes(8, "big")
        else:
            head[:4] = b"RIFF"
            head[4:8] = min(data.start + data.length - 8, MOST).to_bytes(4, "little")
            head[-4:] = min(data.length, MOST).to_bytes(4, "little")
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
