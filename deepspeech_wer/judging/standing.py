"""What the last judging left for others: the verdicts, and what they want to have trained. Every idle tick asks.

So it is apart from `verdict_file`, which judges and takes longer to load than an idle tick takes.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import archive, backlog, decision_files, files
from deepspeech_wer.backlog import Doubted, Due
from deepspeech_wer.configuration.settings import Retraining
from deepspeech_wer.places import Places
from deepspeech_wer.verdicts.listed import Listed

VERSION = 2  # of verdicts.json
START, END = b',\n"verdicts": [\n', b"\n],"  # of the verdicts in it


def load(places: Places, wanted: Retraining) -> dict[str, Any] | None:
    """Return the verdicts; None if there are none of exactly the present archive, decisions and settings."""
    record = _read(places.verdicts)
    return record if record and record["of"] == source(places, wanted) else None


def read(places: Places) -> dict[str, Any]:
    """Return the verdicts that were made last, perhaps of an earlier archive; {} if there are none.

    They are parsed as they are looked at, if they are as the last judging wrote them.
    """
    try:
        told, known = by_lines(places.verdicts), _read(places.retraining)
        if known is None or known.get("check") != told.check:
            return _parsed(files.read(places.verdicts, files.LARGE)) or {}
    except OSError:
        return {}
    return {**(_parsed(told.head + told.tail) or {}), "verdicts": Listed(told.lines)}


class Told(NamedTuple):
    """A verdicts.json. All of it is the head if there are no verdicts in it, or an earlier release wrote it."""

    head: bytes = b""  # before the verdicts, with START
    lines: Sequence[bytes] = ()  # the verdicts
    tail: bytes = b""  # from END on
    check: int = 0  # of the whole file, see `check`


def by_lines(path: Path) -> Told:
    """Read a verdicts.json line by line: as a whole, it would be in memory twice. Raises OSError."""
    head, lines, tail, found = list[bytes](), list[bytes](), list[bytes](), 0
    with files.open_file(path) as stream:
        for line in stream:
            found = zlib.crc32(line, found)
            if head and not tail and line.startswith(b"{"):
                lines.append(line.removesuffix(b"\n").removesuffix(b","))
            else:
                (tail if lines else head).append(line)
    if not tail:  # there are no verdicts, or they are cut
        return Told(b"".join(head), check=found)
    return Told(b"".join(head), lines, b"\n" + b"".join(tail), found)


def check(contents: Iterable[bytes]) -> int:
    """Return the checksum of a verdicts.json, which is these pieces."""
    found = 0
    for content in contents:
        found = zlib.crc32(content, found)
    return found


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
        return _parsed(files.read(path, files.LARGE))
    except OSError:
        return None


def _parsed(text: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(text)
        return record if record["version"] == VERSION and {"of", "retraining"} <= record.keys() else None
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
