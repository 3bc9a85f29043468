"""Variation of the sound itself: rooms, noise, volume, other rates, the telephone. Every part is off at 0.

`augment` works on cached features; this needs the recording, which is read again, and its features anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from . import audio
from .arrays import Floats
from .dataset import Item
from .parameter_types import ends
from .parameters import Parameters
from .sound import causal, effects
from .sound.noises import Noises

ROOM, NOISE, VOLUME, RATE, TELEPHONE = range(5)  # part of the seeds: never change one


def is_on(parameters: Parameters) -> bool:
    return any(
        (
            parameters.augment_overlay,
            parameters.augment_reverb,
            parameters.augment_volume,
            parameters.augment_resample,
            parameters.augment_codec,
        )
    )


@dataclass(frozen=True)
class Acoustics:
    """The variations of one epoch.

    All that is drawn follows from the seed, the epoch, and the recording: from no other utterance, and not from the
    other variations, so that one can be switched off and the others stay.
    """

    parameters: Parameters
    noises: Noises
    epoch: int

    def mel(self, item: Item) -> Floats | None:
        """Return the [frames, 27] of an utterance whose sound is varied; None if nothing is drawn for it.

        The frames are those of the recording as it is: noise in a long pause makes no utterance longer.
        """
        steps = list(self._steps(item))
        if not steps:
            return None
        segment = item.utterance.segment or ()
        read = audio.read_audio(item.utterance.audio, *segment, convert=self.parameters.resample)
        clean = audio.without_offset(read)
        varied = clean
        for step in steps:
            varied = step(varied)
        if self.parameters.lookahead:
            mel = causal.log_mel(varied)
            return mel if len(mel) == item.frames else mel[causal.kept(read)[1]]
        mel = audio.log_mel(varied)
        return mel if len(mel) == item.frames else mel[audio.kept_frames(audio.log_mel(clean))]

    def _steps(self, item: Item) -> list[Callable[[Floats], Floats]]:
        """Return what is done to an utterance, in the order in which sound goes from a mouth to a recording."""
        given = self.parameters
        makers = {
            ROOM: (given.augment_reverb, self._room),
            NOISE: (given.augment_overlay, self._noise),
            VOLUME: (given.augment_volume, self._volume),
            RATE: (given.augment_resample, self._rate),
            TELEPHONE: (given.augment_codec, lambda _: effects.telephoned),
        }
        steps = []
        for kind, (share, make) in makers.items():
            rng = self._rng(item, kind) if share else None
            if rng is not None and rng.random() < share:
                steps.append(make(rng))
        return steps

    def _rng(self, item: Item, kind: int) -> np.random.Generator:
        part = [round(1000 * second) for second in item.utterance.segment or ()]
        return np.random.default_rng([self.parameters.random_seed, self.epoch, kind, int(item.audio_sha256, 16), *part])

    def _room(self, rng: np.random.Generator) -> Callable[[Floats], Floats]:
        delay, decay = (
            rng.uniform(*ends(text))
            for text in (self.parameters.augment_reverb_delay, self.parameters.augment_reverb_decay)
        )
        return partial(effects.reverberate, delay=delay, decay=decay)

    def _noise(self, rng: np.random.Generator) -> Callable[[Floats], Floats]:
        snr = rng.uniform(*ends(self.parameters.augment_overlay_snr))
        fewest, most = map(int, ends(self.parameters.augment_overlay_layers))
        count = int(rng.integers(fewest, most + 1))
        return lambda speech: effects.overlay(speech, self.noises.layers(count, len(speech), rng), snr)

    def _volume(self, rng: np.random.Generator) -> Callable[[Floats], Floats]:
        return partial(effects.at_volume, dbfs=rng.uniform(*ends(self.parameters.augment_volume_dbfs)))

    def _rate(self, rng: np.random.Generator) -> Callable[[Floats], Floats]:
        return partial(effects.resampled, rate=round(rng.uniform(*ends(self.parameters.augment_resample_rate))))
