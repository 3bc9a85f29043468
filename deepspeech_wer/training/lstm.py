"""A bidirectional LSTM layer that steps both directions in one loop, with its gradient written out.

TensorFlow's own gradient of such a loop keeps every intermediate of every step on a stack and adds up the weights'
gradient step by step, which costs five times the forward pass. Written out, what does not depend on the later steps is
computed for all steps at once, the loop keeps one product a step, and the weights' gradient is one product at the end:
half the time (Hochreiter & Schmidhuber 1997; Gers et al. 2000 for the forget gate).

Shapes: T frames, B utterances, H cells each way; 2 is (forwards, backwards). Gates stand in the order output, input,
forget, candidate: those with a sigmoid first, those whose gradient comes through the cell last.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any  # tf.Tensor; TensorFlow ships no types


def bidirectional(inputs: Tensor, lengths: Tensor, kernel: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
    """[T, B, 2H] outputs over [T, B, N] inputs; kernel [N, 8H], bias [8H], recurrent [2, H, 4H].

    Exact for each utterance whatever it is padded to: the outputs beyond its length (lengths [B]) mean nothing.
    """
    count, batch = tf.shape(inputs)[0], tf.shape(inputs)[1]
    cells = recurrent.shape[1]
    turn = turning(lengths, count)
    flat = tf.reshape(inputs, (-1, inputs.shape[2]))  # one product of two matrices: a third of the time of [T, B, N]
    halves = zip((flat, reorder(flat, turn)), tf.split(kernel, 2, 1), tf.split(bias, 2), strict=True)
    projected = [
        tf.reshape(tf.nn.bias_add(rows @ half, start), (count, batch, 4 * cells)) for rows, half, start in halves
    ]
    first, second = tf.unstack(steps(tf.stack(projected, 1), recurrent), axis=1)  # [T, B, H] each
    second = tf.reshape(reorder(tf.reshape(second, (-1, cells)), turn), (count, batch, cells))
    return tf.concat([first, second], 2)


def turning(lengths: Tensor, count: Tensor) -> Tensor:
    """[T*B]: the order of the rows of a flat [T, B] that turns each utterance round within its own length.

    So the padding stays at the end, where it disturbs nothing. Turned twice is as before.
    """
    time = tf.range(count)[:, None]  # [T, 1]
    turned = tf.where(time < lengths, lengths - 1 - time, time)  # [T, B]
    batch = tf.shape(lengths)[0]
    return tf.reshape(turned * batch + tf.range(batch), (-1,))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def reorder(rows: Tensor, order: Tensor) -> tuple[Tensor, Any]:
    """The rows [R, N] in an order [R] that is its own inverse: copies of whole rows both ways.

    tf.reverse_sequence goes number by number, and the gradient of tf.gather adds up what it need not.
    """
    return tf.gather(rows, order), lambda upstream: (tf.gather(upstream, order), None)


@tf.custom_gradient  # type: ignore[untyped-decorator]
def steps(projected: Tensor, recurrent: Tensor) -> tuple[Tensor, Any]:
    """[T, 2, B, H] outputs for [T, 2, B, 4H] projected inputs and [2, H, 4H] recurrent weights."""
    cells = recurrent.shape[1]
    start = tf.zeros_like(projected[0, :, :, :cells])  # [2, B, H]
    count = tf.shape(projected)[0]
    inputs = tf.TensorArray(tf.float32, size=count).unstack(projected)
    gates_out, cells_out, outputs = (
        # TFLite needs to know B here where it is fixed.
        tf.TensorArray(tf.float32, size=count, element_shape=(2, start.shape[1], width))
        for width in (4 * cells, cells, cells)
    )

    def step(time: Tensor, output: Tensor, cell: Tensor, *arrays: Tensor) -> tuple[Tensor, ...]:
        gates = inputs.read(time) + output @ recurrent  # [2, B, 4H]
        opened, candidate = tf.sigmoid(gates[:, :, : 3 * cells]), tf.tanh(gates[:, :, 3 * cells :])
        cell = opened[:, :, 2 * cells :] * cell + opened[:, :, cells : 2 * cells] * candidate
        output = opened[:, :, :cells] * tf.tanh(cell)
        values = (tf.concat([opened, candidate], 2), cell, output)
        return time + 1, output, cell, *(array.write(time, value) for array, value in zip(arrays, values, strict=True))

    state = (0, start, start, gates_out, cells_out, outputs)
    *_, gates_out, cells_out, outputs = tf.while_loop(lambda time, *_: time < count, step, state)
    result = outputs.stack()

    def gradient(upstream: Tensor) -> tuple[Tensor, Tensor]:
        return _gradient(upstream, gates_out.stack(), cells_out.stack(), result, recurrent)

    return result, gradient


def _gradient(
    upstream: Tensor, gates: Tensor, cell: Tensor, output: Tensor, recurrent: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients with regard to `projected` and `recurrent` of `steps`."""
    cells, count = recurrent.shape[1], tf.shape(gates)[0]
    opened, let_in, kept, candidate = tf.split(gates, 4, 3)  # [T, 2, B, H] each
    squashed = tf.tanh(cell)
    before = tf.concat([tf.zeros_like(cell[:1]), cell[:-1]], 0)
    to_gates = tf.concat(  # [T, 2, B, 4H]: from the output to its gate, and from the cell to its three
        [
            squashed * opened * (1 - opened),
            candidate * let_in * (1 - let_in),
            before * kept * (1 - kept),
            let_in * (1 - candidate * candidate),
        ],
        3,
    )
    to_cell = opened * (1 - squashed * squashed)  # [T, 2, B, H]
    of_time = [tf.TensorArray(tf.float32, count).unstack(one) for one in (upstream, to_cell, kept, to_gates)]
    written = tf.TensorArray(tf.float32, count, element_shape=gates.shape[1:])
    transposed = tf.transpose(recurrent, (0, 2, 1))  # [2, 4H, H]

    def step(time: Tensor, from_output: Tensor, from_cell: Tensor, written: Tensor) -> tuple[Tensor, ...]:
        upstream, to_cell, kept, to_gates = (one.read(time) for one in of_time)
        of_output = upstream + from_output  # [2, B, H]
        of_cell = of_output * to_cell + from_cell
        of_gates = tf.concat([of_output, of_cell, of_cell, of_cell], 2) * to_gates  # [2, B, 4H]
        return time - 1, of_gates @ transposed, of_cell * kept, written.write(time, of_gates)

    start = tf.zeros_like(upstream[0])
    state = (count - 1, start, start, written)
    of_projected = tf.while_loop(lambda time, *_: time >= 0, step, state)[3].stack()  # [T, 2, B, 4H]
    outputs_before = tf.concat([tf.zeros_like(output[:1]), output[:-1]], 0)
    # Each way apart: its rows are copied anyway, and the product of two matrices is quicker than that of two pairs.
    of_recurrent = [
        tf.matmul(tf.reshape(rows, (-1, cells)), tf.reshape(of_rows, (-1, 4 * cells)), transpose_a=True)
        for rows, of_rows in zip(tf.unstack(outputs_before, axis=1), tf.unstack(of_projected, axis=1), strict=True)
    ]
    return of_projected, tf.stack(of_recurrent)
