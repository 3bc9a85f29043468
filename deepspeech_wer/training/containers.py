"""How much sound the header of a recording promises, whatever its format, as far as it tells.

Of FLAC libsndfile finds out itself that it is cut. For Ogg see ogg.py.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from typing import BinaryIO

from ..errors import Trouble
from . import wav
from .wav import MOST, Data

_SECOND = "a second recording begins at byte {}: expected one: write each into its own file"
MOST_PADDING = 7  # bytes after the sound, in the format of Sony
W64_HEAD = 24  # bytes of a chunk's name, a GUID, and of its size, which counts them
SPHERE_MOST = 1 << 16  # bytes of a header, which has 1024
# kbit/s of MPEG 1 layer III, and of 2 and 2.5
BIT_RATES = (
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
)
RATES = (44_100, 48_000, 32_000)  # Hz, of MPEG 1
NO_RATE, NO_BIT_RATE, NO_AAC_RATE = 3, 15, 13  # in the place of a rate
AAC_HEAD = 7  # bytes
FLAC_BEGINS = (b"fLaC\0\0\0\x22", b"fLaC\x80\0\0\x22")  # with the head of its first block, which has 34 bytes
POINTER = b"version https://git-lfs."


def find_data(stream: BinaryIO) -> Data | None:
    """Return where a recording has its sound, and how much; None where its header does not tell.

    Raises Trouble as `wav.find_data` does, for what Git LFS leaves in the place of a recording, and if a second one
    follows.
    """
    head = stream.read(len(POINTER))
    magic = head[:4]
    stream.seek(0)
    if head == POINTER:
        raise Trouble("is a pointer of Git LFS: expected the recording: git lfs pull")
    if magic[:3] == b"ID3" or _is_mp3_frame(magic):
        return _of_mp3(stream, os.fstat(stream.fileno()).st_size)
    find = FINDERS.get(magic)
    data = find(stream, os.fstat(stream.fileno()).st_size) if find else wav.find_data(stream)
    if data and not data.is_unfinished and data.promised < data.there:
        _require_single(stream, data.start + data.promised, magic)
    return data


def _require_single(stream: BinaryIO, end: int, magic: bytes) -> None:
    """Raise Trouble where files were joined: libsndfile reads the first alone, or hears the header of the second."""
    stream.seek(end)
    padding = stream.read(MOST_PADDING + len(magic)).find(magic)
    if padding >= 0:
        raise Trouble(_SECOND.format(end + padding))


def _of_caf(stream: BinaryIO, size: int) -> Data | None:
    """Apple's Core Audio Format: a data chunk of the size -1 reaches to the end of the file. An empty one has 4."""
    stream.seek(8)
    while len(head := stream.read(12)) == 12:
        promised, start = int.from_bytes(head[4:], "big", signed=True), stream.tell()
        if head[:4] == b"data":
            mends = ((start - 8, (size - start).to_bytes(8, "big")),)
            stream.seek(start + max(0, promised))
            is_unfinished = promised < 0 or (
                promised <= 4 < size - start and not wav.are_chunks(stream, size, "big", width=8)
            )
            is_early = not is_unfinished and wav.goes_on(stream, start + promised, size)
            there, is_cut = size - start, start + promised > size  # libsndfile refuses what is cut
            return Data(start, promised, there, is_unfinished and there > 0, is_early, is_foreign=is_cut, mends=mends)
        if promised < 0:
            return None
        stream.seek(promised, os.SEEK_CUR)
    return None


def _of_aiff(stream: BinaryIO, size: int) -> Data | None:
    """AIFF and AIFF-C: 8 of the bytes of the chunk with the sound are no sound."""
    stream.seek(12)
    while len(head := stream.read(8)) == 8:
        length, start = int.from_bytes(head[4:], "big"), stream.tell()
        if head[:4] == b"SSND":
            mends = ((start - 4, min(size - start, MOST).to_bytes(4, "big")),)
            stream.seek(start + length)
            is_unfinished = length == MOST or (
                length <= 8 < size - start and not wav.are_chunks(stream, size, "big")  # 8: an empty one
            )
            is_early = not is_unfinished and wav.goes_on(stream, start + length, size)
            return Data(start, length, size - start, is_unfinished, is_early, mends=mends)
        stream.seek(length + length % 2, os.SEEK_CUR)
    return None


