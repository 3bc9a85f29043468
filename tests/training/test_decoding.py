"""The decoders of a run: which, with which language model, with which weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tone_corpus import SMALL, prepare_sets

from deepspeech_wer import wer
from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training import dataset, decoding
from deepspeech_wer.training.corpus import file_sha256
from deepspeech_wer.training.lm import arpa, ngram, weights
from deepspeech_wer.training.lm.beam import BeamSearch
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.text import Alphabet

Sets = dict[str, tuple[dataset.Item, ...]]


@pytest.fixture
def sets(tones: Path, tmp_path: Path) -> Sets:
    return prepare_sets(from_environment({**SMALL, "ds_dataset_path": str(tones)}), tmp_path)


def parameters(**variables: str) -> Parameters:
    return from_environment({**SMALL, **variables})


def test_the_model_is_estimated_from_the_training_transcripts_only(sets: Sets, tmp_path: Path) -> None:
    words = decoding.prepare_search(parameters(ds_decoder="lm", ds_lm_order="2"), sets["train"], tmp_path)

    assert words is not None
    assert words.signature == "lm2-beam100"
    expected = ngram.estimate([item.utterance.transcript.split() for item in sets["train"]], 2)
    for table, other in zip(arpa.read(tmp_path / "lm.arpa").tables, expected.tables, strict=True):
        assert {gram: pytest.approx(values, abs=1e-6) for gram, values in other.items()} == table


def test_a_given_model_is_identified_by_its_hash(sets: Sets, tmp_path: Path) -> None:
    path = tmp_path / "other.arpa"
    arpa.write(path, ngram.estimate([["a", "b"]], 1))
    given = parameters(ds_decoder="lm", ds_lm_path=str(path), ds_lm_alpha="1.5", ds_lm_beta="-2", ds_beam_width="9")

    words = decoding.prepare_search(given, sets["train"], tmp_path)
    (decoder,) = decoding.prepare_decoders(given, words, Network(given), sets["dev"])

    digest = file_sha256(path)
    assert decoder.signature == f"lm1@{digest[:8]}-beam9"
    assert decoder.settings == {
        "lm_path": "other.arpa", "lm_sha256": digest, "lm_order": 1, "lm_words": 2,
        "lm_alpha": 1.5, "lm_beta": -2.0, "lm_validation_wer": None,
    }  # fmt: skip
    assert not (tmp_path / "lm.arpa").exists()


@pytest.mark.parametrize("content", [None, b"no model", b"mmap lm http://kheafield.com/code format version 5\n\0"])
def test_an_unusable_model_is_reported_before_the_training(sets: Sets, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.arpa"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(Trouble, match=str(path)):
        decoding.prepare_search(parameters(ds_decoders="lm", ds_lm_path=str(path)), sets["train"], tmp_path)


def test_without_decoder_lm_there_is_no_language_model(sets: Sets, tmp_path: Path) -> None:
    given = parameters(ds_decoders="beam")

    assert decoding.prepare_search(given, sets["train"], tmp_path) is None
    assert [one.name for one in decoding.prepare_decoders(given, None, Network(given), sets["dev"])] == [
        "greedy",
        "beam",
    ]
    assert not (tmp_path / "lm.arpa").exists()


def test_the_main_decoder_comes_first_and_each_once() -> None:
    assert parameters(ds_decoder="lm", ds_decoders="lm, beam,greedy,beam").all_decoders == ("lm", "greedy", "beam")
    with pytest.raises(
        UsageTrouble, match="ds_decoders='beam;lm': expected some of greedy, beam, lm, separated by commas"
    ):
        parameters(ds_decoders="beam;lm")


def test_weights_may_be_unset() -> None:
    assert (parameters().lm_alpha, parameters(ds_lm_alpha="").lm_alpha, parameters(ds_lm_alpha="0").lm_alpha) == (
        None, None, 0.0,
    )  # fmt: skip
    with pytest.raises(UsageTrouble, match="ds_lm_beta='much': expected a number, -20 to 20"):
        parameters(ds_lm_beta="much")


@pytest.mark.parametrize(("alpha", "beta"), [("", ""), ("3.5", "")])
def test_unset_weights_are_tuned_on_the_validation_set(sets: Sets, tmp_path: Path, alpha: str, beta: str) -> None:
    given = parameters(ds_decoder="lm", ds_lm_alpha=alpha, ds_lm_beta=beta, ds_beam_width="5")
    words = decoding.prepare_search(given, sets["train"], tmp_path)

    (decoder,) = decoding.prepare_decoders(given, words, Network(given), sets["dev"])

    assert decoder.settings["lm_alpha"] in ((3.5,) if alpha else weights.ALPHAS)
    assert decoder.settings["lm_beta"] in weights.BETAS
    assert decoder.settings["lm_validation_wer"] is not None


def test_a_model_that_helps_gets_weight_and_one_that_misleads_gets_none() -> None:
    alphabet = Alphabet(" ab")
    sentences = ["a b", "b a"] * 10
    scored = [(unsure_logits(text, number), text) for number, text in enumerate(sentences)]
    helpful = ngram.estimate([text.split() for text in sentences], 2)
    misleading = ngram.estimate([["a", "a"], ["b", "b"]], 2)
    found = []
    for model in (helpful, misleading):
        search = BeamSearch(model, alphabet, alpha=1, beta=0, width=20)
        chosen = weights.choose(search, scored)
        found.append(chosen)
        assert (search.alpha, search.beta) == (chosen.alpha, chosen.beta)
        errors = sum(wer.score_utterance(text, search.text(logits)).errors for logits, text in scored)
        assert chosen.wer == pytest.approx(errors / (2 * len(scored)))  # the search gives the promised rate

    assert found[0].wer is not None and found[1].wer is not None
    assert found[0].wer < found[1].wer / 3
    assert found[0].alpha > found[1].alpha


def unsure_logits(text: str, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """[frames, 4] logits of a text whose letters a and b sound much alike."""
    generator = np.random.default_rng(seed)
    logits = np.full((len(text), 4), -6, np.float32)
    for row, letter in zip(logits, text, strict=True):
        if letter == " ":
            row[0] = 6
        else:
            row[1:3] = generator.normal(0, 0.5, 2)
            row[1 + "ab".index(letter)] += 0.5
    return logits
