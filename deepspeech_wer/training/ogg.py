"""Whether an Ogg file is whole. libsndfile reads past damage, and ends at a cut or a second recording, without a word.

RFC 3533 describes the pages that such a file consists of.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO

from ..errors import Trouble

MAGIC = b"OggS"
HEAD = 27  # bytes of a page's head; the last tells how many bytes follow with the sizes of its parts
FIRST, LAST = 2, 4  # flags of a page: the first, and the last, of its stream
MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def check(stream: BinaryIO, *, may_be_cut: bool = False) -> None:
    """Read an Ogg file to its end. Raises Trouble if a second recording follows, or if the file is cut or damaged.

    For the latter only if it may not (`may_be_cut`). Whatever follows its last page, such as a tag, is ignored.
    """
    place = flags = 0
    is_begun = False
    while head := stream.read(HEAD):
        is_page = MAGIC.startswith(head[:4])
        sizes = stream.read(head[-1]) if len(head) == HEAD else b""
        body = stream.read(sum(sizes))
        is_cut = len(head) < HEAD or len(sizes) < head[-1] or len(body) < sum(sizes)
        if (not is_page and flags & LAST) or (may_be_cut and (is_cut or not is_page)):
            return
        if is_page and is_cut:
            raise Trouble(f"its page at byte {place} is not whole: a cut file")
        if not may_be_cut and head[22:26] != _checksum(head[:22] + bytes(4) + head[26:] + sizes + body):
            raise Trouble(f"its page at byte {place} is damaged: expected what was written: fetch or copy it again")
        flags = head[5]
        if flags & FIRST and is_begun:
            raise Trouble(f"a second recording begins at byte {place}: expected one: write each into its own file")
        is_begun = not flags & FIRST
        place += len(head) + len(sizes) + len(body)


def _checksum(page: bytes) -> bytes:
    """Return the CRC of a page: that of zlib with all bits in the other order, and without its start and end."""
    mirrored = zlib.crc32(page.translate(MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(MIRRORED)