def _of_au(stream: BinaryIO, size: int) -> Data | None:
    """Sun's format: the largest size means that the sound reaches to the end of the file."""
    head = stream.read(12)
    order: wav.Order = "big" if head[:4] == b".snd" else "little"
    start, promised = int.from_bytes(head[4:8], order), int.from_bytes(head[8:], order)
    if len(head) < 12 or start > size:
        return None
    is_unfinished = promised in (0, MOST) and size > start
    is_early = not is_unfinished and wav.goes_on(stream, start + promised, size)
    mends = ((8, min(size - start, MOST).to_bytes(4, order)),)
    return Data(start, promised, size - start, is_unfinished, is_early, mends=mends)


def _of_w64(stream: BinaryIO, size: int) -> Data | None:
    """Sony's format, whose sizes libsndfile ignores: it reads to the end of the file."""
    stream.seek(40)
    while len(head := stream.read(W64_HEAD)) == W64_HEAD:
        length, start = int.from_bytes(head[16:], "little"), stream.tell()
        if head[:4] == b"data":
            mends = ((start - 8, (size - start + W64_HEAD).to_bytes(8, "little")),)
            return Data(start, max(0, length - W64_HEAD), size - start, length >= 1 << 62, mends=mends)
        if not W64_HEAD <= length <= size:
            return None
        stream.seek(-(-length // 8) * 8 - W64_HEAD, os.SEEK_CUR)
    return None


def _of_sphere(stream: BinaryIO, size: int) -> Data | None:
    """NIST SPHERE, of which libsndfile reads all that is there. Compressed sound has another size than it tells."""
    lines = stream.read(SPHERE_MOST).split(b"\nend_head", 1)[0].decode("latin-1").splitlines()
    fields = {parts[0]: parts[2] for line in lines if len(parts := line.split(None, 2)) == 3}
    counts = [fields.get(name, "") for name in ("sample_count", "channel_count", "sample_n_bytes")]
    if len(lines) < 2 or not all(text.strip().isdecimal() for text in (lines[1], *counts)):
        return None
    if "," in fields.get("sample_coding", ""):
        return None
    start, (samples, channels, width) = int(lines[1]), map(int, counts)
    return Data(start, samples * channels * width, size - start, is_unfinished=False)


def _of_mp3(stream: BinaryIO, size: int) -> Data | None:
    """Mp3, if its first frame tells the bytes, as those of Xing, LAME and Fraunhofer do.

    Some writers count the frame itself, some do not. Raises Trouble if more frames follow than it tells, as where two
    files were joined: libsndfile reads those of the first alone.
    """
    start = _after_tag(stream, 0)
    stream.seek(start)
    frame = stream.read(64)
    if len(frame) < 64 or not _is_mp3_frame(frame) or not (promised := _promised_by_mp3(frame)):
        return None
    for end in (start + promised, start + promised + _mp3_size(frame)):
        stream.seek(_after_tag(stream, end))
        if size - stream.tell() > wav.STRAY and is_mp3(stream.read(wav.STRAY)):
            raise Trouble(
                f"expected the sound to end at byte {end}, as the header tells, found more, which would not be read: "
                "are these several recordings? Write the file anew with sox, or each into its own"
            )
    return Data(start, promised - _frame_size(frame), size - start, is_unfinished=False)


def _of_flac(stream: BinaryIO, _: int) -> None:
    """Raise Trouble where two files were joined, of which libsndfile reads the first alone."""
    with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        place = max(whole.find(begin, 1) for begin in FLAC_BEGINS)
    if place > 0:
        raise Trouble(_SECOND.format(place))


def _after_tag(stream: BinaryIO, place: int) -> int:
    """Return where the ID3 tag at this place ends; the place, if there is none."""
    stream.seek(place)
    head = stream.read(10)
    if head[:3] != b"ID3":
        return place
    return place + 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=False))


