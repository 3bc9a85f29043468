"""Augmentation: training speech varies from epoch to epoch, the cheapest gain in WER on a small corpus.

Works on the cached log mel energies. There a change of tempo is an interpolation over frames, and a change of vocal
tract length (Jaitly & Hinton 2013) is a product with a 26 x 26 matrix: 0.1 ms per utterance, without new audio. Masks
are those of SpecAugment (Park et al. 2019, arXiv:1904.08779). Every part is off at 0.
"""

from __future__ import annotations

import numpy as np

from .. import audio
from ..arrays import Floats
from ..audio import COEFFICIENTS
from ..parameters import Parameters

WIDEST_BAND = 6  # mel bands in one mask, at most
LONGEST_GAP = 10  # frames in one mask, at most; never more than a tenth of the utterance
NARROW_TOP = (3400.0, 4000.0)  # Hz, where telephones end
NARROW_FLOOR = (-1.0, 4.0)  # ln energy of a band above: that of rounding to 16 bits is .5
# ln energies measured on AN4 at 8 kHz: a band above against all below, the deviation over frames, and over bands.
LEAKAGE, LEAKAGE_DEVIATION, BAND_DEVIATION = -8.4, 1.7, 0.2


def is_on(parameters: Parameters) -> bool:
    return any(
        (
            parameters.augment_tempo,
            parameters.augment_pitch,
            parameters.augment_frequency_masks,
            parameters.augment_time_masks,
            parameters.augment_noise,
            parameters.augment_band_limit,
        )
    )


def draw_tempo(parameters: Parameters, rng: np.random.Generator) -> float:
    """Return the tempo of a whole batch: with one for all, lengths stay similar, which saves a tenth of the time."""
    return rng.uniform(1 - parameters.augment_tempo, 1 + parameters.augment_tempo)


def change_mel(mel: Floats, parameters: Parameters, rng: np.random.Generator, tempo: float, least: int) -> Floats:
    """Return a variation [frames', 27] of [frames, 27] log mel energies and frame energy; frames' >= `least`."""
    pitch = rng.uniform(1 - parameters.augment_pitch, 1 + parameters.augment_pitch)
    changed = _stretch(mel, max(least, round(len(mel) / tempo)))
    changed[:, :COEFFICIENTS] = changed[:, :COEFFICIENTS] @ _warp(pitch)
    if parameters.augment_band_limit and rng.random() < parameters.augment_band_limit:
        _limit_band(changed, rng)
    for _ in range(parameters.augment_frequency_masks):
        width = rng.integers(0, WIDEST_BAND + 1)
        start = rng.integers(0, COEFFICIENTS - width + 1)
        changed[:, start : start + width] = changed[:, start : start + width].mean(0)
    return changed


def change_features(features: Floats, parameters: Parameters, rng: np.random.Generator) -> Floats:
    """Return [frames, 26] normalised coefficients with time masks and noise; changes its argument."""
    for _ in range(parameters.augment_time_masks):
        width = rng.integers(0, min(LONGEST_GAP, len(features) // 10) + 1)
        start = rng.integers(0, len(features) - width + 1)
        features[start : start + width] = 0
    if parameters.augment_noise:
        features += np.float32(parameters.augment_noise) * rng.standard_normal(features.shape, np.float32)
    return features


def _limit_band(mel: Floats, rng: np.random.Generator) -> None:
    """Take what is above 3.4 to 4 kHz out of [frames, 27], as if recorded at 8 kHz.

    What stays is the leakage of the window, which follows the energy below, and a floor of noise.
    """
    first = int(np.searchsorted(audio.mel_corners()[1:-1], rng.uniform(*NARROW_TOP)))  # the first band above it
    shape = (len(mel), COEFFICIENTS - first)
    powers = np.exp(mel[:, :COEFFICIENTS])
    below, total = powers[:, :first].sum(1), powers.sum(1)
    leakage = np.log(below) + LEAKAGE + LEAKAGE_DEVIATION * rng.standard_normal(len(mel))
    stays = np.maximum(leakage, rng.uniform(*NARROW_FLOOR))[:, None] + BAND_DEVIATION * rng.standard_normal(shape)
    audible = mel[:, COEFFICIENTS] >= audio.SILENT
    mel[audible, COEFFICIENTS] += np.log(below / total)[audible]  # the sum of the filters is flat
    mel[audible, first:COEFFICIENTS] = np.minimum(mel[:, first:COEFFICIENTS], stays)[audible]


def _stretch(mel: Floats, frames: int) -> Floats:
    """Interpolate [frames', 27] linearly over time to [frames, 27]."""
    places = np.linspace(0, len(mel) - 1, frames, dtype=np.float32)
    lower = places.astype(np.int32)
    upper = np.minimum(lower + 1, len(mel) - 1)
    share = (places - lower)[:, None]
    stretched: Floats = mel[lower] * (1 - share) + mel[upper] * share
    return stretched


def _warp(factor: float) -> Floats:
    """Return the [26, 26] matrix that reads each mel band at its centre frequency times `factor`."""
    hertz = audio.mel_corners()[1:-1]  # [26] centre frequencies
    places = np.interp(hertz * factor, hertz, np.arange(COEFFICIENTS))
    lower = places.astype(np.int32)
    upper = np.minimum(lower + 1, COEFFICIENTS - 1)
    matrix = np.zeros((COEFFICIENTS, COEFFICIENTS), np.float32)
    bands = np.arange(COEFFICIENTS)
    matrix[lower, bands] += 1 - (places - lower)
    matrix[upper, bands] += places - lower
    return matrix
