"""Letters and labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_wer.training.text import ENGLISH, Alphabet, frames_needed

ALPHABET = Alphabet()
B = ALPHABET.blank


@given(st.text(ENGLISH))
def test_decoding_gives_back_what_was_encoded(text: str) -> None:
    assert ALPHABET.decode(ALPHABET.encode(text).tolist()) == " ".join(text.split())


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
    labels = ALPHABET.encode(text) if text else np.zeros(0, np.int32)

    assert frames_needed(labels) == frames
