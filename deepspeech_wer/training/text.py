"""Letters and labels: the alphabet of the network's outputs.

Must not import numpy: the parameters hold the alphabet, and they are read before numpy's threads are limited.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

ENGLISH = " abcdefghijklmnopqrstuvwxyz'"  # 28 letters; the 29th output is CTC's blank


@dataclass(frozen=True)
class Alphabet:
    """The letters that the network can write. Label i is letters[i]; the label after the last letter is CTC's blank."""

    letters: str = ENGLISH

    @property
    def blank(self) -> int:
        return len(self.letters)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The label of each letter."""
        return {letter: number for number, letter in enumerate(self.letters)}

    def outside(self, text: str) -> list[str]:
        """Return the characters of a text that are not in the alphabet, sorted and without repeats."""
        return sorted(set(clean(text)) - self.numbers.keys())

    def encode(self, text: str) -> list[int]:
        """Return the labels of a text. Raises KeyError for a character outside the alphabet."""
        return [self.numbers[letter] for letter in clean(text)]

    def decode(self, labels: Iterable[int]) -> str:
        """Return the text of labels that contain no blanks, with white space stripped and collapsed."""
        return clean("".join(self.letters[label] for label in labels))

    def decode_path(self, path: Iterable[int]) -> str:
        """Return the text of a CTC path, one label per frame: repeats are merged first, then blanks are removed."""
        labels: list[int] = []
        previous = self.blank
        for label in path:
            if label not in (previous, self.blank):
                labels.append(label)
            previous = label
        return self.decode(labels)

    def to_text(self) -> str:
        """Return the content of an alphabet file: one letter per line, in the order of the labels."""
        return "".join(f"{_ESCAPED if letter == '#' else letter}\n" for letter in self.letters)


_ESCAPED = "\\#"  # a line that begins with # is a comment


def read_alphabet(path: Path) -> Alphabet:
    """Read a UTF-8 file in the format of DeepSpeech's alphabet.txt; see `parse_alphabet`.

    Raises ValueError, whose message says what was expected.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"a UTF-8 file with one letter per line: {error}") from error
    return parse_alphabet(text)


def parse_alphabet(text: str) -> Alphabet:
    r"""Parse a text with one letter per line; lines that begin with # are comments, and \# is the letter #.

    Letters are normalised to NFC, like transcripts. A combining mark may be a letter of its own, as scripts such as
    Devanagari need. Raises ValueError, whose message says what was expected and in which line.
    """
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()  # the newline at the end
    found: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            continue
        letter = _letter(line.removesuffix("\r"), number)
        if letter in found:
            raise ValueError(f"every letter once: {letter!r} is in lines {found[letter]} and {number}")
        found[letter] = number
    if " " not in found:
        raise ValueError("a line that holds one space: it separates the words")
    if len(found) == 1:
        raise ValueError("letters besides the space")
    return Alphabet("".join(found))


def _letter(line: str, number: int) -> str:
    """Return the letter of a line. Raises ValueError for a line that is not one letter."""
    letter = "#" if line == _ESCAPED else unicodedata.normalize("NFC", line)
    if len(letter) != 1:
        raise ValueError(f"one character per line (as NFC): line {number} is {line!r}")
    if letter != " " and (letter.isspace() or unicodedata.category(letter) in ("Cc", "Cs")):
        raise ValueError(f"no control character and no white space except the space: line {number} is {line!r}")
    return letter


def clean(text: str) -> str:
    """Return a transcript as the network learns it: NFC, words separated by one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def frames_needed(labels: Iterable[int]) -> int:
    """Return how many frames CTC needs for the labels: one each, and a blank between two equal neighbours."""
    row = list(labels)
    return len(row) + sum(left == right for left, right in pairwise(row))
