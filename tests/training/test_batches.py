"""Batches: padding, sparse labels, and which utterances go together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tone_corpus import noise_utterance, prepare

from deepspeech_wer.training import batches
from deepspeech_wer.training.parameters import from_environment

PARAMETERS = from_environment({})


@pytest.mark.parametrize("columns", [2, 4])
def test_labels_must_be_as_wide_as_the_longest(columns: int) -> None:
    counts = np.array([1, 3])
    with pytest.raises(ValueError, match=r"expected \(2, 3\), the longest label second"):
        batches.sparse_labels(np.zeros((2, columns), np.int32), counts)


def test_sparse_labels_are_those_that_are_not_padding() -> None:
    places, values, shape = batches.sparse_labels(np.array([[5, -1, -1], [0, 0, 7]], np.int32), np.array([1, 3]))

    assert places.tolist() == [[0, 0], [1, 0], [1, 1], [1, 2]]
    assert (values.tolist(), shape.tolist()) == ([5, 0, 0, 7], [2, 3])


def test_a_batch_is_padded_with_zeros_and_its_labels_are_sparse(tmp_path: Path) -> None:
    items = prepare(tmp_path, noise_utterance(tmp_path, "long", "ab"), noise_utterance(tmp_path, "short", "cde", 0.5))

    batch = batches.assemble(items, PARAMETERS)

    assert batch.features.shape == (2, 56, 26)  # rounded up to eights
    assert batch.lengths.tolist() == [50, 25]
    assert not batch.features[1, 25:].any()
    assert batch.label_places.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1], [1, 2]]
    assert batch.label_values.tolist() == [1, 2, 3, 4, 5]
    assert batch.label_shape.tolist() == [2, 3]


def test_each_epoch_has_every_item_once_and_the_same_again_for_the_same_seed(tmp_path: Path) -> None:
    seconds = [0.3, 1.2, 0.5, 0.9, 0.7, 1.5, 0.4]
    items = prepare(tmp_path, *(noise_utterance(tmp_path, f"u{i}", "go", length) for i, length in enumerate(seconds)))

    def names(seed: int, epoch: int) -> list[list[str]]:
        return [
            [item.utterance.id for item in group]
            for group in batches.batches_of_epoch(items, batches.Most(3), seed, epoch)
        ]

    assert names(1, 0) == [["u0", "u6", "u2"], ["u4", "u3", "u1"], ["u5"]]  # the first goes from short to long
    assert sorted(name for group in names(1, 5) for name in group) == sorted(item.utterance.id for item in items)
    assert names(1, 5) == names(1, 5)
    assert len({str(names(1, epoch)) for epoch in range(1, 9)}) > 1


LENGTHS = (0.3, 1.2, 0.5, 0.9, 0.7, 1.5, 0.4)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 2.0, 3.3])
def test_a_batch_holds_no_more_seconds_than_it_may(tmp_path: Path, seconds: float) -> None:
    items = prepare(tmp_path, *(noise_utterance(tmp_path, f"u{i}", "go", length) for i, length in enumerate(LENGTHS)))
    most = batches.Most(3, seconds)

    for groups in (
        batches.batches_by_length(items, most),
        *(batches.batches_of_epoch(items, most, 1, n) for n in (0, 4)),
    ):
        features = [batches.assemble(group, PARAMETERS).features for group in groups]
        assert all(len(one) == 1 or len(one) * one.shape[1] / 50 <= seconds for one in features)
        assert all(len(group) <= 3 for group in groups)
        assert sorted(item.utterance.id for group in groups for item in group) == [f"u{i}" for i in range(7)]
    assert len(batches.batches_by_length(items, most)) > 3 or seconds > 3


@pytest.mark.parametrize("seconds", [0, 2.0, 3.3])
def test_steps_are_counted_as_they_are_done(tmp_path: Path, seconds: float) -> None:
    items = prepare(tmp_path, *(noise_utterance(tmp_path, f"u{i}", "go", length) for i, length in enumerate(LENGTHS)))
    most = batches.Most(3, seconds)

    done = [len(batches.batches_of_epoch(items, most, 1, epoch)) for epoch in range(4)]

    assert batches.steps_until(items, most, 1, 4) == [sum(done[:epoch]) for epoch in range(5)]


def test_batches_contain_little_padding(tmp_path: Path) -> None:
    items = prepare(
        tmp_path, *(noise_utterance(tmp_path, f"u{number}", "ab", 0.6 + number / 50) for number in range(120))
    )
    varied = replace(PARAMETERS, augment_tempo=0.15)

    real = padded = 0
    for epoch in range(1, 6):
        for number, group in enumerate(batches.batches_of_epoch(items, batches.Most(8), 1, epoch)):
            batch = batches.assemble(group, varied, np.random.default_rng([epoch, number]))
            real, padded = real + int(batch.lengths.sum()), padded + batch.features.shape[0] * batch.features.shape[1]

    assert real < padded < 1.12 * real
    assert batch.features.shape[1] != max(item.frames for item in group)  # spoken faster or slower
