"""Figures of a run, compared with published programs, resampling, and cases worked out by hand."""

from __future__ import annotations

import math
import random
import statistics
from typing import Any

import jiwer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_wer import wer
from deepspeech_wer.errors import Trouble
from deepspeech_wer.verdicts import utterance_file, utterance_scores
from deepspeech_wer.verdicts.utterance_file import Utterance
from deepspeech_wer.verdicts.utterance_scores import Each, Scored
from deepspeech_wer.wer import Counts
from tests.verdicts import speakers

WORDS = st.lists(st.sampled_from(["the", "a", "cat", "cät", "o'clock", "sat"]), max_size=8).map(" ".join)


def rows(*texts: tuple[str, str | None], names: str = "") -> list[Utterance]:
    """Return utterances called a, b, ...; `names` has a letter for each speaker."""
    return [
        Utterance(chr(97 + place), names[place] if names else None, None, said, heard)
        for place, (said, heard) in enumerate(texts)
    ]


def each(errors: list[int], words: list[int] | int = 10, names: list[str | None] | None = None) -> Each:
    size = len(errors)
    lengths = words if isinstance(words, list) else [words] * size
    ids = tuple(f"{place:06}" for place in range(size))
    return Each("set", ids, tuple(names or [None] * size), tuple(lengths), tuple(errors))


def scored(size: int, seed: int, **more: Any) -> Scored:
    found = utterance_file.parse(speakers.file_of(speakers.heard(speakers.references(size), seed, **more)))
    return utterance_scores.score("test", found.sets["test"])


@given(st.lists(st.tuples(WORDS.filter(bool), WORDS), min_size=1, max_size=6))
@settings(deadline=None)
def test_totals_agree_with_jiwer(texts: list[tuple[str, str]]) -> None:
    score = utterance_scores.score("test", rows(*texts)).score

    said, heard = [one for one, _ in texts], [other for _, other in texts]
    assert score.wer == pytest.approx(jiwer.wer(said, heard))
    assert score.cer == pytest.approx(jiwer.cer(said, heard))


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.tuples(WORDS, WORDS | st.none()), min_size=1))
@settings(deadline=None)
def test_the_job_that_ships_and_the_tracker_say_the_same(texts: dict[str, tuple[str, str | None]]) -> None:
    told = wer.score_corpus(
        {key: said for key, (said, _) in texts.items()},
        {key: heard for key, (_, heard) in texts.items() if heard is not None},
    )

    score = utterance_scores.score("test", [Utterance(key, None, None, *pair) for key, pair in texts.items()]).score

    assert (score.words, score.characters, score.missing) == (told.words, told.characters, told.missing)
    assert score.mean_utterance_wer == pytest.approx(told.mean_utterance_wer)


def test_the_figures_of_a_small_set() -> None:
    score = utterance_scores.score(
        "test", rows(("the cat sat", "the hat sat down"), ("one two", None), ("yes", "yes"), ("", "um"))
    ).score

    assert score.words == Counts(substitutions=1, deletions=2, insertions=2, reference=6)
    assert (score.wer, score.missing, score.utterances) == (5 / 6, 1, 4)
    assert score.sentence_error_rate == 3 / 4
    assert score.mean_utterance_wer == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert score.cer == (1 + 5 + 7 + 2) / (11 + 7 + 3)


def test_without_a_reference_word_there_is_no_rate_and_no_interval() -> None:
    score = utterance_scores.score("test", rows(("", "um"), ("", ""))).score

    assert (score.wer, score.interval, score.mean_utterance_wer) == (None, None, None)


def test_the_interval_by_speaker_is_the_formula() -> None:
    said = [("one two", "one"), ("one two", "one two"), ("one two three four", ""), ("one two", "one two")]
    score = utterance_scores.score("test", rows(*said, names="xxyz")).score

    # W = 5/10; r by speaker: x 1 - .5 * 4 = -1, y 4 - .5 * 4 = 2, z 0 - .5 * 2 = -1; t with 2 degrees: 4.3027
    half = 4.302653 * math.sqrt(3 / 2 * 6) / 10
    assert score.interval is not None
    assert (score.interval.by, score.interval.clusters) == ("speaker", 3)
    assert score.interval.low == 0  # not negative
    assert score.interval.high == pytest.approx(0.5 + half)


@pytest.mark.parametrize(
    ("names", "by", "clusters"), [("", "utterance", 3), ("xxx", "utterance", 3), ("xxy", "speaker", 2)]
)
def test_the_interval_says_what_it_rests_on(names: str, by: str, clusters: int) -> None:
    found = utterance_scores.score(
        "test", rows(("a b", "a"), ("a b", "a b"), ("a b", "c d"), names=names)
    ).score.interval

    assert found is not None
    assert (found.by, found.clusters) == (by, clusters)


def test_one_utterance_has_no_interval() -> None:
    assert utterance_scores.score("test", rows(("a b", "a"))).score.interval is None


def test_no_errors_are_not_certain() -> None:
    found = utterance_scores.score("test", rows(("a b", "a b"), ("a b", "a b"))).score.interval

    assert found is not None
    assert found.low == 0
    assert found.high == pytest.approx(3.689 / 4, rel=1e-3)  # exp(-3.689) is .025


