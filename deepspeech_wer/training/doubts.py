"""What is odd in a corpus but may be meant: it is told, and the training goes on."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import NamedTuple

from .corpus import FAULTS_SHOWN, Utterance
from .hashes import BETWEEN
from .sound.band import NARROW


class Recording(NamedTuple):
    """An utterance, and the hash of the file that it is in or a part of."""

    audio_sha256: str
    utterance: Utterance


class Placed(NamedTuple):
    """An utterance in its set. A whole recording reaches from 0 to infinity."""

    start: float
    end: float
    kind: str
    utterance: Utterance


class Teller:
    """Tells the first ten doubts on stderr, and how many there were; narrow-band recordings in one line for all."""

    def __init__(self) -> None:
        self._count = 0
        self._narrow = 0
        self._first_narrow = ""

    def tell(self, where: str, doubt: str) -> None:
        """Tell what `Hashes` keeps of an utterance."""
        doubts = doubt.split(BETWEEN)
        if NARROW in doubts:
            doubts.remove(NARROW)
            self._narrow += 1
            self._first_narrow = self._first_narrow or where
        if not doubts:
            return
        self._count += 1
        if self._count <= FAULTS_SHOWN:
            print(f"in doubt: {where}: {BETWEEN.join(doubts)}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._count > FAULTS_SHOWN:
            print(f"in doubt: {self._count} utterances in all", file=sys.stderr, flush=True)
        if self._narrow:
            print(
                f"in doubt: narrow-band recordings, with nothing above 4 kHz, as of a telephone: {self._narrow}, the "
                f"first {self._first_narrow}: expected wide-band speech: ds_augment_band_limit trains for both",
                file=sys.stderr,
                flush=True,
            )


def repeated(sets: Mapping[str, Iterable[Recording]]) -> list[str]:
    """Return a line for each two sets that have audio in common, and one for recordings with two transcripts.

    Segments of a recording have audio in common where they overlap. Recordings are the same if their files are, byte by
    byte.
    """
    places: dict[str, list[Placed]] = defaultdict(list)
    for kind, recordings in sets.items():
        for digest, said in recordings:
            places[digest].append(Placed(*(said.segment or (0.0, float("inf"))), kind, said))
    shared: dict[tuple[str, str], list[tuple[Utterance, Utterance]]] = defaultdict(list)
    contradicting: list[tuple[Placed, Placed]] = []
    for those in places.values():
        if len(those) > 1:
            _compare(those, tuple(sets), shared, contradicting)
    lines = [
        f"{kinds[0]} and {kinds[1]} have audio in common; utterances of {kinds[1]}: {len(pairs)}, the first "
        f"{pairs[0][1].id} ({pairs[0][1].audio}), in {kinds[0]} {pairs[0][0].id}: its error rate flatters: expected "
        "each recording in one set"
        for kinds, pairs in shared.items()
    ]
    if contradicting:
        one, other = contradicting[0]
        lines.append(
            f"recordings with two transcripts: {len(contradicting)}, the first {other.utterance.audio}: "
            f"{one.utterance.transcript!r} in {one.kind} and {other.utterance.transcript!r} in {other.kind}: "
            "expected one"
        )
    return lines


def _compare(
    those: list[Placed],
    kinds: tuple[str, ...],
    shared: dict[tuple[str, str], list[tuple[Utterance, Utterance]]],
    contradicting: list[tuple[Placed, Placed]],
) -> None:
    """Compare the utterances of one file."""
    first: dict[tuple[float, float], Placed] = {}
    for one in those:
        before = first.setdefault((one.start, one.end), one)
        if before.utterance.transcript != one.utterance.transcript:
            contradicting.append((before, one))
    of = {kind: [one for one in those if one.kind == kind] for kind in kinds}
    for pair in combinations(kinds, 2):
        if not (of[pair[0]] and of[pair[1]]):
            continue
        for one in of[pair[1]]:
            other = next((each for each in of[pair[0]] if each.start < one.end and one.start < each.end), None)
            if other is not None:
                shared[pair].append((other.utterance, one.utterance))
