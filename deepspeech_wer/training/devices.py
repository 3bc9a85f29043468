"""Data parallelism: how a batch is split over several devices, and how their results are merged.

Each device keeps a copy of the weights and takes every n-th utterance. The gradients are summed over the devices, so
that all copies make the same update, that of the whole batch.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from ..errors import UsageTrouble
from .arrays import Tensor


def strategy(wanted: int) -> Any:
    """Return the tf.distribute.Strategy for so many devices; 0: all GPUs, or the processor.

    Without GPUs, the devices are the logical ones that `threads.limit` made of the processor. Raises UsageTrouble if
    there are fewer devices than wanted.
    """
    gpus = tf.config.list_logical_devices("GPU")
    found = gpus or tf.config.list_logical_devices("CPU")
    count = wanted or max(1, len(gpus))
    if count > len(found):
        raise UsageTrouble(f"ds_devices={count}: expected at most {len(found)}, the devices found here")
    if count == 1:
        return tf.distribute.get_strategy()
    # Collective operations wait for each other in a thread pool, which may have only one thread.
    way = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([device.name for device in found[:count]], cross_device_ops=way)


def executor(strategy: Any, threads: int) -> str:
    """Return the executor of a graph's operations, for tf.experimental.function_executor_type.

    On one processor with one thread the operations run in sequence, without TensorFlow's queue for several threads. At
    n_cell_dim 64, whose operations are short, that saves a sixteenth of a training step.
    """
    alone = threads == 1 and strategy.num_replicas_in_sync == 1 and not tf.config.list_logical_devices("GPU")
    return "SINGLE_THREADED_EXECUTOR" if alone else ""


def shard(tensors: tuple[Tensor, ...], number: Tensor, count: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return shard `number` of `count` of a batch, as in model.BATCH, and the [b] weights of its utterances.

    All shards have one size: where there are too few utterances, some are repeated with weight 0.
    """
    features, lengths, places, values, shape = tensors
    batch = tf.shape(lengths)[0]
    wanted = number + count * tf.range(-(-batch // count))  # [b]
    rows = wanted % batch
    # Dense, with -1 for padding: rows of a sparse tensor cannot be gathered.
    labels = tf.scatter_nd(places, values + 1, shape) - 1  # [B, longest label]
    labels = tf.gather(labels, rows)
    own_places = tf.where(labels >= 0)
    own_shape = tf.stack([tf.shape(rows, tf.int64)[0], shape[1]])
    own = (tf.gather(features, rows), tf.gather(lengths, rows), own_places, tf.gather_nd(labels, own_places), own_shape)
    return own, tf.cast(wanted < batch, tf.float32)


def merge(shards: list[Tensor], axis: int, batch: Tensor) -> Tensor:
    """Return the results of all shards in the order of the batch, without the repeated utterances; `axis` is theirs."""
    together = tf.stack(shards, axis + 1)  # [..., b, count, ...]
    sizes = tf.shape(together)
    flat = tf.reshape(together, tf.concat([sizes[:axis], [-1], sizes[axis + 2 :]], 0))
    return tf.gather(flat, tf.range(batch), axis=axis)


def gpu_count(wanted: int) -> int:
    """Return the number of GPUs that a training uses."""
    gpus = len(tf.config.list_logical_devices("GPU"))
    return min(wanted or gpus, gpus)
