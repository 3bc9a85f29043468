"""Values as JavaScript, and the mark by which the files of one version of the page know each other."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

_TOGETHER = 1000  # values of a list in a piece


def javascript(value: Any) -> str:
    """Return a literal that is JSON, ASCII, safe in a script: no `<`, `>`, U+2028, U+2029, NaN."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def javascript_record(values: Iterable[tuple[str, Any]]) -> Iterator[bytes]:
    """Yield the literal of a record in pieces: made at once, its parts take five times its memory."""
    for place, (name, value) in enumerate(values):
        yield f"{',' if place else '{'}{javascript(name)}:".encode()
        yield from _list(value) if type(value) is list else (javascript(value).encode(),)
    yield b"}"


def _list(values: list[Any]) -> Iterator[bytes]:
    yield b"["
    for start in range(0, len(values), _TOGETHER):
        yield f"{',' if start else ''}{javascript(values[start : start + _TOGETHER])[1:-1]}".encode()
    yield b"]"


def fingerprint(*data: bytes) -> str:
    """Return what tells versions of a file apart in its address: no browser then shows an old one from its cache.

    The file's content is these pieces.
    """
    found = hashlib.sha256()
    for piece in data:
        found.update(piece)
    return found.hexdigest()[:8]
