"""Tells whether a build would find nothing to do, in a fraction of the time that it takes to look at each run.

    <cache>/built    {"made_from": <digest>, "made": <digest>, "shown_at": <mtime_ns>, "files": <how many to publish>}

The first digest is of what a build reads, the second of what it writes. Directories are looked at, not all that is in
them: a file that was replaced, added or removed shows in its directory's time. Files of the newest runs are looked at
themselves, since people try out what happens there. Of what was written for older runs, each call looks at a part.
"""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Collection, Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import __version__, archive, derived
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.places import BEAT, Places

VERSION = "3"
_NEWEST = 100  # runs whose files are looked at


class Sources(NamedTuple):
    """What a build reads."""

    digest: str
    times: Mapping[str, int]  # of the runs' directories, mtime_ns; empty if one of them is gone


class Built(NamedTuple):
    """The last build."""

    made_from: str  # what `sources` returned before it
    made: str  # what `results` returned after it
    shown_at: int  # what `shown_at` returned after it
    files: int  # to publish


def last(places: Places) -> Built | None:
    """Return the last build, as far as it is known."""
    record = derived.read(places.built, VERSION)
    try:
        return Built(str(record["made_from"]), str(record["made"]), int(record["shown_at"]), int(record["files"]))
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


def results(places: Places) -> str:
    """Return a digest of what a build writes, but for the files in the directories of runs."""
    own = (places.verdicts, places.retraining, places.remembered, places.unmeasured)
    measured = (places.measured, places.measured / "index", places.measured / "runs", places.measured / "sets")
    parts = (
        list(_states(places.site, without=(places.site / "runs", places.site / BEAT))),
        [_state(os.fspath(path)) for path in (*own, *measured)],
        sorted(path.name for path in places.kept.glob("*")),
    )
    return _digest(parts)


def shown_at(places: Places) -> int:
    """Return when a run's published directory or script was added or removed last, mtime_ns; 0 if there are none."""
    try:
        return (places.site / "runs").stat().st_mtime_ns
    except OSError:
        return 0


def are_runs_as_built(places: Places) -> bool:
    """Return whether nobody added to the published files of runs, or took some. Looks at some of the runs."""
    names = derived.sample(archive.names(places.runs))
    try:
        descriptor = os.open(places.site / "runs", os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return not names
    try:
        return all(_is_as_built(name, descriptor) for name in names)
    finally:
        os.close(descriptor)


def _is_as_built(run: str, descriptor: int) -> bool:
    """Return whether a run's directory has not changed since its script was written, which a build does after that."""
    try:
        made = os.lstat(run, dir_fd=descriptor).st_mtime_ns
        return made <= os.lstat(f"{run}.js", dir_fd=descriptor).st_mtime_ns
    except OSError:  # an unreadable run is not published; `shown_at` tells whether anything was removed
        return True


def _times(directory: Path, names: list[str]) -> array[int]:
    """Return the times of what is in a directory; nothing if one of the names is not there."""
    if not names:
        return array("q")
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return array("q", [os.lstat(name, dir_fd=descriptor).st_mtime_ns for name in names])
    except OSError:
        return array("q")
    finally:
        os.close(descriptor)


def _states(path: Path, without: Collection[Path] = ()) -> Iterator[tuple[str, int, int]]:
    """Yield the name, size and time of a file, or of all files below a directory."""
    pending, left_out = [os.fspath(path)], set(map(os.fspath, without))
    while pending:
        here = pending.pop()
        try:
            with os.scandir(here) as entries:
                found = sorted(entries, key=attrgetter("name"))
        except OSError:  # no directory
            yield _state(here)
            continue
        for entry in found:
            if entry.path in left_out or entry.name == "__pycache__":
                continue
            if entry.is_dir():
                pending.append(entry.path)
            else:
                yield _state(entry.path)


def _state(path: str) -> tuple[str, int, int]:
    try:
        status = os.lstat(path)
    except OSError as error:
        return path, -1, error.errno or 0
    return path, status.st_size, status.st_mtime_ns


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "replace")).hexdigest()
