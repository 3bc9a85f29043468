"""A network that has learnt tones, and its export: for the tests of transcribing."""

from __future__ import annotations

from pathlib import Path

import pytest
from tone_corpus import LEARNING, SMALL, prepare_sets, random_texts, write_corpus

from deepspeech_wer.training import decoding, export, train
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment

TEXTS = ("a b", "c", "b a c", "c c a")  # of the test set
RECIPE = {
    **SMALL,
    **LEARNING,
    "ds_n_hidden": "32",
    "ds_epochs": "24",
    "ds_augment_noise": "0.2",
    "ds_augment_tempo": "0.2",
    "ds_display_step": "0",
    "ds_validation_step": "24",
}


def learn_and_export(place: Path, seeds: str, **variables: str) -> tuple[Network, Parameters]:
    """Train with RECIPE and the variables until a seed learns all, and export to `place`/exports/latest.

    Most seeds learn, but which depends on the processor's arithmetic.
    """
    sets = {**random_texts("abc", longest=4, train=160, dev=16), "test": list(TEXTS)}
    corpus = write_corpus(place / "tones", sets, pauses=(0, 0.6))
    places = {"ds_dataset_path": str(corpus), "ds_export_dir": str(place / "exports")}
    for seed in seeds:
        parameters = from_environment({**RECIPE, **places, **variables, "ds_random_seed": seed})
        items = prepare_sets(parameters, place)
        network = Network(parameters)
        if train.train(network, items["train"], items["dev"], parameters, place)[-1].validation_wer == 0:
            break
    else:
        pytest.fail("no network has learnt the tones")
    chosen = decoding.prepare_decoders(parameters, None, network, items["dev"])
    calibrations = decoding.calibrate(network, items, parameters, chosen)
    export.export(network, items["test"], parameters, "0123456789", chosen, calibrations)
    return network, parameters
