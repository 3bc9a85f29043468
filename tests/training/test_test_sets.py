"""Several test sets, each measured by itself, in the shape that the tracker reads."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tone_corpus import Job, noise_utterance, prepare, random_texts, write_corpus

from deepspeech_wer import hyper
from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training import evaluate, importers
from deepspeech_wer.training.corpus import Utterance
from deepspeech_wer.training.dataset import Item, prepare_corpus, set_sha256
from deepspeech_wer.training.decoders import Decoder, greedy_decoder
from deepspeech_wer.training.evaluate import Evaluation
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.text import Alphabet

TINY = {"ds_n_hidden": "8", "ds_epochs": "1"}


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    texts = random_texts("abc", train=16, dev=2, test=4, noisy=3, far=5)
    return write_corpus(tmp_path / "tables", texts)


def of_tables(tables: Path, **more: str) -> Parameters:
    return from_environment({"ds_importer": "csv", "ds_dataset_path": str(tables), **more})


def test_a_job_measures_each_test_set_and_the_main_one_stays_as_it_was(tables: Path, tmp_path: Path) -> None:
    without, job = Job(tmp_path / "without", tables), Job(tmp_path / "logs", tables)
    assert without.run(**TINY).returncode == 0
    done = job.run(**TINY, ds_test_sets="noisy, far")
    assert done.returncode == 0, done.stderr

    before, record = without.record(), job.record()
    results, tests = record["results"], record["results"]["tests"]
    assert "tests" not in before["results"]
    for name in ("test_wer", "test_cer", "test_loss", "test_errors", "signature"):
        assert results[name] == before["results"][name]
    assert job.record("utterances.json") == without.record("utterances.json")
    assert [tests[name]["errors"]["utterances"] for name in ("noisy", "far")] == [3, 5]
    data = record["context"]["data"]
    for name, one in tests.items():
        errors = one["errors"]
        wrong = errors["substitutions"] + errors["deletions"] + errors["insertions"]
        assert one["wer"] == wrong / errors["words"]
        assert one["signature"] == {**results["signature"], "test_set_sha256": data[name]["sha256"]}
        assert one["interval"]["low"] <= one["wer"] <= one["interval"]["high"]
        assert (one["interval"]["by"], one["interval"]["clusters"]) == ("speaker", 2)
        assert one["cer"] >= 0
        assert f"{name} WER {one['wer']:.2%}, CER {one['cer']:.2%}" in done.stdout
    parsed = hyper.parse(json.dumps(record).encode())
    assert hyper.test_sets(parsed) == {
        name: hyper.Figures(
            one["wer"], round(one["wer"] * one["errors"]["words"]), one["errors"]["words"], one["signature"]
        )
        for name, one in tests.items()
    }
    assert record["parameters"]["test_sets"] == "noisy,far"


@pytest.mark.parametrize(
    ("asked", "parts", "expected"),
    [
        ("", ("clean", "other", "clean"), {"clean": ["u0", "u2"], "other": ["u1"]}),
        ("other", ("clean", "other", "clean"), {"other": ["u1"]}),
        ("", ("clean", "clean", "clean"), {}),  # that is the main one
        ("clean", ("clean", "clean", "clean"), {"clean": ["u0", "u1", "u2"]}),
        ("", (None, None, None), {}),
    ],
)
def test_the_parts_of_a_test_set_are_measured_where_there_are_several(
    tmp_path: Path, asked: str, parts: tuple[str | None, ...], expected: dict[str, list[str]]
) -> None:
    said = [noise_utterance(tmp_path, f"u{number}", "go") for number in range(3)]
    items = prepare(tmp_path, *(replace(one, part=part) for one, part in zip(said, parts, strict=True)))
    parameters = from_environment({**TINY, "ds_test_sets": asked})
    network, tested = heard(parameters, items)

    found = evaluate.evaluate_sets(network, {"train": items, "test": items}, tested, parameters)

    assert {name: [one.item.utterance.id for one in those] for name, those in found.items()} == expected
    texts = {one.item.utterance.id: one.text for one in tested.hypotheses}
    assert all(one.text == texts[one.item.utterance.id] for those in found.values() for one in those)


@pytest.mark.parametrize(
    ("main", "expected"),
    [
        ("", {"clean": ["u0"], "other": ["u1"], "far": ["f0"]}),
        ("test", {"clean": ["u0"], "other": ["u1"], "far": ["f0"]}),
        ("clean", {"other": ["u1"], "far": ["f0"]}),
        ("far", {"clean": ["u0"], "other": ["u1"]}),
    ],
)
def test_the_main_test_set_is_measured_once(tmp_path: Path, main: str, expected: dict[str, list[str]]) -> None:
    said = [noise_utterance(tmp_path, f"u{number}", "go") for number in range(2)]
    items = prepare(tmp_path, replace(said[0], part="clean"), replace(said[1], part="other"))
    sets = {
        "train": items,
        "dev": items,
        "test": items,
        "far": prepare(tmp_path, noise_utterance(tmp_path, "f0", "go")),
    }
    parameters = from_environment({**TINY, "ds_test_set": main})

    network, tested = heard(parameters, tuple(evaluate.main_test(sets, parameters)))
    found = evaluate.evaluate_sets(network, sets, tested, parameters)

    wanted = {"": ["u0", "u1"], "test": ["u0", "u1"], "clean": ["u0"], "far": ["f0"]}[main]
    assert [one.item.utterance.id for one in tested.hypotheses] == wanted
    assert {name: [one.item.utterance.id for one in those] for name, those in found.items()} == expected


def test_a_job_says_which_test_set_its_rate_is_of(tables: Path, tmp_path: Path) -> None:
    job = Job(tmp_path / "logs", tables)
    done = job.run(**TINY, ds_test_sets="noisy,far", ds_test_set="far")
    assert done.returncode == 0, done.stderr

    results, data = job.record()["results"], job.record()["context"]["data"]
    assert results["signature"]["test_set"] == "far"
    assert results["signature"]["test_set_sha256"] == data["far"]["sha256"]
    assert results["test_errors"]["utterances"] == 5
    assert {name: one["errors"]["utterances"] for name, one in results["tests"].items()} == {"noisy": 3, "test": 4}
    assert job.record("utterances.json")["set"] == "far"


def test_a_test_set_that_is_not_there_is_refused(tables: Path) -> None:
    with pytest.raises(UsageTrouble, match=r"ds_test_set='near': expected one of test, noisy$"):
        importers.load(of_tables(tables, ds_test_sets="noisy", ds_test_set="near"))


def heard(parameters: Parameters, items: tuple[Item, ...]) -> tuple[Network, Evaluation]:
    network = Network(parameters)
    return network, evaluate.evaluate(network, items, 2, parameters, [greedy_decoder(Alphabet())])


def test_where_nobody_speaks_no_decoder_is_believed(tmp_path: Path) -> None:
    items = prepare(tmp_path, noise_utterance(tmp_path, "noise", "a"), noise_utterance(tmp_path, "later", "a"))
    speech = write_corpus(tmp_path / "tones", {"test": ["a b"]}) / "test" / "0.wav"
    items += prepare(tmp_path, Utterance("speech", speech, "a b"))
    parameters = from_environment({"ds_n_hidden": "8"})
    talkative = Decoder("talkative", "none", lambda _, lengths: ["spoken"] * len(lengths))
    found = evaluate.evaluate(Network(parameters), items, 2, parameters, [talkative])
    assert [one.text for one in found.hypotheses] == ["", "", "spoken"]


def test_further_tables_are_limited_folded_and_checked_as_the_test_set_is(tables: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"ds_test_sets": "far", "ds_limit_test": "2", "ds_text": "fold"}
    table = tables / "far.csv"
    text = table.read_text().splitlines()
    text[1] = text[1].upper().replace("FAR/0.WAV", "far/0.wav")
    table.write_text("\n".join(text) + "\n")
    parameters = of_tables(tables, ds_cache_dir=str(tmp_path / "cache"), **settings)

    corpus = importers.load(parameters)
    sets = prepare_corpus(corpus, parameters)

    assert [len(sets[name]) for name in ("train", "dev", "test", "far")] == [16, 2, 2, 2]
    assert corpus.further["far"][0].transcript.islower()
    assert set_sha256(sets["far"]) != set_sha256(sets["test"])
    (tables / "far" / "1.wav").write_bytes(b"no sound")
    with pytest.raises(Trouble, match=r"utterance far/1\.wav"):
        prepare_corpus(corpus, parameters)


def test_a_table_that_is_not_there_is_named(tables: Path) -> None:
    with pytest.raises(Trouble, match=r"absent\.csv: cannot be read"):
        importers.load(of_tables(tables, ds_test_sets="absent"))


@pytest.mark.parametrize("importer", ["an4", "synthetic", "ldc93s1", "ted", "common_voice"])
def test_a_corpus_with_one_test_set_has_no_others(tmp_path: Path, importer: str) -> None:
    parameters = from_environment({"ds_importer": importer, "ds_dataset_path": str(tmp_path), "ds_test_sets": "noisy"})
    with pytest.raises(UsageTrouble, match=rf"ds_test_sets='noisy': importer {importer} has one test set"):
        importers.load(parameters)


@pytest.mark.parametrize("value", ["../secret", "a/b", "noisy,noisy", "test", "noisy,train", "test_wer", "..", "a\nb"])
def test_names_that_name_no_table_beside_the_others_are_refused(value: str) -> None:
    with pytest.raises(UsageTrouble, match=r"ds_test_sets=.*up to 10 names"):
        from_environment({"ds_test_sets": value})


def test_no_more_test_sets_than_the_tracker_judges() -> None:
    names = ",".join(f"n{number}" for number in range(11))
    with pytest.raises(UsageTrouble, match=r"ds_test_sets=.*up to 10 names"):
        from_environment({"ds_test_sets": names})
    assert len(from_environment({"ds_test_sets": names[:-4]}).test_set_names) == 10
