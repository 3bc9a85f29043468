"""Transcripts as they are published, and as they are spoken."""

from __future__ import annotations

import unicodedata

from ...text import Alphabet

APOSTROPHES = "'’ʼ＇"
SPOKEN = "&%@#*/\\‰"  # punctuation by Unicode's reckoning, and yet it is read out


def spoken(text: str, alphabet: Alphabet) -> str:
    """A sentence in the case of the alphabet and without punctuation, as far as the alphabet has none.

    "Don't stop, Ada!" becomes "don't stop ada"; the apostrophe vanishes where the alphabet has none. Digits and signs
    stay: how they are read out cannot be known here.
    """
    letters = (_letter(character, alphabet) for character in _in_case_of(alphabet, text))
    return " ".join("".join(letters).split())


def _in_case_of(alphabet: Alphabet, text: str) -> str:
    letters = alphabet.letters
    if letters == letters.lower():
        if "ı" in letters:  # Turkish and Azeri have two i, which str.lower does not know
            text = text.replace("İ", "i").replace("I", "ı")
        text = text.lower()
    elif letters == letters.upper():
        text = text.upper()
    return unicodedata.normalize("NFC", text)


def _letter(character: str, alphabet: Alphabet) -> str:
    if character in alphabet.numbers:
        return character
    if character in APOSTROPHES:
        return "'" if "'" in alphabet.numbers else ""
    is_mark = unicodedata.category(character).startswith(("P", "Z")) and character not in SPOKEN
    return " " if is_mark else character
