"""Normalises published transcripts to what is spoken."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from ...text import Alphabet, Bytes, clean
from .letters import APOSTROPHES, BYTES_KEEP, SPOKEN, TYPED, WITHIN_WORDS, Table, writer

FOLDED = "fold@2"  # the normaliser of `folded`, part of a rate's signature: another version when a result changes

# What Unicode calls Default_Ignorable and is no format character (Cf), and the controls that are no white space.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\ufe00-\ufe0f\ufff0-\ufff8\U000e0000-\U000e0fff\x00-\x08\x0e-\x1b\x7f]"
)
BLANK = "\u2800\u3164\uffa0"  # look like one, and are none in Unicode: of Braille and Hangul
PRIME = re.compile(r"(?<=[^\W\d_])[′‵ʹˈˊˋ]")  # after a letter: an apostrophe, not minutes or feet
HALF_WIDTH = re.compile("[ｦ-ﾝ][ﾞﾟ]")  # a letter in two characters
OPENING, CLOSING = "'＇‘‚‛`´′", "'＇’‘`´′"
# A letter that may stand beside an apostrophe: not one of a script without spaces, nor Korean, which has none.
WORD = (
    r"(?:[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff]"
    r"|[\u0300-\u036f])"
)


def spoken(text: str, alphabet: Alphabet) -> str:
    """Return a sentence in the case of the alphabet, without punctuation that is not in the alphabet.

    Bytes can write all of it, so it stays as it is.
    "Don't stop, Ada!" becomes "don't stop ada"; apostrophes are removed if the alphabet has none. Digits and symbols
    are kept: how they are read aloud is not known here.
    """
    if isinstance(alphabet, Bytes):
        return clean(text)
    return clean("".join(_letter(one, alphabet) for one in _in_case_of(alphabet, unicodedata.normalize("NFC", text))))


def folded(text: str, alphabet: Alphabet) -> str:
    """Return a transcript of any table in letters of the alphabet, without punctuation and what nobody sees.

    Single quotes around words are dropped, too. A letter of the alphabet stays, except ' as a quote. For bytes a text
    becomes lower case, and keeps the joiners, which decide how some scripts are read.
    """
    keeps = BYTES_KEEP if isinstance(alphabet, Bytes) else alphabet.letters
    visible, typed, alone, quoted = _tables(keeps)
    text = unicodedata.normalize("NFC", text.translate(visible))
    if "\u0307" not in keeps:
        text = text.replace("i\u0307", "i")  # what str.lower makes of a Turkish İ
    text = quoted.sub(r"\1", alone.sub(" ", text))
    text = PRIME.sub(lambda found: found[0] if found[0] in keeps else "'", text).translate(typed)
    text = HALF_WIDTH.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)
    return clean(writer(alphabet, turkish=isinstance(alphabet, Bytes) and "ı" in text).write(text))


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
    if character in WITHIN_WORDS:
        return ""
    is_mark = unicodedata.category(character).startswith(("P", "Z")) and character not in SPOKEN
    return " " if is_mark else character


@cache
def _tables(keeps: str) -> tuple[Table, Table, re.Pattern[str], re.Pattern[str]]:
    """Return what changes characters before, and after, quotes are looked for, and `_quotes`; all but `keeps`."""

    def seen(one: str) -> str:
        is_invisible = unicodedata.category(one) == "Cf" or INVISIBLE.match(one)
        return one if one in keeps else " " if one in BLANK else "" if is_invisible else one

    quotes = _quotes("".join(one for one in OPENING + CLOSING if one in keeps and one not in "'’"))
    return Table(seen), Table(lambda one: "'" if one in TYPED and one not in keeps else one), *quotes


def _quotes(letters: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Return what finds quotes of no word (several, or between blanks), and quotes around words, none of `letters`."""
    opens, closes = ("".join(one for one in marks if one not in letters) for marks in (OPENING, CLOSING))
    opening = rf"(?<!{WORD})[{opens}](?=\S)(?!n['’](?!{WORD}))"  # rock 'n' roll has no quote
    several = rf"(?<!{WORD})[{closes}]{{2,}}|[{closes}]{{2,}}(?!{WORD})"
    return (
        re.compile(rf"{several}|(?<!\S)[{closes}](?!\S)"),
        re.compile(rf"{opening}((?:(?!{opening}).)*?)(?<=\S)[{closes}](?!{WORD})", re.IGNORECASE | re.DOTALL),
    )
