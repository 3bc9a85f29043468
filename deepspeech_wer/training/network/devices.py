"""Data parallelism: how a batch is split over several devices, and how their results are merged.

Each device keeps a copy of the weights and takes every n-th utterance. The gradients are summed over the devices, so
that all copies make the same update, that of the whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ...errors import UsageTrouble
from ..arrays import Tensor
from ..parameters import Parameters
from ..workers import ALONE, Workers


@dataclass(frozen=True)
class Share:
    """Which utterances of a batch a device has. All devices have as many: where they do not suffice, some repeat."""

    rows: Tensor  # [b] places in the batch
    is_own: Tensor  # [b] False: a repeated utterance, which does not count
    batch: Tensor  # utterances of the whole batch


def strategy(parameters: Parameters, workers: Workers = ALONE) -> Any:
    """Return the tf.distribute.Strategy for `devices` of them on each host; 0: all GPUs, or the processor.

    Without GPUs, the devices are the logical ones that `threads.limit` made of the processor; with several workers it
    is one device. Raises UsageTrouble if there are fewer devices than wanted, or fewer utterances in a batch.
    """
    wanted, most = parameters.devices, parameters.train_batch_size // workers.count
    if workers.count > 1:
        return _of_several_hosts(parameters, most, workers)
    gpus = tf.config.list_logical_devices("GPU")
    found = gpus or tf.config.list_logical_devices("CPU")
    count = wanted or max(1, min(len(gpus), most))
    check(parameters, len(found), 1)
    if count == 1:
        return tf.distribute.get_strategy()
    # Collective operations wait for each other in a thread pool, which may have only one thread.
    way = None if gpus else tf.distribute.ReductionToOneDevice()
    return tf.distribute.MirroredStrategy([device.name for device in found[:count]], cross_device_ops=way)


def _of_several_hosts(parameters: Parameters, most: int, workers: Workers) -> Any:
    """Return the strategy of several workers. It must be made before any operation runs: then it cannot be any more."""
    gpus = tf.config.list_physical_devices("GPU")
    check(parameters, max(1, len(gpus)), workers.count)
    used = gpus[: parameters.devices or most]
    workers.agree({"the number of its GPUs": len(used)}, "set ds_devices to a number that all of them have")
    tf.config.set_visible_devices(used, "GPU")
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(workers.addresses)}),
        task_type="worker",
        task_id=workers.index,
        rpc_layer="grpc",
    )
    return tf.distribute.MultiWorkerMirroredStrategy(resolver)


def check(parameters: Parameters, found: int, workers: int) -> None:
    """Raise UsageTrouble for more devices than are found here, or than there are utterances in a batch."""
    wanted, batch = parameters.devices, parameters.train_batch_size
    if wanted > found:
        raise UsageTrouble(f"ds_devices={wanted}: expected at most {found}, the devices found here")
    least = max(1, wanted) * workers
    if batch < least:
        of_workers = f", {max(1, wanted)} in each of {workers} workers" if workers > 1 else ""
        raise UsageTrouble(
            f"ds_train_batch_size={batch}: expected at least {least}, an utterance for each device{of_workers}: "
            "raise it, or train on fewer"
        )


def executor(strategy: Any, threads: int) -> str:
    """Return the executor of a graph's operations, for tf.experimental.function_executor_type.

    On one processor with one thread the operations run in sequence, without TensorFlow's queue for several threads. At
    n_cell_dim 64, whose operations are short, that saves a sixteenth of a training step.
    """
    alone = threads == 1 and strategy.num_replicas_in_sync == 1 and not tf.config.list_logical_devices("GPU")
    return "SINGLE_THREADED_EXECUTOR" if alone else ""


def shard(tensors: tuple[Tensor, ...], number: Tensor, count: int) -> tuple[tuple[Tensor, ...], Share]:
    """Return shard `number` of `count` of a batch, as in model.BATCH, and which of its utterances these are."""
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
    return own, Share(rows, wanted < batch, batch)


def spread(values: Tensor, share: Share, size: int) -> Tensor:
    """Return [size] with the [b] values of a share at the places of its own utterances, and 0 elsewhere.

    The sum over all shares has each utterance's value. Its size is that of the largest batch, since devices exchange
    only arrays of one size.
    """
    own = tf.where(share.is_own, values, 0.0)  # not a product: infinity times 0 is no number
    return tf.scatter_nd(share.rows[:, tf.newaxis], own, (size,))


def rows(number: int, count: int, batch: int) -> range:
    """Return which utterances of a batch are those of shard `number` of `count`, less the repeated ones."""
    return range(number, batch, count)


def gpu_count(strategy: Any) -> int:
    """Return the number of GPUs that a training uses, those of all workers."""
    return int(strategy.num_replicas_in_sync) if tf.config.list_logical_devices("GPU") else 0
