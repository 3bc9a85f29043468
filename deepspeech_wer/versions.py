"""Files that a newer release wrote are refused: this one would read them wrongly, or write them without what is new."""

from __future__ import annotations

import json
from contextlib import suppress
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
