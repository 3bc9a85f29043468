"""From items to batches: which utterances go together, and how they are padded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from . import audio
from .acoustics import Acoustics
from .arrays import Floats, Ints, Longs
from .dataset import Item
from .parameters import Parameters
from .sound import augment, causal
from .text import frames_needed

# Batches are padded to a multiple of so many frames: fewer shapes need fewer kernels, which saves 8 % of the time and
# 15 % of the memory.
ROUND = 8
JITTER = 0.05  # relative noise on lengths before sorting, so that batches differ from epoch to epoch


@dataclass(frozen=True)
class Batch:
    """Utterances padded with zeros to the longest one. Labels are sparse, as TensorFlow's CTC takes them."""

    items: tuple[Item, ...]
    features: Floats  # [utterances, frames, 26]
    lengths: Ints  # [utterances] frames
    label_places: Longs  # [letters of all, 2] (utterance, position)
    label_values: Ints  # [letters of all]
    label_shape: Longs  # [2] (utterances, longest label)


def assemble(
    items: Sequence[Item],
    parameters: Parameters,
    rng: np.random.Generator | None = None,
    acoustics: Acoustics | None = None,
) -> Batch:
    """Return one batch of the items, in their order; with an rng, augmented as the parameters say.

    With `acoustics`, their sound is varied, too.
    """
    tempo = augment.draw_tempo(parameters, rng) if rng else 1.0
    rows = [_features(item, acoustics.mel(item) if acoustics else None, parameters, rng, tempo) for item in items]
    lengths = np.array([len(row) for row in rows], np.int32)
    frames = padded(int(lengths.max()))
    features = np.zeros((len(items), frames, audio.COEFFICIENTS), np.float32)  # [B, T, 26]
    for place, row in zip(features, rows, strict=True):
        place[: len(row)] = row
    counts = np.array([len(item.labels) for item in items])
    dense = np.full((len(items), counts.max()), -1, np.int32)  # [B, longest label]
    for place, item in zip(dense, items, strict=True):
        place[: len(item.labels)] = item.labels
    return Batch(tuple(items), features, lengths, *sparse_labels(dense, counts))


def sparse_labels(dense: Ints, counts: Longs) -> tuple[Longs, Ints, Longs]:
    """Return (places [letters, 2], values [letters], shape [2]) of [B, longest label] labels, padded on the right.

    `counts` [B] are the lengths of the labels. Raises ValueError unless the second dimension is the longest of them:
    TensorFlow's kernel would read padding as letters.
    """
    longest = int(counts.max(initial=0))
    if dense.shape != (len(counts), longest):
        raise ValueError(f"labels of shape {dense.shape}: expected {(len(counts), longest)}, the longest label second")
    places = np.argwhere(np.arange(longest) < counts[:, None])
    return places, dense[places[:, 0], places[:, 1]], np.array(dense.shape, np.int64)


def _features(
    item: Item, varied: Floats | None, parameters: Parameters, rng: np.random.Generator | None, tempo: float
) -> Floats:
    """Return the [frames, 26] normalised coefficients of an item; with an rng, augmented.

    `varied` is its [frames, 27] if its sound is varied.
    """
    normalise = causal.NORMALISATIONS[parameters.normalisation]
    mel = np.load(item.mel) if varied is None else varied
    if rng is None or not augment.is_on(parameters):
        return normalise(audio.cepstra(mel))
    mel = augment.change_mel(mel, parameters, rng, tempo, frames_needed(item.labels))
    return augment.change_features(normalise(audio.cepstra(mel)), parameters, rng)


@dataclass(frozen=True)
class Most:
    """What a batch may hold, at most: a number of utterances, and seconds of speech with its padding (0: any)."""

    utterances: int
    seconds: float = 0


def batches_by_length(items: Sequence[Item], most: Most) -> list[list[Item]]:
    """Return all items in batches of similar length, shortest first: the order for scoring."""
    return _cut(sorted(items, key=lambda item: (item.frames, item.utterance.id)), most)


def batches_of_epoch(items: Sequence[Item], most: Most, seed: int, epoch: int) -> list[list[Item]]:
    """Return the batches of one training epoch, counted from 0. They depend on nothing but seed and epoch.

    A batch holds utterances of similar length: 7 % padding instead of 89 %. Jitter changes which ones meet. The first
    epoch goes from short to long, which gets CTC out of its all-blank state sooner; the later ones are shuffled.
    """
    rng = np.random.default_rng([seed, epoch])
    jitter = rng.uniform(1 - JITTER, 1 + JITTER, len(items)) if epoch else np.ones(len(items))
    order = np.argsort(np.array([item.frames for item in items]) * jitter, kind="stable")
    groups = _cut([items[index] for index in order], most)
    if epoch:
        rng.shuffle(groups)
    return groups


def steps_until(items: Sequence[Item], most: Most, seed: int, epochs: int) -> list[int]:
    """Return how many steps are done before each epoch, and at last before the end: one number more than epochs.

    An epoch has a step for each of its batches: with a limit in seconds, not always the same number.
    """
    if not most.seconds:
        return [number * -(-len(items) // most.utterances) for number in range(epochs + 1)]
    counts = (len(batches_of_epoch(items, most, seed, epoch)) for epoch in range(epochs))
    return list(accumulate(counts, initial=0))


def _cut(ordered: Sequence[Item], most: Most) -> list[list[Item]]:
    """Return the items, in their order, in batches that are as large as they may be, of one item at least."""
    groups: list[list[Item]] = []
    longest = 0
    for item in ordered:
        longest = max(longest, padded(item.frames))
        seconds = (len(groups[-1]) + 1) * longest * audio.STEP / audio.SAMPLE_RATE if groups else 0
        if groups and len(groups[-1]) < most.utterances and (not most.seconds or seconds <= most.seconds):
            groups[-1].append(item)
        else:
            groups.append([item])
            longest = padded(item.frames)
    return groups


def padded(frames: int) -> int:
    """Return how many frames a batch has whose longest utterance has so many."""
    return -(-frames // ROUND) * ROUND
