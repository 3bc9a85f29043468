"""What the last judging left for others: the verdicts, and what they want to have trained. Every idle tick asks.

So it is apart from `verdict_file`, which judges and takes longer to load than an idle tick takes.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deepspeech_wer import archive, backlog, decision_files
from deepspeech_wer.backlog import Doubted, Due
from deepspeech_wer.configuration.settings import Retraining
from deepspeech_wer.places import Places

VERSION = 2  # of verdicts.json


def load(places: Places, wanted: Retraining) -> dict[str, Any] | None:
    """Return the verdicts; None if there are none of exactly the present archive, decisions and settings."""
    record = _read(places.verdicts)
    return record if record and record["of"] == source(places, wanted) else None


def read(places: Places) -> dict[str, Any]:
    """Return the verdicts that were made last, perhaps of an earlier archive; {} if there are none."""
    return _read(places.verdicts) or {}


def mark(places: Places) -> str:
    """Return what differs between the verdicts of different archives; "" if there are none."""
    record = _read(places.retraining)
    return str(record["of"]) if record else ""


def is_current(places: Places, wanted: Retraining) -> bool:
    """Return whether the present archive is judged, so that `retraining` knows what to train again."""
    record = _read(places.retraining)
    return record is not None and record["of"] == source(places, wanted) and places.verdicts.is_file()


def retraining(places: Places, wanted: Retraining) -> Due | None:
    """Return what the verdicts want to have trained again; None if that is nothing, or is not known yet."""
    record = _read(places.retraining)
    if record is None or record["of"] != source(places, wanted) or record["retraining"] is None:
        return None
    again = record["retraining"]
    return Due(
        again["sha"], backlog.RERUN, None, rerun_of=again["rerun_of"], seed=again["seed"], reason=again["reason"]
    )


def calibrations(places: Places, wanted: Retraining) -> list[dict[str, Any]]:
    """Return what the calibrations measured, oldest first; none if the present archive is not judged yet."""
    record = _read(places.retraining)
    return list(record["calibrations"]) if record and record["of"] == source(places, wanted) else []


def doubted(places: Places, wanted: Retraining) -> list[Doubted]:
    """Return where commits that never ran may have made the WER worse, and training one would tell most."""
    record = _read(places.retraining)
    if record is None or record["of"] != source(places, wanted):
        return []
    return [Doubted(gap["after"], gap["before"], gap["chance"]) for gap in record.get("gaps", ())]


def is_share_spent(places: Places, share: float) -> bool:
    """Return whether re-trainings took their share of the last day already. Calibrations, which people want, do not."""
    now, day = datetime.now(UTC), timedelta(days=1)
    times = [
        (datetime.fromisoformat(run.started_at), datetime.fromisoformat(run.finished_at))
        for run in archive.between(places.runs, now - day, now)
        if run.rerun_of and not run.calibrates
    ]
    # A clock that was set meanwhile makes a run as long as a year, or shorter than nothing.
    took = (min(end, now) - start for start, end in times)
    return sum((max(each, timedelta()) for each in took), timedelta()) >= share * day


def source(places: Places, wanted: Retraining) -> str:
    """Return a digest of all that the verdicts are made from."""
    accepted = [[accept.sha, accept.at] for accept in decision_files.accepted(places.requests)]
    return digest([VERSION, " ".join(archive.names(places.runs)), accepted, wanted.mode, wanted.budget])


def digest(value: Any) -> str:
    """Return a digest of a value that is JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, Any] | None:
    """Read a derived record. One that is missing or damaged is made anew by the next update."""
    try:
        record = json.loads(path.read_bytes())
        return record if record["version"] == VERSION and {"of", "retraining"} <= record.keys() else None
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