def test_the_interval_agrees_with_the_bootstrap() -> None:
    one = scored(800, seed=1, spread=0.06)
    by_speaker: dict[str | None, list[int]] = {}
    for name, errors, words in zip(one.each.speakers, one.each.errors, one.each.words, strict=True):
        sums = by_speaker.setdefault(name, [0, 0])
        sums[0] += errors
        sums[1] += words
    dice, pairs = random.Random(0), list(by_speaker.values())
    rates = []
    for _ in range(4_000):
        drawn = dice.choices(pairs, k=len(pairs))
        rates.append(sum(errors for errors, _ in drawn) / sum(words for _, words in drawn))
    bootstrap = statistics.quantiles(rates, n=40)

    assert one.score.interval is not None
    assert one.score.interval.high - one.score.interval.low == pytest.approx(bootstrap[-1] - bootstrap[0], rel=0.1)


def test_the_interval_covers_the_truth() -> None:
    """1,000 test sets of 40 speakers of their own: 930 to 970 hold it; by utterance, fewer than 800 would."""
    dice, inside, naive = random.Random(0), 0, 0
    truth = 0.2
    for _ in range(1_000):
        names = [str(place % 40) for place in range(400)]
        own = {name: dice.betavariate(8, 32) for name in names}
        errors = [sum(dice.random() < own[name] for _ in range(10)) for name in names]
        for names_known in (True, False):
            found = utterance_scores.interval(each(errors, names=[*names] if names_known else None))
            assert found is not None
            inside += names_known and found.low <= truth <= found.high
            naive += not names_known and found.low <= truth <= found.high
    assert 930 <= inside <= 970
    assert naive < 800


SCORE = utterance_scores.score(
    "test", rows(("one two three", "one two"), ("four five six", "for five six seven"))
).score
ERRORS = {"substitutions": 1, "deletions": 1, "insertions": 1, "words": 6, "utterances": 2, "missing": 0}


@pytest.mark.parametrize(
    "results",
    [
        {},
        {"test_wer": None},
        {"test_wer": 0.5, "test_errors": ERRORS},
        {"test_wer": 0.5, "test_errors": {**ERRORS, "substitutions": 3, "deletions": 0, "insertions": 0}},
        {"test_wer": 0.9, "tests": {"test": {"wer": 0.5}}},
        {"test_wer": "0.9", "test_errors": [], "tests": {"test": []}},
    ],
)
def test_a_job_that_agrees_is_not_mentioned(results: dict[str, Any]) -> None:
    assert utterance_scores.differs_from_job(SCORE, {"results": results}) is None


@pytest.mark.parametrize(
    ("told", "agrees"),
    [(0.33, True), (0.333, True), (0.3333333333333333, True), (0.34, False), (0.3, False), (0, False)],
)
def test_a_rate_may_be_rounded(told: float, agrees: bool) -> None:
    score = utterance_scores.score("test", rows(("one two three", "one two"), ("one two three", "one two"))).score

    assert (utterance_scores.differs_from_job(score, {"results": {"test_wer": told}}) is None) == agrees


@pytest.mark.parametrize(
    ("results", "line"),
    [
        ({"test_wer": 0.25}, "test: the job says WER 25.00 %, its utterances give 50.00 %"),
        ({"test_wer": 0.496}, "test: the job says WER 49.60 %, its utterances give 50.00 %"),
        ({"test_errors": {**ERRORS, "words": 7}}, "test: the job says 7 words, its utterances give 6"),
        ({"test_errors": {**ERRORS, "words": 52_576}}, "test: the job says 52,576 words, its utterances give 6"),
        ({"test_errors": {**ERRORS, "insertions": 0}}, "test: the job says 2 errors, its utterances give 3"),
        ({"test_errors": {**ERRORS, "missing": 1}}, "test: the job says 1 missing, its utterances give 0"),
        ({"test_wer": 0.5, "tests": {"test": {"wer": 0.4}}}, "test: the job says WER 40.00 %"),
        ({"tests": {"test": {"errors": {"words": 10**400}}}}, None),
    ],
)
def test_a_job_that_differs_is_told_in_one_line(results: dict[str, Any], line: str | None) -> None:
    found = utterance_scores.differs_from_job(SCORE, {"results": results})

    assert (found or "").startswith(line or "")
    assert (found is None) == (line is None)
    assert "\n" not in (found or "")


def test_a_summary_has_every_test_set() -> None:
    more = [Utterance("a", None, None, "x", "y")]
    found = utterance_file.Utterances(
        {"test": rows(("a b", "a"), ("c", "c"), names="xy"), "other": more}, 1, 0, ("row 1",)
    )

    summary, scores = utterance_scores.summarise(found)

    assert {name: one.score for name, one in scores.items()} == summary.sets
    assert summary.digest == utterance_file.digest(found.sets)
    assert summary.remark == "1 rows left out, 0 odd: row 1"


def test_test_sets_that_are_too_long_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utterance_scores, "MAX_WORD_CELLS", 10)
    sets = {"one": rows(("a b", "a b"), ("a", "a")), "two": rows(("a b", "a b"), ("a b", "a b"))}

    utterance_scores.score("one", sets["one"])
    with pytest.raises(Trouble, match="all test sets: too long to be scored"):
        utterance_scores.summarise(utterance_file.Utterances(sets))


@pytest.mark.parametrize("space", [" ", "\t"])
def test_an_utterance_too_long_to_be_aligned_is_refused_before_it_takes_the_memory(space: str) -> None:
    long = space.join(["a"] * 5_001)

    with pytest.raises(Trouble, match="test set test: too long to be scored, found 5001 reference words in 'a'"):
        utterance_scores.score("test", rows((long, long)))


def test_very_long_utterances_have_no_cer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utterance_scores, "MAX_CHARACTER_CELLS", 10)

    score = utterance_scores.score("test", rows(("a b c", "a b d"))).score

    assert (score.wer, score.cer) == (1 / 3, None)
