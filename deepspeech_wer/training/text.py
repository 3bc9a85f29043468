"""Letters and numbers: the alphabet of the network's outputs."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENGLISH = " abcdefghijklmnopqrstuvwxyz'"  # 28 letters; the 29th output is CTC's blank


@dataclass(frozen=True)
class Alphabet:
    """The letters the network can write. Label i is letters[i]; the label after the last letter is CTC's blank."""

    letters: str = ENGLISH

    @property
    def blank(self) -> int:
        return len(self.letters)

    def outside(self, text: str) -> list[str]:
        """The characters of a text that cannot be written, each once, sorted."""
        return sorted(set(clean(text)) - set(self.letters))

    def encode(self, text: str) -> NDArray[np.int32]:
        """[letters] labels of a text. Raises KeyError for a character outside the alphabet."""
        numbers = {letter: number for number, letter in enumerate(self.letters)}
        return np.array([numbers[letter] for letter in clean(text)], np.int32)

    def decode(self, labels: Iterable[int]) -> str:
        """The text of labels, without blanks among them; white space at the ends is dropped and runs of it are one."""
        return clean("".join(self.letters[label] for label in labels))

    def decode_path(self, path: Iterable[int]) -> str:
        """The text of a CTC path, one label a frame: repeats are one letter, blanks part letters and vanish."""
        labels: list[int] = []
        previous = self.blank
        for label in path:
            if label not in (previous, self.blank):
                labels.append(label)
            previous = label
        return self.decode(labels)


def clean(text: str) -> str:
    """A transcript as it is learnt: NFC, words parted by one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def frames_needed(labels: NDArray[np.int32]) -> int:
    """How many frames CTC needs to write the labels: one each, and a blank between two equal neighbours."""
    return len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))
