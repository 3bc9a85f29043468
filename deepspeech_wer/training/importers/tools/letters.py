"""Writes the characters of a text with the letters of an alphabet, where Unicode says that they are the same ones."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from functools import cache

from ...text import Alphabet, Bytes

APOSTROPHES = "'’ʼ＇՚׳"
MODIFIERS = "ʻꞌʽʾʿ"  # letters of some languages, and written for the apostrophe of others
TYPED = "‘‛´`"  # typed for an apostrophe, or a quote
ASKED = APOSTROPHES + TYPED + "ʻꞌ"  # what may be an alphabet's own, in the order in which it is looked for
HYPHENS = "-‐‑﹣－−˗"
WITHIN_WORDS = "՛՜՞"  # Armenian puts these marks on a vowel: they divide no word
SPOKEN = "&%@#*/\\‰"  # punctuation in Unicode, but read aloud
BYTES_KEEP = " '\u200c\u200d\u180b\u180c\u180d\u180e\u180f"  # what is punctuation or invisible, and kept
SHAPES = {f"<{one}>" for one in ("wide", "narrow", "font", "initial", "medial", "final", "isolated")}
LATIN_LIGATURES = "\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06"  # typesetting alone; others are letters to somebody


class Table(dict[int, str]):
    """A table for str.translate that is filled as characters come: most texts have few different ones."""

    def __init__(self, write: Callable[[str], str]) -> None:
        super().__init__()
        self._write = write

    def __missing__(self, number: int) -> str:
        return self.setdefault(number, self._write(chr(number)))


class Writer:
    """Writes characters with an alphabet's letters. The letters of bytes are those that no case or shape changes."""

    def __init__(self, alphabet: Alphabet, *, turkish: bool = False) -> None:
        """With `turkish` a dotless i is the lower case of I, as it is for every alphabet that tells the two apart."""
        self._letters = None if isinstance(alphabet, Bytes) else alphabet.numbers.keys()
        self._turkish = turkish or any(one in (self._letters or ()) for one in "ıİ")
        self._apostrophe = next(filter(self.has, ASKED), "")
        self._hyphen = next(filter(self.has, HYPHENS), " ")
        self._table = Table(self._write)

    def has(self, character: str) -> bool:
        """Return whether a character stays as it is."""
        if self._letters is not None:
            return character in self._letters
        if character in BYTES_KEEP or character in SPOKEN:
            return True
        is_mark = unicodedata.category(character)[0] in "PZ" or character in APOSTROPHES + TYPED + HYPHENS
        is_shape = _shape(character) in SHAPES or character in LATIN_LIGATURES
        return character == character.lower() and not is_mark and not is_shape

    def write(self, text: str) -> str:
        """Return an NFC text in letters of the alphabet; what cannot be written so, and is no punctuation, stays."""
        if "Σ" in text and not self.has("Σ"):  # its lower case depends on where it stands
            lower = text.replace("İ", "i").lower()  # no other letter has a lower case of two characters
            text = "".join(low if one == "Σ" else one for one, low in zip(text, lower, strict=True))
        return text.translate(self._table)

    def _write(self, one: str) -> str:
        if self.has(one):
            return one
        if one in APOSTROPHES or one in MODIFIERS:
            return self._apostrophe
        if one in HYPHENS:
            return self._hyphen
        if one in WITHIN_WORDS:
            return ""
        for form in self._forms(one):
            if form and all(map(self.has, form)):
                return form
        is_mark = unicodedata.category(one)[0] in "PZ" and unicodedata.normalize("NFKC", one) not in SPOKEN
        return " " if is_mark else one

    def _forms(self, one: str) -> Iterator[str]:
        """Yield what a character may be written as, the likeliest first."""
        yield {"İ": "i", "I": "ı" if self._turkish else "i"}.get(one, one.lower())
        yield {"i": "İ" if self._turkish else "I", "ß": "ẞ"}.get(one, one.upper())
        yield one.upper()
        yield one.casefold()
        yield one.casefold().upper()
        plain = _plain(one)
        if plain != one:
            yield plain
            yield self.write(plain)


@cache
def writer(alphabet: Alphabet, *, turkish: bool = False) -> Writer:
    """Return the writer of an alphabet, made once."""
    return Writer(alphabet, turkish=turkish)


def _shape(character: str) -> str:
    return unicodedata.decomposition(character).partition(" ")[0]


def _plain(character: str) -> str:
    """Return the letters that a full-width or mathematical letter, or a ligature, is made of; else the character.

    Raised and circled digits, fractions and signs such as № are none of these: they are read otherwise.
    """
    is_ligature = unicodedata.category(character)[0] == "L" and _shape(character) == "<compat>"
    plain = unicodedata.normalize("NFKC", character)
    return plain if (is_ligature or _shape(character) in SHAPES) and " " not in plain else character
