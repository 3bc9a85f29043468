"""The network of one direction: its row convolution, and its steps through a stream with carried state.

The row convolution is that of Deep Speech 2 (Amodei et al. 2016, arXiv:1512.02595, section 3.6): each cell's output is
a weighted sum of that of its frame and of the N after it. It needs N + 1 weights a cell, where each frame more in the
input window needs 26 for each output of layer 1; and what it looks at has been through the LSTM, with all that came
before. All N frames are spent there: the window ends with the frame itself, since to CTC a shift of all letters is one.

Shapes: T frames, B utterances, H cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ..arrays import Floats, Tensor
from . import lstm


def initial_weights(frames: int, cells: int) -> Floats:
    """Return [N+1, H]: each frame by itself."""
    weights = np.zeros((frames + 1, cells), np.float32)
    weights[0] = 1
    return weights


def rows_ahead(outputs: Tensor, lengths: Tensor, weights: Tensor) -> Tensor:
    """Return the [T, B, H] row convolution of [T, B, H] outputs with [N+1, H] weights; 0 follows the [B] lengths."""
    count = tf.shape(outputs)[0]
    heard = tf.cast(tf.range(count)[:, tf.newaxis] < lengths, outputs.dtype)  # [T, B]
    padded = tf.pad(outputs * heard[:, :, tf.newaxis], ((0, weights.shape[0] - 1), (0, 0), (0, 0)))
    return tf.transpose(_convolved(tf.transpose(padded, (1, 0, 2)), weights), (1, 0, 2))


def _convolved(outputs: Tensor, weights: Tensor) -> Tensor:
    """Return [B, T, H] for [B, T+N, H] outputs and [N+1, H] weights: a twentieth of the time of N + 1 products."""
    image = outputs[:, :, tf.newaxis]  # [B, T+N, 1, H]
    return tf.nn.depthwise_conv2d(image, weights[:, tf.newaxis, :, tf.newaxis], (1, 1, 1, 1), "VALID")[:, :, 0]


def state_size(cells: int, frames: int) -> int:
    """Return how many numbers the state of `step` has."""
    return (2 + frames) * cells


def step(network: Any, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Return ([N+T, 29] logits, state) of the next T frames of one utterance, and of the N frames before them.

    The logits of the last N frames are those that they have if the utterance ends here; the T before do not change any
    more. `features` [1, 18+T, 26] are normalised, with the 18 frames before them, zeros at the start. `state` [(2+N)*H]
    is what the step before returned, zeros at the start: its first N logits are of no frame.
    """
    weights = network.weights
    cells = weights["lstm_recurrent"].shape[1]
    output, cell, waiting = tf.split(state, (cells, cells, network.lookahead * cells))
    outputs, *after = lstm.carried(
        network.dense(features),
        weights["lstm_kernel"],
        weights["lstm_bias"],
        weights["lstm_recurrent"],
        (output[tf.newaxis], cell[tf.newaxis]),
    )
    nothing = tf.zeros((network.lookahead, cells))
    outputs = tf.concat([tf.reshape(waiting, nothing.shape), outputs], 0)  # [N+T, H]
    logits = network.labels(_convolved(tf.concat([outputs, nothing], 0)[tf.newaxis], weights["lookahead"])[0])
    waiting = outputs[tf.shape(outputs)[0] - network.lookahead :]
    return logits, tf.concat([tf.reshape(one, (-1,)) for one in (*after, waiting)], 0)
