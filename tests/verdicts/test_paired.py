from __future__ import annotations

import math
import random

import pytest
from scipy import stats

from deepspeech_wer.verdicts import paired, utterance_scores
from deepspeech_wer.verdicts.paired import Change, Edit
from deepspeech_wer.verdicts.utterance_file import Utterance
from deepspeech_wer.verdicts.utterance_scores import Each
from tests.verdicts.test_utterance_scores import each, rows, scored


def edits(*texts: tuple[str, str]) -> tuple[str, ...]:
    return utterance_scores.score("test", rows(*texts)).edits


def test_a_comparison_is_the_formula() -> None:
    found = paired.compare(each([1, 2, 3, 0], [10, 10, 20, 10]), each([2, 2, 1, 3], [10, 10, 20, 10]))

    # d = 1, 0, -2, 3; D = 2 / 50; r = .6, -.4, -2.8, 2.6; t with 3 degrees
    error = math.sqrt(4 / 3 * (0.36 + 0.16 + 7.84 + 6.76)) / 50
    assert found is not None
    assert (found.before, found.after, found.difference) == (6 / 50, 8 / 50, 2 / 50)
    assert found.interval is not None
    assert found.interval.low == pytest.approx(0.04 - 3.182446 * error)
    assert found.p == pytest.approx(2 * stats.t.sf(0.04 / error, 3))
    assert found.worse == (Change("000003", 0, 3), Change("000000", 1, 2))
    assert found.better == (Change("000002", 3, 1),)
    assert found.same_test_set


def test_a_comparison_agrees_with_a_paired_permutation_test() -> None:
    before, after = scored(400, seed=1).each, scored(400, seed=2, rate=0.17).each
    found = paired.compare(
        before._replace(speakers=(None,) * 400), after._replace(speakers=(None,) * 400)
    )  # by utterance: its permutations swap utterances
    assert found is not None
    change = [new - old for old, new in zip(before.errors, after.errors, strict=True)]
    dice, seen = random.Random(0), 0
    for _ in range(4_000):
        seen += abs(sum(one if dice.random() < 0.5 else -one for one in change)) >= abs(sum(change))

    assert found.p == pytest.approx(seen / 4_000, abs=0.03)


def test_the_same_result_is_no_difference() -> None:
    one = scored(50, seed=1)

    found = paired.compare(one.each, one.each)

    assert found is not None
    assert (found.difference, found.p, found.worse, found.better) == (0, 1, (), ())


def test_the_same_change_everywhere_is_certain() -> None:
    found = paired.compare(each([1, 1, 1]), each([2, 2, 2]))

    assert found is not None
    assert found.p == 0


def test_other_test_sets_are_paired_where_they_can_be_and_said() -> None:
    before = utterance_scores.score("test", [Utterance(key, None, None, "a b", "a") for key in "abc"]).each
    after = utterance_scores.score(
        "test", [Utterance(key, None, None, "a b" if key != "c" else "a", "a b") for key in "bcd"]
    ).each

    found = paired.compare(before, after)

    assert found is not None
    assert (found.same_test_set, found.utterances, found.better) == (False, 1, (Change("b", 1, 0),))
    assert paired.compare(before, before._replace(ids=("x", "y", "z"))) is None


def test_the_noise_between_two_trainings_is_counted() -> None:
    dice = random.Random(0)
    draws = [each([int(dice.random() < 0.5) for _ in range(4_000)]) for _ in range(4)]
    ten_more = Each(draws[1].test_set, draws[1].ids, draws[1].speakers, draws[1].words, draws[1].errors)

    found = paired.compare(draws[0], ten_more, replicates=[draws[2], draws[3], draws[3]])

    assert found is not None
    assert found.by_noise == pytest.approx(1_000, rel=0.1)
    assert len(found.worse) == pytest.approx(found.by_noise, rel=0.1)


@pytest.mark.parametrize("copies", [0, 1, 2])
def test_one_training_shows_no_noise(copies: int) -> None:
    one = each([1, 2, 3])
    found = paired.compare(one, each([1, 3, 3]), replicates=[one] * copies)  # repeats are one draw

    assert found is not None
    assert found.by_noise is None


def test_what_changed_for_good_is_found() -> None:
    before = [[9, 9, 9, 9, 9], [0, 0, 5, 3, 1], [0, 1, 5, 3, 0], [1, 1, 5, 3, 1], [1, 0, 5, 3, 1], [2, 0, 5, 3, 0]]
    after = [[9, 0, 9, 0, 0], [3, 1, 4, 3, 2], [4, 2, 4, 3, 1], [3, 1, 3, 2, 2]]

    found = paired.lasting(before, after)

    assert found is not None
    assert (found.worse, found.better) == ((0,), (2,))  # not the 4th or 5th: one of the newest is as it was
    assert (found.newest, found.before) == (3, 5)


def test_as_many_change_for_good_as_noise_gives() -> None:
    dice = random.Random(0)
    draws = [[dice.randrange(4) for _ in range(20_000)] for _ in range(8)]

    found = paired.lasting(draws[:5], draws[5:])

    assert found is not None
    assert len(found.worse) == pytest.approx(found.worse_by_noise, rel=0.4)
    assert len(found.better) == pytest.approx(found.better_by_noise, rel=0.4)
    assert 20 < found.worse_by_noise < 200


def test_repeats_are_one_draw() -> None:
    assert paired.lasting([[0], [0]], [[1], [1], [1]]) == paired.lasting([[0]], [[1]])
    assert paired.lasting([], [[1]]) is None
    assert paired.lasting([[1]], []) is None


def test_the_words_that_changed_most_come_first() -> None:
    before = edits(("the cat sat on", "the hat sat"), ("the cat", "the hat"), ("a", "a"))
    after = edits(("the cat sat on", "a cat sat"), ("the cat", "a cat"), ("a", "a um"))

    assert paired.words(before, after) == (
        Edit("cat", "hat", 2, 0),
        Edit("the", "a", 0, 2),
        Edit("on", None, 1, 1),
        Edit(None, "um", 0, 1),
    )
    assert [one.kind for one in paired.words(before, after, most=1)] == ["substitution", "deletion", "insertion"]
