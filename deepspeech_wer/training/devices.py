"""Several devices that share each batch: what runs on each, and how the shares are cut and put together again.

Each device keeps a copy of the weights and takes every n-th utterance; the gradients are summed over the devices, so
that all copies make the same update, that of the whole batch.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ..errors import UsageTrouble
from .arrays import Tensor


def strategy(wanted: int) -> Any:
    """The tf.distribute.Strategy for so many devices; 0: all GPUs, or the one processor.

    Where there are no GPUs the devices are the logical ones that threads.limit made of the processor. Raises
    UsageTrouble when there are fewer devices than wanted.
    """
    gpus = tf.config.list_logical_devices("GPU")
    found = gpus or tf.config.list_logical_devices("CPU")
    count = wanted or max(1, len(gpus))
    if count > len(found):
        raise UsageTrouble(f"ds_devices={count}: expected at most {len(found)}, the devices found here")
    if count == 1:
        return tf.distribute.get_strategy()
    # The collective ways wait for each other within a pool of threads, which may be of one.
    way = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([device.name for device in found[:count]], cross_device_ops=way)


def executor(strategy: Any, threads: int) -> str:
    """How a graph's operations are run, as tf.experimental.function_executor_type takes it.

    On one processor and one thread they take their turns, without the queue that TensorFlow else keeps for many: a
    sixteenth of a training step at n_cell_dim 64, whose operations are short.
    """
    alone = threads == 1 and strategy.num_replicas_in_sync == 1 and not tf.config.list_logical_devices("GPU")
    return "SINGLE_THREADED_EXECUTOR" if alone else ""


def share(tensors: tuple[Tensor, ...], number: Tensor, count: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """Share `number` of `count` of a batch as model.BATCH lists it, and the [b] weights of its utterances.

    All shares are of one size: where the utterances do not suffice, some are there again, with weight 0.
    """
    features, lengths, places, values, shape = tensors
    batch = tf.shape(lengths)[0]
    wanted = number + count * tf.range(-(-batch // count))  # [b]
    rows = wanted % batch
    # Dense, -1 where no letter is: a row of a sparse tensor cannot be picked.
    labels = tf.scatter_nd(places, values + 1, shape) - 1  # [B, longest label]
    labels = tf.gather(labels, rows)
    own_places = tf.where(labels >= 0)
    own_shape = tf.stack([tf.shape(rows, tf.int64)[0], shape[1]])
    own = (tf.gather(features, rows), tf.gather(lengths, rows), own_places, tf.gather_nd(labels, own_places), own_shape)
    return own, tf.cast(wanted < batch, tf.float32)


def joined(shares: list[Tensor], axis: int, batch: Tensor) -> Tensor:
    """The shares' results, whose `axis` is the utterances, in the order of the batch."""
    together = tf.stack(shares, axis + 1)  # [..., b, count, ...]
    sizes = tf.shape(together)
    flat = tf.reshape(together, tf.concat([sizes[:axis], [-1], sizes[axis + 2 :]], 0))
    return tf.gather(flat, tf.range(batch), axis=axis)
