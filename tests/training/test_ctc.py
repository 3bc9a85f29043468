"""The CTC loss: against all paths one by one, against TensorFlow's kernel, and where that kernel gives up."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from deepspeech_wer.training.network import ctc

Arrays = tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64], NDArray[np.int32], NDArray[np.int64]]


def batch_of(logits: NDArray[np.float32], lengths: list[int], labels: list[list[int]]) -> Arrays:
    places = [(row, column) for row, label in enumerate(labels) for column in range(len(label))]
    return (
        logits,
        np.array(lengths, np.int32),
        np.array(places, np.int64).reshape(-1, 2),
        np.array([letter for label in labels for letter in label], np.int32),
        np.array([len(labels), max(map(len, labels))], np.int64),
    )


def drawn(seed: int, scale: float = 2.0) -> Arrays:
    """A batch of eight utterances of all lengths, as a training has them."""
    generator = np.random.default_rng(seed)
    lengths = generator.integers(30, 61, 8).tolist()
    labels = [generator.integers(0, 9, generator.integers(1, 16)).tolist() for _ in lengths]  # repeats are frequent
    return batch_of((scale * generator.normal(size=(60, 8, 10))).astype(np.float32), lengths, labels)


def kernel(batch: Arrays) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    logits, lengths, places, values, shape = (tf.constant(array) for array in batch)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        losses = tf.nn.ctc_loss(tf.SparseTensor(places, values, shape), logits, None, lengths, blank_index=9)
    return losses.numpy(), tape.gradient(losses, logits).numpy()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.lists(st.integers(0, 1), max_size=4), st.integers(1, 5))
def test_the_loss_adds_up_all_paths(seed: int, label: list[int], length: int) -> None:
    logits = np.random.default_rng(seed).normal(size=(6, 1, 3)).astype(np.float32)  # one frame is padding
    probabilities = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(1, keepdims=True)
    likelihood = 0.0
    for path in itertools.product(range(3), repeat=length):
        if [letter for letter, _ in itertools.groupby(path) if letter != 2] == label:
            likelihood += float(np.prod(probabilities[range(length), path]))
    (loss,), _ = ctc.with_gradient(*batch_of(logits, [length], [label]))
    assert loss == pytest.approx(-np.log(likelihood) if likelihood else np.inf, rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_loss_and_gradient_agree_with_tensorflow_s_kernel(seed: int) -> None:
    losses, gradient = ctc.with_gradient(*drawn(seed))
    expected_losses, expected_gradient = kernel(drawn(seed))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=5e-4)


def test_the_gradient_is_that_of_the_loss() -> None:
    batch = drawn(7)
    _, gradient = ctc.with_gradient(*batch)
    generator = np.random.default_rng(0)
    for _ in range(20):
        way = generator.normal(size=gradient.shape).astype(np.float32)
        up, down = (ctc.with_gradient(batch[0] + step * way, *batch[1:])[0] for step in (1e-2, -1e-2))
        assert (up - down).sum() / 2e-2 == pytest.approx((gradient * way).sum(), abs=0.2)


def test_within_a_graph_it_is_scaled_and_shaped() -> None:
    batch = drawn(3)

    @tf.function(input_signature=[tf.TensorSpec((None, None, 10))])
    def loss(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            losses = ctc.losses(logits, *batch[1:])
            assert losses.shape.rank == 1
            total = tf.reduce_sum(losses * tf.range(8.0))
        return losses, tape.gradient(total, logits)

    losses, gradient = loss(batch[0])
    alone_losses, alone = ctc.with_gradient(*batch)
    np.testing.assert_array_equal(losses, alone_losses)
    np.testing.assert_allclose(gradient, alone * np.arange(8, dtype=np.float32)[:, np.newaxis], rtol=1e-6)


def test_a_network_that_is_sure_of_something_else_still_learns() -> None:
    """There TensorFlow's kernel has a loss of inf, for its softmax is 0: the training would end as diverged."""
    batch = drawn(1, scale=60)
    assert np.isinf(kernel(batch)[0]).any()
    losses, gradient = ctc.with_gradient(*batch)
    assert np.isfinite(losses).all()
    assert (np.abs(gradient).max((0, 2)) > 0.1).all()


def test_a_label_that_is_too_long_has_no_path_and_affects_no_other() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 2, 10)).astype(np.float32)
    losses, gradient = ctc.with_gradient(*batch_of(logits, [3, 4], [[1, 1, 1], [2, 3]]))
    alone_losses, alone = ctc.with_gradient(*batch_of(logits[:, 1:], [4], [[2, 3]]))
    assert losses[0] == np.inf
    assert losses[1] == pytest.approx(alone_losses[0])
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient[:, 1:], alone, rtol=1e-5)


def test_nan_logits_give_a_nan_loss() -> None:
    batch = drawn(2)
    batch[0][5, 3] = np.nan
    losses, _ = ctc.with_gradient(*batch)
    assert np.isnan(losses).tolist() == [row == 3 for row in range(8)]


def test_long_utterances_take_bounded_memory_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    labels = [generator.integers(0, 28, 400).tolist() for _ in range(16)]
    batch = batch_of(generator.normal(size=(1500, 16, 29)).astype(np.float32), [1500] * 16, labels)
    tracemalloc.start()
    try:
        losses, gradient = ctc.with_gradient(*batch)
        assert tracemalloc.get_traced_memory()[1] < 250e6
    finally:
        tracemalloc.stop()
    monkeypatch.setattr(ctc, "MOST_CELLS", 1 << 40)
    for one, other in zip(ctc.with_gradient(*batch), (losses, gradient), strict=True):
        np.testing.assert_array_equal(one, other)


def test_padding_does_not_contribute() -> None:
    batch = drawn(4)
    beyond = np.arange(60)[:, np.newaxis] >= batch[1]
    other = np.where(beyond[:, :, np.newaxis], np.float32(100), batch[0])
    for one, two in zip(ctc.with_gradient(*batch), ctc.with_gradient(other, *batch[1:]), strict=True):
        np.testing.assert_array_equal(one, two)
