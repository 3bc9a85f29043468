"""Runs an exported network: from samples to logits and texts, with ai-edge-litert instead of TensorFlow.

An export is a directory with `model.tflite` and `model.json`. The latter describes the letters and features that the
network was trained for. If the run estimated a language model, it is `lm.arpa` in the same directory.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from ...errors import Trouble
from .. import audio, band
from ..alignment import Edges
from ..arrays import Floats, Longs
from ..confidence import Calibration, Calibrations
from ..quiet import without_lines
from ..text import Alphabet, alphabet_of

MODEL, DESCRIPTION, LANGUAGE_MODEL = "model.tflite", "model.json", "lm.arpa"
VERSION = 1  # of model.json
NOISE = "^INFO: Created TensorFlow Lite XNNPACK delegate"
Finish = Callable[[Floats], str]  # [frames, labels] logits to text
FEATURES: Mapping[str, object] = {
    "version": audio.VERSION,
    "sample_rate": audio.SAMPLE_RATE,
    "window": audio.WINDOW,
    "step": audio.STEP,
    "fft": audio.FFT,
    "coefficients": audio.COEFFICIENTS,
    "preemphasis": audio.PREEMPHASIS,
    "lifter": audio.LIFTER,
}


@dataclass(frozen=True)
class LanguageWeights:
    """The language model that the network was tested with, and its weights from the validation set."""

    file: str  # file name of the model, without its directory
    alpha: float
    beta: float
    beam_width: int


@dataclass(frozen=True)
class Description:
    """What an exported network was trained for."""

    commit: str
    alphabet: Alphabet
    normalisation: str
    language_model: LanguageWeights | None = None
    features: str = audio.VERSION  # version of the features
    calibrations: Calibrations = field(default_factory=Calibrations)
    narrow_band: bool = False  # whether it learnt from narrow-band speech, too: ds_augment_band_limit


def description_record(
    description: Description, sizes: Mapping[str, int], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return the content of model.json; `sizes` of the exported files in bytes, `versions` of the libraries."""
    return {
        "version": VERSION,
        "commit": description.commit,
        "alphabet": description.alphabet.name,
        "features": {**FEATURES, "normalisation": description.normalisation},
        "narrow_band": description.narrow_band,
        "calibrations": asdict(description.calibrations),
        "language_model": vars(description.language_model) if description.language_model else None,
        "bytes": dict(sizes),
        "libraries": dict(versions),
    }


