"""From logits to text."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .parameters import Parameters
from .text import Alphabet

Decoder = Callable[[NDArray[np.float32], NDArray[np.int32]], list[str]]


def decoder(parameters: Parameters, alphabet: Alphabet) -> tuple[str, Decoder]:
    """The decoder that `ds_decoder` names: its signature, and what makes texts of [T, B, 29] logits and [B] lengths."""
    if parameters.decoder == "beam":
        width = parameters.beam_width
        return f"beam{width}", lambda logits, lengths: beam(logits, lengths, alphabet, width)
    return "greedy", lambda logits, lengths: greedy(logits, lengths, alphabet)


def greedy(logits: NDArray[np.float32], lengths: NDArray[np.int32], alphabet: Alphabet) -> list[str]:
    """The text of the best label of each frame."""
    paths = logits.argmax(2)  # [T, B]
    return [alphabet.decode_path(paths[:length, row].tolist()) for row, length in enumerate(lengths)]


def beam(logits: NDArray[np.float32], lengths: NDArray[np.int32], alphabet: Alphabet, width: int) -> list[str]:
    """The likeliest text over all its paths, as far as a beam of so many texts finds it (Graves et al. 2006, 3.2)."""
    (best,), _ = tf.nn.ctc_beam_search_decoder(logits, lengths, beam_width=width, top_paths=1)
    dense = tf.sparse.to_dense(best, default_value=-1).numpy()  # [B, longest text]
    return [alphabet.decode(row[row >= 0].tolist()) for row in dense]
