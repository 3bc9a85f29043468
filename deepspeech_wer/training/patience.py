"""What a training decides from its validation losses: to lower the rate, to stop, and which epoch is tested.

All of it follows from the history alone, so that a resumed training decides the same. It also tells the time to go.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from .epochs import Epoch
from .parameters import Parameters

FALL = 0.2  # of the learning rate
RECENT = 5  # epochs, from which the time of the next ones follows


def best_epoch(history: Sequence[Epoch]) -> int | None:
    """Return the number of the epoch with the lowest validation loss, the first of equal ones; None if none was."""
    measured = [(one.validation_loss, one.epoch) for one in history if one.validation_loss is not None]
    return min(measured)[1] if measured else None


def tested_epoch(history: Sequence[Epoch], parameters: Parameters) -> int:
    """Return the number of the epoch whose weights are tested."""
    return (best_epoch(history) if parameters.keep_best else None) or len(history)


def is_over(history: Sequence[Epoch], parameters: Parameters) -> bool:
    """Whether the training ends here: all epochs are done, or `early_stop` of them brought nothing."""
    if len(history) >= parameters.epochs:
        return True
    best = best_epoch(history)
    is_measured = bool(history) and history[-1].validation_loss is not None
    return bool(parameters.early_stop and best and is_measured and len(history) - best >= parameters.early_stop)


def factor(history: Sequence[Epoch], parameters: Parameters) -> float:
    """Return by what the learning rate of the next epoch is multiplied: a fifth for each plateau so far."""
    if not parameters.plateau:
        return 1.0
    found, since, best = 1.0, 0, float("inf")
    for one in history:
        since += 1
        if one.validation_loss is not None and one.validation_loss < best:
            best, since = one.validation_loss, 0
        elif one.validation_loss is not None and since >= parameters.plateau:
            found, since = found * FALL, 0
    return found


def seconds_to_go(history: Sequence[Epoch], parameters: Parameters) -> float:
    """Return how long the other epochs take, if none ends it early.

    Epochs with and without a validation, which takes its time, are estimated by the last few of their kind.
    """
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for one in history:
        kinds[one.validation_loss is not None].append(one.seconds)
    usual = {kind: statistics.median(times[-RECENT:]) for kind, times in kinds.items() if times}
    total = 0.0
    for number in range(len(history) + 1, parameters.epochs + 1):
        step = parameters.validation_step
        is_validated = bool(step) and (number % step == 0 or number == parameters.epochs)
        total += usual.get(is_validated, usual.get(not is_validated, 0.0))
    return total


def told(seconds: float) -> str:
    """Return a time as people say it, rounded as it deserves."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
