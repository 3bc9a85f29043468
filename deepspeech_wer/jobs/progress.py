"""How far a running job has come, from what it writes: history.json if it keeps one, and its output.

A job need not write either. What it writes is taken for what it is worth: no link is followed, no number believed that
is none.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import clock, files, job_contract
from deepspeech_wer.jobs.work import Work

_END_BYTES = 256 << 10
_MAX_HISTORY_BYTES = 16 << 20
_EPOCH = re.compile(r"^(?P<time>\S+Z) \W*epoch[ :#]*(?P<epoch>\d{1,7})(?:\s*(?:/|of)\s*(?P<epochs>\d{1,7}))?\b", re.I)
_LOSS = re.compile(
    r"(?:(?P<kind>train(?:ing)?|val(?:idation)?|dev)[ _-]*)?loss\W{1,3}(?P<value>\d+(?:\.\d+)?(?:e[-+]?\d+)?)", re.I
)


class Progress(NamedTuple):
    """Where a job is. None: it does not say."""

    epoch: int | None = None  # the last one that it finished
    epochs: int | None = None
    train_loss: float | None = None
    validation_loss: float | None = None
    ends_at: str | None = None  # ISO 8601, UTC: if all epochs take as long; the test after them is not counted
    last_line: str = ""  # of its output


def read(work: Work) -> Progress:
    """Return how far the job of a work directory has come."""
    lines = _end_of(work.out_log)
    marks = [mark for line in lines if (mark := _EPOCH.match(line))]
    found = _from_history(work.logs)
    if marks:
        last = marks[-1]
        losses = {(loss["kind"] or "train").lower()[0]: float(loss["value"]) for loss in _LOSS.finditer(last.string)}
        epochs = int(last["epochs"]) if last["epochs"] else None
        found = Progress(
            epoch=int(last["epoch"]),
            epochs=epochs,
            train_loss=losses.get("t", found.train_loss),
            validation_loss=losses.get("v", losses.get("d", found.validation_loss)),
            ends_at=_end(marks, epochs) if epochs else None,
        )
    words = lines[-1].partition(" ")[2][:200] if lines else ""
    return Progress(**{**found._asdict(), "last_line": words})


def _end(marks: list[re.Match[str]], epochs: int) -> str | None:
    """Extrapolate from the epochs that this attempt finished."""
    first, last = marks[0], marks[-1]
    done = int(last["epoch"]) - int(first["epoch"])
    if done <= 0 or int(last["epoch"]) > epochs:
        return None
    with suppress(ValueError, OverflowError):
        start, now = (datetime.fromisoformat(mark["time"]) for mark in (first, last))
        end = now + (epochs - int(last["epoch"])) * max(now - start, timedelta()) / done
        return f"{end.astimezone(UTC):{clock.UTC}}"
    return None


def _from_history(logs: Path) -> Progress:
    """The last entry of the newest history.json."""
    newest = max(_histories(logs), default=None)
    if newest is None:
        return Progress()
    with suppress(OSError, ValueError, RecursionError, KeyError, IndexError, TypeError, AttributeError):
        entry = json.loads(_content(newest[1]))["epochs"][-1]
        epoch = entry.get("epoch")
        return Progress(
            epoch=epoch if type(epoch) is int else None,
            train_loss=_number(entry.get("train_loss")),
            validation_loss=_number(entry.get("validation_loss")),
        )
    return Progress()


def _histories(logs: Path) -> Iterator[tuple[int, Path]]:
    with suppress(OSError):
        if logs.is_symlink():
            return
        for place in (logs, *(place for place in logs.iterdir() if not place.is_symlink())):
            path = place / job_contract.HISTORY
            with suppress(OSError):
                yield path.lstat().st_mtime_ns, path


def _content(path: Path) -> bytes:
    """Read a regular file of a sensible size. Raises OSError."""
    with files.open_regular(path) as stream:
        if os.fstat(stream.fileno()).st_size > _MAX_HISTORY_BYTES:
            raise OSError(f"{path}: larger than {_MAX_HISTORY_BYTES} bytes")
        return stream.read(_MAX_HISTORY_BYTES)


def _end_of(path: Path) -> list[str]:
    with suppress(OSError), files.open_regular(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _END_BYTES))
        return stream.read(_END_BYTES).decode("utf-8", "replace").splitlines()
    return []


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None
