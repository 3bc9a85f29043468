"""Runs as a table with a column for each field. What looks at one field of all runs does not wait for 10,000 objects.

A table is a sequence of runs all the same: each is made when it is looked at, and again at the next look.
"""

from __future__ import annotations

import hashlib
import marshal
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property
from itertools import islice
from operator import attrgetter, lt
from typing import Any, Protocol, overload

from deepspeech_wer import archive_order, clock, hyper
from deepspeech_wer.archive_order import Placed
from deepspeech_wer.records import Run

Column = Sequence[Any]
MAX_WER = 1e4  # that the page shows, as a fraction


class Source(Protocol):
    """Where a table has its runs from."""

    def __len__(self) -> int: ...

    def column(self, name: str) -> Column:
        """Return a field of all runs; `name` is one of FIELDS."""

    def run(self, place: int) -> Run:
        """Make a run."""


class Table(Sequence[Run]):
    """Runs. Do not search it with `in` or `index`, which make and compare run after run."""

    def __init__(self, source: Source, places: Sequence[int] | None = None, *, is_in_order: bool = False) -> None:
        """Of the source's runs it has those at `places`, in this order. None: all of them.

        `is_in_order`: `in_order` need not look.
        """
        self._source, self._places, self._is_in_order = source, places, is_in_order
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return len(self._source) if self._places is None else len(self._places)

    def __iter__(self) -> Iterator[Run]:
        return map(self._source.run, range(len(self._source)) if self._places is None else self._places)

    @overload
    def __getitem__(self, place: int) -> Run: ...

    @overload
    def __getitem__(self, place: slice) -> Table: ...

    def __getitem__(self, place: int | slice) -> Run | Table:
        if isinstance(place, slice):
            return self.only(range(*place.indices(len(self))))
        at = range(len(self))[place]
        return self._source.run(at if self._places is None else self._places[at])

    def column(self, name: str) -> Column:
        """Return a field of all runs. `name` is one of FIELDS. Nobody may change what this returns."""
        if name not in self._columns:
            whole = self._source.column(name)
            self._columns[name] = whole if self._places is None else [whole[place] for place in self._places]
        return self._columns[name]

    def columns(self, *names: str) -> Iterator[tuple[Any, ...]]:
        """Yield the fields of each run."""
        return zip(*map(self.column, names), strict=True)

    def only(self, places: Sequence[int]) -> Table:
        """Return the runs at these places, in this order."""
        if len(places) == len(self) and all(map(int.__eq__, places, range(len(self)))):
            return self
        mine = self._places
        return Table(self._source, places if mine is None else [mine[place] for place in places])

    @cached_property
    def own(self) -> Table:
        """The runs that are no re-trainings."""
        return self.only([place for place, of in enumerate(self.column("rerun_of")) if of is None])

    @cached_property
    def again(self) -> Table:
        """The re-trainings."""
        return self.only([place for place, of in enumerate(self.column("rerun_of")) if of is not None])

    @cached_property
    def places(self) -> Mapping[str, int]:
        """Where each run is, by its id."""
        return {name: place for place, name in enumerate(self.column("id"))}

    def find(self, name: str) -> Run | None:
        """Return the run with this id."""
        return self[self.places[name]] if name in self.places else None

    def newest(self, before: int | None = None) -> Run | None:
        """Return the last run that has a result, of those before a place."""
        done, end = self.column("is_done"), len(self) if before is None else before
        return next((self[place] for place in range(end - 1, -1, -1) if done[place]), None)

    def in_order(self) -> Table:
        """Return the runs by their place in the archive, and the runs of one merge by their start."""
        if self._is_in_order:
            return self
        found = self.only(self.order())
        found._is_in_order = True
        return found

    def order(self) -> Sequence[int]:
        """Return the places of the runs in the order of `in_order`."""
        numbers, ids = self.column("number"), self.column("id")
        if not all(numbers):
            of = archive_order.keys(self.placed())
            return self.order_by([of[name] for name in ids])
        if is_rising(numbers):
            return range(len(self))
        return self.order_by(numbers, self.column("ordinal"), archive_order.start_keys(ids))

    def order_by(self, *keys: Column) -> list[int]:
        """Return the places of the runs in the order of the first keys; where these are equal, of the next."""
        order = list(range(len(self)))
        for key in reversed(keys):  # sorting is stable, and takes less time than to make tuples
            order.sort(key=key.__getitem__)
        return order

    def placed(self) -> Iterator[Placed]:
        """Yield what decides the places of the runs."""
        yield from map(Placed._make, self.columns(*Placed._fields))


