"""Decoders on logits made by hand."""

from __future__ import annotations

import numpy as np

from deepspeech_wer.training import decoders
from deepspeech_wer.training.text import Alphabet

ALPHABET = Alphabet()
A, B, BLANK = 1, 2, ALPHABET.blank


def logits(*frames: dict[int, float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """[frames, 1, 29] logarithms of the probabilities given, for one utterance."""
    values = np.full((len(frames), 1, 29), 1e-9, np.float32)
    for number, frame in enumerate(frames):
        for label, probability in frame.items():
            values[number, 0, label] = probability
    return np.log(values)


def test_both_decoders_read_a_clear_text() -> None:
    clear = logits({A: 0.9}, {BLANK: 0.9}, {A: 0.9}, {B: 0.9})

    assert decoders.greedy(clear, np.array([4], np.int32), ALPHABET) == ["aab"]
    assert decoders.beam(clear, np.array([4], np.int32), ALPHABET, 10) == ["aab"]


def test_frames_beyond_the_length_are_not_read() -> None:
    clear = logits({A: 0.9}, {BLANK: 0.9}, {B: 0.9})

    assert decoders.greedy(clear, np.array([2], np.int32), ALPHABET) == ["a"]
    assert decoders.beam(clear, np.array([2], np.int32), ALPHABET, 10) == ["a"]


def test_beam_search_adds_up_the_paths_of_a_text() -> None:
    # The best single path is all blank (0.36); "a" has three paths that make 0.64 together.
    unsure = logits({BLANK: 0.6, A: 0.4}, {BLANK: 0.6, A: 0.4})

    assert decoders.greedy(unsure, np.array([2], np.int32), ALPHABET) == [""]
    assert decoders.beam(unsure, np.array([2], np.int32), ALPHABET, 10) == ["a"]


def test_the_signature_says_which_decoder_it_was() -> None:
    assert decoders.greedy_decoder(ALPHABET).signature == "greedy"
    assert decoders.beam_decoder(ALPHABET, 7).signature == "beam7"
