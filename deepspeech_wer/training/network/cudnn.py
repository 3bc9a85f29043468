"""The LSTM of lstm.py, computed by keras.layers.LSTM, which on a GPU runs one cuDNN kernel for all frames.

Without a GPU that layer runs a loop that is slower than lstm.py's, so tests can compare the two on any machine. The
weights stay in the network's own format: a checkpoint made with a GPU can be resumed without one, and vice versa.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ..arrays import Tensor


class _Layer:
    """An LSTM of Keras, for inputs of `width`, of each of the types of number given."""

    def __init__(self, width: int, cells: int, *types: Any) -> None:
        self._layers = {}
        for one in types or (tf.float32,):
            # Weights that are not used, but TensorFlow has no kernel that makes orthogonal ones of 16 bits.
            policy = one.name if one == tf.float32 else f"mixed_{one.name}"
            self._layers[one] = tf.keras.layers.LSTM(cells, return_sequences=True, dtype=policy)
            self._layers[one].build((None, None, width))

    def _one_way(self, inputs: Tensor, *weights: Tensor) -> Tensor:
        kernel, bias, recurrent = (_gates_as_in_keras(one) for one in weights)
        # Without a mask, which Keras would turn into sequence lengths: padding comes last and has no effect.
        layer = self._layers[inputs.dtype]
        states = [state.value for state in layer.non_trainable_variables]
        outputs, _ = layer.stateless_call([kernel, recurrent, bias], states, tf.transpose(inputs, (1, 0, 2)))
        return tf.transpose(outputs, (1, 0, 2))


class Forward(_Layer):
    """Called like `lstm.forward`, for inputs of `width`."""

    def __call__(self, inputs: Tensor, _lengths: Tensor, kernel: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
        """Return [T, B, H] outputs for [T, B, N] inputs; kernel [N, 4H], bias [4H], recurrent [1, H, 4H]."""
        return self._one_way(inputs, kernel, bias, recurrent[0])


class Bidirectional(_Layer):
    """Called like `lstm.bidirectional`, for inputs of `width` and `cells` per direction."""

    def __call__(self, inputs: Tensor, lengths: Tensor, kernel: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
        """Return [T, B, 2H] outputs for [T, B, N] inputs; kernel [N, 8H], bias [8H], recurrent [2, H, 4H]."""
        order = _reversal(lengths, tf.shape(inputs)[0])
        kernels, biases, recurrents = tf.split(kernel, 2, 1), tf.split(bias, 2), tf.unstack(recurrent)
        forwards = self._one_way(inputs, kernels[0], biases[0], recurrents[0])
        backwards = self._one_way(_reorder(inputs, order), kernels[1], biases[1], recurrents[1])
        return tf.concat([forwards, _reorder(backwards, order)], 2)


def _reversal(lengths: Tensor, count: Tensor) -> Tensor:
    """Return [T*B], the order of the rows of a flat [T, B] that reverses each utterance within its own length.

    Padding stays at the end. The order is its own inverse.
    """
    time = tf.range(count)[:, None]  # [T, 1]
    reversed_time = tf.where(time < lengths, lengths - 1 - time, time)  # [T, B]
    batch = tf.shape(lengths)[0]
    return tf.reshape(reversed_time * batch + tf.range(batch), (-1,))


def _reorder(values: Tensor, order: Tensor) -> Tensor:
    """Return the rows of [T, B, N] in another order.

    tf.reverse_sequence copies number by number, and the gradient of tf.gather adds where copying is enough.
    """
    shape = tf.shape(values)
    return tf.reshape(_reordered(tf.reshape(values, (-1, values.shape[2])), order), shape)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def _reordered(rows: Tensor, order: Tensor) -> tuple[Tensor, Any]:
    """Return rows [R, N] in an order [R] that is its own inverse; forward and gradient copy whole rows."""
    return tf.gather(rows, order), lambda upstream: (tf.gather(upstream, order), None)


def _gates_as_in_keras(weights: Tensor) -> Tensor:
    """Return [..., 4H] weights of the gates output, input, forget, candidate in the order of Keras."""
    let_out, let_in, keep, candidate = tf.split(weights, 4, -1)
    return tf.concat([let_in, keep, candidate, let_out], -1)
