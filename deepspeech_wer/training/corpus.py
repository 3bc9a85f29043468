"""A corpus as the importers return it: recordings and their transcripts."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from ..errors import Trouble

Row = TypeVar("Row")  # of a table, an utterance for example

SETS = ("train", "dev", "test")
FAULTS_SHOWN = 10  # one by one; the others are only counted
MOST_LEFT_OUT = 0.05  # share of a set, where it is more than FAULTS_SHOWN: the whole corpus is wrong


class Segment(NamedTuple):
    """A part of a recording, in seconds from its start."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Utterance:
    """A recording, or a segment of one, and its transcript."""

    id: str  # as the corpus names it; unique within its set
    audio: Path
    transcript: str
    speaker: str | None = None  # None: unknown
    segment: Segment | None = None  # None: the whole recording
    part: str | None = None  # the corpus' own test set that it is from, where several of them are one here
    where: str = field(default="", compare=False, repr=False)  # table:line


@dataclass(frozen=True, slots=True)
class Misshapen:
    """A row of a table that cannot be used: too few columns, or a recording that is listed twice, for example."""

    where: str  # table:line
    why: str  # what was expected instead
    continues: bool = False  # it looks like the rest of the row before it, whose transcript is then cut
    begins: bool = False  # it looks like the beginning of the row after it, whose transcript is then cut
    is_refused: bool = False  # it is of the right shape, but wrong: an error of the whole corpus

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


def uncut(found: Iterable[Row | Misshapen]) -> Iterator[Row | Misshapen]:
    """Yield what was found, with the rows that have lost a part of their transcript made Misshapen.

    What passes between this and `sort_out` may lack rows, so that others stand side by side: nothing is cut twice.
    """
    last: list[Row] = []  # the row before, whose rest may follow
    begun: Misshapen | None = None
    for one in found:
        if isinstance(one, Misshapen):
            if not one.continues:
                yield from last
            yield replace(one, continues=False, begins=False)
            if one.continues and last:
                yield Misshapen(one.where, "the row before it, which a line break seems to have cut")
            last, begun = [], one if one.begins else None
        elif begun:
            yield Misshapen(begun.where, "the row after it, which a line break seems to have cut")
            begun = None
        else:
            yield from last
            last = [one]
    yield from last


def _once(found: Iterable[Row | Misshapen]) -> Iterator[Row | Misshapen]:
    """Yield what was found, with utterances whose audio is listed again made Misshapen.

    The first one stays, unless another has another transcript: nobody knows which of them is right.
    """
    rows = list(found)
    first: dict[tuple[str, Segment | None], Utterance] = {}
    another: dict[tuple[str, Segment | None], str] = {}
    for one in rows:
        if isinstance(one, Utterance):
            before = first.setdefault(_audio(one), one)
            if before.transcript != one.transcript:
                another.setdefault(_audio(one), one.where)
    for one in rows:
        if isinstance(one, Utterance) and (before := first[_audio(one)]) is not one:
            yield Misshapen(one.where, f"{one.id} is listed twice, first in {before.where}: expected it once")
        elif isinstance(one, Utterance) and (where := another.get(_audio(one))):
            yield Misshapen(one.where, f"{one.id} has another transcript in {where}: expected one")
        else:
            yield one


def _audio(said: Utterance) -> tuple[str, Segment | None]:
    return str(said.audio), said.segment  # a Path takes longer to look up


def sort_out(found: Iterable[Row | Misshapen], place: object) -> tuple[tuple[Row, ...], int]:
    """Return (the rows to use, how many were left out), which are named and counted on stderr.

    Raises Trouble if no other row is left, or if the rows left out are more than 1 in 20 and more than 10; and with all
    rows that are refused, if there are any, or for a set without rows.
    """
    kept: list[Row] = []
    left_out: list[Misshapen] = []
    for one in _once(uncut(found)):
        if isinstance(one, Misshapen):
            left_out.append(one)
        else:
            kept.append(one)
    refused = [row for row in left_out if row.is_refused]
    if refused:
        raise several([str(row) for row in refused], f"{place}: {len(refused)} rows are wrong")
    if not kept and not left_out:
        raise WrongRows(f"{place}: holds no utterance: expected at least one")
    for row in left_out[:FAULTS_SHOWN]:
        print(f"left out: {row}", file=sys.stderr, flush=True)
    count, rows = len(left_out), len(left_out) + len(kept)
    if count and (not kept or count > max(FAULTS_SHOWN, MOST_LEFT_OUT * rows)):
        raise Trouble(f"{place}: {count} of {rows} rows are at fault, more than 1 in 20; the first: {left_out[0]}")
    if count:
        print(f"left out: {count} of {rows} rows of {place}", file=sys.stderr, flush=True)
    return tuple(kept), count


