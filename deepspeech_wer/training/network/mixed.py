"""Mixed precision (Micikevicius et al. 2018, arXiv:1710.03740): a training step that computes in 16 bits.

The weights, Adam's averages, the last layer and the loss stay in 32 bits, and so does all that is scored or exported.

Many gradients are too small for float16. So the loss is multiplied by a scale, and the gradients are divided by it.
Where one is then too large for float16, the step is skipped and the scale halved; many steps without that double it.
bfloat16 has the range of float32 and needs no scale. tf.keras.mixed_precision.LossScaleOptimizer follows the same rule,
with the same numbers, for optimizers of Keras alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from ..arrays import Tensor
from ..parameter_types import BFLOAT16, FLOAT16, OFF
from ..parameters import Parameters

FIRST, LEAST, MOST = 2.0**15, 1.0, 2.0**24  # of the scale
PATIENCE = 2000  # steps in a row that are not skipped, before the scale is doubled
PREFIX = "loss_scale."  # of its arrays in a checkpoint
TENSOR_CORES = {FLOAT16: (7, 0), BFLOAT16: (8, 0)}  # compute capability that computes such products faster


def dtype(parameters: Parameters) -> Any:
    """Return the type of number that a training step computes in."""
    precision = parameters.automatic_mixed_precision
    return tf.float32 if precision == OFF else tf.as_dtype(precision)


def doubt(parameters: Parameters) -> str | None:
    """Return why mixed precision does not make a training faster here, in a line; None if it does, or is off."""
    precision = parameters.automatic_mixed_precision
    if precision == OFF:
        return None
    told = f"ds_automatic_mixed_precision={precision}: "
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"{told}there is no GPU here, and on most processors a step takes longer than in float32"
    for gpu in gpus:
        details = tf.config.experimental.get_device_details(gpu)
        found, needed = details.get("compute_capability"), TENSOR_CORES[precision]
        if found is not None and found < needed:
            name, (has, wants) = details.get("device_name", gpu.name), (".".join(map(str, v)) for v in (found, needed))
            return f"{told}{name} has compute capability {has}: it takes {wants} to be faster than in float32"
    return None


class LossScale(tf.Module):  # type: ignore[misc]
    """The factor of the loss, and which steps it skips. Where none is needed, it changes no operation of a step."""

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(name="loss_scale")
        self.is_on = parameters.automatic_mixed_precision == FLOAT16
        self.state: dict[str, Any] = {}  # by the names in a checkpoint
        if self.is_on:
            self._scale = tf.Variable(FIRST, trainable=False)
            self._good = tf.Variable(0, trainable=False)  # steps since the scale changed
            self._skipped = tf.Variable(0, trainable=False)  # steps of the whole training
            parts = {"scale": self._scale, "good": self._good, "skipped": self._skipped}
            self.state = {PREFIX + name: variable for name, variable in parts.items()}

    def scaled(self, loss: Tensor) -> Tensor:
        """Return the loss whose gradients `unscaled` takes."""
        return loss * self._scale if self.is_on else loss

    def unscaled(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Return the gradients of the loss, given those of the scaled one."""
        return [one / self._scale for one in gradients] if self.is_on else list(gradients)

    def judge(self, gradients: Sequence[Tensor], number: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return (number of the update, from 1 and a float; whether it is kept) of step `number`, from 0.

        None: there is no scale. The scale of the next step follows. At the least scale no step is skipped: what is not
        finite there is not for want of range.
        """
        done = tf.cast(number + 1, tf.float32)
        if not self.is_on:
            return done, None
        scale, good, skipped = (tf.convert_to_tensor(one) for one in (self._scale, self._good, self._skipped))
        finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(one)) for one in gradients])
        kept = finite | (scale <= LEAST)
        is_due = finite & (good + 1 >= PATIENCE)
        grown = tf.where(is_due, tf.minimum(2 * scale, MOST), scale)
        _assign(self._scale, tf.where(finite, grown, tf.maximum(scale / 2, LEAST)))
        _assign(self._good, tf.where(is_due | ~finite, 0, good + 1))
        _assign(self._skipped, tf.where(kept, skipped, skipped + 1))
        return done - tf.cast(skipped, tf.float32), kept

    def fitted(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Return the arrays of a checkpoint with this state, whatever precision it is of."""
        others = {name: one for name, one in arrays.items() if not name.startswith(PREFIX)}
        return others | {name: arrays.get(name, one.numpy()) for name, one in self.state.items()}

    def skipped(self) -> int:
        """Return how many steps of the whole training were skipped."""
        return int(self._skipped.numpy()) if self.is_on else 0

    def tell(self, epoch: int, before: int) -> None:
        """Print how many steps of an epoch were skipped, if any were, given those before it."""
        if (count := self.skipped() - before) > 0:
            steps = "1 step" if count == 1 else f"{count} steps"
            print(
                f"epoch {epoch}: {steps} skipped, whose gradients float16 cannot hold: the loss is now scaled by "
                f"{self._scale.numpy():g}",
                flush=True,
            )


def _assign(variable: Any, value: Tensor) -> None:
    """Assign to this device's copy: all devices have the same gradients, and so the same values."""
    tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)
