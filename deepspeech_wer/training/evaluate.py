"""What the network hears: the texts of a set, its loss, and the error rates of the whole set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import wer
from .data import Item, assemble, batches_by_length
from .decode import decoder
from .model import Network
from .parameters import Parameters
from .text import Alphabet


@dataclass(frozen=True)
class Heard:
    """One utterance as the network heard it."""

    item: Item
    text: str
    loss: float  # CTC, in nats, of the right transcript

    @property
    def counts(self) -> wer.Counts:
        return wer.score_utterance(self.item.utterance.transcript, self.text)


@dataclass(frozen=True)
class Evaluation:
    """A set as the network heard it."""

    heard: tuple[Heard, ...]  # in the order of the set
    score: wer.Score
    decoder: str  # as signatures name it
    loss: float  # mean of the utterances
    cpu_seconds: float  # for features, network and decoding
    audio_seconds: float

    @property
    def real_time_factor(self) -> float:
        return self.cpu_seconds / self.audio_seconds


def evaluate(
    network: Network, items: Sequence[Item], batch_size: int, parameters: Parameters, alphabet: Alphabet
) -> Evaluation:
    """Hear a whole set. The order of `items` and the batch size do not change the texts."""
    name, decode = decoder(parameters, alphabet)
    groups = batches_by_length(items, batch_size)
    network.score(assemble(groups[0][:1], parameters))  # traces the graph, which is not to be timed
    started = time.process_time()
    by_id: dict[str, Heard] = {}
    for group in groups:
        batch = assemble(group, parameters)
        losses, logits = network.score(batch)
        for item, text, loss in zip(group, decode(logits, batch.lengths), losses, strict=True):
            by_id[item.utterance.id] = Heard(item, text, float(loss))
    heard = tuple(by_id[item.utterance.id] for item in items)
    return Evaluation(
        heard,
        score_heard(heard),
        name,
        float(np.mean([one.loss for one in heard])),
        time.process_time() - started,
        sum(item.seconds for item in items),
    )


def score_heard(heard: Sequence[Heard]) -> wer.Score:
    """The pooled error rates of what was heard."""
    references = {one.item.utterance.id: one.item.utterance.transcript for one in heard}
    return wer.score_corpus(references, {one.item.utterance.id: one.text for one in heard})


def worst(evaluation: Evaluation, count: int) -> list[str]:
    """The 2016 notebook's report of the worst utterances, as lines: the highest rate first, then the highest loss."""
    ranked = sorted(evaluation.heard, key=lambda one: (-(one.counts.rate or 0), -one.loss))
    lines = []
    for one in ranked[:count]:
        rate = "none" if one.counts.rate is None else f"{one.counts.rate:.6f}"
        lines += [
            f"WER: {rate}, loss: {one.loss:.6f}, utterance: {one.item.utterance.id}",
            f" - source: {one.item.utterance.transcript!r}",
            f" - result: {one.text!r}",
        ]
    return lines