def of(runs: Sequence[Run]) -> Table:
    """Return runs as a table; a table as it is."""
    return runs if isinstance(runs, Table) else Table(_Listed(runs))


def is_rising(numbers: Sequence[int]) -> bool:
    """Return whether each number is above the one before it."""
    return all(map(lt, numbers, islice(numbers, 1, None)))


class _Listed:
    """Runs that are there already."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs

    def __len__(self) -> int:
        return len(self._runs)

    def column(self, name: str) -> Column:
        return list(map(FIELDS[name], self._runs))

    def run(self, place: int) -> Run:
        return self._runs[place]


def seconds(time: str) -> int | None:
    """Return a time of a record as Unix time; None for text that is no time."""
    try:
        parsed = datetime.fromisoformat(time)
    except ValueError:
        return None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())


def _took_s(run: Run) -> int | None:
    start, end = seconds(run.started_at), seconds(run.finished_at)
    return None if start is None or end is None else max(0, end - start)


def _of_results(name: str) -> Callable[[Run], Any]:
    return lambda run: run.hyper["results"].get(name) if run.hyper else None


def _rate(name: str) -> Callable[[Run], float | None]:
    return lambda run: hyper.wer(run.hyper, name) if run.hyper else None


def _counted_words(run: Run) -> int | None:
    counts, rate = hyper.error_counts(run.hyper), hyper.test_wer(run.hyper)
    if counts is None or rate is None:
        return None
    errors, words = counts
    return words if round(round(min(rate, MAX_WER) * 1e5) * words / 1e5) == errors else None


def _has_usual_id(run: Run) -> bool:
    start = seconds(run.started_at)
    return start is not None and run.id == f"{clock.stamp(clock.COMPACT, start)}-{run.merge.sha[:12]}"


_JUDGED_BY = attrgetter(
    "id",
    "merge.sha",
    "merge.reverts",
    "variables",
    "processor",
    "machine",
    "rerun_of",
    "seed",
    "calibrates",
    "imported",
)


def _fingerprint(run: Run) -> str:
    # Version 2 of marshal is the last that depends on nothing but the values.
    data = marshal.dumps((_JUDGED_BY(run), run.hyper and run.hyper["results"]), 2)
    return hashlib.sha256(data).hexdigest()[:24]


FIELDS: Mapping[str, Callable[[Run], Any]] = {
    **{name: attrgetter(name) for name in ("id", "status", "failure", "detail", "attempt", "started_at")},
    **{name: attrgetter(name) for name in ("finished_at", "machine", "number", "processor", "variables")},
    **{name: attrgetter(name) for name in ("rerun_of", "seed", "calibrates", "imported")},
    **{name: attrgetter(f"merge.{name}") for name in ("sha", "ordinal", "subject", "author", "committed_at")},
    "has_usual_id": _has_usual_id,  # made from its start and its commit
    "reverts": lambda run: list(run.merge.reverts),
    # Unix times, and how long it took; None: unknown
    "started_s": lambda run: seconds(run.started_at),
    "committed_s": lambda run: seconds(run.merge.committed_at),
    "took_s": _took_s,
    # of hyper.json; None in all of them: there is none
    "is_done": lambda run: run.hyper is not None,
    "time_started": lambda run: hyper.time_started(run.hyper) if run.hyper else None,
    **{name: _rate(name) for name in hyper.WERS},  # fractions
    "counted_words": _counted_words,  # of the test set, if the test WER is that of whole errors in so many words
    "test_errors": _of_results("test_errors"),
    "tests": _of_results("tests"),
    "sets": lambda run: list(hyper.test_sets(run.hyper)),  # names of the test sets beside the main one
    "signature": _of_results("signature"),
    "parameters": lambda run: run.hyper.get("parameters", {}) if run.hyper else None,
    # of all that a verdict is made from, but the run's place and its utterances
    "fingerprint": _fingerprint,
}
