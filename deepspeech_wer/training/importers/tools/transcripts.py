"""Normalises published transcripts to what is spoken."""

from __future__ import annotations

import re
import unicodedata

from ...text import Alphabet, Bytes, clean

APOSTROPHES = "'’ʼ＇"
QUOTED = re.compile(r"(?<!\w)[‘‚‛]([^‘‚‛]*?)[’‘](?!\w)")
TYPED = dict.fromkeys(map(ord, "‘‛´`"), "'")  # what is typed for an apostrophe
FOLDED_BYTES = " '\u200c\u200d"  # what is punctuation or invisible, and kept
SPOKEN = "&%@#*/\\‰"  # punctuation in Unicode, but read aloud


def spoken(text: str, alphabet: Alphabet) -> str:
    """Return a sentence in the case of the alphabet, without punctuation that is not in the alphabet.

    Bytes can write all of it, so it stays as it is.
    "Don't stop, Ada!" becomes "don't stop ada"; apostrophes are removed if the alphabet has none. Digits and symbols
    are kept: how they are read aloud is not known here.
    """
    if isinstance(alphabet, Bytes):
        return clean(text)
    letters = (_letter(character, alphabet) for character in _in_case_of(alphabet, text))
    return " ".join("".join(letters).split())


def folded(text: str, alphabet: Alphabet) -> str:
    """Return a transcript of any table as `spoken` does, without single quotes around words and invisible characters.

    Invisible are soft hyphens, zero width characters and marks of direction, unless the alphabet has them. For bytes it
    becomes lower case, and keeps the joiners, which decide how some scripts are read.
    """
    if isinstance(alphabet, Bytes):
        alphabet = Alphabet(FOLDED_BYTES + ("ı" if "ı" in text else ""))
    text = "".join(one for one in text if one in alphabet.numbers or unicodedata.category(one) != "Cf")
    return spoken(QUOTED.sub(r"\1", text).translate(TYPED), alphabet)


def _in_case_of(alphabet: Alphabet, text: str) -> str:
    letters = alphabet.letters
    if letters == letters.lower():
        if "ı" in letters:  # Turkish and Azeri have a dotless i, which str.lower does not handle
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
