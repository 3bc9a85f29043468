"""The DeepSpeech network: three dense layers over a window of frames, a bidirectional LSTM, two dense layers, CTC.

The architecture is that of Hannun et al. 2014, arXiv:1412.5567, as the 2016 notebook built it. Only the computation
differs: the context window is a convolution, which needs no 19-fold copy of the input, and the LSTM is lstm.py's.

With ds_lookahead the LSTM goes forwards alone, and its window ends with the frame itself. What follows is seen by the
row convolution of lookahead.py behind the LSTM.

Shapes: B utterances, T frames, H cells per direction.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from ..arrays import Floats, Tensor
from ..batches import Batch
from ..parameters import N_CONTEXT, N_INPUT, Parameters
from ..workers import ALONE, Workers
from . import ctc, cudnn, devices, lookahead, lstm, mixed
from .devices import Share

WINDOW = 2 * N_CONTEXT + 1  # frames
BATCH = (  # a batch as a graph takes it; None is any size, so that one trace serves all batches
    tf.TensorSpec((None, None, N_INPUT), tf.float32),  # [B, T, 26] features
    tf.TensorSpec((None,), tf.int32),  # [B] lengths
    tf.TensorSpec((None, 2), tf.int64),  # [letters, 2] places
    tf.TensorSpec((None,), tf.int32),  # [letters] values
    tf.TensorSpec((2,), tf.int64),  # (B, longest label)
)


def batch_arrays(batch: Batch) -> tuple[NDArray[Any], ...]:
    """Return the arrays of a batch, in the order of BATCH."""
    return batch.features, batch.lengths, batch.label_places, batch.label_values, batch.label_shape


@dataclass(frozen=True)
class _Dropping:
    """What decides which outputs of a layer are dropped, besides the layer."""

    seed: Tensor  # [2]
    dropped: Tensor  # of 256
    share: Share | None


class Network(tf.Module):  # type: ignore[misc]
    """The network's weights, and the computation from features to logits."""

    def __init__(self, parameters: Parameters, workers: Workers = ALONE) -> None:
        super().__init__(name="deepspeech")
        self.workers = workers
        self.frame_stride, self.lookahead = parameters.frame_stride, parameters.lookahead
        self.relu_clip = parameters.relu_clip
        self.dropout_rate = parameters.dropout_rate
        self.training_dtype = mixed.dtype(parameters)
        self.strategy = devices.strategy(parameters, workers)
        self.executor = devices.executor(self.strategy, parameters.threads)
        self.plain_lstm: Any = lstm.forward if self.lookahead else lstm.bidirectional  # which can be exported
        self.lstm = self.plain_lstm  # for training and scoring; cudnn's on a GPU
        with self.strategy.scope():
            if tf.config.list_logical_devices("GPU"):
                kind = cudnn.Forward if self.lookahead else cudnn.Bidirectional
                self.lstm = kind(parameters.n_hidden_3, parameters.n_cell_dim, tf.float32, self.training_dtype)
            self.weights: dict[str, Any] = {
                name: tf.Variable(value, name=name) for name, value in initial_weights(parameters).items()
            }

    def on_one_device(self, parameters: Parameters) -> Network:
        """Return this network; if it is on several devices, a copy: the weights of several cannot be exported."""
        if self.strategy.num_replicas_in_sync == 1:
            return self
        copy = Network(replace(parameters, devices=1))
        for name, weight in self.weights.items():
            copy.weights[name].assign(weight.numpy())
        return copy

    def parameter_count(self) -> int:
        return sum(int(np.prod(weight.shape)) for weight in self.weights.values())

    def score(self, batch: Batch) -> tuple[Floats, Floats]:
        """Return ([B] CTC losses in nats, [T, B, labels] logits) of a batch, without dropout."""
        with tf.experimental.function_executor_type(self.executor):
            losses, logits = self._score(batch_arrays(batch))
        return losses.numpy(), logits.numpy()

    @tf.function(input_signature=(BATCH,))  # type: ignore[untyped-decorator]
    def _score(self, batch: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        features, lengths, *labels = batch
        logits = self.logits(features, lengths, layer=self.lstm)
        return ctc.losses(logits, lengths, *labels), logits

    def logits(
        self,
        features: Tensor,
        lengths: Tensor,
        seed: Tensor | None = None,
        layer: Any = None,
        *,
        drop: Tensor | bool = True,
        share: Share | None = None,
    ) -> Tensor:
        """Return [T, B, labels] logits for [B, T, 26] features; frames beyond `lengths` [B] are meaningless.

        With a seed ([2] integers) this is a training step: with `drop`, there is dropout, and the same seed drops the
        same outputs; and it may compute in 16 bits. `layer` is the LSTM; the default can be exported. `share` says
        which utterances of a batch these are, if not all: then the same outputs are dropped as in the whole batch.
        """
        layer = layer or self.plain_lstm
        dropped = tf.where(drop, min(round(self.dropout_rate * 256), 255), 0)
        dropping = _Dropping(seed, dropped, share) if seed is not None and self.dropout_rate else None
        dtype = tf.float32 if seed is None else self.training_dtype
        weights = self._weights_as(dtype)
        frames, batch, stride = tf.shape(features)[1], tf.shape(features)[0], self.frame_stride
        steps = -(-frames // stride)  # S steps of `stride` frames each
        before = WINDOW - 1 if self.lookahead else N_CONTEXT - (stride - 1) // 2  # centres the window on its step
        after = steps * stride - frames + WINDOW - stride - before
        # Not tf.pad: with a computed width it loses the static number of coefficients, which TFLite needs.
        around = (tf.zeros((batch, before, N_INPUT)), features, tf.zeros((batch, after, N_INPUT)))
        padded = tf.cast(tf.concat(around, 1), dtype)  # [B, T', 26]
        rows = self.dense(padded, dropping)  # [S*B, n_hidden_3]
        rows = layer(
            tf.reshape(rows, (steps, batch, rows.shape[1])),
            -(-lengths // stride),
            weights["lstm_kernel"],
            weights["lstm_bias"],
            weights["lstm_recurrent"],
        )  # [S, B, 2H]
        if self.lookahead:
            rows = lookahead.rows_ahead(rows, lengths, weights["lookahead"])  # [S, B, H]
        rows = self.labels(tf.reshape(rows, (-1, rows.shape[2])), dropping)  # [S*B, stride*29]
        if stride == 1:  # the rest would be the identity, whose gradient copies everything twice
            return tf.reshape(rows, (steps, batch, rows.shape[1]))
        rows = tf.reshape(rows, (steps, batch, stride, rows.shape[1] // stride))
        rows = tf.transpose(rows, (0, 2, 1, 3))  # [S, stride, B, 29]
        return tf.reshape(rows, (steps * stride, batch, rows.shape[3]))[:frames]

    def dense(self, padded: Tensor, dropping: _Dropping | None = None) -> Tensor:
        """Return the [S*B, n_hidden_3] outputs of dense layers 1 to 3 for [B, T', 26], the ends of windows included."""
        # Frames are the rows of an image and utterances its columns, so the result is time-major.
        weights, stride = self._weights_as(padded.dtype), self.frame_stride
        image = tf.transpose(padded, (1, 0, 2))[tf.newaxis]  # [1, T', B, 26]
        windowed = tf.nn.conv2d(image, weights["h1"][:, tf.newaxis], strides=(stride, 1), padding="VALID")
        # Flat from here on: each layer is one product of two matrices, and so is its gradient.
        rows = tf.reshape(windowed, (-1, windowed.shape[3]))  # [S*B, n_hidden_1]
        rows = self._dense_end(rows + weights["b1"], dropping, 1)
        rows = self._dense_end(rows @ weights["h2"] + weights["b2"], dropping, 2)  # [S*B, n_hidden_2]
        return self._dense_end(rows @ weights["h3"] + weights["b3"], dropping, 3)

    def labels(self, rows: Tensor, dropping: _Dropping | None = None) -> Tensor:
        """Return the [S*B, stride*29] logits for the LSTM's [S*B, 2H] outputs: dense layers 5 and 6."""
        weights = self._weights_as(rows.dtype)
        rows = self._dense_end(rows @ weights["h5"] + weights["b5"], dropping, 5)  # [S*B, n_hidden_5]
        # Always in 32 bits, as the loss: Tensor Cores want multiples of 8, and 29 labels take no time.
        return tf.cast(rows, tf.float32) @ self.weights["h6"] + self.weights["b6"]

    def _weights_as(self, dtype: Any) -> dict[str, Any]:
        """Return the weights as another type of number; their gradients are of the weights themselves."""
        return self.weights if dtype == tf.float32 else {n: tf.cast(one, dtype) for n, one in self.weights.items()}

    def _dense_end(self, values: Tensor, dropping: _Dropping | None, layer: int) -> Tensor:
        """Finish a dense layer after its matrix product: min(relu, relu_clip) and dropout."""
        clipped = _clipped_relu(values, tf.constant(self.relu_clip, values.dtype))
        if dropping is None:
            return clipped
        seed, dropped, share = dropping.seed + tf.constant((0, layer)), dropping.dropped, dropping.share
        if share is None:
            return clipped * tf.cast(_dropout_mask(tf.shape(values), dropped, seed), values.dtype)
        steps, width = tf.shape(values)[0] // tf.shape(share.rows)[0], tf.shape(values)[1]
        whole = _dropout_mask(tf.stack((steps, share.batch, width)), dropped, seed)
        return clipped * tf.cast(tf.reshape(tf.gather(whole, share.rows, axis=1), tf.shape(values)), values.dtype)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _clipped_relu(values: Tensor, most: Tensor) -> tuple[Tensor, Any]:
    """min(relu(values), most), by one kernel for the value and one for the gradient."""
    clipped = tf.clip_by_value(values, 0.0, most)
    return clipped, lambda upstream: (tf.raw_ops.Relu6Grad(gradients=upstream, features=clipped * (6 / most)), None)


def _dropout_mask(shape: Tensor, dropped: Tensor, seed: Tensor) -> Tensor:
    """Return factors: 0 with a probability of `dropped` / 256, else the inverse of the probability to be kept.

    One random byte per number takes a third of the time of tf.nn.dropout with its random floats.
    """
    count = tf.reduce_prod(shape)
    words = tf.random.stateless_uniform(((count + 3) // 4,), seed, None, None, tf.int32, alg="philox")
    kept = tf.reshape(tf.bitcast(words, tf.uint8), (-1,))[:count] >= tf.cast(dropped, tf.uint8)
    return tf.reshape(tf.cast(kept, tf.float32) * tf.cast(256 / (256 - dropped), tf.float32), shape)


def initial_weights(parameters: Parameters) -> dict[str, Floats]:
    """Return the initial value of every weight, by name; `random_seed` decides them.

    Biases are 0, those of the forget gates 1. With initializer normal, as in 2016, weights and biases of the dense
    layers are drawn from one normal distribution; the LSTM's are not affected.
    """
    rng = np.random.default_rng(parameters.random_seed)
    cells, ways = parameters.n_cell_dim, 1 if parameters.lookahead else 2
    shapes: dict[str, tuple[int, ...]] = {
        "h1": (WINDOW, N_INPUT, parameters.n_hidden_1),
        "h2": (parameters.n_hidden_1, parameters.n_hidden_2),
        "h3": (parameters.n_hidden_2, parameters.n_hidden_3),
        "lstm_kernel": (parameters.n_hidden_3, ways * 4 * cells),  # (forwards, backwards), four gates each
        "lstm_recurrent": (ways, cells, 4 * cells),
        "h5": (ways * cells, parameters.n_hidden_5),
        "h6": (parameters.n_hidden_5, parameters.frame_stride * parameters.n_character),
    }
    weights = {name: _draw(rng, parameters, name, shape) for name, shape in shapes.items()}
    for name in ("h1", "h2", "h3", "h5", "h6"):
        bias = np.zeros(weights[name].shape[-1], np.float32)
        if parameters.initializer == "normal":
            bias = rng.normal(0, parameters.default_stddev, bias.shape).astype(np.float32)
        weights[name.replace("h", "b")] = bias
    bias = np.zeros((ways, 4, cells), np.float32)
    bias[:, 2] = 1  # the forget gates: remembering from the start speeds up learning (Jozefowicz et al. 2015)
    weights["lstm_bias"] = bias.reshape(-1)
    if parameters.lookahead:
        weights["lookahead"] = lookahead.initial_weights(parameters.lookahead, cells)
    return weights


def _draw(rng: np.random.Generator, parameters: Parameters, name: str, shape: tuple[int, ...]) -> Floats:
    if parameters.initializer == "normal" and not name.startswith("lstm"):
        return rng.normal(0, parameters.default_stddev, shape).astype(np.float32)
    if name == "lstm_recurrent":  # orthogonal: each gate's block preserves the norm of the state
        cells = shape[1]
        blocks = [np.linalg.qr(rng.normal(size=(cells, cells)))[0] for _ in range(4 * shape[0])]
        ways = (np.concatenate(blocks[first : first + 4], 1) for first in range(0, len(blocks), 4))
        return np.stack(list(ways)).astype(np.float32)
    inputs = int(np.prod(shape[:-1]))
    gates = shape[-1] // parameters.n_cell_dim  # four for each direction
    outputs = shape[-1] // (gates if name == "lstm_kernel" else 1)
    limit = np.sqrt(6 / (inputs + outputs))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
