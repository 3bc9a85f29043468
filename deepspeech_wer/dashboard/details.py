"""What the page shows of a run besides its record: files, epochs, the load of GPUs. The job controls all of it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepspeech_wer.dashboard.gpu_usage import usage
from deepspeech_wer.files import read
from deepspeech_wer.job_contract import ERR_LOG, GPU_USAGE, HISTORY, HYPER, OUT_LOG, UTTERANCES
from deepspeech_wer.records import Run

FILES = (HYPER, OUT_LOG, ERR_LOG, UTTERANCES, HISTORY)  # visitors can download these
DETAILS = 4  # what runs/<id>.js says of a run; a larger number makes all of them anew
_MAX_HISTORY_BYTES = 5_000_000
_MAX_EPOCHS = 1000


Files = tuple[str, str]  # the names of a run's regular files, joined by "/"; a digest of names, sizes and times


def files_of(found: Mapping[str, os.stat_result]) -> Files:
    """Make it from what `regular_files` returned."""
    names = sorted(found)
    text = repr([(name, found[name].st_size, found[name].st_mtime_ns) for name in names])
    return "/".join(names), hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def regular_files(directory: Path) -> dict[str, os.stat_result]:
    """Return the regular files in a directory. A symbolic link could publish any file of this machine."""
    with os.scandir(directory) as entries:
        found = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    return {name: status for name, status in found.items() if stat.S_ISREG(status.st_mode)}


def files_in(directory: Path) -> Files:
    """Look at the regular files in a directory. Raises OSError."""
    return files_of(regular_files(directory))


def details(
    run: Run, found: dict[str, os.stat_result], sizes: dict[str, int], ends: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return `{"files", "epochs", "gpu", "logs"}` for runs/<id>.js.

    `sizes` holds the bytes of each file that is published, `ends` the ends of the logs.
    """
    return {
        "files": [[name, sizes[name]] for name in FILES if name in sizes],
        "epochs": _epochs(run.directory / "history.json") if "history.json" in found else None,
        "gpu": usage(run.directory / GPU_USAGE) if GPU_USAGE in found else None,
        "logs": ends,
    }


def _epochs(history: Path) -> dict[str, Any] | None:
    """Return the numeric columns of history.json; None if it is unusable, since a run does not need it."""
    try:
        record = json.loads(read(history, _MAX_HISTORY_BYTES))
    except (IsADirectoryError, ValueError, RecursionError):
        return None
    rows = record.get("epochs") if isinstance(record, dict) else record
    if not isinstance(rows, list):
        return None
    rows = [row for row in rows if isinstance(row, dict)][:_MAX_EPOCHS]
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if _number(value) is not None))[:20]
    return {"names": names, "rows": [[_number(row.get(name)) for name in names] for row in rows]} if names else None


def _number(value: Any) -> float | None:
    """Return a number that both JSON and JavaScript can represent, else None."""
    return value if type(value) in (int, float) and abs(value) < 1e300 else None
