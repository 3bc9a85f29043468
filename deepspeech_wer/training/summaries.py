"""TensorBoard summaries for `ds_log_variables`. They cost time and disk space, and serve debugging."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tensorflow as tf

from .arrays import Floats
from .epochs import Epoch

FLUSH_EVERY = 600_000  # ms; each epoch flushes anyway


class Summaries:
    """Writes event files into `<run>/tensorboard`.

    Calls TensorFlow's raw operations: tf.summary.scalar and .histogram import the tensorboard package, which only a
    reader of the files should need.
    """

    def __init__(self, run_dir: Path) -> None:
        self._writer = tf.raw_ops.SummaryWriter(shared_name="", container="")
        tf.raw_ops.CreateSummaryFileWriter(
            writer=self._writer,
            logdir=str(run_dir / "tensorboard"),
            max_queue=100,
            flush_millis=FLUSH_EVERY,
            filename_suffix="",
        )

    def write(self, epoch: Epoch, weights: dict[str, Any], gradient_norms: Floats) -> None:
        """Write the epoch's figures, and each weight's histogram and gradient norm in the last step."""
        scalars = {"train_loss": epoch.train_loss, "train_wer": epoch.train_wer, "learning_rate": epoch.learning_rate}
        scalars |= {"validation_loss": epoch.validation_loss, "validation_wer": epoch.validation_wer}
        scalars |= {f"gradient_norms/{name}": norm for name, norm in zip(weights, gradient_norms, strict=True)}
        step = tf.constant(epoch.epoch, tf.int64)
        for name, value in scalars.items():
            if value is not None:
                tf.raw_ops.WriteScalarSummary(writer=self._writer, step=step, tag=name, value=float(value))
        for name, weight in weights.items():
            tf.raw_ops.WriteHistogramSummary(writer=self._writer, step=step, tag=f"weights/{name}", values=weight)
        tf.raw_ops.FlushSummaryWriter(writer=self._writer)
