"""Which runs may be compared with each other, and which are the same draw of the noise.

A series is a stretch of history with one test set, normaliser, decoder and set of operator's variables. In it, each
merge is an entry: its original run and its re-trainings with fresh seeds. A job with a fixed seed repeats its result to
the digit when a merge changes nothing, so successive entries with the same result are one draw, however many they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

LOOK_AHEAD = 50  # runs: how far a late run may lie behind the runs around it

Result = tuple[str, str]  # digest and machine


class Draw(NamedTuple):
    """One archived run, as the verdicts see it."""

    run: str
    sha: str
    place: int  # the merge's place in history; re-trainings of a merge have its place
    rate: float | None  # the WER on the test set, as a fraction; None: failed or not measured
    errors: int | None  # of the test set; None if the job does not say
    words: int | None
    digest: str  # of the result: equal digests on one machine are one draw; "" is unknown
    signature: str  # test set, normaliser, decoder; "" is unknown, and comparable with any
    variables: str  # digest of the operator's variables; "" is unknown, and comparable with any
    changed_variables: tuple[str, ...]  # names that differ from the run before, for the reason
    machine: str  # processor and kernel
    rerun_of: str | None  # the run of which this is a re-training with a fresh seed
    reverts: tuple[str, ...] = ()  # full or abbreviated SHAs that the merge says it reverts
    calibrates: bool = False  # a re-training that `calibrate` asked for: known from the start, and no suspect's
    is_replaced: bool = False  # a person's retry replaced this run by a later one of the same commit

    @property
    def result(self) -> Result:
        return self.digest, self.machine


class Entry(NamedTuple):
    """A merge in a series."""

    original: Draw
    fresh: tuple[Draw, ...] = ()  # its re-trainings, in the order of their run ids
    is_late: bool = False  # ran under other conditions than the runs around it, which were there first


class Series(NamedTuple):
    """Comparable merges, in the order of history."""

    entries: tuple[Entry, ...]
    why: str  # why it begins; "" for the first one


def in_order(draws: Iterable[Draw]) -> list[Draw]:
    """Return the draws that count, in the order of judging. Raises ValueError if two have the same run id."""
    kept = sorted((draw for draw in draws if not draw.is_replaced), key=lambda draw: (draw.place, draw.run))
    if len({draw.run for draw in kept}) != len(kept):
        raise ValueError("two runs to judge have the same id; each run may be given once")
    return kept


class Split(NamedTuple):
    """How far a history is split into series, and under which conditions the newest one runs."""

    series: int = -1  # its number
    why: str = ""  # why it began
    signature: str = ""  # "" as long as it is unknown, as variables
    variables: str = ""


class Piece(NamedTuple):
    """The next entry of a history."""

    entry: Entry
    split: Split  # with this entry
    used: int  # draws so far
    reach: int  # draws so far that had a say in it: those that follow show whether a run is late
    is_whole: bool  # whether it is the last entry of its merge


def pieces(draws: Sequence[Draw], split: Split | None = None) -> Iterator[Piece]:
    """Split runs that are `in_order`, the first ones or those that follow the runs of an earlier `split`."""
    now = split or Split()
    for number, used, bundle, is_whole in _bundles(draws):
        first, reach = bundle[0], used
        if now.series < 0:
            now = Split(0)
        elif not _is_comparable(first, now.signature, now.variables):
            reach = number + 1 + LOOK_AHEAD
            if _is_late(first, draws[number + 1 : reach], now.signature, now.variables):
                yield Piece(_entry(bundle, is_late=True), now, used, max(used, reach), is_whole)
                continue
            why = _difference(first, now.signature, now.variables)
            now = Split(now.series + 1, why, signature=now.signature)
        now = now._replace(signature=first.signature or now.signature, variables=first.variables or now.variables)
        yield Piece(_entry(bundle, is_late=False), now, used, max(used, reach), is_whole)


def split(draws: Iterable[Draw]) -> list[Series]:
    """Split runs into series. The order in which they are given does not matter."""
    found = groupby(pieces(in_order(draws)), key=lambda piece: (piece.split.series, piece.split.why))
    return [Series(tuple(piece.entry for piece in of_series), why) for (_, why), of_series in found]


def is_same_result(one: Result, other: Result) -> bool:
    """Whether two results are one draw. Another machine rounds otherwise, so nothing is the same across machines."""
    return bool(one[0]) and one == other


def is_named(sha: str, names: Iterable[str]) -> bool:
    """Whether a SHA is among full or abbreviated ones. Under seven digits, an abbreviation names nothing."""
    return any(len(name) >= 7 and sha.startswith(name) for name in names)


def _bundles(draws: Sequence[Draw]) -> Iterator[tuple[int, int, list[Draw], bool]]:
    """Yield the runs of each merge; runs under other conditions are a bundle of their own.

    Before the runs stand the index of the merge's first run and the number of runs so far, after them whether the
    bundle is its merge's last.
    """
    number = 0
    for _, same_place in groupby(draws, key=lambda draw: draw.place):
        at_place = list(same_place)
        used = number + len(at_place)
        bundles = [at_place] if len(at_place) == 1 else _by_conditions(at_place)
        for bundle in bundles:
            yield number, used, bundle, bundle is bundles[-1]
        number = used


def _by_conditions(at_place: list[Draw]) -> list[list[Draw]]:
    bundles: list[list[Draw]] = []
    for draw in at_place:
        for bundle in bundles:
            signature = next((one.signature for one in bundle if one.signature), "")
            variables = next((one.variables for one in bundle if one.variables), "")
            if _is_comparable(draw, signature, variables):
                bundle.append(draw)
                break
        else:
            bundles.append([draw])
    # A re-training under conditions in which its merge has no run of its own can be compared with nothing.
    with_original = [bundle for bundle in bundles if any(draw.rerun_of is None for draw in bundle)]
    return with_original or bundles[:1]


def _is_comparable(draw: Draw, signature: str, variables: str) -> bool:
    pairs = (draw.signature, signature), (draw.variables, variables)
    return all(one == other or not one or not other for one, other in pairs)


def _is_late(draw: Draw, following: Iterable[Draw], signature: str, variables: str) -> bool:
    return any(
        other.run < draw.run and other.place > draw.place and _is_comparable(other, signature, variables)
        for other in following
    )


def _entry(bundle: list[Draw], *, is_late: bool) -> Entry:
    """Return a merge's entry. The original is its first own run that was measured."""
    own = [draw for draw in bundle if draw.rerun_of is None] or bundle
    original = next((draw for draw in own if draw.rate is not None), own[-1])
    if original.rate is None:  # nothing to compare the re-trainings with
        return Entry(original, is_late=is_late)
    # A run repeated by hand has the seed of the original: the same result says nothing about the job.
    dropped = {draw.run for draw in own if draw.rate is None or is_same_result(draw.result, original.result)}
    return Entry(original, tuple(draw for draw in bundle if draw.run not in dropped | {original.run}), is_late)


def _difference(draw: Draw, signature: str, variables: str) -> str:
    if draw.signature and signature and draw.signature != signature:
        return f"another test set, normaliser or decoder: {_changes(signature, draw.signature)}"
    if variables and draw.changed_variables:
        return f"the operator changed {', '.join(draw.changed_variables)}"
    return "the operator changed the variables"


def _changes(before: str, after: str) -> str:
    """Return "name old -> new" of each entry in which two signatures differ. Signatures are JSON, of any kind."""
    old, new = _entries(before), _entries(after)
    names = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    return ", ".join(f"{name} {_short(old.get(name))} -> {_short(new.get(name))}".strip() for name in names)


def _entries(signature: str) -> dict[str, Any]:
    try:
        value = json.loads(signature)
    except (ValueError, RecursionError):
        value = signature
    return value if isinstance(value, dict) else {"": value}


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 12 else f"{text[:12]}..."
