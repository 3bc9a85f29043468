"""Adam (Kingma & Ba 2014, arXiv:1412.6980) with its state in plain variables, and the learning rate schedule.

TensorFlow's fused kernel is called directly: one kernel per variable, and a state that can be saved and restored to the
last bit without the internals of an optimizer class.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf

from ..parameters import Parameters

WARM_UP = 0.1  # share of the steps in which one_cycle rises


class Adam(tf.Module):  # type: ignore[misc]
    """Updates a set of variables in place."""

    def __init__(self, weights: dict[str, Any], parameters: Parameters) -> None:
        super().__init__(name="adam")
        self.weights = weights
        self.parameters = parameters
        self.means = {name: tf.Variable(tf.zeros_like(value), trainable=False) for name, value in weights.items()}
        self.squares = {name: tf.Variable(tf.zeros_like(value), trainable=False) for name, value in weights.items()}

    def apply(self, gradients: dict[str, Any], rate: Any, step: Any, kept: Any = None) -> None:
        """Update the weights once. `step` is a float tensor that counts from 1, for Adam's bias correction.

        Where `kept`, a boolean tensor, is given and False, nothing changes.
        """
        parameters = self.parameters
        beta1, beta2 = parameters.beta1, parameters.beta2
        if kept is not None:
            # With these the kernel writes what it reads. tf.cond would wait for ever for the one thread that runs it.
            rate, beta1, beta2 = tf.where(kept, rate, 0.0), tf.where(kept, beta1, 1.0), tf.where(kept, beta2, 1.0)
            gradients = {name: tf.where(kept, gradient, 0.0) for name, gradient in gradients.items()}
        if parameters.clip_norm:
            clipped, _ = tf.clip_by_global_norm(list(gradients.values()), parameters.clip_norm)
            gradients = dict(zip(gradients, clipped, strict=True))
        for name, gradient in gradients.items():
            tf.raw_ops.ResourceApplyAdam(
                var=self.weights[name].handle,
                m=self.means[name].handle,
                v=self.squares[name].handle,
                beta1_power=tf.pow(parameters.beta1, step),
                beta2_power=tf.pow(parameters.beta2, step),
                lr=rate,
                beta1=beta1,
                beta2=beta2,
                epsilon=parameters.epsilon,
                grad=gradient,
            )


def learning_rate(parameters: Parameters, step: int, steps: int) -> float:
    """Return the rate of a step, 0 to steps - 1: constant, or one cycle (Smith 2018) of linear rise and cosine fall."""
    if parameters.schedule == "constant":
        return parameters.learning_rate
    warm = max(1, round(WARM_UP * steps))
    if step < warm:
        return parameters.learning_rate * (step + 1) / warm
    return parameters.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
