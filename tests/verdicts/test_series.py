from __future__ import annotations

import random

import pytest

from deepspeech_wer.verdicts.series import is_named, split
from tests.verdicts.histories import draw


def test_a_change_of_test_set_or_of_the_operator_starts_a_series() -> None:
    runs = [
        draw(0, 0.1, variables=""),
        draw(1, 0.1, variables="a"),
        draw(2, 0.1, variables=""),
        draw(3, 0.1, variables="b", changed_variables=("ds_epochs",)),
        draw(4, 0.1, variables="b", signature="other"),
    ]
    random.Random(1).shuffle(runs)
    found = split(runs)
    assert [[entry.original.place for entry in one.entries] for one in found] == [[0, 1, 2], [3], [4]]
    assert found[1].why == "the operator changed ds_epochs"
    assert "other test set" in found[2].why


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('{"norm": "none@1", "set": "a"}', '{"norm": "none@1", "set": "b"}', "set a -> b"),
        ('{"set": "a"}', '{"decoder": "beam", "set": "a"}', "decoder none -> beam"),
        ("null", '{"set": "0123456789abcdef"}', "set none -> 0123456789ab..."),
        ('"a"', '["b"]', "a -> ['b']"),
        ("no JSON", "[" * 100_000, "no JSON -> [[[[[[[[[[[[..."),
    ],
)
def test_the_mark_of_another_signature_tells_what_differs(before: str, after: str, told: str) -> None:
    _, second = split([draw(0, 0.1, signature=before), draw(1, 0.1, signature=after)])
    assert second.why == f"another test set, normaliser or decoder: {told}"


def test_an_anchor_is_the_first_of_its_series() -> None:
    anchor = draw(1, 0.2, run="zanchor", variables="new")
    found = split([draw(0, 0.1), draw(1, 0.1), anchor, draw(2, 0.2, run="zz", variables="new")])
    assert [[entry.original.run for entry in one.entries] for one in found] == [
        ["run000000", "run000001"],
        ["zanchor", "zz"],
    ]


def test_an_old_merge_trained_late_under_other_variables_splits_nothing() -> None:
    late = draw(1, 0.1, run="zlate", variables="new")
    (only,) = split([draw(0, 0.1), late, draw(2, 0.1), draw(3, 0.1)])
    assert [entry.is_late for entry in only.entries] == [False, True, False, False]


def test_re_trainings_belong_to_their_merge_and_only_under_its_conditions() -> None:
    own = draw(1, 0.1)
    again = draw(1, 0.2, run="z1", rerun_of=own.run)
    foreign = draw(1, 0.3, run="z2", rerun_of=own.run, variables="new")
    (only,) = split([draw(0, 0.1), foreign, again, own])
    assert only.entries[1].original == own
    assert only.entries[1].fresh == (again,)


def test_a_replaced_run_does_not_count_and_an_id_is_given_once() -> None:
    (only,) = split([draw(0, 0.9, run="old", is_replaced=True), draw(0, 0.1)])
    assert only.entries[0].original.rate == 0.1
    with pytest.raises(ValueError, match="same id"):
        split([draw(0, 0.1), draw(0, 0.2)])


def test_the_first_run_of_a_merge_that_was_measured_is_its_own() -> None:
    (only,) = split([draw(0, None, run="a"), draw(0, 0.1, run="b"), draw(0, 0.2, run="c", digest="c")])
    assert only.entries[0].original.run == "b"
    assert [one.run for one in only.entries[0].fresh] == ["c"]


def test_short_abbreviations_name_nothing() -> None:
    assert is_named("abcdef1234", ["abcdef1"])
    assert not is_named("abcdef1234", ["abcdef", "bcdef12"])