def read_description(path: Path) -> Description:
    """Return the description in a model.json.

    Raises Trouble for a file that is none, is of another version, or describes other features than `audio` computes.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    version = _entry(path, record, "version", int)
    if version != VERSION:
        raise Trouble(f"{path}: has version {version}, expected {VERSION}: export the network again")
    features, weights = _entry(path, record, "features", dict), record.get("language_model")
    feature_version, normalisation = (_entry(path, features, name, str) for name in ("version", "normalisation"))
    if feature_version not in (audio.VERSION, audio.WITH_OFFSET) or normalisation not in audio.NORMALISATIONS:
        raise Trouble(
            f"{path}: its network was trained on features {feature_version}, {normalisation}: expected "
            f"{audio.VERSION} or {audio.WITH_OFFSET}: use the version of this package that it was trained with"
        )
    return Description(
        _entry(path, record, "commit", str),
        alphabet_of(_entry(path, record, "alphabet", str)),
        normalisation,
        None if weights is None else _language_weights(path, weights),
        feature_version,
        _calibrations(path, record["calibrations"]) if "calibrations" in record else Calibrations(),
        record.get("narrow_band") is True,
    )


def _language_weights(path: Path, record: Any) -> LanguageWeights:
    alpha, beta = (float(_entry(path, record, name, int | float)) for name in ("alpha", "beta"))
    return LanguageWeights(_entry(path, record, "file", str), alpha, beta, _entry(path, record, "beam_width", int))


def _calibrations(path: Path, record: Any) -> Calibrations:
    decoders = _entry(path, record, "decoders", dict)
    edges = _entry(path, record, "edges", dict)
    lead, trail = (float(_entry(path, edges, name, int | float)) for name in ("lead", "trail"))
    return Calibrations({name: _calibration(path, one) for name, one in decoders.items()}, Edges(lead, trail))


def _calibration(path: Path, record: Any) -> Calibration:
    bias, mean, least = (float(_entry(path, record, name, int | float)) for name in ("bias", "mean", "least"))
    words, tested = (_entry(path, record, name, int) for name in ("validation_words", "test_words"))
    return Calibration(bias, mean, least, words, tested, record.get("error"))


def _entry(path: Path, record: Any, name: str, kind: Any) -> Any:
    """Return an entry of a JSON object in model.json. Raises Trouble where it is missing or of another type."""
    value = record.get(name) if isinstance(record, dict) else None
    if not isinstance(value, kind):
        raise _unreadable(path, f"{name!r} is missing or of another type")
    return value


def _unreadable(path: Path, why: str) -> Trouble:
    return Trouble(
        f"{path}: is not a readable description of an exported network ({why}): "
        "expected that of an export, such as ds_export_dir/latest"
    )


@dataclass(frozen=True)
class Heard:
    """What was recognised, and what its times and confidences follow from."""

    text: str
    logits: Floats  # [frames, labels] of the frames that the network heard: none where nobody speaks
    places: Longs  # [frames]: which frame of the recording each of them is


class Recogniser:
    """An exported network, loaded. Raises Trouble if it is missing, damaged or inconsistent."""

    def __init__(self, place: Path, *, threads: int = 1) -> None:
        """`place` is an export's directory, or the model.tflite in it."""
        if not place.exists():
            raise Trouble(f"{place}: does not exist: expected an export, such as ds_export_dir/latest")
        directory = place if place.is_dir() else place.parent
        model = place / MODEL if place.is_dir() else place
        self.description = read_description(directory / DESCRIPTION)
        self.language_model = directory / LANGUAGE_MODEL  # need not exist
        self.alphabet = self.description.alphabet
        self._normalise = audio.NORMALISATIONS[self.description.normalisation]
        try:
            with without_lines(NOISE):
                self._interpreter = Interpreter(str(model), num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError, OSError) as error:
            raise Trouble(f"{model}: cannot be used as a TFLite file: {' '.join(str(error).split())}") from error
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]
        labels = self.infer(np.zeros((8, audio.COEFFICIENTS), np.float32)).shape[1]
        if labels != len(self.alphabet.letters) + 1:
            raise Trouble(
                f"{model}: has {labels} outputs: expected those of {len(self.alphabet.letters)} letters and a blank, "
                f"as {DESCRIPTION} beside it says: they are of different exports"
            )

    def warning(self, samples: Floats) -> str | None:
        """Return what makes errors likely in the text of [samples] at 16 kHz; None: nothing."""
        if self.description.narrow_band or not band.is_narrow(samples):
            return None
        return f"{band.NARROW}: expect more errors, unless the network has learnt from such speech"

    def logits(self, samples: Floats) -> Floats:
        """Return [frames, labels] logits of [samples] at 16 kHz, in the range of 16-bit integers; at least one."""
        return self.logits_of_mel(audio.without_quiet(self.mel(samples)))

    def mel(self, samples: Floats) -> Floats:
        """Return the [frames, 27] of [samples], as in the network's training; quiet parts stay."""
        has_offset = self.description.features == audio.WITH_OFFSET
        return audio.log_mel(samples if has_offset else audio.without_offset(samples))

    def logits_of_mel(self, mel: Floats) -> Floats:
        """Return [frames, labels] logits of [frames, 27] from `mel`."""
        return self.infer(self._normalise(audio.cepstra(mel)))

    def infer(self, features: Floats) -> Floats:
        """Return [frames, labels] logits of [frames, 26] normalised features."""
        interpreter = self._interpreter
        interpreter.resize_tensor_input(self._input, (1, *features.shape))
        interpreter.allocate_tensors()
        interpreter.set_tensor(self._input, features[None])
        interpreter.invoke()
        logits: Floats = interpreter.get_tensor(self._output)[:, 0]  # [T, 1, labels]
        return logits

    def greedy(self, logits: Floats) -> str:
        """Return the text of the best label of each frame of [frames, labels] logits."""
        return self.alphabet.decode_path(logits.argmax(1).tolist())

    def text(self, samples: Floats, finish: Finish | None = None) -> str:
        """Return the text of [samples] at 16 kHz, in the range of 16-bit integers; "" where nobody speaks.

        It is decoded by `finish`; None: greedily.
        """
        return self.hear(samples, finish).text

    def hear(self, samples: Floats, finish: Finish | None = None) -> Heard:
        """Return the text as `text` does, with what it follows from."""
        mel = self.mel(samples)
        if audio.rise(mel) < audio.LEAST_RISE:
            return Heard("", np.zeros((0, len(self.alphabet.letters) + 1), np.float32), np.zeros(0, np.int64))
        kept = audio.kept_frames(mel)
        logits = self.logits_of_mel(mel[kept])
        return Heard((finish or self.greedy)(logits), logits, np.flatnonzero(kept))
