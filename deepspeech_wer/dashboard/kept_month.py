"""A month of kept runs, as columns: they take less time to read than records, and make no objects.

    <digest of the code that makes this> <CRC-32 of the next line>
    {"shared": [<a value that many runs have>, ...],
     "columns": {<name>: [<of each run>, ...], ...}, "alike": {<name>: <of all runs>, ...}}

A column of SHARED holds places in the list of shared values, -1 for None; one of TEXTS holds JSON. `alike` has the
columns of which all values are equal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from deepspeech_wer import clock, derived, hyper
from deepspeech_wer.records import Merge, Run
from deepspeech_wer.run_table import FIELDS, Column

# mtime_ns of the directory, which changes with the names in it; names of the files; size and mtime_ns of each; digest,
# see `details.Files`; bytes and CRC-32 of the run's line of js/hyper.js; see archive.result_digest
OF_FILES = ("changed_at", "names", "states", "digest", "size", "crc", "result")
SHARED = {"names", "author", "reverts", "status", "failure", "machine", "processor", "variables", "detail"}
SHARED |= {"sets", "signature", "parameters"}
_INTERNED = {"id", "sha"}  # in memory once: an archive has 10,000, and the verdicts and the manifest name them, too
TEXTS = {"test_errors", "tests"}
_TIMES = {"started_at": "started_s", "committed_at": "committed_s"}  # None: as clock.UTC has these seconds
_OF_RUN = tuple(name for name in FIELDS if name != "is_done")


class Month:
    """What is kept of the runs of a month."""

    def __init__(self, shared: list[Any], columns: dict[str, list[Any]]) -> None:
        self._shared, self._columns = shared, columns
        self._places: dict[str, int] = {}
        self._is_changed = False

    def __len__(self) -> int:
        return len(self._columns["id"])

    def __getitem__(self, name: str) -> list[Any]:
        """Return a column as the file has it."""
        return self._columns[name]

    def values(self, name: str) -> list[Any]:
        """Return the values of a column."""
        column = self._columns[name]
        if name not in SHARED:
            return column
        shared = [*self._shared, None]  # at -1
        return [shared[place] for place in column]

    def share(self, one: Callable[[Any], Any]) -> None:
        """Let `one` return the object to use for each shared value."""
        self._shared = list(map(one, self._shared))

    def add(self, row: Mapping[str, Any]) -> int:
        """Add a run, and return its place."""
        for name, column in self._columns.items():
            column.append(self._place(row[name]) if name in SHARED else row[name])
        self._is_changed = True
        return len(self) - 1

    def keep(self, places: Sequence[int]) -> bool:
        """Leave the runs at these places, in this order. Returns whether the month has become another one."""
        if self._is_changed or list(places) != list(range(len(self))):
            self._columns = {name: [column[place] for place in places] for name, column in self._columns.items()}
            self._is_changed = True
        return self._is_changed

    def record(self) -> dict[str, Any]:
        """Return what the month's file holds."""
        alike = {name: one[0] for name, one in self._columns.items() if name != "id" and len({*map(repr, one)}) == 1}
        others = {name: column for name, column in self._columns.items() if name not in alike}
        return {"shared": self._shared, "columns": others, "alike": alike}

    def _place(self, value: Any) -> int:
        if value is None:
            return -1
        if not self._places:
            self._places = {repr(one): place for place, one in enumerate(self._shared)}
        place = self._places.setdefault(repr(value), len(self._shared))  # not by equality: 1, 1.0 and True are equal
        if place == len(self._shared):
            self._shared.append(value)
        return place


def read(path: Path, version: str) -> Month:
    """Return a month; an empty one if the file is damaged or by other code."""
    record = derived.read(path, version)
    with suppress(TypeError, KeyError, ValueError, AttributeError):
        shared, columns, alike = record["shared"], record["columns"], record["alike"]
        _check(shared, columns, alike)
        return Month(shared, columns | {name: [value] * len(columns["id"]) for name, value in alike.items()})
    return Month([], {name: [] for name in ("id", *OF_FILES, *_OF_RUN)})


