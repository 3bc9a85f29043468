"""Weights of another training, the best epoch, and rates of a checkpoint or an export on any table."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tone_corpus import SMALL, Job, noise_utterance, prepare_sets, random_texts, write_corpus

from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training import checkpoint, measure, patience, threads, train, transfer
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.restored import Restored
from deepspeech_wer.training.transcribe.recogniser import Recogniser

TINY = {**SMALL, "ds_n_hidden": "8", "ds_epochs": "1"}


@pytest.fixture
def source(tones: Path, tmp_path: Path) -> Path:
    """The checkpoint of a training."""
    run(tones, tmp_path, ds_checkpoint_dir=str(tmp_path / "source"))
    return tmp_path / "source"


def run(corpus: Path, place: Path, **variables: str) -> tuple[Network, Parameters]:
    parameters = from_environment({**TINY, "ds_dataset_path": str(corpus), **variables})
    items = prepare_sets(parameters, place)
    network = Network(parameters)
    train.train(network, items["train"][:8], items["dev"], parameters, place)
    return network, parameters


def weights(network: Network) -> dict[str, np.ndarray]:  # type: ignore[type-arg]
    return {name: one.numpy() for name, one in network.weights.items()}


def test_all_weights_are_taken_but_those_of_the_layers_that_are_dropped(source: Path) -> None:
    taken, _ = transfer.read(source)
    for drop in (0, 1, 3):
        parameters = from_environment(
            {**TINY, "ds_load_checkpoint_dir": str(source), "ds_drop_source_layers": str(drop)}
            if drop
            else {**TINY, "ds_load_checkpoint_dir": str(source)}
        )
        network = Network(parameters)
        before = weights(network)
        transfer.take(network.weights, parameters)

        dropped = {name for layer in transfer.LAYERS[len(transfer.LAYERS) - drop :] for name in layer}
        for name, found in weights(network).items():
            assert np.array_equal(found, before[name] if name in dropped else taken[name]), name


def test_a_transferred_training_begins_with_them_and_is_resumed_as_any(
    source: Path, tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"ds_load_checkpoint_dir": str(source), "ds_learning_rate": "0"}
    network, _ = run(tones, tmp_path, **given, ds_save_checkpoint_dir=str(tmp_path / "own"))
    assert "the weights of 6 of 6 layers, after 1 epochs" in capsys.readouterr().out
    assert all(np.array_equal(one, transfer.read(source)[0][name]) for name, one in weights(network).items())

    run(tones, tmp_path, **given, ds_save_checkpoint_dir=str(tmp_path / "own"))
    assert "resuming after epoch 1 of 1" in capsys.readouterr().out
    run(tones, tmp_path, ds_learning_rate="0", ds_save_checkpoint_dir=str(tmp_path / "own"))
    assert "the checkpoint differs in source: training from the start" in capsys.readouterr().out


def test_another_alphabet_needs_another_last_layer(source: Path, tmp_path: Path) -> None:
    (tmp_path / "letters.txt").write_text(" \na\nb\nc\n")
    other = {**TINY, "ds_alphabet": str(tmp_path / "letters.txt"), "ds_load_checkpoint_dir": str(source)}
    parameters = from_environment(other)
    with pytest.raises(Trouble, match=r"its letters are .*: expected the same, or ds_drop_source_layers=1"):
        transfer.take(Network(parameters).weights, parameters)
    transfer.take(Network(parameters).weights, replace(parameters, drop_source_layers=1))


def test_other_widths_name_the_layer_and_the_cure(source: Path, tmp_path: Path) -> None:
    wider = from_environment({**TINY, "ds_n_hidden_5": "9", "ds_load_checkpoint_dir": str(source)})
    with pytest.raises(Trouble, match=r"its weights h5 are \(16, 8\): expected \(16, 9\): .*ds_drop_source_layers=2"):
        transfer.take(Network(wider).weights, wider)
    with pytest.raises(Trouble, match="holds no checkpoint"):
        transfer.identity(replace(wider, load_checkpoint_dir=tmp_path))


def test_contradicting_directories_are_refused(tmp_path: Path) -> None:
    same = {"ds_load_checkpoint_dir": str(tmp_path), "ds_checkpoint_dir": str(tmp_path)}
    with pytest.raises(UsageTrouble, match="is where this training's own checkpoint goes"):
        from_environment(same)
    assert from_environment({**same, "ds_save_checkpoint_dir": str(tmp_path / "own")}).kept_in == tmp_path / "own"
    with pytest.raises(UsageTrouble, match="ds_drop_source_layers: expected ds_load_checkpoint_dir, too"):
        from_environment({"ds_drop_source_layers": "1"})


def test_the_best_epoch_is_kept_tested_and_found_again(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patience, "best_epoch", lambda history: min(2, len(history)) or None)
    wanted = {"ds_epochs": "3", "ds_keep_best": "1", "ds_checkpoint_dir": str(tmp_path / "kept")}

    network, _ = run(tones, tmp_path, **wanted)

    best, last = (checkpoint.load(tmp_path / "kept", name) for name in (checkpoint.BEST, checkpoint.NAME))
    assert best is not None
    assert last is not None
    assert [len(one[1]["history"]) for one in (best, last)] == [2, 3]
    for name, one in weights(network).items():
        assert np.array_equal(one, best[0][f"weights.{name}"])
    assert any((last[0][name] != one).any() for name, one in best[0].items())
    assert "epoch 2 has the lowest validation loss: it is tested" in capsys.readouterr().out
    again, _ = run(tones, tmp_path, **wanted)
    assert all(np.array_equal(one, weights(again)[name]) for name, one in weights(network).items())


def test_rates_of_an_export_and_of_a_checkpoint_are_those_of_the_run(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threads, "limit", lambda _: None)  # TensorFlow has begun in this process
    tones = Path(shutil.copytree(tones, tmp_path / "corpus"))
    with (tones / "test.csv").open("a") as table:  # nobody speaks in it: each way hears nothing
        table.write(f"{noise_utterance(tones, 'noise', 'a').audio.name},1,a,s0\n")
    job = Job(tmp_path / "logs", tones)
    done = job.run(
        "--checkpoint_dir",
        str(tmp_path / "kept"),
        ds_export_dir=str(tmp_path / "exports"),
        ds_epochs="12",
        ds_learning_rate="0.01",
        ds_train_batch_size="4",
        ds_decoders="lm",
    )
    assert done.returncode == 0, done.stderr
    results, rows = job.record()["results"], job.record("utterances.json")["rows"]
    assert results["tested_epoch"] == 12
    assert rows[-1][4] == ""
    assert 0 < results["cpu_seconds"] / 3600 <= results["run_cpu_hours"]
    assert "to go" in done.stdout

    for model in (tmp_path / "exports" / "latest", tmp_path / "kept"):
        arguments = [str(model), str(tones / "test.csv"), "--json", "--utterances", str(tmp_path / "said")]
        assert measure.main(arguments) == 0
        record = json.loads(capsys.readouterr().out)
        assert record["wer"] == results["test_wer"]
        assert record["cer"] == results["test_cer"]
        assert record["signature"] == results["signature"]
        assert [row[4] for row in json.loads((tmp_path / "said" / "test.json").read_text())["rows"]] == [
            row[4] for row in rows
        ]
    for listener in (Recogniser(tmp_path / "exports" / "latest"), Restored(tmp_path / "kept")):
        _, told = measure.measured(tones / "test.csv", listener, lambda _: "spoken", "none")
        assert [row[4] for row in told["rows"]] == ["spoken"] * (len(rows) - 1) + [""]
    assert measure.main([str(tmp_path / "exports" / "latest"), str(tones / "test.csv"), "--lm", "own"]) == 0
    assert f"test.csv: WER {results['decoders']['lm']['wer']:.2%}" in capsys.readouterr().out


def test_what_cannot_be_measured_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_corpus(tmp_path / "corpus", random_texts("abc", test=1)) / "test.csv"
    for model in (tmp_path / "absent", tmp_path):
        assert measure.main([str(model), str(table)]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{model}: ")
        assert "expected" in line
