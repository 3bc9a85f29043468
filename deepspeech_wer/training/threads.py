"""What numpy and TensorFlow read of their surroundings when they are imported: set here, before that.

They would use all processor threads. And they obey variables and files that their user has set for other work.
"""

from __future__ import annotations

import os

from .quiet import quiet_start

NUMPY = ("OMP_", "OPENBLAS_", "GOTO_", "MKL_", "KMP_", "BLIS_", "NPY_")  # prefixes of variables
TENSORFLOW = ("TF_", "TF2_", "XLA_", "KERAS_", "ONEDNN_", "DNNL_", "NVIDIA_TF32_OVERRIDE")
TENSORFLOW_KEPT = ("TF_CPP_", "TF_FORCE_GPU_ALLOW_GROWTH", "TF_GPU_ALLOCATOR")  # the log, and memory on a shared GPU
NOWHERE = f"{os.devnull}/keras"  # can neither be read nor made


def limit(threads: int, devices: int = 0) -> None:
    """Limit numpy and TensorFlow to so many threads. Must be called before either is imported.

    Without a GPU, TensorFlow sees the processor as so many logical `devices`.

    One thread is the default: at these sizes a second one gains nothing, and only one thread gives the same losses to
    the last digit each time.
    """
    limit_numpy(threads)
    seal_tensorflow()
    with quiet_start():
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")  # logs a line for each way in which it finds none

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    if devices > 1 and not gpus:
        (processor,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * devices)


def limit_numpy(threads: int) -> None:
    """Limit numpy to so many threads. Must be called before numpy is imported: it starts one for each processor.

    Other settings of its libraries are forgotten.
    """
    _forget(NUMPY)
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)


def seal_tensorflow() -> None:
    """Forget flags that change TensorFlow's figures, and keep Keras from its user's configuration.

    Importing TensorFlow imports Keras, which fails for a keras.json that names a backend of former times. The network
    does not use Keras.
    """
    _forget(TENSORFLOW, kept=TENSORFLOW_KEPT)
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ["KERAS_HOME"] = NOWHERE


def _forget(prefixes: tuple[str, ...], kept: tuple[str, ...] = ()) -> None:
    for name in list(os.environ):
        if name.startswith(prefixes) and not name.startswith(kept):
            del os.environ[name]
