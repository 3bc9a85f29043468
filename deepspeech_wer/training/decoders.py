"""Decoders, from logits to text: their interface, and the two that need no language model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import tensorflow as tf

from .arrays import Floats, Ints
from .parameters import BEAM, GREEDY
from .text import Alphabet

Logits = Floats  # [T, B, labels]
Lengths = Ints  # [B]


@dataclass(frozen=True)
class Decoder:
    """A function from logits to texts, and how it is recorded."""

    name: str  # as ds_decoder has it
    signature: str  # as in results.signature: WERs are comparable only if it is equal
    texts: Callable[[Logits, Lengths], list[str]]
    settings: Mapping[str, object] = field(default_factory=dict)  # chosen or found by the run; recorded in hyper.json
    language_model: Path | None = None  # its file, if it uses one


def greedy_decoder(alphabet: Alphabet) -> Decoder:
    return Decoder(GREEDY, GREEDY, lambda logits, lengths: greedy(logits, lengths, alphabet))


def beam_decoder(alphabet: Alphabet, width: int) -> Decoder:
    return Decoder(BEAM, f"{BEAM}{width}", lambda logits, lengths: beam(logits, lengths, alphabet, width))


def greedy(logits: Logits, lengths: Lengths, alphabet: Alphabet) -> list[str]:
    """Return the text of the best label of each frame."""
    paths = logits.argmax(2)  # [T, B]
    return [alphabet.decode_path(paths[:length, row].tolist()) for row, length in enumerate(lengths)]


def beam(logits: Logits, lengths: Lengths, alphabet: Alphabet, width: int) -> list[str]:
    """Return the most likely text, summed over its paths, by prefix beam search (Graves et al. 2006, section 3.2)."""
    (best,), _ = tf.nn.ctc_beam_search_decoder(logits, lengths, beam_width=width, top_paths=1)
    dense = tf.sparse.to_dense(best, default_value=-1).numpy()  # [B, longest text]
    return [alphabet.decode(row[row >= 0].tolist()) for row in dense]
