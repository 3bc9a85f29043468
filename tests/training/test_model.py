"""The network: its LSTM against TensorFlow's own gradient, its independence of padding, its first weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from deepspeech_wer.training.network import cudnn, lstm, model, optimizer
from deepspeech_wer.training.parameters import from_environment

T, B, N, H = 7, 3, 4, 5
SMALL = from_environment({"ds_n_hidden": "8", "ds_dropout_rate": "0.5"})


def plain_lstm(inputs: Any, lengths: Any, kernel: Any, bias: Any, recurrent: Any) -> Any:
    """lstm.bidirectional, one operation after the other, for TensorFlow to derive."""
    results = []
    for way, weights in enumerate(zip(tf.split(kernel, 2, 1), tf.split(bias, 2), tf.unstack(recurrent), strict=True)):
        turned = [inputs, tf.reverse_sequence(inputs, lengths, 0, 1)][way]
        output = cell = tf.zeros((B, H))
        outputs = []
        for time in range(T):
            gates = turned[time] @ weights[0] + weights[1] + output @ weights[2]
            out, let_in, keep, candidate = tf.split(gates, 4, 1)
            cell = tf.sigmoid(keep) * cell + tf.sigmoid(let_in) * tf.tanh(candidate)
            output = tf.sigmoid(out) * tf.tanh(cell)
            outputs.append(output)
        results.append([tf.stack(outputs), tf.reverse_sequence(tf.stack(outputs), lengths, 0, 1)][way])
    return tf.concat(results, 2)


def test_the_hand_written_gradient_is_that_of_autodiff() -> None:
    generator = np.random.default_rng(0)
    shapes = ((T, B, N), (N, 8 * H), (8 * H,), (2, H, 4 * H), (T, B, 2 * H))
    inputs, kernel, bias, recurrent, upstream = (tf.constant(generator.normal(size=one), tf.float32) for one in shapes)
    lengths = tf.constant([7, 3, 5])
    real = tf.transpose(tf.sequence_mask(lengths, T, tf.float32))[:, :, None]  # beyond, outputs mean nothing
    results = []
    for layer in (lstm.bidirectional, plain_lstm):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel, bias, recurrent])
            outputs = layer(inputs, lengths, kernel, bias, recurrent) * real
        gradients = tape.gradient(outputs, [inputs, kernel, bias, recurrent], output_gradients=upstream)
        results.append((outputs, *gradients))

    for ours, derived in zip(*results, strict=True):
        assert np.abs(derived).max() > 0.1
        assert np.allclose(ours, derived, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_changes_nothing(stride: int) -> None:
    network = model.Network(replace(SMALL, frame_stride=stride))
    features = np.random.default_rng(0).normal(size=(1, 20, 26)).astype(np.float32)
    padded = np.concatenate([features, np.zeros((1, 30, 26), np.float32)], 1)

    alone = network.logits(features, tf.constant([20])).numpy()
    among = network.logits(padded, tf.constant([20])).numpy()

    assert alone.shape == (20, 1, 29)
    assert np.abs(alone - among[:20]).max() < 1e-5


def test_a_stride_of_two_sees_pairs_of_frames() -> None:
    network = model.Network(replace(SMALL, frame_stride=2))
    features = np.random.default_rng(0).normal(size=(1, 21, 26)).astype(np.float32)
    windows = np.pad(features[0], ((9, 10), (0, 0)))
    h1, b1 = network.weights["h1"].numpy(), network.weights["b1"].numpy()
    seen = np.stack([np.tensordot(windows[start : start + 19], h1, 2) + b1 for start in range(0, 21, 2)])

    for name in ("h2", "h3"):
        network.weights[name].assign(np.eye(*network.weights[name].shape))
    received: list[Any] = []

    def layer(inputs: Any, lengths: Any, *_: Any) -> Any:
        received.extend([inputs, lengths])
        return inputs

    assert network.logits(features, tf.constant([21]), layer=layer).shape == (21, 1, 29)

    assert np.allclose(received[0][:, 0, :8], np.maximum(seen, 0), atol=1e-5)
    assert received[1].numpy().tolist() == [11]


def test_the_lstm_for_gpus_gives_the_same_logits_and_gradients() -> None:
    network = model.Network(replace(SMALL, relu_clip=1.0))
    network.weights["lstm_bias"].assign(np.random.default_rng(1).normal(size=64))  # each gate another one
    features = np.random.default_rng(0).normal(size=(3, 20, 26)).astype(np.float32)
    lengths = tf.constant([20, 13, 7])
    within = tf.cast(tf.range(20)[:, tf.newaxis] < lengths, tf.float32)[:, :, tf.newaxis]
    results = []
    for layer in (network.lstm, cudnn.Bidirectional(16, 8)):
        with tf.GradientTape() as tape:
            logits = network.logits(features, lengths, layer=layer) * within
            total = tf.reduce_sum(logits**2)
        results.append([logits, *tape.gradient(total, list(network.weights.values()))])

    for ours, theirs in zip(*results, strict=True):
        assert np.abs(ours).max() > 0
        assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_dropout_follows_its_seed_and_is_off_without_one() -> None:
    network = model.Network(SMALL)
    features, lengths = np.ones((1, 20, 26), np.float32), tf.constant([20])

    def logits(seed: tuple[int, int] | None) -> Any:
        return network.logits(features, lengths, None if seed is None else tf.constant(seed)).numpy()

    assert np.array_equal(logits((1, 2)), logits((1, 2)))
    assert not np.array_equal(logits((1, 2)), logits((1, 3)))
    assert np.array_equal(logits(None), logits(None))


def test_the_seed_decides_the_first_weights() -> None:
    one, same = model.initial_weights(SMALL), model.initial_weights(SMALL)
    other = model.initial_weights(from_environment({"ds_n_hidden": "8", "ds_random_seed": "1"}))

    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["h1"], other["h1"])


def test_initializer_normal_applies_to_the_dense_layers_only() -> None:
    weights = model.initial_weights(from_environment({"ds_preset": "2016", "ds_n_hidden": "64"}))
    usual = model.initial_weights(from_environment({"ds_n_hidden": "64"}))

    for name in ("h1", "h2", "h3", "h5", "h6"):
        assert weights[name].std() == pytest.approx(0.046875, rel=0.1)
        assert 0.02 < weights[name.replace("h", "b")].std() < 0.08
        assert not usual[name.replace("h", "b")].any()
    assert weights["lstm_kernel"].max() == pytest.approx(usual["lstm_kernel"].max(), rel=0.01)
    assert np.array_equal(weights["lstm_bias"], usual["lstm_bias"])


def test_the_count_of_parameters_is_that_of_the_layers() -> None:
    n, cells, classes = 8, 8, 29
    dense = 494 * n + n + n * n + n + n * 2 * cells + 2 * cells + 2 * cells * n + n + n * classes + classes
    recurrent = 2 * (2 * cells * 4 * cells + cells * 4 * cells + 4 * cells)

    assert model.Network(SMALL).parameter_count() == dense + recurrent


def test_one_cycle_rises_over_a_tenth_and_falls_to_zero() -> None:
    rates = [optimizer.learning_rate(SMALL, step, 100) for step in range(100)]

    assert max(rates) == rates[9] == rates[10] == SMALL.learning_rate
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 0.001 * SMALL.learning_rate


def test_a_constant_rate_is_constant() -> None:
    constant = from_environment({"ds_schedule": "constant"})

    assert {optimizer.learning_rate(constant, step, 10) for step in range(10)} == {constant.learning_rate}


def test_adam_agrees_with_keras() -> None:
    generator = np.random.default_rng(0)
    start, gradients = generator.normal(size=4), generator.normal(size=(5, 4))
    ours, theirs = tf.Variable(start, dtype=tf.float32), tf.Variable(start, dtype=tf.float32)
    adam = optimizer.Adam({"w": ours}, from_environment({"ds_clip_norm": "0"}))
    keras = tf.keras.optimizers.Adam(0.1, epsilon=1e-8)

    for step, gradient in enumerate(gradients, 1):
        value = tf.constant(gradient, tf.float32)
        adam.apply({"w": value}, tf.constant(0.1), tf.constant(float(step)))
        keras.apply_gradients([(value, theirs)])

    assert np.allclose(ours, theirs, atol=1e-5)


def test_the_dropout_mask_keeps_its_share_and_the_sum() -> None:
    mask = model._dropout_mask(tf.constant((999, 101)), tf.constant(64), tf.constant((1, 2))).numpy()

    assert mask.shape == (999, 101)
    assert (mask == 0).mean() == pytest.approx(0.25, abs=0.01)
    assert mask.mean() == pytest.approx(1, abs=0.01)


def test_the_clipped_relu_has_a_gradient_between_its_bounds_alone() -> None:
    values = tf.constant([-1.0, 0.5, 19.99, 20.0, 25.0])
    with tf.GradientTape() as tape:
        tape.watch(values)
        clipped = model._clipped_relu(values, tf.constant(20.0))

    assert clipped.numpy().tolist() == pytest.approx([0, 0.5, 19.99, 20, 20])
    assert tape.gradient(clipped, values).numpy().tolist() == [0, 1, 1, 0, 0]


def test_an_utterance_is_reversed_within_its_length() -> None:
    turn = cudnn._reversal(tf.constant([3, 2]), tf.constant(4))
    rows = tf.reshape(tf.constant([[[1], [10]], [[2], [20]], [[3], [0]], [[0], [0]]]), (-1, 1))

    turned = tf.gather(rows, turn).numpy().reshape(4, 2)

    assert turned.T.tolist() == [[3, 2, 1, 0], [20, 10, 0, 0]]
    assert tf.gather(turn, turn).numpy().tolist() == list(range(8))
