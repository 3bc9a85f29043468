"""An LSTM layer of both directions, stepped in one loop, or of one, with a hand-written gradient.

The LSTM is that of Hochreiter & Schmidhuber 1997 with the forget gate of Gers et al. 2000. TensorFlow's own gradient of
such a loop keeps every intermediate of every step on a stack and accumulates the weights' gradient step by step, which
costs five times the forward pass. Here a step's gradient is some twenty operations on what the step saved, and the
weights' gradient is one matrix product at the end: half the time. Half of what remains besides the products is copying.
So each step gathers its own rows, and nothing is reversed, stacked or split as a whole.

Shapes: T frames, B utterances, H cells per direction; 2 is (forwards, backwards), 1 in a layer of one direction. The
gates are in the order output, input, forget, candidate: those with a sigmoid first.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ..arrays import Tensor


def bidirectional(inputs: Tensor, lengths: Tensor, kernel: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
    """Return [T, B, 2H] outputs for [T, B, N] inputs; kernel [N, 8H], bias [8H], recurrent [2, H, 4H].

    Padding does not change an utterance's outputs; those beyond its length (lengths [B]) are meaningless.
    """
    cells = recurrent.shape[1]
    flat = tf.reshape(inputs, (-1, inputs.shape[2]))  # flat: a product with [T, B, N] takes three times as long
    projected = tf.reshape(tf.nn.bias_add(flat @ kernel, bias), (-1, 4 * cells))  # [T*B*2, 4H]
    taken, given = _rows(lengths, tf.shape(inputs)[0])
    taken = tf.ensure_shape(taken, (None, 2, inputs.shape[1]))  # TFLite needs a fixed B to be in the shape
    outputs = steps(projected, recurrent, taken, given)  # [T*B*2, H]
    return tf.reshape(outputs, (-1, tf.shape(inputs)[1], 2 * cells))


def forward(inputs: Tensor, _lengths: Tensor, kernel: Tensor, bias: Tensor, recurrent: Tensor) -> Tensor:
    """Return [T, B, H] outputs for [T, B, N] inputs; kernel [N, 4H], bias [4H], recurrent [1, H, 4H].

    An output depends on no later input, so the lengths [B] do not matter.
    """
    cells = recurrent.shape[1]
    flat = tf.reshape(inputs, (-1, inputs.shape[2]))
    projected = tf.nn.bias_add(flat @ kernel, bias)  # [T*B, 4H]
    count, batch = tf.shape(inputs)[0], tf.shape(inputs)[1]
    rows = tf.range(count * batch)  # in the order of the frames, which is that of the steps
    taken = tf.ensure_shape(tf.reshape(rows, (count, 1, batch)), (None, 1, inputs.shape[1]))
    return tf.reshape(steps(projected, recurrent, taken, rows), (count, batch, cells))


def carried(
    inputs: Tensor, kernel: Tensor, bias: Tensor, recurrent: Tensor, state: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return ([T, H] outputs, output, cell) of one utterance's next [T, N] inputs, as `forward` would.

    The `state` [1, H] is the (output, cell) before them; zeros at the start. Without a gradient.
    """
    count = tf.shape(inputs)[0]
    projected = tf.nn.bias_add(inputs @ kernel, bias)  # [T, 4H]
    written = tf.TensorArray(tf.float32, count, element_shape=state[0].shape)

    def step(time: Tensor, output: Tensor, cell: Tensor, written: Tensor) -> tuple[Tensor, ...]:
        gates = tf.gather(projected, [time]) + output @ recurrent[0]  # [1, 4H]
        let_out, let_in, keep, candidate = tf.split(gates, 4, 1)
        cell = tf.sigmoid(keep) * cell + tf.sigmoid(let_in) * tf.tanh(candidate)
        output = tf.sigmoid(let_out) * tf.tanh(cell)
        return time + 1, output, cell, written.write(time, output)

    _, output, cell, written = tf.while_loop(lambda time, *_: time < count, step, (0, *state, written))
    return written.stack()[:, 0], output, cell


