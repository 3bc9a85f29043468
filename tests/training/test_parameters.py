"""The job's variables."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from deepspeech_wer import job_contract
from deepspeech_wer.errors import UsageTrouble
from deepspeech_wer.training import parameters

# fmt: off
NAMES_OF_2016 = {
    "importer", "dataset_path", "epochs", "learning_rate", "beta1", "beta2", "epsilon", "dropout_rate", "relu_clip",
    "train_batch_size", "dev_batch_size", "test_batch_size", "n_hidden", "n_hidden_1", "n_hidden_2", "n_hidden_3",
    "n_hidden_5", "n_cell_dim", "display_step", "validation_step", "checkpoint_step", "checkpoint_dir", "limit_train",
    "limit_dev", "limit_test", "random_seed", "report_count", "export_dir", "logs_dir", "log_variables",
    "default_stddev",
}
# fmt: on


def test_every_variable_of_2016_is_read() -> None:
    assert {entry.name for entry in fields(parameters.Parameters)} >= NAMES_OF_2016


def test_the_variables_that_the_tracker_sets_are_read() -> None:
    set_by_the_tracker = {job_contract.LOGS_DIR, job_contract.CHECKPOINT_DIR, job_contract.SHA}

    assert {name for name, _, _ in parameters.table()} >= set_by_the_tracker


def test_an_empty_environment_gives_the_defaults() -> None:
    read = parameters.from_environment({"HOME": "/home/ada"})

    assert (read.importer, read.epochs, read.n_hidden_3) == ("synthetic", 40, 256)


def test_values_are_read_by_their_kind() -> None:
    given = {"ds_epochs": "7", "ds_learning_rate": "1e-4", "ds_log_variables": "yes", "ds_dataset_path": "data"}

    read = parameters.from_environment(given)

    assert (read.epochs, read.learning_rate, read.log_variables) == (7, 1e-4, True)
    assert read.dataset_path == Path.cwd() / "data"


def test_all_faults_are_reported_at_once_with_name_value_and_what_was_expected() -> None:
    given = {"ds_epochs": "many", "ds_dropout_rate": "1.5", "ds_importer": "tapes", "ds_log_variables": "perhaps"}

    with pytest.raises(UsageTrouble) as caught:
        parameters.from_environment(given)

    assert str(caught.value).splitlines() == [
        "ds_importer='tapes': expected one of an4, common_voice, csv, ldc93s1, librivox, synthetic, ted",
        "ds_dropout_rate='1.5': expected a number, 0 to 0.95",
        "ds_epochs='many': expected a whole number, 1 or more",
        "ds_log_variables='perhaps': expected 1 or 0",
    ]


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "", "1e999"])
def test_an_invalid_learning_rate_is_refused(text: str) -> None:
    with pytest.raises(UsageTrouble, match="ds_learning_rate"):
        parameters.from_environment({"ds_learning_rate": text})


def test_widths_follow_n_hidden_unless_they_are_given() -> None:
    read = parameters.from_environment({"ds_n_hidden": "64", "ds_n_cell_dim": "100", "ds_n_hidden_5": "50"})

    assert (read.n_hidden_1, read.n_hidden_2, read.n_hidden_3, read.n_hidden_5) == (64, 64, 200, 50)


def test_the_former_name_of_epochs_is_still_understood() -> None:
    assert parameters.from_environment({"ds_training_iters": "9"}).epochs == 9
    assert parameters.from_environment({"ds_training_iters": "9", "ds_epochs": "8"}).epochs == 8


def test_the_preset_of_2016_changes_defaults_only() -> None:
    read = parameters.from_environment({"ds_preset": "2016", "ds_learning_rate": "0.5"})

    assert (read.normalisation, read.initializer, read.schedule) == ("all", "normal", "constant")
    assert (read.default_stddev, read.clip_norm, read.learning_rate) == (0.046875, 0, 0.5)
    assert parameters.from_environment({"ds_preset": "2016"}).learning_rate == 0.001
    assert (read.beta1, read.beta2, read.epsilon, read.dropout_rate, read.relu_clip) == (0.9, 0.999, 1e-8, 0.05, 20)


def test_the_outputs_follow_the_alphabet(tmp_path: Path) -> None:
    (tmp_path / "alphabet.txt").write_text(" \nά\nς\nσ\nж\n", "utf-8")

    read = parameters.from_environment({"ds_alphabet": str(tmp_path / "alphabet.txt")})

    assert (read.alphabet.letters, read.n_character, read.n_hidden_6) == (" άςσж", 6, 6)
    assert parameters.from_environment({"ds_alphabet": ""}).n_character == 29


def test_an_unusable_alphabet_is_reported_with_the_other_faults(tmp_path: Path) -> None:
    (tmp_path / "alphabet.txt").write_text("a\n")

    with pytest.raises(UsageTrouble, match=r"ds_alphabet=.*txt': expected a line that holds one space.*\nds_epochs"):
        parameters.from_environment({"ds_alphabet": str(tmp_path / "alphabet.txt"), "ds_epochs": "0"})


def test_the_table_names_every_variable_with_its_meaning() -> None:
    rows = {name: (default, meaning) for name, default, meaning in parameters.table()}

    assert rows["ds_epochs"] == ("40", "passes over the training set")
    assert rows["ds_n_hidden_1"][0] == ""
    assert all(meaning for _, meaning in rows.values())


def test_the_home_of_an_unknown_user_is_not_expanded() -> None:
    assert (
        parameters.from_environment({"ds_checkpoint_dir": "~nobody-of-that-name/c"}).checkpoint_dir
        == Path("~nobody-of-that-name/c").absolute()
    )
