"""Error rates, compared with published programs, and edge cases."""

from __future__ import annotations

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from deepspeech_wer import wer

WORDS = st.lists(st.sampled_from(["the", "a", "cat", "cät", "o'clock", "sat"]), max_size=8)
CORPUS = st.lists(st.tuples(WORDS.filter(bool), WORDS), min_size=1, max_size=6)


def corpus(rows: list[tuple[list[str], list[str]]]) -> tuple[dict[str, str], dict[str, str]]:
    references = {str(number): " ".join(left) for number, (left, _) in enumerate(rows)}
    return references, {str(number): " ".join(right) for number, (_, right) in enumerate(rows)}


@given(CORPUS)
@settings(deadline=None)
def test_pooled_rates_agree_with_jiwer(rows: list[tuple[list[str], list[str]]]) -> None:
    references, hypotheses = corpus(rows)
    left, right = list(references.values()), list(hypotheses.values())

    score = wer.score_corpus(references, hypotheses)

    assert score.wer == pytest.approx(jiwer.wer(left, right))
    assert score.cer == pytest.approx(jiwer.cer(left, right))


@given(WORDS, WORDS)
@settings(deadline=None)
def test_the_number_of_errors_is_the_edit_distance(left: list[str], right: list[str]) -> None:
    assert wer.align(left, right).counts.errors == Levenshtein.distance(left, right)


@given(WORDS, WORDS)
@settings(deadline=None)
def test_errors_are_counted_on_the_alignment_that_is_shown(left: list[str], right: list[str]) -> None:
    aligned = wer.align(left, right)
    pairs, counts = aligned.pairs, aligned.counts

    assert [one for one, _ in pairs if one is not None] == left
    assert [other for _, other in pairs if other is not None] == right
    assert counts.insertions == sum(one is None for one, _ in pairs)
    assert counts.deletions == sum(other is None for _, other in pairs)
    assert counts.substitutions == sum(None not in pair and pair[0] != pair[1] for pair in pairs)
    assert counts.reference == len(left)


def test_an_alignment_pairs_reference_and_hypothesis_words() -> None:
    assert wer.align(["the", "cat", "sat"], ["the", "hat", "sat", "down"]).pairs == (
        ("the", "the"),
        ("cat", "hat"),
        ("sat", "sat"),
        (None, "down"),
    )


def test_the_pooled_rate_is_not_the_mean_of_the_utterances() -> None:
    score = wer.score_corpus({"a": "one", "b": "one two three"}, {"a": "two", "b": "one two three"})

    assert score.wer == 1 / 4
    assert score.mean_utterance_wer == 1 / 2


def test_a_missing_hypothesis_is_scored_as_empty_and_counted() -> None:
    score = wer.score_corpus({"a": "one two", "b": "three"}, {"a": "one two"})

    assert score.words == wer.Counts(deletions=1, reference=3)
    assert score.missing == 1


def test_an_empty_reference_contributes_its_insertions() -> None:
    score = wer.score_corpus({"a": "", "b": "one two"}, {"a": "um", "b": "one two"})

    assert score.words == wer.Counts(insertions=1, reference=2)
    assert score.wer == 0.5


def test_without_any_reference_word_there_is_no_rate() -> None:
    score = wer.score_corpus({"a": ""}, {"a": "um"})

    assert (score.wer, score.words.errors, score.mean_utterance_wer) == (None, 1, None)


def test_a_rate_can_exceed_one() -> None:
    assert wer.score_utterance("one", "two three four").rate == 3.0


def test_composed_and_decomposed_letters_are_the_same_word() -> None:
    assert wer.score_utterance("caf\u00e9", "cafe\u0301").errors == 0


def test_white_space_of_any_kind_separates_words_and_is_not_scored() -> None:
    assert wer.score_utterance(" one\u00a0two\n", "one\ttwo").errors == 0


def test_case_and_punctuation_count() -> None:
    assert wer.score_utterance("Hello, World", "hello world").substitutions == 2


def test_a_hypothesis_for_an_unknown_utterance_is_refused() -> None:
    with pytest.raises(KeyError, match="other"):
        wer.score_corpus({"a": "one"}, {"a": "one", "other": "two"})
