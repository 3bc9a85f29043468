"""How much room runs took on the disk before what they no longer need was removed: <cache>/room.json, for `check`."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

from deepspeech_wer import files

VERSION = 1
NAME = "room.json"
KEPT = 10  # runs
RUNS, CLONES = "runs", "clones"  # below the data root, with their checkpoints; below ds_clone_path


def note(cache: Path, taken: int, kind: str = RUNS) -> None:
    """Note the bytes that a run took. A note that cannot be written is lost."""
    known = {one: last(cache, one) for one in (RUNS, CLONES)}
    known[kind] = [*known[kind], taken][-KEPT:]
    with suppress(OSError):
        files.write_atomically(cache / NAME, json.dumps({"version": VERSION, **known}).encode(), mode=0o600)


def last(cache: Path, kind: str = RUNS) -> list[int]:
    """Return the bytes that the last runs took, oldest first; nothing where that is not known."""
    with suppress(OSError, ValueError, RecursionError, TypeError, AttributeError):
        record = json.loads(files.read(cache / NAME))
        if record.get("version") == VERSION:
            return [one for one in record.get(kind) or () if type(one) is int and one >= 0]
    return []
