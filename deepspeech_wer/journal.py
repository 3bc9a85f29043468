"""What is going on, for `status` to show and for the next tick to recover from.

`tick.json` in the cache names the merge in work and how far it is; `outcome.json` in the run's work directory tells how
its job ended, from that moment until the run is archived.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from deepspeech_wer.files import write_atomically
from deepspeech_wer.records import Merge, Outcome

VERSION = 1
PHASES = ("checkout", "job", "wipe", "archive", "advance", "show")  # in their order

STOPPED = "stopped"  # in good order, by a signal or by trouble that is not the merge's

_TICK, _OUTCOME = "tick.json", "outcome.json"


@dataclass(frozen=True)
class Entry:
    """One merge in work."""

    phase: str  # one of PHASES, or STOPPED
    merge: Merge
    attempt: int
    interruptions: int  # how often a tick died over this merge
    progress: int  # changes when a checkpoint is written
    token: str  # stands in the environment of the job and all that it starts
    since: str  # ISO 8601, UTC
    base: str | None = None  # up to here everything is archived; None when this one was asked for by hand


def write(cache: Path, entry: Entry) -> None:
    """Note what is going on. Raises OSError."""
    write_atomically(cache / _TICK, _dump(asdict(entry)), mode=0o600)


def read(cache: Path) -> Entry | None:
    """What the last tick did not finish; None when it finished, or its note cannot be read."""
    record = _read(cache / _TICK)
    try:
        return Entry(**{**record, "merge": _merge(record["merge"])}) if record else None
    except (KeyError, TypeError):
        return None


def enter(cache: Path, phase: str) -> None:
    """Note the next phase of what is going on. Raises OSError."""
    entry = read(cache)
    if entry:
        write(cache, replace(entry, phase=phase))


def clear(cache: Path) -> None:
    """Nothing is going on."""
    (cache / _TICK).unlink(missing_ok=True)


def save_outcome(work: Path, outcome: Outcome) -> None:
    """Note how the job ended. Raises OSError."""
    paths = {"files": str(outcome.files) if outcome.files else None, "logs": str(outcome.logs)}
    write_atomically(work / _OUTCOME, _dump({**asdict(outcome), **paths}), mode=0o600)


def read_outcome(work: Path) -> Outcome | None:
    """How the job ended; None when that is not known."""
    record = _read(work / _OUTCOME)
    try:
        paths = {"files": Path(record["files"]) if record["files"] else None, "logs": Path(record["logs"])}
        return Outcome(**{**record, **paths})
    except (KeyError, TypeError):
        return None


def _merge(record: dict[str, Any]) -> Merge:
    return Merge(**{**record, "parents": tuple(record["parents"])})


def _dump(record: dict[str, Any]) -> bytes:
    return json.dumps({"version": VERSION, **record}, ensure_ascii=False).encode("utf-8", "replace")


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(record, dict) or record.pop("version", None) != VERSION:
        return {}
    return record
