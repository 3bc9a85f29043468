"""The state of a training after an epoch, in one file, so that a killed training goes on where it was."""

from __future__ import annotations

import io
import json
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import CHECKPOINT_DIR
from ..errors import Trouble
from ..files import write_atomically

NAME = "checkpoint.npz"
META = "meta"
VERSION = 1
# What numpy and zipfile raise of a damaged file: a bit may make it encrypted, or packed in a way nobody knows.
DAMAGE = (
    *(EOFError, ValueError, TypeError, KeyError, AttributeError, SyntaxError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError),
)


def save(directory: Path, arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> None:
    """Replace the checkpoint in `directory`. The earlier one stays whole until the new one is on the disk.

    Raises Trouble when it cannot be written (disk full): the earlier one is still there then.
    """
    text = json.dumps({"version": VERSION, **meta}, sort_keys=True)
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{META: np.array(text)}, **arrays)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / NAME, stream.getvalue())
    except OSError as error:
        raise Trouble(f"{directory / NAME}: cannot be written: {error}: free space or mend {CHECKPOINT_DIR}") from error


def load(directory: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
    """The arrays and the meta data of the checkpoint in `directory`, or None where there is none.

    Raises Trouble for a file that is not a checkpoint: it is never taken for none.
    """
    path = directory / NAME
    try:
        # By our own handle: numpy leaves one of its own open when the file is not whole.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta: dict[str, Any] = {**json.loads(str(arrays.pop(META)))}
    except FileNotFoundError:
        return None
    except (OSError, *DAMAGE) as error:
        raise Trouble(f"{path}: is not a readable checkpoint: {error}: move it away to train anew") from error
    if meta.get("version") != VERSION:
        raise Trouble(f"{path}: has version {meta.get('version')}, expected {VERSION}: move it away to train anew")
    return arrays, meta
