"""Losses and word error rates of a training as a figure.

Drawn only in a notebook, when the figure is displayed: the job that the notebook becomes needs no matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .epochs import Epoch

TRAINING, VALIDATION = "#0072b2", "#d55e00"  # distinct to colour-blind readers too (Okabe and Ito 2008)
INCHES = (10, 3.6)


@dataclass(frozen=True)
class Curves:
    """The history of a training, displayed as a figure by Jupyter."""

    history: Sequence[Epoch]

    def __repr__(self) -> str:
        return f"{len(self.history)} epochs; their curves need matplotlib: pip install 'deepspeech-wer[notebook]'"

    def _repr_png_(self) -> bytes | None:
        try:
            return self.png()
        except ModuleNotFoundError:
            return None  # Jupyter then shows the repr

    def png(self) -> bytes:
        """Return the figure as a PNG. Raises ModuleNotFoundError without matplotlib."""
        from matplotlib.figure import Figure  # not pyplot, which needs a display and keeps state

        figure = Figure(INCHES, layout="constrained")
        losses, rates = figure.subplots(1, 2)
        self._draw(losses, "CTC loss (nats per utterance)", "train_loss", "validation_loss", 1)
        self._draw(rates, "word error rate (%)", "train_wer", "validation_wer", 100)
        rates.set_ylim(bottom=0)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=120)
        return stream.getvalue()

    def _draw(self, axes: Any, title: str, training: str, validation: str, scale: float) -> None:
        for name, label, colour in ((training, "training", TRAINING), (validation, "validation", VALIDATION)):
            points = [(one.epoch, scale * value) for one in self.history if (value := getattr(one, name)) is not None]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, color=colour, marker="." if len(points) < 20 else "")
        axes.set_title(title, loc="left")
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(frameon=False)
