"""How many processor threads the job takes: decided here, before the libraries that would take them all."""

from __future__ import annotations

import os

from .quiet import quiet_start


def limit(threads: int, devices: int = 0) -> None:
    """Hold numpy and TensorFlow to so many threads. Must run before either is imported.

    Where there is no GPU, the processor is made into so many `devices`.

    One thread is the default: at these sizes a second one gains nothing, and one thread alone gives the same losses to
    the last digit each time.
    """
    limit_numpy(threads)
    with quiet_start():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")  # tells of each way not to find one

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if devices > 1 and not gpus:
        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)


def limit_numpy(threads: int) -> None:
    """Hold numpy alone to so many threads. Must run before it is imported: it would start one for each processor."""
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
