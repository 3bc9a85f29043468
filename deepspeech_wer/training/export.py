"""Exports the trained network as a SavedModel and a TFLite file, and verifies both."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ..errors import Trouble
from . import audio, source
from .arrays import Tensor
from .batches import assemble
from .confidence import Calibrations
from .dataset import Item
from .decoders import Decoder, greedy
from .network import lookahead
from .network.model import Network
from .parameter_types import ends
from .parameters import N_INPUT, Parameters
from .sound import causal
from .sound.effects import TELEPHONE_RATE
from .transcribe.recogniser import (
    DESCRIPTION,
    LANGUAGE_MODEL,
    MODEL,
    Description,
    LanguageWeights,
    Recogniser,
    description_record,
)

TOLERANCE = 1e-4  # largest difference between the logits of the trained and the exported network
WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # the LSTM's cannot be saved
SAVED_MODEL, TFLITE = "saved_model", "tflite"  # keys of the sizes; the first is also a directory
LIBRARIES = ("tensorflow", "ai-edge-litert", "numpy")


def export(
    network: Network,
    items: Sequence[Item],
    parameters: Parameters,
    commit: str,
    decoders: Sequence[Decoder] = (),
    calibrations: Calibrations | None = None,
) -> dict[str, int]:
    """Write `<export_dir>/<commit>/` with `saved_model`, `model.tflite` and `model.json`; see `replace` for `latest`.

    Both networks map [1, frames, 26] normalised features to [frames, 1, labels] logits, for any number of frames. With
    look-ahead, the TFLite file is `lookahead.step`, which the SavedModel has, too. A language model estimated by
    the run is copied as `lm.arpa`. Returns sizes in bytes; {} for a re-training, and if `export_dir` is not set.
    Raises Trouble if the files cannot be written, or if an exported network's logits, or its transcript of the first of
    `items`, differ from the trained network's.
    """
    if parameters.export_dir is None or parameters.wer_rerun_of:  # it would replace its merge's own network
        return {}
    network = network.on_one_device(parameters)
    target = parameters.export_dir / commit[:7]
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        beside.mkdir(parents=True)
        _write_networks(network, beside)
        sizes = {
            SAVED_MODEL: sum(path.stat().st_size for path in (beside / SAVED_MODEL).rglob("*") if path.is_file()),
            TFLITE: (beside / MODEL).stat().st_size,
        }
        description = Description(
            commit,
            parameters.alphabet,
            parameters.normalisation,
            _language_model(decoders, parameters, beside),
            features=causal.VERSION if parameters.lookahead else audio.VERSION,
            calibrations=calibrations or Calibrations(),
            narrow_band=_learnt_narrow_band(parameters),
            lookahead=parameters.lookahead,
        )
        record = description_record(description, sizes, {name: version(name) for name in LIBRARIES})
        (beside / DESCRIPTION).write_text(json.dumps(record, indent=4, ensure_ascii=False) + "\n", "utf-8")
        _verify(network, items[0], parameters, beside)
        replace(target, beside)
    except (OSError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Trouble(f"{target}: cannot be written: {reason}: free space, or change ds_export_dir") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return sizes


def _learnt_narrow_band(parameters: Parameters) -> bool:
    lowest, _ = ends(parameters.augment_resample_rate)
    is_resampled = parameters.augment_resample > 0 and lowest <= TELEPHONE_RATE
    return is_resampled or parameters.augment_band_limit > 0 or parameters.augment_codec > 0


def _write_networks(network: Network, directory: Path) -> None:
    module = _Carried(network) if network.lookahead else _Exported(network)
    function = module.step if isinstance(module, _Carried) else module.logits
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())  # else TFLite gets no weights
    tf.saved_model.save(module, str(directory / SAVED_MODEL), options=WITHOUT_GRADIENTS)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], module)
    (directory / MODEL).write_bytes(converter.convert())


def _language_model(decoders: Sequence[Decoder], parameters: Parameters, directory: Path) -> LanguageWeights | None:
    """Copy the language model if the run estimated it; return its weights, None without one."""
    for decoder in decoders:
        if decoder.language_model is not None:
            if parameters.lm_path is None:
                shutil.copyfile(decoder.language_model, directory / LANGUAGE_MODEL)
            alpha, beta = (float(str(decoder.settings[name])) for name in ("lm_alpha", "lm_beta"))
            return LanguageWeights(decoder.language_model.name, alpha, beta, parameters.beam_width)
    return None


class _Exported(tf.Module):  # type: ignore[misc]
    """The network as a function of one utterance, with a fixed signature."""

    def __init__(self, network: Network) -> None:
        super().__init__(name="exported")
        self.network = network

    @tf.function(input_signature=[tf.TensorSpec((1, None, N_INPUT), tf.float32, name="features")])  # type: ignore[untyped-decorator]
    def logits(self, features: Tensor) -> Tensor:
        return self.network.logits(features, tf.shape(features)[1:2])


class _Carried(_Exported):
    """The same of a network with look-ahead, and its steps through a stream."""

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        cells = network.weights["lstm_recurrent"].shape[1]
        self.step = tf.function(
            lambda features, state: lookahead.step(network, features, state),
            input_signature=[
                tf.TensorSpec((1, None, N_INPUT), tf.float32, name="features"),
                tf.TensorSpec((lookahead.state_size(cells, network.lookahead),), tf.float32, name="state"),
            ],
        )


def _verify(network: Network, item: Item, parameters: Parameters, directory: Path) -> None:
    features = assemble([item], parameters).features
    expected = network.logits(features, tf.constant([features.shape[1]])).numpy()
    with _without_warnings():
        loaded = tf.saved_model.load(str(directory / SAVED_MODEL))  # kept alive: its function holds it weakly
    recogniser = Recogniser(directory)
    answers = {SAVED_MODEL: loaded.logits(features).numpy(), MODEL: recogniser.infer(features[0])[:, None]}
    for name, found in answers.items():
        difference = float(np.abs(found - expected).max())
        if not difference <= TOLERANCE:  # also for NaN
            raise Trouble(
                f"{directory / name}: its logits are {difference:.2g} off the trained network's: expected {TOLERANCE}"
            )
    _verify_text(network, item, parameters, directory, recogniser)


def _verify_text(network: Network, item: Item, parameters: Parameters, directory: Path, recogniser: Recogniser) -> None:
    """Compare the transcripts from the recording on, as a user of the files computes them."""
    batch = assemble([item], parameters)
    _, logits = network.score(batch)
    (expected,) = greedy(logits, batch.lengths, parameters.alphabet)
    utterance = item.utterance
    samples = audio.read_audio(utterance.audio, *(utterance.segment or ()), convert=parameters.resample)
    found = recogniser.greedy(recogniser.logits(samples))  # whatever it holds: as in the test
    if found != expected:
        raise Trouble(
            f"{directory / MODEL}: transcribes {utterance.id} as {found!r}: expected {expected!r}, as in training"
        )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Suppress the warnings about custom gradients, which are left out on purpose."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def replace(target: Path, beside: Path) -> None:
    """Replace `target` by `beside`, then switch the link `latest` to it atomically, so that there always is one.

    It stays where it is if that is a later commit: old merges are trained, too, such as those that failed before.
    """
    aside = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(aside)
    beside.rename(target)
    shutil.rmtree(aside, ignore_errors=True)
    latest = target.with_name("latest")
    if latest.is_dir() and source.is_before(target.name, latest.resolve().name):
        return
    link = target.with_name(f".latest.{os.getpid()}")
    link.symlink_to(target.name)
    link.replace(latest)
