"""The DeepSpeech network: three dense layers over a window of frames, a bidirectional LSTM, two dense layers, CTC.

Architecture: Hannun et al. 2014, arXiv:1412.5567, as the 2016 notebook built it. What differs is how it is computed:
the context window is a convolution (the same weights without a 19-fold copy of the input), and both directions of the
LSTM step together in one loop.

Shapes: B utterances, T frames, H cells each way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .data import Batch
from .parameters import N_CONTEXT, N_INPUT, Parameters

Tensor = Any  # tf.Tensor; TensorFlow ships no types
WINDOW = 2 * N_CONTEXT + 1  # frames
BATCH = (  # a batch as a graph takes it: None is any size, so one trace serves all batches
    tf.TensorSpec((None, None, N_INPUT), tf.float32),  # [B, T, 26] features
    tf.TensorSpec((None,), tf.int32),  # [B] lengths
    tf.TensorSpec((None, 2), tf.int64),  # [letters, 2] places
    tf.TensorSpec((None,), tf.int32),  # [letters] values
    tf.TensorSpec((2,), tf.int64),  # (B, longest label)
)


def arguments(batch: Batch) -> tuple[NDArray[Any], ...]:
    """The arrays of a batch, in the order of BATCH."""
    return batch.features, batch.lengths, batch.label_places, batch.label_values, batch.label_shape


def ctc(logits: Tensor, lengths: Tensor, places: Tensor, values: Tensor, shape: Tensor) -> Tensor:
    """[B] CTC losses of [T, B, 29] logits (Graves et al. 2006).

    Sparse labels, no label lengths and the blank last: only so does TensorFlow choose its C++ kernel, which saves 110
    to 270 ms a step.
    """
    labels = tf.SparseTensor(places, values, shape)
    blank = logits.shape[-1] - 1
    return tf.nn.ctc_loss(labels, logits, label_length=None, logit_length=lengths, blank_index=blank)


class Network(tf.Module):  # type: ignore[misc]
    """The network's variables, and the way from features to logits."""

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(name="deepspeech")
        self.relu_clip = parameters.relu_clip
        self.dropout_rate = parameters.dropout_rate
        self.cells = parameters.n_cell_dim
        self.weights: dict[str, Any] = {
            name: tf.Variable(value, name=name) for name, value in initial_weights(parameters).items()
        }

    def parameter_count(self) -> int:
        return sum(int(np.prod(weight.shape)) for weight in self.weights.values())

    def score(self, batch: Batch) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """([B] CTC losses, [T, B] best label of each frame) of a batch, without dropout."""
        losses, paths = self._score(*arguments(batch))
        return losses.numpy(), paths.numpy()

    @tf.function(input_signature=BATCH)  # type: ignore[untyped-decorator]
    def _score(
        self, features: Tensor, lengths: Tensor, places: Tensor, values: Tensor, shape: Tensor
    ) -> tuple[Tensor, Tensor]:
        logits = self.logits(features, lengths)
        return ctc(logits, lengths, places, values, shape), tf.argmax(logits, 2)

    def logits(self, features: Tensor, lengths: Tensor, seed: Tensor | None = None) -> Tensor:
        """[T, B, 29] unnormalised log probabilities of [B, T, 26] features; frames beyond `lengths` [B] mean nothing.

        With a seed ([2] integers) dropout is on, and the same seed drops the same outputs.
        """
        weights = self.weights
        windowed = tf.nn.conv1d(features, weights["h1"], stride=1, padding="SAME")  # [B, T, n_hidden_1]
        layer = self._dense_end(windowed + weights["b1"], seed, 1)
        layer = self._dense_end(layer @ weights["h2"] + weights["b2"], seed, 2)  # [B, T, n_hidden_2]
        layer = self._dense_end(layer @ weights["h3"] + weights["b3"], seed, 3)  # [B, T, n_hidden_3]
        layer = self._both_ways(tf.transpose(layer, (1, 0, 2)), lengths)  # [T, B, 2H]
        layer = self._dense_end(layer @ weights["h5"] + weights["b5"], seed, 5)  # [T, B, n_hidden_5]
        return layer @ weights["h6"] + weights["b6"]  # [T, B, 29]

    def _dense_end(self, values: Tensor, seed: Tensor | None, layer: int) -> Tensor:
        clipped = tf.minimum(tf.nn.relu(values), self.relu_clip)
        if seed is None or not self.dropout_rate:
            return clipped
        own_seed = seed + tf.constant((0, layer))
        return tf.nn.experimental.stateless_dropout(clipped, self.dropout_rate, own_seed, rng_alg="philox")

    def _both_ways(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """[T, B, 2H] outputs of the LSTM over [T, B, n_hidden_3], forwards and backwards."""
        projected = [inputs @ self.weights[f"lstm_{way}"] + self.weights[f"lstm_{way}_bias"] for way in ("fw", "bw")]
        # Turning each utterance round within its own length keeps the padding at the end, where it disturbs nothing.
        projected[1] = tf.reverse_sequence(projected[1], lengths, seq_axis=0, batch_axis=1)
        outputs = self._loop(tf.stack(projected, 1))  # [T, 2, B, H]
        backward = tf.reverse_sequence(outputs[:, 1], lengths, seq_axis=0, batch_axis=1)
        return tf.concat([outputs[:, 0], backward], 2)

    def _loop(self, projected: Tensor) -> Tensor:
        """[T, 2, B, H] hidden states for [T, 2, B, 4H] projected inputs; gates: input, forget, output, cell."""
        cells, recurrent = self.cells, self.weights["lstm_recurrent"]  # [2, H, 4H]
        steps = tf.shape(projected)[0]
        inputs = tf.TensorArray(tf.float32, size=steps).unstack(projected)
        start = tf.zeros_like(projected[0, :, :, :cells])  # [2, B, H]
        # TFLite needs to know B here where it is fixed.
        outputs = tf.TensorArray(tf.float32, size=steps, element_shape=start.shape)

        def step(time: Tensor, hidden: Tensor, cell: Tensor, outputs: Tensor) -> tuple[Tensor, ...]:
            gates = inputs.read(time) + hidden @ recurrent  # [2, B, 4H]
            opened = tf.sigmoid(gates[:, :, : 3 * cells])
            cell = opened[:, :, cells : 2 * cells] * cell + opened[:, :, :cells] * tf.tanh(gates[:, :, 3 * cells :])
            hidden = opened[:, :, 2 * cells :] * tf.tanh(cell)
            return time + 1, hidden, cell, outputs.write(time, hidden)

        _, _, _, outputs = tf.while_loop(lambda time, *_: time < steps, step, (0, start, start, outputs))
        return outputs.stack()


def initial_weights(parameters: Parameters) -> dict[str, NDArray[np.float32]]:
    """Every weight's first value, by name, decided by `random_seed` alone; biases are 0, forget gates' are 1."""
    generator = np.random.default_rng(parameters.random_seed)
    cells = parameters.n_cell_dim
    shapes: dict[str, tuple[int, ...]] = {
        "h1": (WINDOW, N_INPUT, parameters.n_hidden_1),
        "h2": (parameters.n_hidden_1, parameters.n_hidden_2),
        "h3": (parameters.n_hidden_2, parameters.n_hidden_3),
        "lstm_fw": (parameters.n_hidden_3, 4 * cells),
        "lstm_bw": (parameters.n_hidden_3, 4 * cells),
        "lstm_recurrent": (2, cells, 4 * cells),
        "h5": (2 * cells, parameters.n_hidden_5),
        "h6": (parameters.n_hidden_5, parameters.n_character),
    }
    weights = {name: _draw(generator, parameters, name, shape) for name, shape in shapes.items()}
    for name in ("h1", "h2", "h3", "h5", "h6"):
        weights[name.replace("h", "b")] = np.zeros(weights[name].shape[-1], np.float32)
    for way in ("fw", "bw"):
        bias = np.zeros(4 * cells, np.float32)
        bias[cells : 2 * cells] = 1  # an LSTM that remembers from the start learns sooner
        weights[f"lstm_{way}_bias"] = bias
    return weights


def _draw(
    generator: np.random.Generator, parameters: Parameters, name: str, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    if parameters.initializer == "normal":
        return generator.normal(0, parameters.default_stddev, shape).astype(np.float32)
    if name == "lstm_recurrent":  # orthogonal: each gate's block keeps the length of the state it is given
        cells = shape[1]
        blocks = [np.linalg.qr(generator.normal(size=(cells, cells)))[0] for _ in range(8)]
        return np.stack([np.concatenate(blocks[:4], 1), np.concatenate(blocks[4:], 1)]).astype(np.float32)
    inputs = int(np.prod(shape[:-1]))
    outputs = shape[-1] // (4 if name.startswith("lstm") else 1)
    limit = np.sqrt(6 / (inputs + outputs))
    return generator.uniform(-limit, limit, shape).astype(np.float32)
