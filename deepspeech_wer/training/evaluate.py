"""Scoring a data set: the hypotheses of its utterances, its loss and its error rates."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import wer
from ..errors import Trouble
from .arrays import Floats
from .batches import Most, assemble, batches_by_length
from .corpus import SETS
from .dataset import Item, is_spoken
from .decoders import Decoder
from .network.model import Network
from .parameters import Parameters
from .workers import ALONE, Workers

TEST = "test"  # the set that every corpus has


@dataclass(frozen=True)
class Hypothesis:
    """What the network made of one utterance."""

    item: Item
    text: str
    loss: float  # CTC loss of the reference transcript, in nats

    @property
    def counts(self) -> wer.Counts:
        return wer.score_utterance(self.item.utterance.transcript, self.text)


class Diverged(Trouble):
    """A loss or a weight is no longer a finite number: the training cannot go on."""


@dataclass(frozen=True)
class Decoded:
    """The result of one decoder on a data set."""

    decoder: Decoder
    score: wer.Score
    cpu_seconds: float  # for decoding only


@dataclass(frozen=True)
class Evaluation:
    """The results on a data set."""

    hypotheses: tuple[Hypothesis, ...]  # of the first decoder, in the order of the set
    decoded: tuple[Decoded, ...]  # one per decoder
    loss: float  # mean over the utterances
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
    network: Network,
    items: Sequence[Item],
    batch_size: int,
    parameters: Parameters,
    decoders: Sequence[Decoder],
    workers: Workers = ALONE,
) -> Evaluation:
    """Score a data set with each of the decoders. Neither the order of `items` nor the batch size changes the texts.

    Several workers share the batches, and each gets the results of all; the times are its own. Raises Diverged if a
    loss is not a finite number.
    """
    groups = batches_by_length(items, Most(batch_size, parameters.max_seconds))
    network.score(assemble(groups[0][:1], parameters))  # traces the graph, outside the measured time
    started = time.process_time()
    losses: dict[str, float] = {}
    texts: list[dict[str, str]] = [{} for _ in decoders]
    seconds = [0.0 for _ in decoders]
    for group in groups[workers.index :: workers.count]:
        batch = assemble(group, parameters)
        batch_losses, logits = network.score(batch)
        refuse_infinite(batch_losses, group, "without dropout", parameters)
        ids = [item.utterance.id for item in group]
        losses.update(zip(ids, map(float, batch_losses), strict=True))
        silent = dict.fromkeys((item.utterance.id for item in group if not is_spoken(item)), "")
        for number, decoder in enumerate(decoders):
            decoding_started = time.process_time()
            texts[number].update({**dict(zip(ids, decoder.texts(logits, batch.lengths), strict=True)), **silent})
            seconds[number] += time.process_time() - decoding_started
    cpu_seconds = time.process_time() - started - sum(seconds[1:])
    if workers.count > 1:
        losses, texts = _of_all(workers, groups, losses, texts)
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


def _of_all(
    workers: Workers, groups: Sequence[Sequence[Item]], losses: dict[str, float], texts: list[dict[str, str]]
) -> tuple[dict[str, float], list[dict[str, str]]]:
    """Return the losses and texts of all workers in the order of the batches: a sum of floats depends on its order."""
    parts = workers.exchange([losses, *texts])
    every = [{name: one for part in parts for name, one in part[number].items()} for number in range(1 + len(texts))]
    ids = [item.utterance.id for group in groups for item in group]
    ordered = [{name: values[name] for name in ids} for values in every]
    return ordered[0], ordered[1:]


def main_test(sets: Mapping[str, Sequence[Item]], parameters: Parameters) -> Sequence[Item]:
    """Return the test set that gives `test_wer`: that of ds_test_set, or all of `test`."""
    name = parameters.test_set or TEST
    return sets[name] if name in sets else [item for item in sets[TEST] if item.utterance.part == name]


def evaluate_sets(
    network: Network, sets: Mapping[str, Sequence[Item]], tested: Evaluation, parameters: Parameters
) -> dict[str, tuple[Hypothesis, ...]]:
    """Return the hypotheses of each test set that is measured beside the one that `tested` is of, by name.

    They are the parts of `test` and the further ones in `sets`, with the first decoder. Raises Diverged.
    """
    main, asked = parameters.test_set or TEST, parameters.test_set_names
    found = {TEST: tested.hypotheses} if main == TEST else {}
    for name, items in sets.items():
        if name not in (*SETS, main) or name == TEST != main:
            done = evaluate(network, items, parameters.test_batch_size, parameters, [tested.decoder])
            found[name] = done.hypotheses
    parts: dict[str, list[Hypothesis]] = {}
    for one in found.get(TEST, ()):
        if one.item.utterance.part is not None:
            parts.setdefault(one.item.utterance.part, []).append(one)
    whole = found.pop(TEST, None)
    if main != TEST and whole is not None and not parts:
        found[TEST] = whole
    shown = {name: those for name, those in parts.items() if name in asked or (len(parts) > 1 and not asked)}
    return {name: tuple(those) for name, those in shown.items() if name != main} | found


def refuse_infinite(losses: Floats, group: Sequence[Item], when: str, parameters: Parameters) -> None:
    """Raise Diverged if one of the [B] losses of a batch is not a finite number."""
    bad = np.flatnonzero(~np.isfinite(losses))
    if len(bad):
        utterance = group[bad[0]].utterance.id
        raise Diverged(
            f"the loss is {losses[bad[0]]} {when}, utterance {utterance}: "
            f"expected a finite number: lower ds_learning_rate (now {parameters.learning_rate:g})"
        )


def score_hypotheses(hypotheses: Sequence[Hypothesis]) -> wer.Score:
    """Return the pooled error rates of hypotheses."""
    references = {one.item.utterance.id: one.item.utterance.transcript for one in hypotheses}
    return wer.score_corpus(references, {one.item.utterance.id: one.text for one in hypotheses})


def worst(evaluation: Evaluation, count: int) -> list[str]:
    """Return the 2016 notebook's report of the worst utterances: by WER, then by loss, the highest first."""
    ranked = sorted(evaluation.hypotheses, key=lambda one: (-(one.counts.rate or 0), -one.loss))
    lines = []
    for one in ranked[:count]:
        rate = "none" if one.counts.rate is None else f"{one.counts.rate:.6f}"
        lines += [
            f"WER: {rate}, loss: {one.loss:.6f}, utterance: {one.item.utterance.id}",
            f" - source: {one.item.utterance.transcript!r}",
            f" - result: {one.text!r}",
        ]
    return lines
