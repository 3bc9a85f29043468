"""A corpus as the importers return it: recordings and their transcripts."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

SETS = ("train", "dev", "test")


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


@dataclass(frozen=True)
class Corpus:
    """The sets of a corpus."""

    name: str
    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]
    # Whether utterances that cannot be learnt are left out and counted; else one of them is an error.
    tolerant: bool = field(default=False, kw_only=True)

    def limited(self, train: int, dev: int, test: int) -> Corpus:
        """Return the corpus cut to the first utterances of each set; 0: all of them."""
        cut = self.train[: train or None], self.dev[: dev or None], self.test[: test or None]
        return Corpus(self.name, *cut, tolerant=self.tolerant)

    def with_unique_ids(self) -> Corpus:
        """Return the corpus with `#2`, `#3` ... appended to repeated ids, so that every utterance counts."""
        return replace(self, train=_unique(self.train), dev=_unique(self.dev), test=_unique(self.test))

    def sets(self) -> dict[str, tuple[Utterance, ...]]:
        return dict(zip(SETS, (self.train, self.dev, self.test), strict=True))


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
