"""eSpeak NG as a library: text in, samples out.

Samples depend on what the process spoke before. Two processes that speak the same texts in the same order get the same
samples from eSpeak NG 1.52 and later. A process can have only one engine.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import Trouble

RETRIEVAL = 1  # AUDIO_OUTPUT_RETRIEVAL: samples to the callback, none to the sound card
UTF8 = 1  # espeakCHARS_UTF8
RATE, PITCH = 1, 3  # espeak_PARAMETER
SEED = 4567  # of the noise in its sounds
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Engine:
    """The speech synthesiser. `rate` is its sample rate in Hz."""

    def __init__(self) -> None:
        try:
            import espeakng_loader
        except ImportError as error:
            raise Trouble(
                "ds_importer=synthetic needs the package espeakng-loader: pip install 'deepspeech-wer[demo]', "
                "or use ds_importer=csv with recordings of your own"
            ) from error
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate: int = self._library.espeak_Initialize(RETRIEVAL, 0, data, 0)
        if self.rate <= 0:
            raise Trouble(f"eSpeak NG does not start with its data in {data.decode()}: reinstall espeakng-loader")
        self._pieces: list[NDArray[np.int16]] = []
        self._callback: Callable[..., Any] = CALLBACK(self._collect)  # kept alive: the library has a pointer
        self._library.espeak_SetSynthCallback(self._callback)
        self._set_seed = getattr(self._library, "espeak_ng_SetRandSeed", None)  # since 1.52

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int) -> NDArray[np.int16]:
        """Return [samples] of a text, at `rate` Hz; `pitch` is 0 to 99. Raises Trouble for an unknown voice."""
        if self._library.espeak_SetVoiceByName(voice.encode()):
            raise Trouble(f"eSpeak NG has no voice {voice!r}: reinstall espeakng-loader")
        self._library.espeak_SetParameter(RATE, words_per_minute, 0)
        self._library.espeak_SetParameter(PITCH, pitch, 0)
        self._pieces.clear()
        if self._set_seed:
            self._set_seed(ctypes.c_long(SEED))
        raw = text.encode()
        self._library.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 0, 0, UTF8, None, None)
        self._library.espeak_Synchronize()
        return np.concatenate(self._pieces)

    def _collect(self, samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0
