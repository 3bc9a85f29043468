"""Tunes the weights of a language model on the validation set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import wer
from ..arrays import Floats
from .beam import BeamSearch, Candidate

ALPHAS = tuple(round(0.1 * step, 1) for step in range(1, 21))
BETAS = tuple(0.25 * step for step in range(-4, 17))
START = (0.7, 0.5)  # alpha and beta of the first search
ROUNDS = 2


@dataclass(frozen=True)
class Weights:
    """alpha and beta of `BeamSearch`; `wer` is their validation word error rate if they were tuned."""

    alpha: float
    beta: float
    wer: float | None = None


def choose(
    search: BeamSearch,
    scored: Sequence[tuple[Floats, str]],
    alphas: Sequence[float] = ALPHAS,
    betas: Sequence[float] = BETAS,
) -> Weights:
    """Return the weights from the grid `alphas` x `betas` with the fewest word errors, and set them in `search`.

    `scored`: ([frames, labels] logits, transcript) of each utterance. A search gives several texts per utterance with
    the parts of their scores, from which the errors under any weights follow without another search (minimum error rate
    training, Och 2003). A second search, with the best weights of the first, adds texts that the first did not keep.
    Errors are averaged over neighbouring weights, so that no single lucky point wins.
    """
    kept: list[dict[str, Candidate]] = [{} for _ in scored]
    search.alpha, search.beta = _nearest(alphas, START[0]), _nearest(betas, START[1])
    words = sum(len(wer.words(transcript)) for _, transcript in scored)
    rate = 0.0
    for _ in range(ROUNDS):
        for texts, (logits, _) in zip(kept, scored, strict=True):
            texts.update((one.text, one) for one in search.candidates(logits))
        errors = np.zeros((len(alphas), len(betas)))
        for texts, (_, transcript) in zip(kept, scored, strict=True):
            errors += _errors(list(texts.values()), transcript, alphas, betas)
        row, column = divmod(int(_smooth(errors).argmin()), len(betas))
        search.alpha, search.beta = alphas[row], betas[column]
        rate = float(errors[row, column]) / words
    return Weights(search.alpha, search.beta, rate)


def _nearest(values: Sequence[float], wanted: float) -> float:
    return min(values, key=lambda value: abs(value - wanted))


def _errors(
    candidates: Sequence[Candidate], transcript: str, alphas: Sequence[float], betas: Sequence[float]
) -> NDArray[np.float64]:
    """Return [alphas, betas] word errors of the text that each pair of weights selects."""
    acoustic, language, words = (
        np.array([getattr(one, name) for one in candidates]) for name in ("acoustic", "language", "words")
    )
    scores = acoustic + np.multiply.outer(alphas, language)[:, None] + np.multiply.outer(betas, words)  # [A, B, texts]
    chosen = scores.argmax(2)
    counts = np.full(len(candidates), np.nan)
    for index in np.unique(chosen):  # most texts are never selected and need no alignment
        counts[index] = wer.score_utterance(transcript, candidates[index].text).errors
    errors: NDArray[np.float64] = counts[chosen]
    return errors


def _smooth(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the 3 x 3 moving average, with the edges repeated."""
    padded = np.pad(errors, 1, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))  # [A, B, 3, 3]
    smoothed: NDArray[np.float64] = around.mean((2, 3))
    return smoothed
