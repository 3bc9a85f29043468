"""Tells whether a build would find nothing to do, in a fraction of the time that it takes to look at each run.

    <cache>/built    {"made_from": <digest>, "made": <digest>, "files": <how many there are to publish>}

The first digest is of what a build reads, the second of what it writes. Directories are looked at, not all that is in
them: a file that was replaced, added or removed shows in its directory's time. Files of the newest runs are looked at
themselves, since people try out what happens there.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import __version__, archive, derived
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.places import Places

VERSION = "2"
BEAT = "js/now.js"  # which is written between builds, see `heartbeat`
_NEWEST = 100  # runs whose files are looked at


class Sources(NamedTuple):
    """What a build reads."""

    digest: str
    times: Mapping[str, int]  # of the runs' directories, mtime_ns; empty if one of them is gone


class Built(NamedTuple):
    """The last build."""

    made_from: str  # what `sources` returned before it
    made: str  # what `results` returned after it
    files: int  # to publish


def last(places: Places) -> Built | None:
    """Return the last build, as far as it is known."""
    record = derived.read(places.built, VERSION)
    try:
        return Built(str(record["made_from"]), str(record["made"]), int(record["files"]))
    except (TypeError, KeyError, ValueError):
        return None


def note(places: Places, build: Built) -> None:
    """Note a build."""
    derived.write(places.built, VERSION, build._asdict())


def sources(settings: Settings) -> Sources:
    """Look at all that a build reads. Raises Trouble if the runs cannot be listed."""
    places = settings.places
    names = archive.names(places.runs)
    times = _times(places.runs, names)
    parts = (
        __version__,
        settings,
        settings.logs.secrets,  # not in the line above
        "/".join(names),
        times.tobytes(),
        [list(_states(places.runs / name)) for name in names[-_NEWEST:]],
        places.mirror.exists(),
        list(_states(places.requests)),
        list(_states(Path(__file__).parent)),
    )
    return Sources(_digest(parts), dict(zip(names, times, strict=True)) if times else {})


def results(places: Places, times: Mapping[str, int] | None = None) -> str:
    """Return a digest of all that a build writes. `times` are those of directories that the build looked at itself."""
    runs = places.site / "runs"
    try:
        listed = sorted(entry.name for entry in os.scandir(runs))
    except OSError:
        listed = []
    directories = [name for name in listed if not name.endswith(".js")]
    own = (places.verdicts, places.retraining, places.remembered, places.unmeasured)
    measured = (places.measured, places.measured / "index", places.measured / "runs", places.measured / "sets")
    parts = (
        "/".join(listed),
        _times(runs, directories, times).tobytes(),
        list(_states(places.site, without=(runs, places.site / BEAT))),
        [_state(path) for path in (*own, *measured)],
        sorted(path.name for path in places.kept.glob("*")),
    )
    return _digest(parts)


def _times(directory: Path, names: list[str], known: Mapping[str, int] | None = None) -> array[int]:
    """Return the times of directories in a directory; nothing if one of them is gone."""
    if not names:
        return array("q")
    known = known or {}
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return array("q", [known.get(name) or os.lstat(name, dir_fd=descriptor).st_mtime_ns for name in names])
    except OSError:
        return array("q")
    finally:
        os.close(descriptor)


def _states(path: Path, without: Collection[Path] = ()) -> Iterator[tuple[str, int, int]]:
    """Yield the name, size and time of a file, or of all files below a directory."""
    pending = [path]
    while pending:
        here = pending.pop()
        if here in without or here.name == "__pycache__":
            continue
        try:
            with os.scandir(here) as entries:
                pending += sorted(Path(entry.path) for entry in entries)
        except OSError:  # no directory
            yield _state(here)


def _state(path: Path) -> tuple[str, int, int]:
    try:
        status = path.lstat()
    except OSError as error:
        return str(path), -1, error.errno or 0
    return str(path), status.st_size, status.st_mtime_ns


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "replace")).hexdigest()
