"""Weights from another training's checkpoint: all of them, or all but those of the layers near the output."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import Trouble
from . import checkpoint
from .parameters import Parameters
from .text import Alphabet, alphabet_of

LAYERS = (  # from the input to the output
    ("h1", "b1"),
    ("h2", "b2"),
    ("h3", "b3"),
    ("lstm_kernel", "lstm_recurrent", "lstm_bias", "lookahead"),  # the last with ds_lookahead alone
    ("h5", "b5"),
    ("h6", "b6"),
)


def identity(parameters: Parameters) -> str | None:
    """Return a hash of the checkpoint that a training begins with; None if it begins with random weights."""
    if parameters.load_checkpoint_dir is None:
        return None
    arrays, _ = read(parameters.load_checkpoint_dir)
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + arrays[name].tobytes())
    return digest.hexdigest()


def read(directory: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the (weights by name, meta data) of a checkpoint; `directory` may also be the file. Raises Trouble."""
    is_file = directory.suffix == ".npz"
    found = checkpoint.load(directory.parent, directory.name) if is_file else checkpoint.load(directory)
    if found is None:
        raise Trouble(f"{directory}: holds no checkpoint: expected {checkpoint.NAME}, as ds_checkpoint_dir gets it")
    arrays, meta = found
    return {name.removeprefix(PREFIX): one for name, one in arrays.items() if name.startswith(PREFIX)}, meta


PREFIX = "weights."


def take(weights: Mapping[str, Any], parameters: Parameters) -> None:
    """Assign the weights of the layers that are kept. Raises Trouble for a checkpoint that does not fit."""
    directory = parameters.load_checkpoint_dir
    if directory is None:
        return
    arrays, meta = read(directory)
    settings = meta.get("settings", {})
    letters = settings.get("alphabet", {}).get("letters", Alphabet().letters)
    if letters != parameters.alphabet.letters and not parameters.drop_source_layers:
        raise Trouble(
            f"{directory}: its letters are {alphabet_of(letters).told}: expected the same, or ds_drop_source_layers=1"
        )
    ahead = settings.get("lookahead", 0)
    if ahead != parameters.lookahead:
        raise Trouble(f"{directory}: its ds_lookahead is {ahead}: expected {parameters.lookahead}")
    normalisation = settings.get("normalisation", parameters.normalisation)
    if normalisation != parameters.normalisation:
        raise Trouble(f"{directory}: its ds_normalisation is {normalisation}: expected {parameters.normalisation}")
    layers = [[name for name in layer if name in weights] for layer in LAYERS]
    kept = layers[: len(LAYERS) - parameters.drop_source_layers]
    for number, layer in enumerate(kept):
        for name in layer:
            found, expected = getattr(arrays.get(name), "shape", None), tuple(weights[name].shape)
            if found != expected:
                raise Trouble(
                    f"{directory}: its weights {name} are {found}: expected {expected}: train with its widths, or drop "
                    f"its layers from there on: ds_drop_source_layers={len(LAYERS) - number}"
                )
    for layer in kept:
        for name in layer:
            weights[name].assign(arrays[name])
    epochs = len(meta.get("history", ()))
    print(f"{directory}: the weights of {len(kept)} of {len(LAYERS)} layers, after {epochs} epochs", flush=True)
