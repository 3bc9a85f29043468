"""The network of one direction: what it sees, its gradient, and its steps through a stream."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tone_corpus import SMALL, prepare_sets

from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training import checkpoint, train, transfer
from deepspeech_wer.training.arrays import Floats
from deepspeech_wer.training.network import cudnn, lookahead, lstm
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import from_environment

AHEAD = 5
GIVEN = {"ds_n_hidden": "8", "ds_lookahead": str(AHEAD), "ds_relu_clip": "1"}


@pytest.fixture(scope="module")
def network() -> Network:
    """A network whose every weight differs from 0."""
    one = Network(from_environment(GIVEN))
    rng = np.random.default_rng(1)
    for name in ("lookahead", "lstm_bias", "b1"):
        one.weights[name].assign(rng.normal(size=one.weights[name].shape))
    return one


def noise(*shape: int) -> Floats:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def logits(network: Network, features: Floats) -> Floats:
    found: Floats = network.logits(features, tf.constant([features.shape[1]])).numpy()
    return found


def test_a_frame_depends_on_what_was_and_on_so_many_frames_after_it(network: Network) -> None:
    features = noise(1, 40, 26)
    changed = features.copy()
    changed[:, 20] += 1

    differs = np.abs(logits(network, features) - logits(network, changed)).max((1, 2)) > 0

    assert differs.tolist() == [frame >= 20 - AHEAD for frame in range(40)]


def test_padding_changes_nothing(network: Network) -> None:
    features = noise(1, 20, 26)
    padded = np.concatenate([features, noise(1, 30, 26)], 1)

    among = network.logits(padded, tf.constant([20])).numpy()

    assert np.abs(logits(network, features) - among[:20]).max() < 1e-5


def test_the_row_convolution_is_the_sum_of_the_paper() -> None:
    outputs, weights, lengths = noise(9, 2, 3), noise(4, 3), np.array([9, 6], np.int32)

    found = lookahead.rows_ahead(outputs, lengths, tf.constant(weights)).numpy()

    for time in range(9):
        for row, length in enumerate(lengths):
            terms = [weights[ahead] * outputs[time + ahead, row] for ahead in range(4) if time + ahead < length]
            assert np.allclose(found[time, row], sum(terms, np.zeros(3)), atol=1e-6)


def test_it_begins_with_each_frame_by_itself() -> None:
    outputs = noise(9, 2, 3)
    found = lookahead.rows_ahead(outputs, np.array([9, 9], np.int32), tf.constant(lookahead.initial_weights(4, 3)))
    assert np.array_equal(found, outputs)


@pytest.mark.parametrize("size", [1, 2, 7, 19, 60])
def test_steps_of_any_size_give_the_logits_of_the_whole(network: Network, size: int) -> None:
    features = noise(1, 60, 26)
    padded = np.concatenate([np.zeros((1, 18, 26), np.float32), features], 1)
    state = tf.zeros((lookahead.state_size(8, AHEAD),))
    found = []
    for start in range(0, 60, size):
        some, state = lookahead.step(network, tf.constant(padded[:, start : min(60, start + size) + 18]), state)
        found.append(some.numpy()[:-AHEAD])
        rest = some.numpy()[-AHEAD:]

    assert np.abs(np.concatenate([*found, rest])[AHEAD:] - logits(network, features)[:, 0]).max() < 1e-5


def test_the_gradient_of_one_direction_is_that_of_autodiff() -> None:
    shapes = ((7, 3, 4), (4, 20), (20,), (1, 5, 20))
    given = [tf.constant(np.random.default_rng(one).normal(size=shape), tf.float32) for one, shape in enumerate(shapes)]

    def plain(inputs: Any, kernel: Any, bias: Any, recurrent: Any) -> Any:
        rows = [
            lstm.carried(inputs[:, row], kernel, bias, recurrent, (tf.zeros((1, 5)), tf.zeros((1, 5))))[0]
            for row in range(3)
        ]
        return tf.stack(rows, 1)

    layers = [lambda inputs, *weights: lstm.forward(inputs, None, *weights), plain]
    layers.append(lambda inputs, *weights: cudnn.Forward(4, 5)(inputs, None, *weights))
    results = []
    for layer in layers:
        with tf.GradientTape() as tape:
            tape.watch(given)
            outputs = layer(*given)
            total = tf.reduce_sum(outputs * noise(7, 3, 5))
        results.append((outputs, *tape.gradient(total, given)))

    for ours, derived, keras in zip(*results, strict=True):
        assert np.abs(ours).max() > 0.1
        assert np.allclose(ours, derived, atol=1e-5)
        assert np.allclose(ours, keras, atol=1e-5)


def test_a_checkpoint_of_the_other_kind_is_refused_in_one_line(tones: Any, tmp_path: Any, capsys: Any) -> None:
    places = {"ds_dataset_path": str(tones), "ds_checkpoint_dir": str(tmp_path / "kept")}
    for ahead in (0, AHEAD):
        given = from_environment({**SMALL, **places, "ds_epochs": "1", "ds_lookahead": str(ahead)})
        items = prepare_sets(given, tmp_path)
        train.train(Network(given), items["train"][:8], items["dev"], given, tmp_path)
    assert "differs in lookahead, normalisation" in capsys.readouterr().out  # each is kept, none is mixed
    assert checkpoint.load(tmp_path / "kept", "checkpoint.1.npz")

    for ahead, file in ((0, "checkpoint.npz"), (AHEAD, "checkpoint.1.npz"), (AHEAD + 1, "checkpoint.npz")):
        source = {"ds_load_checkpoint_dir": str(tmp_path / "kept" / file), "ds_lookahead": str(ahead)}
        other = from_environment({**SMALL, **source})
        with pytest.raises(Trouble, match=rf"its ds_lookahead is \d+: expected {ahead}$"):
            transfer.take(Network(other).weights, other)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ds_lookahead": "-1"}, "expected a whole number, 0 to 100"),
        ({"ds_lookahead": "3", "ds_normalisation": "each"}, "ds_normalisation='each': expected running"),
        ({"ds_normalisation": "running"}, "ds_normalisation='running': expected running with ds_lookahead"),
        ({"ds_lookahead": "3", "ds_frame_stride": "2"}, "ds_frame_stride=2: expected 1 with ds_lookahead"),
    ],
)
def test_contradictions_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageTrouble, match=said):
        from_environment(given)


def test_it_normalises_by_the_frames_so_far_unless_told_otherwise() -> None:
    for preset in ("", "2016"):
        assert from_environment({"ds_lookahead": "3", "ds_preset": preset}).normalisation == "running"
    assert from_environment({"ds_lookahead": "0"}).normalisation == "each"
