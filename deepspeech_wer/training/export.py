"""The trained network for use elsewhere: a SavedModel and a TFLite file, checked after they were written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from ..errors import Trouble
from .audio import Floats
from .data import Item, assemble
from .model import Network, Tensor
from .parameters import N_INPUT, Parameters

TOLERANCE = 1e-4  # between the logits of the trained and the exported network
WITHOUT_GRADIENTS = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # the LSTM's cannot be saved


def export(network: Network, items: Sequence[Item], parameters: Parameters, commit: str) -> dict[str, int]:
    """Write `<export_dir>/<commit>/saved_model` and `model.tflite`, and point `latest` there.

    Both take [1, frames, 26] normalised features and give [frames, 1, 29] logits; the number of frames is free. Returns
    the sizes in bytes. Raises Trouble when an exported network answers otherwise than the trained one.
    """
    if parameters.export_dir is None:
        return {}
    target = parameters.export_dir / commit[:7]
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    module = _Exported(network)
    frozen = convert_variables_to_constants_v2(module.logits.get_concrete_function())  # else the file has no weights
    try:
        (beside / "saved_model").mkdir(parents=True)
        tf.saved_model.save(module, str(beside / "saved_model"), options=WITHOUT_GRADIENTS)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], module)
        (beside / "model.tflite").write_bytes(converter.convert())
        _verify(network, assemble(items[:1], parameters).features, beside)
        shutil.rmtree(target, ignore_errors=True)
        beside.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    _point_latest(target)
    return {
        "saved_model": sum(path.stat().st_size for path in (target / "saved_model").rglob("*") if path.is_file()),
        "tflite": (target / "model.tflite").stat().st_size,
    }


class _Exported(tf.Module):  # type: ignore[misc]
    """The network for one utterance, as a function with a fixed signature."""

    def __init__(self, network: Network) -> None:
        super().__init__(name="exported")
        self.network = network

    @tf.function(input_signature=[tf.TensorSpec((1, None, N_INPUT), tf.float32, name="features")])  # type: ignore[untyped-decorator]
    def logits(self, features: Tensor) -> Tensor:
        return self.network.logits(features, tf.shape(features)[1:2])


def _verify(network: Network, features: Floats, directory: Path) -> None:
    expected = network.logits(features, tf.constant([features.shape[1]])).numpy()
    loaded = tf.saved_model.load(str(directory / "saved_model"))  # its function works only while it is held
    saved = loaded.logits(features).numpy()
    lite = _run_tflite(directory / "model.tflite", features)
    for name, found in {"saved_model": saved, "model.tflite": lite}.items():
        apart = float(np.abs(found - expected).max())
        if apart > TOLERANCE:
            raise Trouble(
                f"{directory / name}: its logits are {apart:.2g} off the trained network's: expected {TOLERANCE}"
            )


def _run_tflite(path: Path, features: Floats) -> Floats:
    interpreter = Interpreter(str(path), num_threads=1)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, features.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, features)
    interpreter.invoke()
    logits: Floats = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return logits


def _point_latest(target: Path) -> None:
    """Move the link `latest` in one step: there is always one."""
    beside = target.with_name(f".latest.{os.getpid()}")
    beside.symlink_to(target.name)
    beside.replace(target.with_name("latest"))
