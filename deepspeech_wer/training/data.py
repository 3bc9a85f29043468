"""From utterances to batches: features, labels, and the checks that come before any training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import Trouble
from . import audio, augment
from .corpus import Utterance, file_sha256
from .parameters import Parameters
from .text import Alphabet, frames_needed

Ints = NDArray[np.int32]
NORMALISATIONS = {"each": audio.normalise_each, "all": audio.normalise_all}
ROUND = 8  # frames: fewer lengths of batches are fewer kernels to be made for them: 8 % of the time, 15 % of the memory
JITTER = 0.15  # relative: how far apart in length two utterances of one batch may be drawn


@dataclass(frozen=True)
class Item:
    """An utterance ready for the network."""

    utterance: Utterance
    frames: int
    seconds: float
    labels: Ints  # [letters]
    mel: Path  # a cached .npy of [frames, 27], as audio.log_mel gives it


@dataclass(frozen=True)
class Batch:
    """Utterances side by side, padded with zeros to the longest; labels sparse, as the CTC kernel wants them."""

    items: tuple[Item, ...]
    features: audio.Floats  # [utterances, frames, 26]
    lengths: Ints  # [utterances] frames
    label_places: NDArray[np.int64]  # [letters of all, 2] (utterance, position)
    label_values: Ints  # [letters of all]
    label_shape: NDArray[np.int64]  # [2] (utterances, longest label)


def prepare(utterances: Sequence[Utterance], alphabet: Alphabet, cache: Path) -> tuple[Item, ...]:
    """Check every utterance and compute its features, or find them in the cache.

    Raises Trouble that names the utterance: audio that cannot be read, characters outside the alphabet, nothing said,
    or a transcript longer than its recording can hold.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return tuple(_prepare_one(utterance, alphabet, cache) for utterance in utterances)


def _prepare_one(utterance: Utterance, alphabet: Alphabet, cache: Path) -> Item:
    outside = alphabet.outside(utterance.transcript)
    if outside:
        raise Trouble(
            f"utterance {utterance.id}: {' '.join(map(repr, outside))} in its transcript {utterance.transcript!r}: "
            f"expected only {alphabet.letters!r}: spell it out, or leave the utterance out"
        )
    labels = np.array(alphabet.encode(utterance.transcript), np.int32)
    mel = cache / f"{file_sha256(utterance.audio)}-{audio.VERSION}.npy"
    if not mel.exists():
        _store(mel, audio.log_mel(audio.read_audio(utterance.audio)))
    frames = _frames(mel)
    needed = frames_needed(labels)
    if not len(labels) or needed > frames:
        raise Trouble(
            f"utterance {utterance.id}: its transcript {utterance.transcript!r} needs {needed} frames of 20 ms, "
            f"the audio has {frames}: expected a text that fits the recording: leave the utterance out"
        )
    return Item(utterance, frames, frames * audio.STEP / audio.SAMPLE_RATE, labels, mel)


def _store(path: Path, mel: audio.Floats) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with beside.open("wb") as stream:
        np.save(stream, mel)
    beside.replace(path)


def _frames(path: Path) -> int:
    """How many frames a cached file holds, from its header alone."""
    with path.open("rb") as stream:
        np.lib.format.read_magic(stream)
        shape, _, _ = np.lib.format.read_array_header_1_0(stream)
    return int(shape[0])


def assemble(items: Sequence[Item], parameters: Parameters, generator: np.random.Generator | None = None) -> Batch:
    """One batch of the items, in their order; with a generator, augmented as the parameters say."""
    rows = [_features(item, parameters, generator) for item in items]
    lengths = np.array([len(row) for row in rows], np.int32)
    frames = -(-lengths.max() // ROUND) * ROUND
    features = np.zeros((len(items), frames, audio.COEFFICIENTS), np.float32)  # [B, T, 26]
    for place, row in zip(features, rows, strict=True):
        place[: len(row)] = row
    labels = [item.labels for item in items]
    places = [(row, column) for row, label in enumerate(labels) for column in range(len(label))]
    shape = np.array([len(items), max(map(len, labels))], np.int64)
    return Batch(tuple(items), features, lengths, np.array(places, np.int64), np.concatenate(labels), shape)


def _features(item: Item, parameters: Parameters, generator: np.random.Generator | None) -> audio.Floats:
    """[frames, 26] normalised coefficients of an item."""
    normalise = NORMALISATIONS[parameters.normalisation]
    mel = np.load(item.mel)
    if generator is None or not augment.is_on(parameters):
        return normalise(audio.cepstra(mel))
    mel = augment.change_mel(mel, parameters, generator, frames_needed(item.labels))
    return augment.change_features(normalise(audio.cepstra(mel)), parameters, generator)


def batches_by_length(items: Sequence[Item], size: int) -> list[list[Item]]:
    """All items, cut into batches of like length, shortest first: the order for scoring."""
    ordered = sorted(items, key=lambda item: (item.frames, item.utterance.id))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def batches_of_epoch(items: Sequence[Item], size: int, seed: int, epoch: int) -> Iterator[list[Item]]:
    """The batches of one training epoch; the same for the same seed and epoch, whatever ran before.

    Utterances of like length go together (3 % padding instead of 89 %), with jitter so that the company changes. The
    first epoch goes from short to long, which gets CTC out of its all-blank state sooner; the later ones are shuffled.
    """
    generator = np.random.default_rng([seed, epoch])
    jitter = generator.uniform(1 - JITTER, 1 + JITTER, len(items)) if epoch else np.ones(len(items))
    order = np.argsort(np.array([item.frames for item in items]) * jitter, kind="stable")
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    if epoch:
        generator.shuffle(groups)
    for group in groups:
        yield [items[index] for index in group]
