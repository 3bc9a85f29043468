"""From logits to text: what a decoder is, and the two that need nothing but the logits."""

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
    """A way from logits to texts."""

    name: str  # as ds_decoder has it
    signature: str  # as results.signature has it: what must be alike for two word error rates to be compared
    texts: Callable[[Logits, Lengths], list[str]]
    settings: Mapping[str, object] = field(default_factory=dict)  # what was found out for it: hyper.json records it
    language_model: Path | None = None  # the file of it


def greedy_decoder(alphabet: Alphabet) -> Decoder:
    return Decoder(GREEDY, GREEDY, lambda logits, lengths: greedy(logits, lengths, alphabet))


def beam_decoder(alphabet: Alphabet, width: int) -> Decoder:
    return Decoder(BEAM, f"{BEAM}{width}", lambda logits, lengths: beam(logits, lengths, alphabet, width))


def greedy(logits: Logits, lengths: Lengths, alphabet: Alphabet) -> list[str]:
    """The text of the best label of each frame."""
    paths = logits.argmax(2)  # [T, B]
    return [alphabet.decode_path(paths[:length, row].tolist()) for row, length in enumerate(lengths)]


def beam(logits: Logits, lengths: Lengths, alphabet: Alphabet, width: int) -> list[str]:
    """The likeliest text over all its paths, as far as a beam of so many texts finds it (Graves et al. 2006, 3.2)."""
    (best,), _ = tf.nn.ctc_beam_search_decoder(logits, lengths, beam_width=width, top_paths=1)
    dense = tf.sparse.to_dense(best, default_value=-1).numpy()  # [B, longest text]
    return [alphabet.decode(row[row >= 0].tolist()) for row in dense]
