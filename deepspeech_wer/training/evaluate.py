"""What the network hears: the texts of a set, its loss, and the error rates of the whole set."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .. import wer
from ..errors import Trouble
from .arrays import Floats
from .batches import assemble, batches_by_length
from .dataset import Item
from .decoders import Decoder
from .model import Network
from .parameters import Parameters


@dataclass(frozen=True)
class Hypothesis:
    """One utterance as the network heard it."""

    item: Item
    text: str
    loss: float  # CTC, in nats, of the right transcript

    @property
    def counts(self) -> wer.Counts:
        return wer.score_utterance(self.item.utterance.transcript, self.text)


class Diverged(Trouble):
    """The loss is no longer a number: nothing that follows would mean anything."""


@dataclass(frozen=True)
class Decoded:
    """What one decoder made of a set."""

    decoder: Decoder
    score: wer.Score
    cpu_seconds: float  # of decoding alone


@dataclass(frozen=True)
class Evaluation:
    """A set as the network heard it."""

    heard: tuple[Hypothesis, ...]  # in the order of the set, by the first decoder
    decoded: tuple[Decoded, ...]  # by all decoders
    loss: float  # mean of the utterances
    cpu_seconds: float  # for features, network and the first decoder
    audio_seconds: float

    @property
    def score(self) -> wer.Score:
        return self.decoded[0].score

    @property
    def decoder(self) -> Decoder:
        return self.decoded[0].decoder

    @property
    def real_time_factor(self) -> float:
        return self.cpu_seconds / self.audio_seconds


def evaluate(
    network: Network, items: Sequence[Item], batch_size: int, parameters: Parameters, decoders: Sequence[Decoder]
) -> Evaluation:
    """Hear a whole set, by each of the decoders. The order of `items` and the batch size do not change the texts.

    Raises Diverged when a loss is not a finite number.
    """
    groups = batches_by_length(items, batch_size)
    network.score(assemble(groups[0][:1], parameters))  # traces the graph, which is not to be timed
    started = time.process_time()
    losses: dict[str, float] = {}
    texts: list[dict[str, str]] = [{} for _ in decoders]
    seconds = [0.0 for _ in decoders]
    for group in groups:
        batch = assemble(group, parameters)
        batch_losses, logits = network.score(batch)
        refuse_infinite(batch_losses, group, "without dropout", parameters)
        ids = [item.utterance.id for item in group]
        losses.update(zip(ids, map(float, batch_losses), strict=True))
        for number, decoder in enumerate(decoders):
            begun = time.process_time()
            texts[number].update(zip(ids, decoder.texts(logits, batch.lengths), strict=True))
            seconds[number] += time.process_time() - begun
    cpu_seconds = time.process_time() - started - sum(seconds[1:])
    references = {item.utterance.id: item.utterance.transcript for item in items}
    return Evaluation(
        tuple(Hypothesis(item, texts[0][item.utterance.id], losses[item.utterance.id]) for item in items),
        tuple(
            Decoded(decoder, wer.score_corpus(references, one), spent)
            for decoder, one, spent in zip(decoders, texts, seconds, strict=True)
        ),
        float(np.mean(list(losses.values()))),
        cpu_seconds,
        sum(item.seconds for item in items),
    )


def refuse_infinite(losses: Floats, group: Sequence[Item], when: str, parameters: Parameters) -> None:
    """Raise Diverged where one of the [B] losses of a batch is no finite number."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        utterance = group[bad[0]].utterance.id
        raise Diverged(
            f"the loss is {losses[bad[0]]} {when}, utterance {utterance}: "
            f"expected a finite number: lower ds_learning_rate (now {parameters.learning_rate:g})"
        )


def score_hypotheses(heard: Sequence[Hypothesis]) -> wer.Score:
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
