"""What is measured in each epoch of a training: the entries of history.json."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Epoch:
    """One entry of history.json. None: not measured in this epoch."""

    epoch: int  # from 1
    train_loss: float  # mean over the utterances, in nats, with dropout
    train_wer: float | None  # of the training batches, with dropout: last_train_wer of 2016
    validation_loss: float | None
    validation_wer: float | None
    learning_rate: float  # of the last step
    seconds: float
    cpu_seconds: float
