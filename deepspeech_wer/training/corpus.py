"""A corpus as the importers hand it over: which recordings there are and what is said in them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Utterance:
    """One recording and its transcript."""

    id: str  # unique in its set: as the corpus names it
    audio: Path
    transcript: str
    speaker: str | None = None  # None: unknown


@dataclass(frozen=True)
class Corpus:
    """The sets of a corpus."""

    name: str
    train: tuple[Utterance, ...]
    dev: tuple[Utterance, ...]
    test: tuple[Utterance, ...]

    def limited(self, train: int, dev: int, test: int) -> Corpus:
        """The first so many utterances of each set; 0 is all of them."""
        return Corpus(self.name, self.train[: train or None], self.dev[: dev or None], self.test[: test or None])

    def sets(self) -> dict[str, tuple[Utterance, ...]]:
        return {"train": self.train, "dev": self.dev, "test": self.test}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def set_sha256(utterances: tuple[Utterance, ...]) -> str:
    """What a set is, in 64 hex digits: ids, transcripts and the bytes of the audio. Where it lies does not count."""
    digest = hashlib.sha256()
    for utterance in sorted(utterances, key=lambda one: one.id):
        line = f"{utterance.id}\t{utterance.transcript}\t{file_sha256(utterance.audio)}\n"
        digest.update(line.encode())
    return digest.hexdigest()
