"""The network of a checkpoint, as a training left it."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ..errors import Trouble
from . import audio, transfer
from .arrays import Floats
from .network.model import Network
from .parameters import Parameters
from .sound import causal
from .text import Alphabet, alphabet_of


class Restored:
    """A network with the weights of a checkpoint. Raises Trouble for one that cannot be used."""

    def __init__(self, place: Path) -> None:
        arrays, meta = transfer.read(place)
        parameters = _parameters(meta.get("settings", {}))
        self.alphabet = parameters.alphabet
        self._normalise = causal.NORMALISATIONS[parameters.normalisation]
        self._is_causal = bool(parameters.lookahead)
        self._mel = causal.speech_mel if self._is_causal else audio.speech_mel
        self._network = Network(parameters)
        for name, weight in self._network.weights.items():
            if name not in arrays or arrays[name].shape != tuple(weight.shape):
                raise Trouble(f"{place}: holds no weights {name} {tuple(weight.shape)}: expected a checkpoint")
            weight.assign(arrays[name])

    def is_spoken(self, samples: Floats) -> bool:
        """Return whether anybody speaks in [samples] at 16 kHz."""
        if self._is_causal:
            return len(causal.kept(samples)[0]) > 0
        return audio.rise(audio.log_mel(audio.without_offset(samples))) >= audio.LEAST_RISE

    def logits(self, samples: Floats) -> Floats:
        """Return [frames, labels] logits of [samples] at 16 kHz."""
        features = self._normalise(audio.cepstra(self._mel(samples)))
        found: Floats = self._network.logits(features[np.newaxis], tf.constant([len(features)])).numpy()[:, 0]
        return found

    def greedy(self, logits: Floats) -> str:
        """Return the text of the best label of each frame."""
        return self.alphabet.decode_path(logits.argmax(1).tolist())


def _parameters(settings: dict[str, Any]) -> Parameters:
    """Return the parameters that a checkpoint tells of, as far as the network depends on them."""
    simple = {one.name for one in fields(Parameters) if isinstance(one.default, bool | int | float | str)}
    given = {name: value for name, value in settings.items() if name in simple}
    return Parameters(**given, alphabet=alphabet_of(settings.get("alphabet", {}).get("letters", Alphabet().letters)))
