"""Real trainings of a second, in this process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tone_corpus import SMALL, prepare_sets

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training import checkpoint as checkpoints
from deepspeech_wer.training import dataset, decoding, evaluate, importers, results, train
from deepspeech_wer.training.corpus import file_sha256
from deepspeech_wer.training.decoders import greedy_decoder
from deepspeech_wer.training.epochs import Epoch
from deepspeech_wer.training.lm import weights
from deepspeech_wer.training.network import devices
from deepspeech_wer.training.network.model import Network
from deepspeech_wer.training.parameters import Parameters, from_environment
from deepspeech_wer.training.text import Alphabet

Start = Callable[..., "Trained"]


@dataclass
class Trained:
    parameters: Parameters
    network: Network
    items: dict[str, tuple[dataset.Item, ...]]
    history: tuple[Epoch, ...]
    directory: Path

    def numbers(self) -> list[tuple[float | None, ...]]:
        return [(one.train_loss, one.validation_loss, one.train_wer, one.validation_wer) for one in self.history]

    def test(self) -> evaluate.Evaluation:
        words = decoding.prepare_search(self.parameters, self.items["train"], self.directory)
        ways = decoding.prepare_decoders(self.parameters, words, self.network, self.items["dev"])
        return evaluate.evaluate(self.network, self.items["test"], 4, self.parameters, ways)


@pytest.fixture
def start(tones: Path, tmp_path: Path) -> Start:
    """Trains on tones with the variables given."""

    def run(**variables: str) -> Trained:
        parameters = from_environment({**SMALL, "ds_dataset_path": str(tones), **variables})
        items = prepare_sets(parameters, tmp_path)
        network = Network(parameters)
        history = train.train(network, items["train"], items["dev"], parameters, tmp_path)
        return Trained(parameters, network, items, history, tmp_path)

    return run


def test_the_same_seed_gives_the_same_losses_to_the_last_digit(start: Start) -> None:
    augmented = {"ds_augment_tempo": "0.1", "ds_augment_noise": "0.1", "ds_dropout_rate": "0.2"}

    assert start(**augmented).numbers() == start(**augmented).numbers()
    assert start(**augmented).numbers() != start(**augmented, ds_random_seed="1").numbers()


def test_both_executors_give_the_same_digits(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    in_turn = start(ds_dropout_rate="0.2")
    monkeypatch.setattr(devices, "executor", lambda *_: "")
    queued = start(ds_dropout_rate="0.2")

    assert (in_turn.network.executor, queued.network.executor) == ("SINGLE_THREADED_EXECUTOR", "")
    assert in_turn.numbers() == queued.numbers()


def test_plain_epochs_have_neither_dropout_nor_augmentation(start: Start) -> None:
    varied = {"ds_augment_tempo": "0.3", "ds_augment_noise": "0.5", "ds_dropout_rate": "0.5", "ds_epochs": "2"}
    plain = start(ds_dropout_rate="0", ds_epochs="2").numbers()
    mixed = start(**varied, ds_plain_epochs="1").numbers()

    assert mixed[0] == plain[0]
    assert mixed[1] != plain[1]
    assert start(**varied).numbers()[0] != plain[0]


def test_a_training_that_was_stopped_ends_with_the_same_digits(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = start(ds_epochs="4")
    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "run_epoch", stop_before_epoch(2, train.Trainer.run_epoch))
        with pytest.raises(KeyboardInterrupt):
            start(ds_epochs="4", ds_checkpoint_dir=str(tmp_path / "checkpoint"))

    resumed = start(ds_epochs="4", ds_checkpoint_dir=str(tmp_path / "checkpoint"))

    assert resumed.numbers() == whole.numbers()
    assert resumed.test().loss == whole.test().loss


def test_a_training_in_smaller_batches_is_resumed_with_the_same_digits(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"ds_n_hidden": "8", "ds_max_seconds": "4", "ds_epochs": "3", "ds_plain_epochs": "1"}
    whole = start(**small)
    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "run_epoch", stop_before_epoch(2, train.Trainer.run_epoch))
        with pytest.raises(KeyboardInterrupt):
            start(**small, ds_checkpoint_dir=str(tmp_path / "checkpoint"))

    assert start(**small, ds_checkpoint_dir=str(tmp_path / "checkpoint")).numbers() == whole.numbers()
    record = results.parameters_record(whole.parameters, whole.items)
    assert record["total_batches_train"] > 64 / 8
    assert whole.history[-1].learning_rate < whole.history[0].learning_rate


def stop_before_epoch(last: int, run_epoch: Callable[..., Epoch]) -> Callable[..., Epoch]:
    def run(self: train.Trainer, index: int, factor: float) -> Epoch:
        if index == last:
            raise KeyboardInterrupt
        return run_epoch(self, index, factor)

    return run


def test_a_finished_training_is_not_trained_again(start: Start, tmp_path: Path) -> None:
    checkpoint = str(tmp_path / "checkpoint")
    first = start(ds_checkpoint_dir=checkpoint)

    again = start(ds_checkpoint_dir=checkpoint)

    assert again.history == first.history
    assert again.test().loss == first.test().loss


def test_a_checkpoint_of_other_settings_is_not_resumed(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(tmp_path / "checkpoint")
    start(ds_checkpoint_dir=checkpoint)

    start(ds_checkpoint_dir=checkpoint, ds_learning_rate="0.1", ds_epochs="1")

    assert "the checkpoint differs in epochs, learning_rate: training from the start" in capsys.readouterr().out


def test_a_finished_training_goes_on_if_more_epochs_are_asked_for(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = str(tmp_path / "checkpoint")
    first = start(ds_checkpoint_dir=checkpoint, ds_epochs="2")

    more = start(ds_checkpoint_dir=checkpoint, ds_epochs="5")

    assert more.history[:2] == first.history
    assert [one.epoch for one in more.history] == [1, 2, 3, 4, 5]
    assert "resuming after epoch 2 of 5" in capsys.readouterr().out
    assert more.history[4].train_loss < first.history[1].train_loss
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["checkpoint.npz"]


@pytest.mark.parametrize(
    "changed",
    [
        {"ds_threads": "2"},
        {"ds_devices": "1"},
        {"ds_display_step": "0", "ds_report_count": "0"},
        {"ds_logs_dir": "elsewhere"},
        {"ds_limit_train": "64"},  # as many as there are: the same data
        {"ds_decoder": "beam", "ds_test_batch_size": "1"},
    ],
)
def test_settings_that_change_no_training_do_not_end_it(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str]
) -> None:
    directory = tmp_path / "checkpoint"
    first = start(ds_checkpoint_dir=str(directory), ds_n_hidden="8", ds_epochs="1")
    before = (directory / "checkpoint.npz").read_bytes()

    again = start(ds_checkpoint_dir=str(directory), ds_n_hidden="8", ds_epochs="1", **changed)

    assert again.history == first.history
    assert "resuming after epoch 1 of 1" in capsys.readouterr().out
    assert (directory / "checkpoint.npz").read_bytes() == before
    assert len(list(directory.iterdir())) == 1


def test_an_interrupted_training_goes_on_if_more_epochs_are_asked_for(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    constant = {"ds_n_hidden": "8", "ds_schedule": "constant"}
    checkpoint = str(tmp_path / "checkpoint")
    with monkeypatch.context() as patch:
        patch.setattr(train.Trainer, "run_epoch", stop_before_epoch(1, train.Trainer.run_epoch))
        with pytest.raises(KeyboardInterrupt):
            start(**constant, ds_epochs="2", ds_checkpoint_dir=checkpoint)

    more = start(**constant, ds_epochs="3", ds_checkpoint_dir=checkpoint)

    assert "resuming after epoch 1 of 3" in capsys.readouterr().out
    assert more.numbers() == start(**constant, ds_epochs="3").numbers()


def test_a_checkpoint_from_before_a_setting_existed_is_resumed(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "checkpoint"
    settings = {"ds_n_hidden": "8", "ds_epochs": "1", "ds_checkpoint_dir": str(directory)}
    first = start(**settings)
    arrays, meta = checkpoints.load(directory) or ({}, {})
    del meta["settings"]["beta1"]
    checkpoints.save(directory, arrays, meta)

    assert start(**settings).history == first.history
    start(**settings, ds_beta1="0.8")
    assert (directory / "checkpoint.1.npz").is_file()


@pytest.mark.parametrize("changed", [{"ds_epochs": "2"}, {"ds_n_hidden": "20"}, {"ds_epochs": "6", "ds_beta1": "0.8"}])
def test_a_checkpoint_of_other_settings_is_kept(
    start: Start, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, str]
) -> None:
    directory = tmp_path / "checkpoint"
    start(ds_checkpoint_dir=str(directory), ds_epochs="3")
    first = (directory / "checkpoint.npz").read_bytes()

    for number in (1, 2):
        start(ds_checkpoint_dir=str(directory), **{"ds_epochs": "3", **changed, "ds_random_seed": str(number)})
        assert f"training from the start; it is kept as checkpoint.{number}.npz" in capsys.readouterr().out

    assert (directory / "checkpoint.1.npz").read_bytes() == first
    assert len(list(directory.iterdir())) == 3


def test_steps_say_when_rates_are_measured(start: Start) -> None:
    trained = start(ds_epochs="5", ds_display_step="2", ds_validation_step="3")

    assert [one.epoch for one in trained.history if one.train_wer is not None] == [2, 4, 5]
    assert [one.epoch for one in trained.history if one.validation_wer is not None] == [3, 5]


def test_steps_of_zero_measure_nothing(start: Start) -> None:
    trained = start(ds_epochs="2", ds_display_step="0", ds_validation_step="0")

    assert {(one.train_wer, one.validation_wer) for one in trained.history} == {(None, None)}


def test_a_terminal_gets_a_progress_bar_and_a_log_does_not(
    start: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    start(ds_epochs="1")
    assert "step/s" not in capsys.readouterr().err

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    start(ds_epochs="1")
    said = capsys.readouterr()
    assert "epoch 1/1:" in said.err
    assert said.out.startswith("epoch 1/1, train loss ")


def test_a_loss_that_is_no_number_ends_the_training(start: Start) -> None:
    with pytest.raises(train.Diverged, match=r"the loss is inf in epoch 1, step 1, utterance train/.*ds_learning_rate"):
        start(ds_initializer="normal", ds_default_stddev="1e30")


def test_weights_broken_by_the_last_step_are_reported(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = start(ds_epochs="1")
    trained.network.weights["h6"].assign(np.full(trained.network.weights["h6"].shape, np.nan))
    with pytest.raises(train.Diverged, match="the loss is nan without dropout, utterance test/"):
        trained.test()
    step = train.Trainer.step

    def breaking(self: train.Trainer, *given: Any) -> Any:
        result = step(self, *given)
        self.network.weights["h1"].assign(np.full(self.network.weights["h1"].shape, np.inf))
        return result

    monkeypatch.setattr(train.Trainer, "step", breaking)
    with pytest.raises(train.Diverged, match="the weights h1 are no finite numbers after epoch 1"):
        start(ds_epochs="1", ds_train_batch_size="100")


def test_a_checkpoint_with_other_arrays_is_refused(start: Start, tmp_path: Path) -> None:
    start(ds_epochs="1", ds_checkpoint_dir=str(tmp_path / "c"))
    with np.load(tmp_path / "c" / "checkpoint.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["weights.h9"] = arrays.pop("weights.h6")
    np.savez(tmp_path / "c" / "checkpoint.npz", **arrays)
    with pytest.raises(Trouble, match="its checkpoint holds other arrays: move it away"):
        start(ds_epochs="1", ds_checkpoint_dir=str(tmp_path / "c"))


def test_variables_are_logged_for_tensorboard(start: Start) -> None:
    trained = start(ds_epochs="1", ds_log_variables="1")

    (events,) = (trained.directory / "tensorboard").iterdir()
    content = events.read_bytes()
    assert all(tag in content for tag in (b"train_loss", b"weights/lstm_kernel", b"gradient_norms/h1"))


def test_hypotheses_do_not_depend_on_order_or_batches(start: Start) -> None:
    trained = start()
    items = trained.items["test"]

    def texts(order: tuple[dataset.Item, ...], size: int) -> dict[str, str]:
        found = evaluate.evaluate(trained.network, order, size, trained.parameters, [greedy_decoder(Alphabet())])
        return {one.item.utterance.id: one.text for one in found.hypotheses}

    assert texts(items, 2) == texts(items[::-1], 8)


def test_the_worst_utterances_come_first(start: Start) -> None:
    tested = start().test()
    lines = evaluate.worst(tested, 2)

    rates = [one.counts.rate or 0 for one in tested.hypotheses]
    assert lines[0].startswith(f"WER: {max(rates):.6f}, loss: ")
    assert lines[1].startswith(" - source: ")
    assert lines[2].startswith(" - result: ")
    assert len(lines) == 6


def test_without_validation_hyper_json_says_null(start: Start, tmp_path: Path) -> None:
    trained = start(ds_epochs="1", ds_validation_step="0", ds_decoder="lm", ds_decoders="greedy,lm", ds_beam_width="5")
    corpus = importers.load(trained.parameters)
    parameters = replace(trained.parameters, logs_dir=tmp_path / "logs", wer_sha="a" * 40)
    directory = results.new_run_directory(parameters)

    finished = results.Finished(
        results.now(), parameters, corpus, trained.items, trained.network, trained.history, trained.test(), exported={}
    )
    path = results.write(directory, finished)

    record = json.loads(path.read_text())
    assert record["results"]["last_validation_wer"] is None
    assert record["results"]["signature"]["decoder"] == "lm3-beam5"
    assert list(record["results"]["decoders"]) == ["greedy", "lm"]
    assert record["results"]["decoders"]["lm"]["wer"] == record["results"]["test_wer"]
    assert record["parameters"]["lm_path"] == "lm.arpa"
    assert record["parameters"]["lm_sha256"] == file_sha256(trained.directory / "lm.arpa")
    assert record["parameters"]["lm_alpha"] in weights.ALPHAS
    assert record["context"]["git_hash"] == "a" * 40
    assert directory.name.endswith("-" + "a" * 12)
