"""Exported networks: their files, their verification, and that they agree with the trained network."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tone_corpus import SMALL, prepare_sets, write_corpus

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import audio, batches, dataset, decoding, export, source
from deepspeech_wer.training.decoders import greedy
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.transcribe.recogniser import Recogniser
from tests.conftest import Repository

COMMIT = "0123456789"


@dataclass(frozen=True)
class Exported:
    parameters: Parameters
    network: Network  # untrained: its texts have many letters
    items: tuple[dataset.Item, ...]
    directory: Path
    sizes: dict[str, int]


def export_one(place: Path, **variables: str) -> Exported:
    corpus = write_corpus(place / "tones", {"train": ["a b"], "dev": ["a"], "test": ["b a c a", "c", "a b b"]})
    places = {"ds_dataset_path": str(corpus), "ds_export_dir": str(place / "exports")}
    parameters = from_environment({**SMALL, **places, **variables})
    items = prepare_sets(parameters, place)
    network = Network(parameters)
    words = decoding.prepare_search(parameters, items["train"], place)
    ways = decoding.prepare_decoders(parameters, words, network, items["dev"])
    sizes = export.export(network, items["test"], parameters, COMMIT, ways)
    return Exported(parameters, network, items["test"], place / "exports", sizes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """One export for all tests that do not change it; its language model goes with it."""
    place = tmp_path_factory.mktemp("exported")
    return export_one(place, ds_decoder="lm", ds_lm_alpha="0.9", ds_lm_beta="-1", ds_beam_width="7")


@pytest.fixture
def copied(exported: Exported, tmp_path: Path) -> Path:
    return shutil.copytree(exported.directory / "latest", tmp_path / "copied")


def test_a_retraining_replaces_no_export_and_makes_none_the_latest(exported: Exported, tmp_path: Path) -> None:
    again = replace(exported.parameters, export_dir=tmp_path, wer_rerun_of="20260101-000000-0123456789ab")
    assert export.export(exported.network, exported.items, again, COMMIT) == {}
    assert list(tmp_path.iterdir()) == []


def test_an_export_is_whole_and_latest_points_at_it(exported: Exported) -> None:
    latest, sizes = exported.directory / "latest", exported.sizes

    assert latest.resolve() == exported.directory / "0123456"
    assert sorted(path.name for path in exported.directory.iterdir()) == ["0123456", "latest"]
    assert sorted(path.name for path in latest.iterdir()) == ["lm.arpa", "model.json", "model.tflite", "saved_model"]
    assert (latest / "model.tflite").stat().st_size == sizes["tflite"]
    assert sizes["tflite"] > 4 * 0.9 * exported.network.parameter_count()
    record = json.loads((latest / "model.json").read_text("utf-8"))
    assert record["bytes"] == sizes
    assert record["commit"] == COMMIT
    assert record["alphabet"] == " abcdefghijklmnopqrstuvwxyz'"
    assert record["features"]["sample_rate"] == 16_000
    assert record["libraries"]["tensorflow"] == tf.__version__


def test_the_language_model_of_the_run_goes_with_it(exported: Exported) -> None:
    latest = exported.directory / "latest"

    assert (latest / "lm.arpa").read_bytes() == (exported.directory.parent / "lm.arpa").read_bytes()
    assert json.loads((latest / "model.json").read_text())["language_model"] == {
        "file": "lm.arpa", "alpha": 0.9, "beta": -1.0, "beam_width": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    "more",
    [
        {"ds_normalisation": "each", "ds_frame_stride": "1"},
        {"ds_normalisation": "all", "ds_frame_stride": "2"},
        {"ds_lookahead": "1"},
        {"ds_lookahead": "25"},
    ],
    ids=str,
)
def test_the_export_gives_the_network_s_hypotheses(tmp_path: Path, more: dict[str, str]) -> None:
    letters = tmp_path / "letters"
    letters.write_text(" \na\nb\nc\nä\n", "utf-8")
    one = export_one(tmp_path, ds_alphabet=str(letters), **more)
    loaded = tf.saved_model.load(str(one.directory / "latest" / "saved_model"))
    recogniser = Recogniser(one.directory / "latest" / "model.tflite")

    texts = set()
    for item in one.items:
        batch = batches.assemble([item], one.parameters)
        _, expected = one.network.score(batch)
        logits = recogniser.logits(audio.read_audio(item.utterance.audio))
        np.testing.assert_allclose(logits, expected[: item.frames, 0], atol=1e-4)
        np.testing.assert_allclose(loaded.logits(batch.features[:, : item.frames])[:, 0], logits, atol=1e-4)
        assert [recogniser.greedy(logits)] == greedy(expected, batch.lengths, one.parameters.alphabet)
        texts.add(recogniser.greedy(logits))
    assert len(texts) > 1
    assert set("".join(texts)) <= set(" abcä")


def test_loading_a_model_prints_nothing(exported: Exported, capfd: pytest.CaptureFixture[str]) -> None:
    Recogniser(exported.directory / "latest")

    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("method", "answer", "said"),
    [
        ("infer", lambda _, features: np.zeros((len(features), 29), np.float32), r"its logits are .* off the trained"),
        ("infer", lambda _, features: np.full((len(features), 29), np.nan, np.float32), "its logits are nan off"),
        ("greedy", lambda *_: "something else", r"transcribes test/0\.wav as 'something else': expected"),
    ],
)
def test_an_export_with_other_outputs_is_refused(
    exported: Exported, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, method: str, answer: object, said: str
) -> None:
    monkeypatch.setattr(export, "_write_networks", lambda _, place: shutil.copytree(
        exported.directory / "latest", place, dirs_exist_ok=True
    ))  # fmt: skip
    monkeypatch.setattr(export.Recogniser, method, answer)
    parameters = from_environment({**SMALL, "ds_export_dir": str(tmp_path / "exports")})

    with pytest.raises(Trouble, match=said):
        export.export(exported.network, exported.items, parameters, COMMIT)

    assert not list((tmp_path / "exports").iterdir())


def test_an_older_export_is_replaced_and_latest_moves_on(tmp_path: Path) -> None:
    for commit, name in (("0123456", "first"), ("0123456", "second"), ("fedcba9", "third")):
        beside = tmp_path / ".beside"
        beside.mkdir()
        (beside / name).touch()
        export.replace(tmp_path / commit, beside)

    assert (tmp_path / "latest").readlink() == Path("fedcba9")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0123456", "fedcba9", "latest"]
    assert [path.name for path in (tmp_path / "0123456").iterdir()] == ["second"]


def test_an_older_merge_that_is_trained_later_is_not_the_latest(
    tmp_path: Path, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("root")
    older, newer = repository.merge("older"), repository.merge("newer")
    repository.git("checkout", "--quiet", "-b", "rewritten", "HEAD~1")
    rewritten = repository.merge("rewritten")
    monkeypatch.setattr(source, "ROOT", repository.path)
    pointed = []
    for commit in (newer, older, newer, rewritten):
        (tmp_path / "exports" / ".beside").mkdir(parents=True)
        export.replace(tmp_path / "exports" / commit[:7], tmp_path / "exports" / ".beside")
        pointed.append((tmp_path / "exports" / "latest").resolve().name)
    assert pointed == [newer[:7], newer[:7], newer[:7], rewritten[:7]]


def test_an_unwritable_export_directory_is_reported(exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    parameters = from_environment({**SMALL, "ds_export_dir": str(tmp_path / "file")})

    with pytest.raises(Trouble, match=r"cannot be written: .*ds_export_dir"):
        export.export(exported.network, exported.items, parameters, COMMIT)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model.json", None, "is not a readable description"),
        ("model.json", "{", "is not a readable description"),
        ("model.json", '{"version": 2}', "has version 2, expected 1"),
        ("model.json", f"{audio.VERSION}->mel0@0", "trained on features mel0@0"),
        ("model.json", "abc->ab", "has 29 outputs: expected those of 27 letters"),
        ("model.tflite", "no model", "cannot be used as a TFLite file"),
        ("model.tflite", None, "cannot be used as a TFLite file"),
    ],
)
def test_an_unusable_export_is_refused(copied: Path, name: str, content: str | None, said: str) -> None:
    path = copied / name
    if content is None:
        path.unlink()
    elif "->" in content:
        path.write_text(path.read_text("utf-8").replace(*content.split("->")), "utf-8")
    else:
        path.write_text(content)

    with pytest.raises(Trouble, match=said):
        Recogniser(copied)
