"""What rooms, noise, recorders and telephones do to speech: functions of [samples] in the range of 16-bit integers.

They are the variations of DeepSpeech 0.9 (training/deepspeech_training/util/augmentations.py), with two differences. A
signal-to-noise ratio is one of mean powers, as is usual, not of peaks. The codec is that of the telephone, not Opus.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from ..arrays import Floats
from ..audio import SAMPLE_RATE

FULL_SCALE = 32768.0
TELEPHONE_RATE = 8000  # Hz
COMBS = (17, 19, 23, 29, 31)  # the delays of a room's echoes are as these primes: hardly two of them coincide
SHORTEST_DELAY = 16  # samples
MU_BIAS, MU_MOST = 33, 8158.0  # of 14 bits: what makes the segments begin at powers of two; the largest magnitude


def power(samples: Floats | NDArray[np.float64]) -> float:
    """Return the mean square of [samples], without their mean."""
    return float(samples.var(dtype=np.float64))


def overlay(speech: Floats, noise: Floats, snr: float) -> Floats:
    """Return speech with as much noise that the ratio of their powers is `snr` dB. Silent noise changes nothing."""
    heard = power(noise)
    if not heard:
        return speech
    gain = np.sqrt(power(speech) / heard / 10 ** (snr / 10))
    mixed: Floats = speech + (gain * (noise - noise.mean(dtype=np.float64))).astype(np.float32)
    return mixed


def reverberate(speech: Floats, delay: float, decay: float) -> Floats:
    """Return speech as in a room: its first echo comes after `delay` ms, and each is `decay` dB below the one before.

    That is the sum of the speech and of five feedback combs. The power stays, and so does the length.
    """
    kept = 10 ** (-decay / 20)
    echoes = speech.astype(np.float64)
    for prime in COMBS:
        echoes += _comb(speech, max(SHORTEST_DELAY, int(delay / 1000 * SAMPLE_RATE * prime / COMBS[0])), kept)
    before, after = power(speech), power(echoes)
    changed: Floats = (echoes * np.sqrt(before / after) if after else echoes).astype(np.float32)
    return changed


def _comb(samples: Floats, delay: int, kept: float) -> NDArray[np.float64]:
    """Return [samples] y with y[n] = x[n] + kept * y[n - delay]."""
    rows = np.pad(samples.astype(np.float64), (0, -len(samples) % delay)).reshape(-1, delay)
    for before, row in pairwise(rows):
        row += kept * before
    return rows.reshape(-1)[: len(samples)]


def at_volume(samples: Floats, dbfs: float) -> Floats:
    """Return [samples] with their peak at `dbfs` dB of full scale, as 16-bit integers: above 0 they are clipped."""
    peak = float(np.abs(samples).max(initial=0))
    return _recorded(samples * (FULL_SCALE * 10 ** (dbfs / 20) / peak)) if peak else samples


def resampled(samples: Floats, rate: int) -> Floats:
    """Return [samples] at 16 kHz as they are after a recording at another rate, in Hz, with 16 bits.

    What is above half of that rate is gone.
    """
    return _back(_recorded(_spectrum_cut(samples, SAMPLE_RATE, rate)), rate, len(samples))


def telephoned(samples: Floats) -> Floats:
    """Return [samples] at 16 kHz as they are after a telephone line: 8 kHz, 8-bit mu-law."""
    return _back(mu_law(_spectrum_cut(samples, SAMPLE_RATE, TELEPHONE_RATE)), TELEPHONE_RATE, len(samples))


def mu_law(samples: Floats) -> Floats:
    """Return [samples] after mu-law coding and decoding: the output values of ITU-T G.711 (11/1988), table 2a.

    In 14 bits, a magnitude x is in the segment s with 2**(s + 5) <= x + 33 < 2**(s + 6). Each segment has 16 steps, and
    each step gives the value in its middle.
    """
    biased = np.minimum(np.abs(samples.astype(np.float64)) / 4, MU_MOST) + MU_BIAS  # 14 of 16 bits
    _, exponents = np.frexp(biased)  # biased is in [2**(exponent - 1), 2**exponent)
    steps = 2.0 ** (exponents - 5)
    magnitudes = (np.floor(biased / steps) + 0.5) * steps - MU_BIAS
    decoded: Floats = (4 * np.copysign(magnitudes, samples)).astype(np.float32)
    return decoded


def _back(samples: Floats, rate: int, count: int) -> Floats:
    """Return `count` samples at 16 kHz of [samples] at `rate` Hz."""
    found: Floats = _spectrum_cut(samples, rate, SAMPLE_RATE)[:count].astype(np.float32)
    return found


def _spectrum_cut(samples: Floats, rate: int, other: int) -> Floats:
    """Return [samples] at another rate, in Hz, by truncating or extending the spectrum; they may be some more."""
    divisor = int(np.gcd(rate, other))
    blocks = fft.next_fast_len(-(-len(samples) * divisor // rate), real=True)  # of so many samples in both rates
    before, after = blocks * (rate // divisor), blocks * (other // divisor)
    padded = np.pad(samples.astype(np.float64), (0, before - len(samples)))
    spectrum = fft.rfft(padded)[: min(before, after) // 2 + 1]
    changed: Floats = fft.irfft(spectrum, after) * (after / before)
    return changed


def _recorded(samples: Floats) -> Floats:
    recorded: Floats = np.clip(np.round(samples), -FULL_SCALE, FULL_SCALE - 1).astype(np.float32)
    return recorded
