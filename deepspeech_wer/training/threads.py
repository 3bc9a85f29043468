"""How many processor threads the job takes: decided here, before the libraries that would take them all."""

from __future__ import annotations

import os


def limit(threads: int) -> None:
    """Hold numpy and TensorFlow to so many threads. Must run before either is imported.

    One thread is the default: at these sizes a second one gains nothing, and one thread alone gives the same losses to
    the last digit each time.
    """
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # or it greets in every log
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
