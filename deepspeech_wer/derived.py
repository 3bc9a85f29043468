"""Files of what can be made again: one that is missing, damaged, or of another version reads as None."""

from __future__ import annotations

import json
import random
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepspeech_wer.files import LARGE, make_private, write_atomically
from deepspeech_wer.files import read as read_file

NEWEST = 100
PARTS = 32  # of the others: a hundred looks see nearly all


def read(path: Path, version: str) -> Any:
    """Return the value in a file that `write` wrote with the same version, which is one word; else None."""
    try:
        head, _, data = read_file(path, LARGE).partition(b"\n")
        return json.loads(data) if head == _head(version, data) else None
    except (OSError, ValueError):
        return None


def write(path: Path, version: str, value: Any) -> None:
    """Write a value that is JSON. Where it cannot be written it will be made again, which takes longer."""
    data = json.dumps(value, separators=(",", ":")).encode() + b"\n"
    with suppress(OSError):
        make_private(path.parent)
        write_atomically(path, _head(version, data) + b"\n" + data, mode=0o600)


def sample(names: Sequence[str]) -> list[str]:
    """Return the newest of these names, oldest first, after a part of the others, chosen by chance.

    It is for files that only this program writes: whatever somebody changed there can be made again.
    """
    older = names[:-NEWEST]
    return [*older[random.randrange(PARTS) :: PARTS], *names[-NEWEST:]]  # noqa: S311 - no secret


def _head(version: str, data: bytes) -> bytes:
    return b"%s %08x" % (version.encode(), zlib.crc32(data))
