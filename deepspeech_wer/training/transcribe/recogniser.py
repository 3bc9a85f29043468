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
from .. import audio
from ..alignment import Edges
from ..arrays import Floats, Longs
from ..confidence import Calibration, Calibrations
from ..quiet import without_lines
from ..sound import band, causal
from ..spans import Frames
from ..text import Alphabet, alphabet_of

MODEL, DESCRIPTION, LANGUAGE_MODEL = "model.tflite", "model.json", "lm.arpa"
VERSION = 1  # of model.json
BEFORE = 18  # frames before it in the window of a network with look-ahead
NOISE = "^INFO: Created TensorFlow Lite XNNPACK delegate"
Finish = Callable[[Floats], str]  # [frames, labels] logits to text
FEATURES: Mapping[str, object] = {
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
    lookahead: int = 0  # frames: ds_lookahead


def description_record(
    description: Description, sizes: Mapping[str, int], versions: Mapping[str, str]
) -> dict[str, Any]:
    """Return the content of model.json; `sizes` of the exported files in bytes, `versions` of the libraries."""
    return {
        "version": VERSION,
        "commit": description.commit,
        "alphabet": description.alphabet.name,
        "features": {"version": description.features, **FEATURES, "normalisation": description.normalisation},
        "lookahead": description.lookahead,
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
    lookahead = _entry(path, {"lookahead": 0, **record}, "lookahead", int)
    known = causal.KNOWN if lookahead else audio.KNOWN
    if feature_version not in known or normalisation not in causal.NORMALISATIONS:
        raise Trouble(
            f"{path}: its network was trained on features {feature_version}, {normalisation}: expected "
            f"{' or '.join(known)}: use the version of this package that it was trained with"
        )
    return Description(
        _entry(path, record, "commit", str),
        alphabet_of(_entry(path, record, "alphabet", str)),
        normalisation,
        None if weights is None else _language_weights(path, weights),
        feature_version,
        _calibrations(path, record["calibrations"]) if "calibrations" in record else Calibrations(),
        record.get("narrow_band") is True,
        lookahead,
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
    frames: Frames  # those, in the recording


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
        self._has_offset = self.description.features == audio.WITH_OFFSET
        self._normalise = causal.NORMALISATIONS[self.description.normalisation]
        self._shapes: dict[str, tuple[int, ...]] = {}
        try:
            with without_lines(NOISE):
                self._interpreter = Interpreter(str(model), num_threads=threads)
                inputs = self._interpreter.get_input_details()
                self._require_inputs(model, len(inputs))
                self._inputs = {one["name"].split(":")[0]: one for one in inputs}
                self._outputs = [one["index"] for one in self._interpreter.get_output_details()]
                labels = self.infer(np.zeros((8, audio.COEFFICIENTS), np.float32)).shape[1]
        except (ValueError, RuntimeError, OSError) as error:
            raise Trouble(f"{model}: cannot be used as a TFLite file: {' '.join(str(error).split())}") from error
        if labels != len(self.alphabet.letters) + 1:
            raise Trouble(
                f"{model}: has {labels} outputs: expected those of {len(self.alphabet.letters)} letters and a blank, "
                f"as {DESCRIPTION} beside it says: they are of different exports"
            )

    def _require_inputs(self, model: Path, count: int) -> None:
        ahead = self.description.lookahead
        if count != (2 if ahead else 1):
            raise Trouble(
                f"{model}: has {count} inputs: expected those of a network with a look-ahead of {ahead}, "
                f"as {DESCRIPTION} beside it says: they are of different exports"
            )

    @property
    def state_size(self) -> int:
        """Return how many numbers the state of a network with look-ahead has."""
        return int(self._inputs["state"]["shape"][0])

    def warning(self, samples: Floats) -> str | None:
        """Return what makes errors likely in the text of [samples] at 16 kHz; None: nothing."""
        if self.description.narrow_band or not band.is_narrow(samples):
            return None
        return f"{band.NARROW}: expect more errors, unless the network has learnt from such speech"

    def is_spoken(self, samples: Floats) -> bool:
        """Return whether anybody speaks in [samples] at 16 kHz."""
        return len(self._speech(samples)[0]) > 0

    def logits(self, samples: Floats) -> Floats:
        """Return [frames, labels] logits of [samples] at 16 kHz, in the range of 16-bit integers; at least one."""
        if self.description.lookahead:
            return self.logits_of_mel(causal.speech_mel(samples))
        mel = self.mel(samples)
        return self.logits_of_mel(mel[audio.kept_frames(self.calm_mel(samples, mel))])

    def mel(self, samples: Floats) -> Floats:
        """Return the [frames, 27] of [samples] for a network without look-ahead; quiet parts stay."""
        if self._has_offset:
            return audio.log_mel(samples, with_rumble=True)
        return audio.log_mel(audio.without_offset(samples))

    def calm_mel(self, samples: Floats, mel: Floats) -> Floats:
        """Return the [frames, 27] that tell where somebody speaks: those that `mel` returned, but for old exports."""
        return audio.log_mel(audio.without_offset(samples)) if self._has_offset else mel

    def logits_of_mel(self, mel: Floats) -> Floats:
        """Return [frames, labels] logits of the [frames, 27] that the network hears."""
        if self.description.lookahead:
            return self.infer(causal.Normaliser().feed(causal.cepstra(mel)))
        return self.infer(self._normalise(audio.cepstra(mel)))

    def infer(self, features: Floats) -> Floats:
        """Return [frames, labels] logits of [frames, 26] normalised features."""
        if self.description.lookahead:
            carried = Carried(self)
            return np.concatenate([carried.feed(features), carried.rest])
        [logits] = self.run(features=features[None])
        whole: Floats = logits[:, 0]  # [T, 1, labels]
        return whole

    def run(self, **inputs: Floats) -> list[Floats]:
        """Return the outputs of the TFLite file for its inputs, by name."""
        interpreter = self._interpreter
        indices = {name: self._inputs[name]["index"] for name in inputs}
        shapes = {name: value.shape for name, value in inputs.items()}
        if shapes != self._shapes:
            for name, shape in shapes.items():
                interpreter.resize_tensor_input(indices[name], shape)
            interpreter.allocate_tensors()
            self._shapes = shapes
        for name, value in inputs.items():
            interpreter.set_tensor(indices[name], value)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._outputs]

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
        rows, places = self._speech(samples)
        frames = Frames(places, rows[:, -1])
        if not len(rows):
            return Heard("", np.zeros((0, len(self.alphabet.letters) + 1), np.float32), frames)
        logits = self.logits_of_mel(rows)
        return Heard((finish or self.greedy)(logits), logits, frames)

    def _speech(self, samples: Floats) -> tuple[Floats, Longs]:
        """Return the [frames, 27] that the network hears, and which frames they are; none where nobody speaks."""
        if self.description.lookahead:
            return causal.kept(samples)
        mel = self.mel(samples)
        calm = self.calm_mel(samples, mel)
        if audio.rise(calm) < audio.LEAST_RISE:
            return mel[:0], np.zeros(0, np.int64)
        kept = audio.kept_frames(calm)
        return mel[kept], np.flatnonzero(kept)

    def has_long_pause(self, samples: Floats) -> bool:
        """Return whether frames between two of speech are not heard."""
        if self.description.lookahead:
            return causal.has_long_pause(samples)
        return audio.has_long_pause(self.calm_mel(samples, self.mel(samples)))


class Carried:
    """A network with look-ahead on its way through one utterance: what it has heard is in its state."""

    def __init__(self, recogniser: Recogniser) -> None:
        self._recogniser = recogniser
        self._ahead = recogniser.description.lookahead
        self._before = np.zeros((BEFORE, audio.COEFFICIENTS), np.float32)
        self._state = np.zeros(recogniser.state_size, np.float32)
        self._early = self._ahead  # logits to come that are of no frame
        # [frames, labels] logits of the frames whose look-ahead is not complete: if the utterance ends here, the last.
        self.rest = np.zeros((0, len(recogniser.alphabet.letters) + 1), np.float32)

    def feed(self, features: Floats) -> Floats:
        """Return the [frames, labels] logits of the frames whose look-ahead the next [frames, 26] complete."""
        if not len(features):
            return self.rest[:0]
        features = np.concatenate([self._before, features])
        self._before = features[-BEFORE:]
        logits, self._state = self._recogniser.run(features=features[None], state=self._state)
        early = min(self._early, len(logits) - self._ahead)
        self._early -= early
        complete, rest = np.split(logits, [len(logits) - self._ahead])
        self.rest = rest[self._early :]
        return complete[early:]
