"""Event files of TensorBoard: for `ds_log_variables`, which costs time and disk space, and for `board`."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import tensorflow as tf

from .arrays import Floats
from .epochs import Epoch

FLUSH_EVERY = 600_000  # ms; each epoch flushes anyway
NUMBERS = count()


class Events:
    """An event file.

    Calls TensorFlow's raw operations: tf.summary.scalar and .histogram import the tensorboard package, which only a
    reader of the files should need.
    """

    def __init__(self, directory: Path) -> None:
        # Writers of one name share a file, and no name is a name, too: the directory would stay empty.
        self._writer = tf.raw_ops.SummaryWriter(shared_name=f"events-{next(NUMBERS)}", container="")
        tf.raw_ops.CreateSummaryFileWriter(
            writer=self._writer, logdir=str(directory), max_queue=100, flush_millis=FLUSH_EVERY, filename_suffix=""
        )

    def scalar(self, epoch: int, name: str, value: float) -> None:
        """Add a point of a curve."""
        step = tf.constant(epoch, tf.int64)
        tf.raw_ops.WriteScalarSummary(writer=self._writer, step=step, tag=name, value=float(value))

    def histogram(self, epoch: int, name: str, values: Any) -> None:
        """Add the distribution of a tensor."""
        step = tf.constant(epoch, tf.int64)
        tf.raw_ops.WriteHistogramSummary(writer=self._writer, step=step, tag=name, values=values)

    def flush(self) -> None:
        """Write what was added."""
        tf.raw_ops.FlushSummaryWriter(writer=self._writer)

    def close(self) -> None:
        """Write what was added, and close the file."""
        tf.raw_ops.CloseSummaryWriter(writer=self._writer)


class Summaries:
    """Writes event files into `<run>/tensorboard`."""

    def __init__(self, run_dir: Path) -> None:
        self._events = Events(run_dir / "tensorboard")

    def write(self, epoch: Epoch, weights: dict[str, Any], gradient_norms: Floats) -> None:
        """Write the epoch's figures, and each weight's histogram and gradient norm in the last step."""
        scalars = {"train_loss": epoch.train_loss, "train_wer": epoch.train_wer, "learning_rate": epoch.learning_rate}
        scalars |= {"validation_loss": epoch.validation_loss, "validation_wer": epoch.validation_wer}
        scalars |= {f"gradient_norms/{name}": norm for name, norm in zip(weights, gradient_norms, strict=True)}
        for name, value in scalars.items():
            if value is not None:
                self._events.scalar(epoch.epoch, name, value)
        for name, weight in weights.items():
            self._events.histogram(epoch.epoch, f"weights/{name}", weight)
        self._events.flush()
