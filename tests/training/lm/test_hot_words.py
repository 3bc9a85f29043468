"""Hot words: a boost makes them likelier, in a search with and without a language model."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.lm import ngram
from deepspeech_wer.training.lm.beam import BeamSearch
from deepspeech_wer.training.lm.free import Free
from deepspeech_wer.training.lm.language import WordModel
from deepspeech_wer.training.text import Alphabet

ABC = Alphabet(" abc")


def unsure(seed: int = 0, frames: int = 5) -> Floats:
    return np.random.default_rng(seed).normal(0, 1.5, (frames, 5)).astype(np.float32)


def search(model: WordModel, alpha: float = 0.0, **hot: float) -> BeamSearch:
    return BeamSearch(model, ABC, alpha=alpha, beta=0.0, width=4000, hot=hot)


def ctc(logits: Floats) -> dict[str, float]:
    """P of each text, by adding up all paths."""
    values = np.exp(logits - logits.max(1, keepdims=True))
    values /= values.sum(1, keepdims=True)
    found: dict[str, float] = {}
    for path in itertools.product(range(5), repeat=len(logits)):
        labels = [label for label, _ in itertools.groupby(path) if label != 4]
        text = "".join(ABC.letters[label] for label in labels)
        found[text] = found.get(text, 0.0) + float(np.prod([values[time, label] for time, label in enumerate(path)]))
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_without_a_model_the_probability_is_ctcs(seed: int) -> None:
    """With letters that are not tried, and without texts of two spaces, which no word is between."""
    logits = unsure(seed)
    exact = ctc(logits)

    for one in search(Free(ABC.letters)).candidates(logits)[:10]:
        # The same text with a space at its end is one text here.
        assert one.acoustic == pytest.approx(math.log(exact[one.text] + exact.get(f"{one.text} ", 0.0)), abs=0.02)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_boost_adds_to_every_occurrence_of_its_word_and_to_nothing_else(seed: int) -> None:
    logits = unsure(seed, 6)
    plain = {one.text: one for one in search(Free(ABC.letters)).candidates(logits)}
    boosted = {one.text: one for one in search(Free(ABC.letters), a=1.5, bc=-0.5).candidates(logits)}

    shared = [text for text in plain if text in boosted]
    assert len(shared) > 30
    for text in shared:
        words = text.split()
        assert boosted[text].hot == pytest.approx(1.5 * words.count("a") - 0.5 * words.count("bc"))
        assert boosted[text].acoustic == pytest.approx(plain[text].acoustic, abs=0.05)


def test_a_hot_word_wins_where_it_is_nearly_as_likely() -> None:
    logits = np.zeros((5, 5), np.float32)
    for frame, (label, other) in enumerate([(1, 1), (4, 4), (2, 3), (4, 4), (4, 4)]):
        logits[frame, label] += 6.0
        logits[frame, other] += 5.0
    assert search(Free(ABC.letters)).text(logits) == "ab"
    assert search(Free(ABC.letters), ac=2.0).text(logits) == "ac"
    assert search(Free(ABC.letters), ac=0.5).text(logits) == "ab"
    assert search(Free(ABC.letters), ab=-2.0).text(logits) == "ac"


def test_a_word_that_the_model_does_not_know_can_be_hot() -> None:
    model = ngram.estimate([["ab"], ["ab", "b"], ["b"]], 2)
    logits = np.zeros((3, 5), np.float32)
    logits[[0, 1, 2], [1, 4, 3]] = 4.0  # "ac"
    logits[1:, 2] += 3.0

    assert search(model, 2.0).text(logits) == "ab"
    assert search(model, 2.0, ac=6.0).text(logits) == "ac"


def test_a_hot_word_of_other_letters_is_refused() -> None:
    with pytest.raises(Trouble, match=r"hot word 'ad': has d: expected letters of ' abc' only"):
        search(Free(ABC.letters), ad=1.0)
