"""The weights of a language model, chosen on the validation set: what each text would be worth under all of them."""

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
    """alpha and beta of `BeamSearch`, and the validation word error rate under which they were chosen, if so."""

    alpha: float
    beta: float
    wer: float | None = None


def choose(
    search: BeamSearch,
    heard: Sequence[tuple[Floats, str]],
    alphas: Sequence[float] = ALPHAS,
    betas: Sequence[float] = BETAS,
) -> Weights:
    """The weights, of those given, with the fewest errors in [frames, labels] logits whose transcripts are known.

    Each search gives some texts of every utterance, and what their scores are made of; from these the errors under any
    weights follow without another search (Och 2003, minimum error rate training). The second search, with the weights
    that the first one suggests, adds texts that the first one did not keep. Errors are averaged with those of the
    neighbouring weights, so that a lucky single point does not win. `search` is left with the weights chosen.
    """
    kept: list[dict[str, Candidate]] = [{} for _ in heard]
    search.alpha, search.beta = _nearest(alphas, START[0]), _nearest(betas, START[1])
    words = sum(len(wer.words(transcript)) for _, transcript in heard)
    rate = 0.0
    for _ in range(ROUNDS):
        for texts, (logits, _) in zip(kept, heard, strict=True):
            texts.update((one.text, one) for one in search.candidates(logits))
        errors = np.zeros((len(alphas), len(betas)))
        for texts, (_, transcript) in zip(kept, heard, strict=True):
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
    """[alphas, betas] errors of the text that would be chosen under each pair of weights."""
    acoustic, language, words = (
        np.array([getattr(one, name) for one in candidates]) for name in ("acoustic", "language", "words")
    )
    scores = acoustic + np.multiply.outer(alphas, language)[:, None] + np.multiply.outer(betas, words)  # [A, B, texts]
    chosen = scores.argmax(2)
    counts = np.full(len(candidates), np.nan)
    for index in np.unique(chosen):  # most texts are never chosen, and need no alignment
        counts[index] = wer.score_utterance(transcript, candidates[index].text).errors
    errors: NDArray[np.float64] = counts[chosen]
    return errors


def _smooth(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each point averaged with those around it."""
    padded = np.pad(errors, 1, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))  # [A, B, 3, 3]
    smoothed: NDArray[np.float64] = around.mean((2, 3))
    return smoothed