def _rows(lengths: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return (taken [T, 2, B], given [T*B*2]), which translate between the order of the frames and that of the steps.

    `taken`: which row of the [T*B*2] inputs each step reads. `given`: which row of the steps' [T*2*B] outputs is each
    frame's. Backwards starts at the end of the utterance, not of the batch, so padding comes last and has no effect.
    """
    time, utterance = tf.range(count)[:, None], tf.range(tf.shape(lengths)[0])  # [T, 1], [B]
    reversed_time = tf.where(time < lengths, lengths - 1 - time, time)  # [T, B]
    forward_time = time + tf.zeros_like(reversed_time)
    batch = tf.shape(lengths)[0]
    taken = tf.stack([2 * (forward_time * batch + utterance), 2 * (reversed_time * batch + utterance) + 1], 1)
    given = tf.stack([2 * forward_time * batch + utterance, (2 * reversed_time + 1) * batch + utterance], 2)
    return taken, tf.reshape(given, (-1,))


@tf.custom_gradient  # type: ignore[untyped-decorator]
def steps(projected: Tensor, recurrent: Tensor, taken: Tensor, given: Tensor) -> tuple[Tensor, Any]:
    """Return [T*B*2, H] outputs for [T*B*2, 4H] projected inputs and [2, H, 4H] weights; rows as in `_rows`."""
    ways, cells = recurrent.shape[:2]
    count, batch = tf.shape(taken)[0], tf.shape(taken)[2]
    start, weights = tf.zeros((ways, batch, cells), projected.dtype), tf.unstack(recurrent)
    sizes = (3 * cells, cells, cells, cells, cells)  # of what a step saves for its gradient; see `values`
    kept = [tf.TensorArray(start.dtype, count, element_shape=(ways, taken.shape[2], size)) for size in sizes]

    def step(time: Tensor, output: Tensor, cell: Tensor, *kept: Tensor) -> tuple[Tensor, ...]:
        gates = tf.gather(projected, tf.gather(taken, time)) + _each_way(output, weights)  # [2, B, 4H]
        opened, candidate = tf.split(gates, (3 * cells, cells), 2)
        opened, candidate = tf.sigmoid(opened), tf.tanh(candidate)
        let_out, let_in, keep = tf.split(opened, 3, 2)
        before, cell = cell, keep * cell + let_in * candidate
        squashed = tf.tanh(cell)
        output = let_out * squashed
        values = (opened, candidate, before, squashed, output)
        return time + 1, output, cell, *(array.write(time, value) for array, value in zip(kept, values, strict=True))

    _, _, _, *kept = tf.while_loop(lambda time, *_: time < count, step, (0, start, start, *kept))
    output = kept.pop().stack()  # [T, 2, B, H]

    def gradient(upstream: Tensor) -> tuple[Tensor | None, ...]:
        of_steps = _of_steps(upstream, kept, recurrent, taken)  # [T, 2, B, 4H]
        of_projected = tf.gather(tf.reshape(of_steps, (-1, 4 * cells)), given)
        return of_projected, _of_recurrent(output, of_steps), None, None

    return tf.gather(tf.reshape(output, (-1, cells)), given), gradient


def _of_steps(upstream: Tensor, kept: list[Tensor], recurrent: Tensor, taken: Tensor) -> Tensor:
    """Return the [T, 2, B, 4H] gradient with respect to each step's gates, given the [T*B*2, H] one of the outputs.

    `kept`: for each step its gates after the sigmoid [2, B, 3H]; its candidate, previous cell and tanh(cell) [2, B, H].
    """
    ways, cells = recurrent.shape[:2]
    count, batch = tf.shape(taken)[0], tf.shape(taken)[2]
    written = tf.TensorArray(upstream.dtype, count, element_shape=(ways, taken.shape[2], 4 * cells))
    transposed = tf.unstack(tf.transpose(recurrent, (0, 2, 1)))  # 2 of [4H, H]

    def step(time: Tensor, from_output: Tensor, from_cell: Tensor, written: Tensor) -> tuple[Tensor, ...]:
        opened, candidate, before, squashed = (array.read(time) for array in kept)
        let_out, let_in, keep = tf.split(opened, 3, 2)
        of_output = tf.gather(upstream, tf.gather(taken, time)) + from_output  # [2, B, H]
        of_cell = tf.raw_ops.TanhGrad(y=squashed, dy=of_output * let_out) + from_cell
        of_opened = tf.concat([of_output * squashed, of_cell * candidate, of_cell * before], 2)
        of_sigmoid = tf.raw_ops.SigmoidGrad(y=opened, dy=of_opened)
        of_gates = tf.concat([of_sigmoid, tf.raw_ops.TanhGrad(y=candidate, dy=of_cell * let_in)], 2)  # [2, B, 4H]
        return time - 1, _each_way(of_gates, transposed), of_cell * keep, written.write(time, of_gates)

    start = tf.zeros((ways, batch, cells), upstream.dtype)
    return tf.while_loop(lambda time, *_: time >= 0, step, (count - 1, start, start, written))[3].stack()


def _each_way(rows: Tensor, weights: list[Tensor]) -> Tensor:
    """Return [2, B, M] of [2, B, N] rows and two [N, M] weights: at 128 cells 10 % faster than a batched product."""
    return tf.stack([one @ weight for one, weight in zip(tf.unstack(rows), weights, strict=True)])


def _of_recurrent(output: Tensor, of_steps: Tensor) -> Tensor:
    """Return the [2, H, 4H] gradient of the recurrent weights, given [T, 2, B, H] outputs and [T, 2, B, 4H] gates'.

    One direction at a time: the rows are copied anyway, and a product of two matrices is faster than a batched one.
    """
    before = tf.concat([tf.zeros_like(output[:1]), output[:-1]], 0)
    pairs = zip(tf.unstack(before, axis=1), tf.unstack(of_steps, axis=1), strict=True)
    return tf.stack([tf.matmul(_flat(rows), _flat(of_rows), transpose_a=True) for rows, of_rows in pairs])


def _flat(values: Tensor) -> Tensor:
    return tf.reshape(values, (-1, values.shape[-1]))
