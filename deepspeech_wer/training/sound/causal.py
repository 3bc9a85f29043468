"""Features that need no later sample: a stream computes the very ones that training and files have.

They are those of audio.py but for what there depends on the whole recording:

- a constant offset is filtered out, where audio.py subtracts the mean; a rumble is taken out as there
- speech is what rises above a background that is tracked, instead of the quietest tenth of the recording
- of a quiet part the first second and the last 0.3 s are kept, where audio.py keeps 0.3 s on both sides
- digital silence becomes the mean of the quiet frames before it
- mean and deviation are those of the frames so far, from typical ones on

All is computed in double precision, so that the pieces that the samples come in change nothing.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from .. import audio
from ..arrays import Floats, Longs

VERSION = "causal@2"  # part of every cache key: change it whenever the arithmetic changes
KNOWN = (VERSION, "causal@1")  # the earlier one differs as mel27@3 does: see audio.py
Doubles = NDArray[np.float64]
SILENT = -8.0  # ln energy: a single sample of 1 makes -6, but the filter comes to zero over some frames
POLE = 0.99  # of the filter: what is below 25 Hz goes
CLICK = 5  # frames, whose median is the loudness
FALL, RISE = 0.18, 0.02  # ln energy per frame, by which the background follows: in the ratio of its tenth, 9 to 1
LONGEST, MARGIN = (round(seconds * audio.SAMPLE_RATE / audio.STEP) for seconds in (1.0, 0.3))  # frames
QUIET_SHARE = 0.1  # of the last quiet frame in the mean of them
ROUNDING = 0.5  # ln energy of a mel band, that of rounding to 16 bits: silence before any quiet frame
WEIGHT = 100  # frames that the typical mean and deviation stand for: 2 s
MEMORY = 300  # frames after which a frame counts for 1 / e: 6 s
# Mean and standard deviation of each coefficient in AN4's training set.
# fmt: off
MEAN = (
    14.2, -7.1, -4.8, 5.5, -12.4, -11.5, -7.9, -10.2, -4.1, -8.4, -3.3, -4.9, -3.8,
    -3.5, -2.2, -3.6, -1.0, -0.9, -0.2, 0.2, 0.3, 0.0, 0.0, 0.0, 0.0, 0.0,
)
DEVIATION = (
    3.6, 15.6, 12.9, 18.0, 13.9, 15.7, 13.9, 13.8, 13.9, 12.2, 11.0, 11.1, 9.8,
    8.7, 8.2, 6.5, 5.6, 4.8, 3.8, 2.9, 2.0, 1.1, 0.4, 0.2, 0.8, 1.2,
)
# fmt: on


class Mel:
    """Turns samples, in pieces of any size, into the frames of `audio.log_mel`, without a constant offset."""

    def __init__(self) -> None:
        self._state: Doubles | None = None  # of the filter
        self._last = 0.0  # the last sample, filtered
        self._waiting = np.zeros(audio.REACH)  # filtered and pre-emphasised, of the next frames and REACH before them
        self._count = 0  # samples so far
        self._frames = 0  # frames so far

    def feed(self, samples: Floats) -> Floats:
        """Return the [frames, 27] that [samples] complete, often none."""
        if not len(samples):
            return np.zeros((0, audio.COEFFICIENTS + 1), np.float32)
        if self._state is None:
            self._state = np.array([-float(samples[0])])  # as if the first sample had always been
        filtered, self._state = signal.lfilter((1.0, -1.0), (1.0, -POLE), samples.astype(np.float64), zi=self._state)
        before = np.append(self._last, filtered[:-1])
        self._last = float(filtered[-1])
        self._count += len(samples)
        self._waiting = np.concatenate([self._waiting, filtered - audio.PREEMPHASIS * before])
        return self._take((len(self._waiting) - 2 * audio.REACH - audio.WINDOW) // audio.STEP + 1)

    def close(self) -> Floats:
        """Return the last [frames, 27], at the end of the recording: as many as `audio.frame_count` says in all."""
        left = audio.frame_count(self._count) - self._frames if self._count else 0
        needed = (left - 1) * audio.STEP + audio.WINDOW + 2 * audio.REACH
        self._waiting = np.pad(self._waiting, (0, max(0, needed - len(self._waiting))))
        return self._take(left)

    def _take(self, count: int) -> Floats:
        count = max(0, count)
        self._frames += count
        if not count:
            return np.zeros((0, audio.COEFFICIENTS + 1), np.float32)
        heard = self._waiting[: (count - 1) * audio.STEP + audio.WINDOW + 2 * audio.REACH]
        self._waiting = self._waiting[count * audio.STEP :].copy()
        return audio.log_energies(heard).astype(np.float32)


class Gate:
    """Passes on the frames of speech and of up to a second after it: an utterance. What is quiet for longer is dropped.

    An utterance begins with up to a second of quiet at the start of the recording, and 0.3 s later on.
    """

    def __init__(self) -> None:
        self.is_open = False
        self._background: float | None = None
        self._energies: deque[float] = deque(maxlen=CLICK)
        self._quiet = np.full(audio.COEFFICIENTS + 1, ROUNDING, np.float32)
        self._quiet[-1] += np.log(audio.COEFFICIENTS)
        self._knows_quiet = False
        self._waiting: deque[tuple[int, Floats]] = deque(maxlen=LONGEST)  # the frames before speech
        self._since = 0  # quiet frames since speech
        self._number = 0  # of the next frame

    def feed(self, mel: Floats) -> list[tuple[Floats, Longs]]:
        """Return the ([frames, 27], their numbers) that pass of the next [frames, 27]: a pair for each utterance.

        All but the last end an utterance. The first may go on with the one before.
        """
        parts: list[list[tuple[int, Floats]]] = [[]]
        for row in mel:
            was_open = self.is_open
            parts[-1] += self._pass(row)
            if was_open and not self.is_open:
                parts.append([])
        return [_joined(part) for part in parts]

    def _pass(self, row: Floats) -> list[tuple[int, Floats]]:
        spoken, frame = self._hear(row)
        number, self._number = self._number, self._number + 1
        self._since = 0 if spoken else self._since + 1
        if self.is_open:
            if self._since <= LONGEST:
                return [(number, frame)]
            self.is_open = False
            self._waiting = deque(maxlen=MARGIN)
        if len(self._waiting) == LONGEST == self._waiting.maxlen:
            self._waiting = deque(self._waiting, maxlen=MARGIN)
        if not spoken:
            self._waiting.append((number, frame))
            return []
        self.is_open = True
        passed = [*self._waiting, (number, frame)]
        self._waiting.clear()
        return passed

    def _hear(self, row: Floats) -> tuple[bool, Floats]:
        """Return (whether somebody speaks, the frame without digital silence)."""
        energy = float(row[-1])
        heard = float(audio.above_rounding(row[-1]))
        if not self._energies:
            self._energies.extend([heard] * (CLICK - 1))
        self._energies.append(heard)
        loudness = sorted(self._energies)[CLICK // 2]
        if energy < SILENT:
            return False, self._quiet
        if self._background is None:
            self._background = heard
        elif heard < self._background:
            self._background = max(heard, self._background - FALL)
        else:
            self._background = min(heard, self._background + RISE)
        spoken = loudness >= self._background + audio.LEAST_RISE
        if not spoken:
            self._quiet = self._quiet + (row - self._quiet) * np.float32(QUIET_SHARE if self._knows_quiet else 1)
            self._knows_quiet = True
        return spoken, row


def _joined(part: list[tuple[int, Floats]]) -> tuple[Floats, Longs]:
    rows = np.array([row for _, row in part], np.float32).reshape(-1, audio.COEFFICIENTS + 1)
    return rows, np.array([number for number, _ in part], np.int64)


def cepstra(mel: Floats) -> Doubles:
    """Return `audio.cepstra` of [frames, 27], in double precision: [frames, 26]."""
    values = mel.astype(np.float64)
    coefficients: Doubles = values[:, : audio.COEFFICIENTS] @ audio.cosines()
    coefficients[:, 0] = values[:, audio.COEFFICIENTS]
    return coefficients


class Normaliser:
    """Brings each coefficient to mean 0 and deviation 1, by the frames so far; older ones are forgotten."""

    def __init__(self) -> None:
        mean, deviation = np.array(MEAN), np.array(DEVIATION)
        self._sums = WEIGHT * np.concatenate([[1.0], mean, mean**2 + deviation**2])  # of 1, x and x^2

    def feed(self, values: Doubles) -> Floats:
        """Return the next [frames, 26], normalised."""
        if not len(values):
            return values.astype(np.float32)
        rows = np.concatenate([np.ones((len(values), 1)), values, values**2], 1)  # [frames, 53]
        kept = 1 - 1 / MEMORY
        sums, _ = signal.lfilter((1.0,), (1.0, -kept), rows, axis=0, zi=kept * self._sums[None])
        self._sums = sums[-1]
        means, squares = np.split(sums[:, 1:] / sums[:, :1], 2, 1)
        deviations = np.sqrt(np.maximum(squares - means**2, 0)) + 1e-5
        normalised: Floats = ((values - means) / deviations).astype(np.float32)
        return normalised


def normalise(features: Floats) -> Floats:
    """Return [frames, 26] of a whole utterance, normalised."""
    return Normaliser().feed(features.astype(np.float64))


NORMALISATIONS = {**audio.NORMALISATIONS, "running": normalise}  # as ds_normalisation names them


def kept(samples: Floats) -> tuple[Floats, Longs]:
    """Return the ([frames, 27], their numbers) of a recording that pass the gate: none where nothing is speech."""
    rows, numbers = zip(*Gate().feed(log_mel(samples)), strict=True)
    return np.concatenate(rows), np.concatenate(numbers)


def log_mel(samples: Floats) -> Floats:
    """Return all the [frames, 27] of a recording."""
    front = Mel()
    return np.concatenate([front.feed(samples), front.close()])


def speech_mel(samples: Floats) -> Floats:
    """Return the [frames, 27] of a recording that a network learns; all of them where nothing is speech."""
    found, _ = kept(samples)
    return found if len(found) else log_mel(samples)


def has_long_pause(samples: Floats) -> bool:
    """Return whether frames between two of speech are dropped."""
    _, numbers = kept(samples)
    return len(numbers) > 0 and len(numbers) <= numbers[-1] - numbers[0]
