"""How many processor threads the job uses. The libraries would use all of them, and decide when they are imported."""

from __future__ import annotations

import os

from .quiet import quiet_start


def limit(threads: int, devices: int = 0) -> None:
    """Limit numpy and TensorFlow to so many threads. Must be called before either is imported.

    Without a GPU, TensorFlow sees the processor as so many logical `devices`.

    One thread is the default: at these sizes a second one gains nothing, and only one thread gives the same losses to
    the last digit each time.
    """
    limit_numpy(threads)
    with quiet_start():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")  # logs a line for each way in which it finds none

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if devices > 1 and not gpus:
        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)


def limit_numpy(threads: int) -> None:
    """Limit numpy to so many threads. Must be called before numpy is imported: it starts one for each processor."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
