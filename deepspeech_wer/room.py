"""How much room runs took on the disk before what they no longer need was removed: <cache>/room.json, for `check`."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from deepspeech_wer import files

VERSION = 1
NAME = "room.json"
KEPT = 10  # runs


def note(cache: Path, taken: int) -> None:
    """Note the bytes that a run took. A note that cannot be written is lost."""
    with suppress(OSError):
        text = json.dumps({"version": VERSION, "runs": [*last(cache), taken][-KEPT:]})
        files.write_atomically(cache / NAME, text.encode(), mode=0o600)


def last(cache: Path) -> list[int]:
    """Return the bytes that the last runs took, oldest first; nothing where that is not known."""
    with suppress(OSError, ValueError, RecursionError, TypeError, AttributeError):
        record = json.loads((cache / NAME).read_bytes())
        if record.get("version") == VERSION:
            return [one for one in record.get("runs") or () if type(one) is int and one >= 0]
    return []
