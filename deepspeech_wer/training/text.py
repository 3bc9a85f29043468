"""Letters and labels: the alphabet of the network's outputs, or the bytes of UTF-8.

Must not import numpy: the parameters hold the alphabet, and they are read before numpy's threads are limited.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

BYTES = "bytes"  # the name of the alphabet of bytes: no other one can have it, since it has no space
REPLACED = "\ufffd"  # for bytes that are no UTF-8
ENGLISH = " abcdefghijklmnopqrstuvwxyz'"  # 28 letters; the 29th output is CTC's blank


@dataclass(frozen=True)
class Alphabet:
    """The letters that the network can write. Label i is letters[i]; the label after the last letter is CTC's blank."""

    letters: str = ENGLISH

    @property
    def name(self) -> str:
        """What `alphabet_of` knows it by."""
        return self.letters

    @property
    def told(self) -> str:
        """What it can write, for messages."""
        return repr(self.letters)

    @property
    def blank(self) -> int:
        return len(self.letters)

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The label of each letter."""
        return {letter: number for number, letter in enumerate(self.letters)}

    def has(self, character: str) -> bool:
        """Return whether the network can write a character."""
        return character in self.numbers

    def spell(self, text: str) -> list[tuple[str, list[int]]]:
        """Return the characters of a text with their labels. Raises KeyError for one outside the alphabet."""
        return [(letter, [self.numbers[letter]]) for letter in clean(text)]

    def continues(self, before: Sequence[int], label: int) -> bool:  # noqa: ARG002  # any letter may follow another
        """Return whether a label may follow others, of which the last three are known."""
        return True

    def outside(self, text: str) -> list[str]:
        """Return the characters of a text that are not in the alphabet, sorted and without repeats."""
        return sorted(set(clean(text)) - self.numbers.keys())

    def encode(self, text: str) -> list[int]:
        """Return the labels of a text. Raises KeyError for a character outside the alphabet."""
        return [label for _, labels in self.spell(text) for label in labels]

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


@dataclass(frozen=True)
class Bytes(Alphabet):
    """The bytes of UTF-8, for any language, as in DeepSpeech 0.9's bytes output mode: label i is byte i + 1.

    A letter stands for each byte. Byte 0 has no label. Control characters are never written.
    """

    letters: str = "".join(map(chr, range(1, 256)))

    @property
    def name(self) -> str:
        return BYTES

    @property
    def told(self) -> str:
        return "the characters of Unicode, without control characters"

    def has(self, character: str) -> bool:
        return unicodedata.category(character) not in ("Cc", "Cs")

    def outside(self, text: str) -> list[str]:
        return sorted({one for one in clean(text) if not self.has(one)})

    def spell(self, text: str) -> list[tuple[str, list[int]]]:
        cleaned = clean(text)
        if refused := self.outside(cleaned):
            raise KeyError(refused[0])
        return [(character, [byte - 1 for byte in character.encode()]) for character in cleaned]

    def decode(self, labels: Iterable[int]) -> str:
        """Return the text of labels; what is no UTF-8, or a control character, becomes U+FFFD."""
        text = clean(bytes(label + 1 for label in labels).decode("utf-8", "replace"))
        return "".join(one if self.has(one) else REPLACED for one in text)

    def continues(self, before: Sequence[int], label: int) -> bool:
        """Return whether what is written stays the beginning of valid UTF-8."""
        tail = bytes(one + 1 for one in before)
        leads = [place for place, byte in enumerate(tail) if byte & 0xC0 != 0x80]  # the others continue a character
        begun = tail[leads[-1] :] if leads else b""
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(begun + bytes([label + 1]))
        except UnicodeDecodeError:
            return False
        return all(map(self.has, text))


def alphabet_of(name: str) -> Alphabet:
    """Return the alphabet of a name, or of its letters."""
    return Bytes() if name in (BYTES, Bytes.letters) else Alphabet(name)


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


def so_far(text: str) -> str:
    """Return the text of speech that goes on, without a last character of which bytes are still missing."""
    return text.removesuffix(REPLACED).rstrip()


def frames_needed(labels: Iterable[int]) -> int:
    """Return how many frames CTC needs for the labels: one each, and a blank between two equal neighbours."""
    row = list(labels)
    return len(row) + sum(left == right for left, right in pairwise(row))
