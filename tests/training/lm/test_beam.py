"""The beam search with a language model, against all texts and all their paths, one by one."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training.lm import arpa, ngram
from deepspeech_wer.training.lm import beam as beam_search
from deepspeech_wer.training.lm.arpa import BEGIN, END, UNKNOWN
from deepspeech_wer.training.lm.beam import BeamSearch, Candidate
from deepspeech_wer.training.text import Alphabet

LETTERS = Alphabet(" ab")  # the blank is 3
MODEL = ngram.estimate([["ab", "a"], ["b"], ["ab", "b", "a"]], 2)
CLOSED = arpa.Ngrams(tuple({gram: p for gram, p in table.items() if UNKNOWN not in gram} for table in MODEL.tables))


def random_logits(
    frames: int, seed: int, alphabet: Alphabet = LETTERS
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.random.default_rng(seed).normal(0, 1.5, (frames, len(alphabet.letters) + 1)).astype(np.float32)


def all_texts(logits: np.ndarray[tuple[int, int], np.dtype[np.float32]]) -> Iterator[tuple[str, float]]:
    """(text, ln P_ctc) of every text that has no empty word in it, by adding up all paths."""
    chances = np.exp(logits.astype(np.float64))
    chances /= chances.sum(1, keepdims=True)
    sums: dict[str, float] = defaultdict(float)
    for path in itertools.product(range(4), repeat=len(logits)):
        text = "".join(LETTERS.letters[label] for label, _ in itertools.groupby(path) if label != LETTERS.blank)
        if not text.startswith(" ") and "  " not in text:
            sums[text.rstrip()] += math.prod(chances[frame, label] for frame, label in enumerate(path))
    return ((text, math.log(chance)) for text, chance in sums.items())


def language(model: arpa.Ngrams, text: str) -> float:
    """ln P_lm of a text, letter for letter where the model does not know a word."""
    words = text.split()
    spelling = ngram.estimate(map(list, model.words()), beam_search.SPELLING_ORDER, "ab")
    spelled = sum(spelling.log10_sentence(list(word)) for word in words if not model.knows(word))
    return math.log(10) * (model.log10_sentence(words) + spelled)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("alpha", "beta"), [(0, 0), (0.7, 1.5), (2, -1)])
def test_it_finds_every_text_and_scores_it_right(
    monkeypatch: pytest.MonkeyPatch, seed: int, alpha: float, beta: float
) -> None:
    monkeypatch.setattr(beam_search, "MARGIN", 1e-30)
    logits = random_logits(5, seed)
    search = BeamSearch(MODEL, LETTERS, alpha=alpha, beta=beta, width=10**6)

    found = search.candidates(logits)

    expected = [Candidate(text, chance, language(MODEL, text), len(text.split())) for text, chance in all_texts(logits)]
    expected.sort(key=lambda one: -one.score(alpha, beta))
    assert [one.text for one in found] == [one.text for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.acoustic, one.language) == pytest.approx((other.acoustic, other.language)), one.text
        assert one.words == other.words


@pytest.mark.parametrize("seed", range(20))
def test_a_beam_of_a_few_texts_finds_the_best_of_all(seed: int) -> None:
    logits = random_logits(6, seed)
    best = max(all_texts(logits), key=lambda one: one[1] + 0.8 * language(MODEL, one[0]) + 0.5 * len(one[0].split()))

    assert BeamSearch(MODEL, LETTERS, alpha=0.8, beta=0.5, width=12).text(logits) == best[0]


def test_the_language_model_decides_between_like_sounds() -> None:
    model = ngram.estimate([["ab", "a"]] * 5 + [["b", "b"]] * 5, 2)
    # "ab" is clear; then a and b are even.
    logits = [[0, 5, 0, 0], [0, 0, 5, 0], [5, 0, 0, 0], [0, 5, 5, 0]]

    assert BeamSearch(model, LETTERS, alpha=1, beta=0, width=10).text(np.array(logits, np.float32)) == "ab a"


@pytest.mark.parametrize(("model", "text"), [(MODEL, "bab"), (CLOSED, "ab")])
def test_a_new_word_is_spelled_where_the_model_has_an_unk(model: arpa.Ngrams, text: str) -> None:
    logits = np.full((4, 4), -12, np.float32)
    logits[range(4), (3, 1, 2, 3)] = 0
    if model is MODEL:
        logits[0, 2] = 12

    assert BeamSearch(model, LETTERS, alpha=0.5, beta=0, width=20).text(logits) == text


def test_speech_that_fits_no_word_of_a_closed_lexicon_still_gives_a_text() -> None:
    logits = np.full((3, 4), -40, np.float32)
    logits[:, 2] = 0
    logits[1, 2], logits[1, 3] = -40, 0  # "bb", and no word has that

    assert set(BeamSearch(CLOSED, LETTERS, alpha=1, beta=0, width=5).text(logits)) <= set("ab")


def test_dropped_prefixes_are_forgotten_without_changing_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = random_logits(300, 5)
    search = BeamSearch(MODEL, LETTERS, alpha=0.8, beta=0.5, width=8)
    sizes, found = [], []
    finish = BeamSearch._finish

    def count(self: BeamSearch, beam: list[beam_search._Prefix], scale: float) -> list[Candidate]:
        root = beam[0]
        while root.parent:
            root = root.parent
        sizes.append(tree_size(root))
        return finish(self, beam, scale)

    monkeypatch.setattr(BeamSearch, "_finish", count)
    for every in (1, 7, 10**6):
        monkeypatch.setattr(beam_search, "SWEEP", every)
        found.append(search.candidates(logits))

    assert found[0] == found[1] == found[2]
    assert sizes[0] < 300 + 8 * 8 < sizes[2]


def tree_size(root: beam_search._Prefix) -> int:
    stack, size = [root], 0
    while stack:
        size += 1
        stack += [longer for longer in stack.pop().below.values() if longer]
    return size


def test_letters_beyond_ascii_make_words_too() -> None:
    alphabet = Alphabet(" äß")
    model = ngram.estimate([["ä", "ßä"]], 2)
    logits = np.full((4, 4), -9, np.float32)
    logits[range(4), (1, 0, 2, 1)] = 0

    assert BeamSearch(model, alphabet, alpha=1, beta=0, width=10).text(logits) == "ä ßä"


def test_a_model_in_another_script_or_case_is_refused() -> None:
    with pytest.raises(Trouble, match="no word of the language model has letters of ' ab' only"):
        BeamSearch(ngram.estimate([["YES", "NO"]], 2), LETTERS, alpha=1, beta=0, width=10)


def test_no_frames_are_an_empty_text() -> None:
    assert BeamSearch(MODEL, LETTERS, alpha=1, beta=0, width=10).text(np.zeros((0, 4), np.float32)) == ""
    assert BEGIN not in MODEL.words() and END not in MODEL.words()
