"""What a training has been, epoch by epoch: the lines of history.json."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One line of history.json. None: not measured in this epoch."""

    epoch: int  # from 1
    train_loss: float  # mean of the utterances, in nats, with dropout
    train_wer: float | None  # of the training batches as they passed, with dropout: 2016's last_train_wer
    validation_loss: float | None
    validation_wer: float | None
    learning_rate: float  # of the last step
    seconds: float
    cpu_seconds: float