def row(run: Run) -> dict[str, Any]:
    """Return what is kept of a run, but for OF_FILES."""
    found = {name: FIELDS[name](run) for name in _OF_RUN}
    found |= {name: None if found[name] is None else json.dumps(found[name]) for name in TEXTS}
    return found | {name: None if found[name] == _utc(found[of]) else found[name] for name, of in _TIMES.items()}


def _utc(seconds: int | None) -> str | None:
    return None if seconds is None else clock.stamp(clock.UTC, seconds)


def _check(shared: list[Any], columns: dict[str, list[Any]], alike: Mapping[str, Any]) -> None:
    """Raise an error if a month has another shape than `record` gives it."""
    if {*map(type, columns.values())} != {list} or len({*map(len, columns.values())}) != 1:
        raise ValueError("columns of several lengths")
    columns = columns | {name: [value] for name, value in alike.items()}
    if type(shared) is not list or columns.keys() != {"id", *OF_FILES, *_OF_RUN}:
        raise ValueError("other columns")
    for name in SHARED if columns["id"] else ():
        if not -1 <= min(columns[name]) <= max(columns[name]) < len(shared):
            raise ValueError(name)


class Equal:
    """Makes equal values one object in memory: 10,000 runs rarely have 10,000 settings."""

    def __init__(self) -> None:
        self._seen: dict[str, Any] = {}

    def one(self, value: Any) -> Any:
        """Return the first value that was equal to this one."""
        return self._seen.setdefault(repr(value), value)  # not by equality: 1, 1.0 and True are equal


class Loaded:
    """The runs of all months. It is the source of a table, see `run_table`."""

    def __init__(self, runs: Path) -> None:
        """`runs` is the directory of the archive."""
        self._runs, self._equal = runs, Equal()
        self._columns: dict[str, list[Any]] = {name: [] for name in _OF_RUN}
        self.of_files: dict[str, list[Any]] = {name: [] for name in OF_FILES if name not in ("changed_at", "states")}

    def __len__(self) -> int:
        return len(self._columns["id"])

    def add(self, month: Month) -> None:
        """Add the runs of a month."""
        month.share(self._equal.one)
        for name, column in (*self._columns.items(), *self.of_files.items()):
            values = month.values(name)
            column += map(sys.intern, values) if name in _INTERNED else values

    def put_in_order(self, places: Sequence[int]) -> None:
        """Put the runs at these places into this order."""
        for columns in (self._columns, self.of_files):
            for name, column in columns.items():
                columns[name] = [column[place] for place in places]

    def column(self, name: str) -> Column:
        """Return a field of all runs."""
        if name == "is_done":
            return [time is not None for time in self._columns["time_started"]]
        column = self._columns[name]
        if name in _TIMES:
            pairs = zip(column, self._columns[_TIMES[name]], strict=True)
            return [_utc(seconds) if text is None else text for text, seconds in pairs]
        return [one and json.loads(one) for one in column] if name in TEXTS else column

    def run(self, place: int) -> Run:
        """Make a run."""
        of = {name: column[place] for name, column in self._columns.items()}
        of |= {name: _utc(of[seconds]) for name, seconds in _TIMES.items() if of[name] is None}
        merge = Merge(
            of["sha"],
            of["ordinal"],
            of["subject"],
            of["author"],
            of["committed_at"],
            parents=(),
            reverts=tuple(of["reverts"]),
        )
        return Run(root=self._runs, merge=merge, hyper=_record(of), **{name: of[name] for name in _DIRECTLY})


_DIRECTLY = (
    *("id", "status", "failure", "detail", "attempt", "started_at", "finished_at", "machine", "number"),
    *("processor", "variables", "rerun_of", "seed", "calibrates", "imported"),
)


def _record(of: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return of a job's record what is kept."""
    if of["time_started"] is None:
        return None
    results = {name: of[name] for name in hyper.WERS}
    results |= {name: json.loads(of[name]) for name in ("test_errors", "tests") if of[name] is not None}
    if of["signature"] is not None:
        results["signature"] = of["signature"]
    return {
        "context": {"time_started": of["time_started"]},
        "results": results,
        "parameters": of["parameters"],
    }
