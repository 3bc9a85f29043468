"""Files that a newer release wrote are refused: this one would read them wrongly, or write them without what is new.

So is another release of the program itself, installed while a tick waits for its job: what the tick loads from then on
would not fit what it has loaded.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from functools import cache
from pathlib import Path

from deepspeech_wer import files
from deepspeech_wer.errors import Trouble

TOLD, TOLD_VERSION = "told.json", 2  # of notify/ledger.py, which is above what looks at all files


def refuse_newer(path: Path, record: object, known: int) -> None:
    """Raise Trouble if a record that was read from `path` has a version above the one that this release writes."""
    version = record.get("version") if isinstance(record, dict) else None
    if type(version) is int and version > known:
        raise Trouble(
            f"{path}: written by a newer deepspeech_wer (version {version} of the file, this release knows {known}): "
            "install that release again, or restore a copy of cache and data root from before it"
        )


def refuse_newer_file(path: Path, known: int) -> None:
    """The same of a file that may be missing or damaged: then nothing is said here."""
    with suppress(OSError, ValueError, RecursionError):
        refuse_newer(path, json.loads(files.read(path)), known)


def keep_older(path: Path, known: int) -> None:
    """Keep the file of an earlier release beside it, as `<name>.version-<N>`, before it is written. Raises OSError."""
    with suppress(FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        data = files.read(path)
        record = json.loads(data)
        version = record.get("version") if isinstance(record, dict) else None
        aside = path.with_name(f"{path.name}.version-{version}")
        if type(version) is int and version < known and not aside.exists():
            files.write_atomically(aside, data, mode=0o600)


def refuse_replaced() -> None:
    """Raise Trouble if the program's files are no longer those that they were at the first call."""
    if _code() != _code_at_first():
        raise Trouble("another deepspeech_wer was installed while this tick ran: the next tick goes on with it")


@cache
def _code_at_first() -> set[tuple[str, int, int]]:
    return _code()


def _code() -> set[tuple[str, int, int]]:
    """Return (path, size, time of the last change) of each module. It takes 2 ms. Inodes change on some mounts."""
    found = set()
    for directory, _, names in os.walk(Path(__file__).parent):
        for name in names:
            if name.endswith(".py"):
                with suppress(FileNotFoundError):  # it is being replaced
                    at = os.stat(os.path.join(directory, name))  # noqa: PTH116, PTH118 - a Path takes longer
                    found.add((os.path.join(directory, name), at.st_size, at.st_mtime_ns))  # noqa: PTH118
    return found
