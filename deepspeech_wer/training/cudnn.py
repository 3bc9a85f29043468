"""The LSTM of lstm.py by keras.layers.LSTM, which runs cuDNN's one kernel for all frames where there is a GPU.

Without a GPU that layer steps through a loop of its own, slower than lstm.py's; so the tests can hold the two against
each other anywhere. The weights stay the network's own: a checkpoint goes on with or without a GPU.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from .arrays import Tensor


class Bidirectional:
    """Called like lstm.bidirectional, for inputs of `width` and so many cells each way."""

    def __init__(self, width: int, cells: int) -> None:
        self._layer = tf.keras.layers.LSTM(cells, return_sequences=True)
        self._layer.build((None, None, width))

    def __call__(self, inputs: Tensor, lengths: Tensor, kernel: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
        """[T, B, 2H] outputs over [T, B, N] inputs; kernel [N, 8H], bias [8H], recurrent [2, H, 4H]."""
        turn = _turning(lengths, tf.shape(inputs)[0])
        kernels, biases, recurrents = tf.split(kernel, 2, 1), tf.split(bias, 2), tf.unstack(recurrent)
        forwards = self._one_way(inputs, kernels[0], biases[0], recurrents[0])
        backwards = self._one_way(_reorder(inputs, turn), kernels[1], biases[1], recurrents[1])
        return tf.concat([forwards, _reorder(backwards, turn)], 2)

    def _one_way(self, inputs: Tensor, *weights: Tensor) -> Tensor:
        kernel, bias, recurrent = (_gates_as_in_keras(one) for one in weights)
        # Without a mask, which cuDNN would take for lengths: the padding is at the end, where it disturbs nothing.
        states = [state.value for state in self._layer.non_trainable_variables]
        outputs, _ = self._layer.stateless_call([kernel, recurrent, bias], states, tf.transpose(inputs, (1, 0, 2)))
        return tf.transpose(outputs, (1, 0, 2))


def _turning(lengths: Tensor, count: Tensor) -> Tensor:
    """[T*B]: the order of the rows of a flat [T, B] that turns each utterance round within its own length.

    So the padding stays at the end, where it disturbs nothing. Turned twice is as before.
    """
    time = tf.range(count)[:, None]  # [T, 1]
    turned = tf.where(time < lengths, lengths - 1 - time, time)  # [T, B]
    batch = tf.shape(lengths)[0]
    return tf.reshape(turned * batch + tf.range(batch), (-1,))


def _reorder(values: Tensor, order: Tensor) -> Tensor:
    """The rows of a flattened [T, B, N] in another order.

    tf.reverse_sequence goes number by number, and the gradient of tf.gather adds up what it need not.
    """
    shape = tf.shape(values)
    return tf.reshape(_reordered(tf.reshape(values, (-1, values.shape[2])), order), shape)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _reordered(rows: Tensor, order: Tensor) -> tuple[Tensor, Any]:
    """The rows [R, N] in an order [R] that is its own inverse: copies of whole rows both ways."""
    return tf.gather(rows, order), lambda upstream: (tf.gather(upstream, order), None)


def _gates_as_in_keras(weights: Tensor) -> Tensor:
    """[..., 4H] weights of the gates output, input, forget, candidate in Keras' order."""
    output, let_in, forget, candidate = tf.split(weights, 4, -1)
    return tf.concat([let_in, forget, candidate, output], -1)
