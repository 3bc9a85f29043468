"""A training whose letters are not a-z."""

from __future__ import annotations

from pathlib import Path

import pytest
from tone_corpus import LEARNING, SMALL, prepare_sets, random_texts, write_corpus

from deepspeech_wer.training import evaluate, train
from deepspeech_wer.training.decoders import greedy_decoder
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import from_environment

WORDS = ("ά", "σς", "ж")


def test_a_network_learns_to_write_greek_and_russian(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_corpus(tmp_path / "corpus", random_texts(WORDS, train=64, dev=6, test=8))
    (tmp_path / "alphabet.txt").write_text("# letters\n \nά\nς\nσ\nж\n", "utf-8")
    places = {
        "ds_dataset_path": str(tmp_path / "corpus"),
        "ds_alphabet": str(tmp_path / "alphabet.txt"),
        "ds_checkpoint_dir": str(tmp_path / "checkpoint"),
    }
    parameters = from_environment({**SMALL, **LEARNING, **places})
    items = prepare_sets(parameters, tmp_path)
    network = Network(parameters)

    train.train(network, items["train"], items["dev"], parameters, tmp_path)

    tested = evaluate.evaluate(network, items["test"], 4, parameters, [greedy_decoder(parameters.alphabet)])
    assert tested.score.wer is not None
    assert tested.score.wer < 0.5
    assert set("".join(one.text for one in tested.hypotheses)) <= set(" άςσж")

    (tmp_path / "alphabet.txt").write_text(" \nά\nσ\nς\nж\n", "utf-8")  # the same letters, in another order
    other = from_environment({**SMALL, **LEARNING, **places, "ds_epochs": "1"})
    train.train(Network(other), items["train"][:4], items["dev"], other, tmp_path)
    assert "the checkpoint differs in alphabet" in capsys.readouterr().out
