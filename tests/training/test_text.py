"""Letters and labels."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_wer.training.text import ENGLISH, Alphabet, frames_needed, parse_alphabet, read_alphabet

ALPHABET = Alphabet()
B = ALPHABET.blank


@given(st.text(ENGLISH))
def test_decoding_gives_back_what_was_encoded(text: str) -> None:
    assert ALPHABET.decode(ALPHABET.encode(text)) == " ".join(text.split())


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ([B, 1, 1, B, 1, 2, 2, B], "aab"),  # a repeat is one letter, unless a blank parts the two
        ([B, B], ""),
        ([], ""),
        ([0, 1, 0, B, 0, 2, 0], "a b"),
    ],
)
def test_a_path_loses_its_repeats_and_blanks(path: list[int], text: str) -> None:
    assert ALPHABET.decode_path(path) == text


def test_characters_that_cannot_be_written_are_named_once() -> None:
    assert ALPHABET.outside("naïve 2 café 2") == ["2", "é", "ï"]


@pytest.mark.parametrize(("text", "frames"), [("", 0), ("abc", 3), ("aab", 4), ("aaa", 5)])
def test_equal_neighbours_need_a_frame_for_the_blank_between(text: str, frames: int) -> None:
    assert frames_needed(ALPHABET.encode(text)) == frames


def test_the_file_of_2016_is_the_alphabet_without_a_file() -> None:
    text = "# Each line is a letter.\n" + "".join(f"{letter}\n" for letter in ENGLISH) + "# The end.\n"

    assert parse_alphabet(text) == Alphabet()


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        (" \na\n\\#\n", " a#"),
        (" \r\na\r\nb", " ab"),  # from Windows, and without the last newline
        (f" \n{unicodedata.normalize('NFD', 'ä')}\nß\n", " äß"),  # from macOS
        (" \nα\nά\nς\nσ\n", " αάςσ"),
        ("а\nй\nё\n \n", "айё "),
        (" \nक\nि\n\u200d\n", " कि\u200d"),  # a vowel sign and the joiner are letters of their own
    ],
)
def test_an_alphabet_of_any_script_is_read_in_its_order(text: str, letters: str) -> None:
    assert parse_alphabet(text).letters == letters


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" \na\nb\na\n", "'a' is in lines 2 and 4"),
        (" \nä\na\u0308\n", "'ä' is in lines 2 and 3"),
        (" \nab\n", "one character per line .*: line 2 is 'ab'"),
        (" \na\n\nb\n", "one character per line .*: line 3 is ''"),
        (" \n\t\n", r"no control character .*: line 2 is '\\t'"),
        ("a\nb\n", "a line that holds one space"),
        (" \n# alone\n", "letters besides the space"),
        ("", "a line that holds one space"),
    ],
)
def test_an_alphabet_that_cannot_be_used_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_alphabet(text)


@given(st.sets(st.characters(exclude_categories=["C", "Z"]).filter(lambda one: unicodedata.is_normalized("NFC", one))))
def test_an_alphabet_that_is_written_is_read_again(letters: set[str]) -> None:
    alphabet = Alphabet("".join(sorted(letters | {" ", "x"})))

    assert parse_alphabet(alphabet.to_text()) == alphabet


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "alphabet.txt").write_bytes(b" \n\xe4\n")

    with pytest.raises(ValueError, match=r"a UTF-8 file with one letter per line: .*0xe4"):
        read_alphabet(tmp_path / "alphabet.txt")
    with pytest.raises(ValueError, match="No such file"):
        read_alphabet(tmp_path / "absent.txt")


@pytest.mark.parametrize(
    ("letters", "text"),
    [(" abßäöü", "bäß aß"), (" άγςσω", "σάς γω"), (" айё", "йё ай")],
    ids=["german", "greek", "russian"],
)
def test_decomposed_transcripts_are_learnt_as_composed_letters(letters: str, text: str) -> None:
    alphabet = Alphabet(letters)
    decomposed = unicodedata.normalize("NFD", text)

    assert alphabet.outside(decomposed) == []
    assert alphabet.decode(alphabet.encode(decomposed)) == text
