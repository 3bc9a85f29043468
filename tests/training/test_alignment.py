"""Times and confidences of words, on logits that say what they are."""

from __future__ import annotations

import math
from itertools import groupby, product

import numpy as np
import pytest

from deepspeech_wer.training import alignment, confidence
from deepspeech_wer.training.alignment import Letter, Word
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.text import Alphabet

ABC = Alphabet(" abc")


def logits_of(path: str, sure: float = 8.0) -> Floats:
    """[frames, labels] logits whose best path is that, with . for a blank."""
    found = np.zeros((len(path), 5), np.float32)
    for frame, letter in enumerate(path):
        found[frame, 4 if letter == "." else ABC.numbers[letter]] = sure
    return found


def spans(words: list[Word]) -> list[tuple[str, int, int]]:
    return [(one.word, one.begin, one.end) for one in words]


def test_words_and_letters_are_where_the_path_has_them() -> None:
    found = alignment.words(logits_of("..aa.b...  .c.c."), "ab cc", ABC)

    assert spans(found) == [("ab", 2, 6), ("cc", 12, 15)]
    assert [(one.letter, one.begin, one.end) for one in found[0].letters] == [("a", 2, 4), ("b", 5, 6)]


def test_another_text_than_the_best_gets_the_frames_that_fit_it_best() -> None:
    assert spans(alignment.words(logits_of(".a. .c."), "a b", ABC))[0] == ("a", 1, 2)
    assert len(alignment.words(logits_of(".a. .c."), "a b", ABC)) == 2


@pytest.mark.parametrize(("path", "text"), [("a", "ab"), ("aa", "aa"), ("..", ""), ("a", " ")])
def test_a_text_that_does_not_fit_has_no_words(path: str, text: str) -> None:
    assert alignment.words(logits_of(path), text, ABC) == []


@pytest.mark.parametrize("labels", [[1], [1, 1], [1, 2], [2, 0, 2], [1, 2, 1]])
def test_the_path_is_the_best_of_all(labels: list[int]) -> None:
    scores = alignment.log_probabilities(np.random.default_rng(3).normal(0, 2, (5, 4)).astype(np.float32))
    best = max(
        (
            sum(scores[time, label] for time, label in enumerate(path))
            for path in product(range(4), repeat=5)
            if [label for label, _ in groupby(path) if label != 3] == labels
        ),
        default=None,
    )

    places = alignment.best_path(scores, labels)

    assert places is not None
    found = sum(scores[time, 3 if place < 0 else labels[place]] for time, place in enumerate(places))
    assert found == pytest.approx(best, abs=1e-4)


def word(score: float, letters: int = 2) -> Word:
    return Word("a" * letters, tuple(Letter("a", n, n + 1, score) for n in range(letters)))


def test_a_calibration_predicts_what_it_was_fitted_to() -> None:
    rng = np.random.default_rng(1)
    scores = np.log(rng.uniform(0.05, 0.999, 3000))
    right = rng.random(3000) < np.exp(scores) ** 2  # surer than it should be
    known = [(word(float(score)), bool(one)) for score, one in zip(scores, right, strict=True)]

    fitted = confidence.fit(known[:2000])

    assert fitted is not None
    assert fitted.validation_words == 2000
    told = confidence.measured(fitted, known[2000:])
    assert told.test_words == 1000
    assert told.error is not None
    assert told.error < 0.05
    raw = np.exp(scores[2000:])
    assert confidence.calibration_error(raw, right[2000:]) > 0.1
    assert fitted.of(word(math.log(0.9))) > fitted.of(word(math.log(0.5)))
    assert 0 <= fitted.of(word(0.0)) <= 1
    assert 0 <= fitted.of(word(-1000.0)) <= 1


def test_where_every_word_is_right_or_wrong_nothing_is_fitted() -> None:
    assert confidence.fit([(word(-0.1), True)] * 9) is None
    assert confidence.fit([(word(-0.1), False)] * 9) is None
    assert confidence.fit([]) is None


def test_the_calibration_error_is_zero_of_true_and_large_of_false_promises() -> None:
    right = np.array([True, True, True, False])
    assert confidence.calibration_error(np.full(4, 0.75), right) == pytest.approx(0)
    assert confidence.calibration_error(np.full(4, 1.0), right) == pytest.approx(0.25)


def test_words_are_judged_against_the_transcript() -> None:
    heard = [(logits_of("..aa.b...  .c.c."), "ab cc", "ab b"), (logits_of(".."), "", "a")]
    assert [(one.word, right) for one, right in confidence.judged(heard, ABC)] == [("ab", True), ("cc", False)]


def test_edges_are_how_far_letters_are_from_where_speech_begins_and_ends() -> None:
    early = [((10, 50), [Word("a", (Letter("a", 4, 6, 0.0),)), Word("b", (Letter("b", 30, 41, 0.0),))])] * 9
    noisy = [((0, 90), early[0][1])] * 2

    found = alignment.edges([*early, *noisy, ((0, 9), [])], 0.02)

    assert (found.lead, found.trail) == (-0.12, 0.18)
    assert alignment.edges([], 0.02) == alignment.Edges()
