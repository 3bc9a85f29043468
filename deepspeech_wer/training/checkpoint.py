"""The state of a training after an epoch, in one file, from which a killed training is resumed."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import Trouble
from ..files import write_atomically
from ..job_contract import CHECKPOINT_DIR

NAME, BEST = "checkpoint.npz", "best.npz"
META = "meta"
VERSION = 1
CURE = "move it away to train from the start"
# zipfile, of a damaged file: a flipped bit may also mark an entry as encrypted (RuntimeError), or as compressed by a
# method that does not exist (NotImplementedError).
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def save(directory: Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any], name: str = NAME) -> None:
    """Replace the checkpoint of that name in `directory`. The previous one stays intact until the new one is on disk.

    Raises Trouble if the new one cannot be written (disk full, for example); the previous one is then still there.
    """
    text = json.dumps({"version": VERSION, **meta}, sort_keys=True)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{META: np.array(text)}, **arrays)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / name, stream.getvalue())
    except OSError as error:
        raise Trouble(
            f"{directory / name}: cannot be written: {error}: free space or change {CHECKPOINT_DIR}"
        ) from error


def load(directory: Path, name: str = NAME) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """Return the arrays and the meta data of the checkpoint in `directory`, or None where there is none.

    Raises Trouble for a file that is not a checkpoint, is damaged, or is of another version: never None for those.
    """
    path = directory / name
    try:
        # Opened here: numpy leaves a handle of its own open when the file is damaged.
        with path.open("rb") as stream:
            _require_intact(stream)
            with np.load(stream, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(str(arrays.pop(META, "")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise Trouble(f"{path}: is not a readable checkpoint: {error}: {CURE}") from error
    found = meta.get("version") if isinstance(meta, dict) else None
    if found != VERSION:
        raise Trouble(f"{path}: has version {found}, expected {VERSION}: {CURE}")
    return arrays, meta


def identity(found: tuple[dict[str, NDArray[Any]], dict[str, Any]] | None) -> str:
    """Return which checkpoint this is, for people, too."""
    if found is None:
        return "none"
    digest = hashlib.sha256()
    for name, array in sorted(found[0].items()):
        digest.update(name.encode() + array.tobytes())
    return f"of epoch {len(found[1]['history'])} ({digest.hexdigest()[:16]})"


def set_aside(directory: Path) -> str:
    """Rename the checkpoint in `directory`, so that another one does not overwrite it; return its new name.

    Raises Trouble.
    """
    path = directory / NAME
    number = 1
    while (aside := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    try:
        path.rename(aside)
    except OSError as error:
        raise Trouble(f"{path}: cannot be renamed: {error.strerror}: {CURE}") from error
    return aside.name


def _require_intact(stream: BinaryIO) -> None:
    """Raise ValueError unless every entry of the zip archive matches its checksum.

    numpy parses an array's header before it has read as far as the checksum, and what it raises of a damaged one is
    documented nowhere.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            damaged = archive.testzip()
    except UNREADABLE as error:
        raise ValueError(str(error) or "it ends early") from error
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} differs")
    stream.seek(0)
