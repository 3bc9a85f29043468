"""Tells whether a build would find nothing to do, in a fraction of the time that it takes to look at each run.

    <cache>/built    {"made_from": <digest>, "made": [<digest>, [<digest>, ...]], "files": <how many to publish>}

The first digest is of what a build reads, the second of what it writes. Directories are looked at, not all that is in
them: a file that was replaced, added or removed shows in its directory's time. Files of the newest runs are looked at
themselves, since people try out what happens there. Of what was written for older runs, each call looks at a part:
nobody but this program works there.
"""

from __future__ import annotations

import hashlib
import os
import random
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import __version__, archive, derived
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.places import Places

VERSION = "2"
BEAT = "js/now.js"  # which is written between builds, see `heartbeat`
_NEWEST = 100  # runs whose files are looked at
_PARTS = 8  # of the published files of older runs


class Sources(NamedTuple):
    """What a build reads."""

    digest: str
    times: Mapping[str, int]  # of the runs' directories, mtime_ns; empty if one of them is gone


class Results(NamedTuple):
    """What a build wrote."""

    digest: str  # of all but the files of runs
    parts: Sequence[str]  # digests of the directories of these, each of a part of the runs


class Built(NamedTuple):
    """The last build."""

    made_from: str  # what `sources` returned before it
    made: Results  # what `results` returned after it
    files: int  # to publish


def last(places: Places) -> Built | None:
    """Return the last build, as far as it is known."""
    record = derived.read(places.built, VERSION)
    try:
        return Built(str(record["made_from"]), Results(*record["made"]), int(record["files"]))
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


def results(places: Places, times: Mapping[str, int] | None = None) -> Results:
    """Look at all that a build writes. `times` are those of directories that the build looked at itself."""
    runs, names = _shown(places)
    digest = _digest_of_results(places, names)
    return Results(digest, [_digest_of_part(runs, part, times) for part in _parts(names)])


def are_as_noted(places: Places, noted: Results) -> bool:
    """Return whether what a build wrote is still there. Of the older runs' files it looks at a part, by chance."""
    runs, names = _shown(places)
    if noted.digest != _digest_of_results(places, names) or len(noted.parts) != _PARTS:
        return False
    turn = random.randrange(_PARTS)  # noqa: S311 - no secret
    return noted.parts[turn] == _digest_of_part(runs, _parts(names)[turn])


def _shown(places: Places) -> tuple[Path, list[str]]:
    """Return where the runs' published files are, and the names there: a directory and a script of each run."""
    runs = places.site / "runs"
    try:
        with os.scandir(runs) as entries:
            return runs, sorted(entry.name for entry in entries)
    except OSError:
        return runs, []


def _digest_of_results(places: Places, names: Sequence[str]) -> str:
    """Return a digest of all but the files of runs. `names` are those in the directory of these."""
    own = (places.verdicts, places.retraining, places.remembered, places.unmeasured)
    measured = (places.measured, places.measured / "index", places.measured / "runs", places.measured / "sets")
    parts = (
        "/".join(names),
        list(_states(places.site, without=(places.site / "runs", places.site / BEAT))),
        [_state(os.fspath(path)) for path in (*own, *measured)],
        sorted(path.name for path in places.kept.glob("*")),
    )
    return _digest(parts)


def _parts(names: Sequence[str]) -> list[list[str]]:
    """Share out the directories of runs. The newest are in each part."""
    directories = [name for name in names if not name.endswith(".js")]
    older, newest = directories[:-_NEWEST], directories[-_NEWEST:]
    return [older[turn::_PARTS] + newest for turn in range(_PARTS)]


def _digest_of_part(runs: Path, names: list[str], times: Mapping[str, int] | None = None) -> str:
    return _digest(_times(runs, names, times).tobytes())


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