def _promised_by_mp3(frame: bytes) -> int | None:
    """Return the bytes that the first frame tells."""
    if frame[36:40] == b"VBRI":
        return int.from_bytes(frame[46:50], "big")
    is_first, is_mono = frame[1] & 8, frame[3] >> 6 == 3
    place = 4 + ((17 if is_mono else 32) if is_first else (9 if is_mono else 17))
    flags = int.from_bytes(frame[place + 4 : place + 8], "big")
    if frame[place : place + 4] not in (b"Xing", b"Info") or not flags & 2:
        return None
    place += 12 if flags & 1 else 8
    return int.from_bytes(frame[place : place + 4], "big")


def _is_mp3_frame(head: bytes) -> bool:
    """Return whether these bytes begin a frame of layer III."""
    return (
        len(head) >= 4
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[1] & 0x18 != 0x08
        and (head[2] >> 2) & 3 != NO_RATE
    )


def is_file(data: bytes) -> bool:
    """Return whether these first bytes are those of an audio file: no raw samples."""
    return data.startswith(MAGIC) or data[4:8] == b"ftyp" or is_mp3(data) or is_aac(data)  # ftyp: m4a, mp4


def is_mp3(data: bytes) -> bool:
    """Return whether these first bytes are frames of layer III alone, at least two; see `_are_frames`."""
    return _are_frames(data, _mp3_size)


def is_aac(data: bytes) -> bool:
    """Return whether these first bytes are frames of ADTS alone, at least two; see `_are_frames`."""
    return _are_frames(data, _aac_size)


def _are_frames(data: bytes, size_of: Callable[[bytes], int]) -> bool:
    """Return whether each frame ends where the next begins. Samples may look like the head of one by chance.

    `size_of` returns the bytes of a frame by its first six; 0: they begin none.
    """
    place, frames = 0, 0
    while len(head := data[place : place + 6]) == 6:
        size = size_of(head)
        if not size or head[1] != data[1]:
            return False
        place, frames = place + size, frames + 1
    return frames > 1


def _mp3_size(head: bytes) -> int:
    is_frame = _is_mp3_frame(head) and 0 < head[2] >> 4 < NO_BIT_RATE
    return _frame_size(head) - (not head[2] & 2) if is_frame else 0


def _aac_size(head: bytes) -> int:
    is_frame = head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and (head[2] >> 2) & 15 < NO_AAC_RATE
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    return size if is_frame and size > AAC_HEAD else 0


def _frame_size(head: bytes) -> int:
    """Return the bytes of a frame with a byte of padding."""
    version = (head[1] >> 3) & 3  # 3, 2 and 0: MPEG 1, 2 and 2.5
    rate = RATES[(head[2] >> 2) & 3] // {3: 1, 2: 2, 0: 4}[version]
    return (144 if version == 3 else 72) * BIT_RATES[version != 3][head[2] >> 4] * 1000 // rate + 1


FINDERS: dict[bytes, Callable[[BinaryIO, int], Data | None]] = {
    b"caff": _of_caf,
    b"FORM": _of_aiff,
    b".snd": _of_au,
    b"dns.": _of_au,
    b"riff": _of_w64,
    b"NIST": _of_sphere,
    b"fLaC": _of_flac,
}
# How files begin that are no raw samples. The last three are WebM, Windows Media and AMR.
MAGIC = (*wav.MAGIC, *FINDERS, b"OggS", b"ID3", b"\x1aE\xdf\xa3", b"0&\xb2u\x8ef\xcf\x11", b"#!AMR")