class WrongRows(Trouble):
    """Rows of a table that are errors of the whole corpus, or a table without any."""


def several(faults: Sequence[str], summary: str) -> WrongRows:
    """Return one error for all faults of a corpus: the first ten, one per line, and their number."""
    if len(faults) == 1:
        return WrongRows(faults[0])
    return WrongRows("\n".join([*faults[:FAULTS_SHOWN], f"{summary}; the first: {faults[0]}"]))


def sorted_sets(
    name: str, sets: Mapping[str, tuple[Iterable[Utterance | Misshapen], object]], *, tolerant: bool = False
) -> Corpus:
    """Return the corpus of what was found in the place of each set; see `sort_out`."""
    found: dict[str, tuple[tuple[Utterance, ...], int]] = {}
    troubles = []
    for kind, (rows, place) in sets.items():
        try:
            found[kind] = sort_out(rows, place)
        except WrongRows as trouble:
            troubles.append(trouble)
    if len(troubles) == 1:
        raise troubles[0]
    if troubles:
        raise WrongRows("\n".join(map(str, troubles)))
    main = {kind: found[kind][0] for kind in SETS}
    further = {kind: utterances for kind, (utterances, _) in found.items() if kind not in SETS}
    counts = {kind: count for kind, (_, count) in found.items()}
    return Corpus(name, **main, further=further, tolerant=tolerant, left_out=counts)


@dataclass(frozen=True)
class Corpus:
    """The sets of a corpus."""

    name: str
    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    further: Mapping[str, tuple[Utterance, ...]] = field(default_factory=dict, kw_only=True)  # more test sets, by name
    # Whether utterances that cannot be learnt are left out and counted; else one of them is an error.
    tolerant: bool = field(default=False, kw_only=True)
    left_out: Mapping[str, int] = field(default_factory=dict, kw_only=True)  # rows that the importer left out, per set

    def limited(self, train: int, dev: int, test: int) -> Corpus:
        """Return the corpus cut to the first utterances of each set; 0: all of them. `test` is for each test set."""
        most = {"train": train, "dev": dev}
        return self.changed(lambda kind, utterances: utterances[: most.get(kind, test) or None])

    def with_unique_ids(self) -> Corpus:
        """Return the corpus with `#2`, `#3` ... appended to repeated ids, so that every utterance counts."""
        return self.changed(lambda _, utterances: _unique(utterances))

    def changed(self, change: Callable[[str, tuple[Utterance, ...]], tuple[Utterance, ...]]) -> Corpus:
        """Return the corpus with each set changed; `change` gets its name and its utterances."""
        sets = {kind: change(kind, utterances) for kind, utterances in self.sets().items()}
        train, dev, test = (sets.pop(kind) for kind in SETS)
        return replace(self, train=train, dev=dev, test=test, further=sets)

    def test_sets(self) -> tuple[str, ...]:
        """Return the names of the test sets that can be measured by themselves: test, the parts of it, further ones."""
        parts = dict.fromkeys(one.part for one in self.test if one.part is not None)
        return ("test", *parts, *self.further)

    def sets(self) -> dict[str, tuple[Utterance, ...]]:
        """Return train, dev, test, and the further test sets."""
        return dict(zip(SETS, (self.train, self.dev, self.test), strict=True)) | dict(self.further)


def _unique(utterances: tuple[Utterance, ...]) -> tuple[Utterance, ...]:
    seen: Counter[str] = Counter()
    found = []
    for utterance in utterances:
        seen[utterance.id] += 1
        number = seen[utterance.id]
        found.append(utterance if number == 1 else replace(utterance, id=f"{utterance.id}#{number}"))
    return tuple(found)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def identity(recordings: Iterable[tuple[Utterance, str]]) -> str:
    """Return a hash of the ids, transcripts and audio of (utterance, SHA-256 of its file), in any order."""
    digest = hashlib.sha256()
    for said, audio_sha256 in sorted(recordings, key=lambda one: one[0].id):
        part = "".join(f"\t{second:.3f}" for second in said.segment or ())
        digest.update(f"{said.id}\t{said.transcript}\t{audio_sha256}{part}\n".encode())
    return digest.hexdigest()
