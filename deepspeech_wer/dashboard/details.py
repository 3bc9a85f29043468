"""What the page shows of a run besides its record: epochs and the ends of the logs. The job controls both."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from deepspeech_wer.records import Run

FILES = ("hyper.json", "out.log", "err.log", "utterances.json", "history.json")  # visitors can download these
_LOGS = ("out.log", "err.log")
_MAX_HISTORY_BYTES = 5_000_000
_MAX_EPOCHS = 1000
_TAIL_BYTES = {"done": 2_000, "failed": 16_000}
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x08\x0b-\x1f\x7f]")


def regular_files(directory: Path) -> dict[str, os.stat_result]:
    """Return the regular files in a directory. A symbolic link could publish any file of this machine."""
    with os.scandir(directory) as entries:
        found = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    return {name: status for name, status in found.items() if stat.S_ISREG(status.st_mode)}


def details(run: Run, found: dict[str, os.stat_result]) -> dict[str, Any]:
    """Return `{"files", "epochs", "logs"}` for runs/<id>.js."""
    return {
        "files": [[name, found[name].st_size] for name in FILES if name in found],
        "epochs": _epochs(run.directory / "history.json") if "history.json" in found else None,
        "logs": [_tail(run.directory / name, _TAIL_BYTES.get(run.status, 2_000)) for name in _LOGS if name in found],
    }


def _epochs(history: Path) -> dict[str, Any] | None:
    """Return the numeric columns of history.json; None if it is unusable, since a run does not need it."""
    try:
        if history.stat().st_size > _MAX_HISTORY_BYTES:
            return None
        record = json.loads(history.read_bytes())
    except (ValueError, RecursionError):
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


def _tail(log: Path, size: int) -> dict[str, Any]:
    """Return a log's last lines as a terminal would show them."""
    with log.open("rb") as stream:
        length = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, length - size))
        text = stream.read(size).decode("utf-8", "replace")
    if length > size:
        text = text.partition("\n")[2] or text
    # A progress bar overwrites its line: only the text after the last carriage return stays visible.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return {"name": log.name, "bytes": length, "text": _ESCAPES.sub("", "\n".join(lines)).rstrip()}
