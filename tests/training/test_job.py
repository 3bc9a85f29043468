"""The job as the tracker starts it: the shell script, the notebook, a real training, real failures."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import soundfile
from tone_corpus import LEARNING, NOTEBOOK, ROOT, SCRIPT, Job

from deepspeech_wer.training import checkpoint


def test_a_job_trains_tests_and_reports(job: Job, tmp_path: Path) -> None:
    done = job.run(**LEARNING, ds_wer_sha="f" * 40, ds_decoders="beam,lm", ds_export_dir=str(tmp_path / "exports"))

    assert done.returncode == 0, done.stderr
    record = job.record()
    results = record["results"]
    assert results["test_wer"] < 0.5  # it has learnt the tones
    assert results["test_wer"] == pytest.approx(wer_of(results["test_errors"])) == results["decoders"]["greedy"]["wer"]
    assert {name: one["signature"] for name, one in results["decoders"].items()} == {
        "greedy": "greedy",
        "beam": "beam100",
        "lm": "lm3-beam100",
    }
    assert record["parameters"]["data_set"]["name"] == "csv"
    assert (record["parameters"]["total_batches_train"], record["parameters"]["n_hidden_3"]) == (16, 48)
    assert record["context"]["git_hash"] == "f" * 40
    assert record["context"]["time_started"] < record["context"]["time_finished"]
    assert results["signature"]["normaliser"] == "none@1"
    assert len(results["signature"]["test_set_sha256"]) == 64
    assert (tmp_path / "exports" / "latest" / "model.tflite").stat().st_size == results["model_bytes"]
    # One line for each epoch where nobody watches, and no progress bar.
    assert sum(line.startswith("epoch ") for line in done.stdout.splitlines()) == 40
    assert "it/s" not in done.stderr
    # Nothing else in the log: TensorFlow's greeting is kept out.
    assert [line for line in done.stderr.splitlines() if not line.startswith("wrote ")] == []


def wer_of(errors: dict[str, int]) -> float:
    return (errors["substitutions"] + errors["deletions"] + errors["insertions"]) / errors["words"]


def test_killed_in_the_middle_it_is_resumed_and_ends_with_the_same_numbers(job: Job, tmp_path: Path) -> None:
    settings = {"ds_epochs": "30", "ds_learning_rate": "0.01"}
    whole = Job(tmp_path / "whole", job.dataset)
    assert whole.run(**settings).returncode == 0

    kill_in_the_middle(job, tmp_path / "checkpoint", settings)
    assert not list(job.logs.glob("*/hyper.json"))
    done = job.run("--checkpoint_dir", str(tmp_path / "checkpoint"), **settings)

    assert done.returncode == 0, done.stderr
    assert "resuming after epoch" in done.stdout
    assert measured(job) == measured(whole)


def kill_in_the_middle(job: Job, directory: Path, settings: dict[str, str]) -> None:
    """Start the job and kill all of it, without warning, after two of many epochs."""
    command = job.command("--checkpoint_dir", str(directory))
    with subprocess.Popen(
        command,
        env=job.environment(**settings),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 120
        while epochs_in(directory) < 2:
            assert process.poll() is None and time.monotonic() < deadline, "no checkpoint to kill it after"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    assert epochs_in(directory) < 30


def epochs_in(directory: Path) -> int:
    found = checkpoint.load(directory)
    return len(found[1]["history"]) if found else 0


def measured(job: Job) -> dict[str, Any]:
    results = job.record()["results"]
    history = job.record("history.json")["epochs"]
    return {
        "results": {name: results[name] for name in ("test_wer", "test_cer", "test_loss", "last_validation_wer")},
        "losses": [(epoch["train_loss"], epoch["validation_loss"], epoch["train_wer"]) for epoch in history],
        "utterances": job.record("utterances.json")["rows"],
    }


def test_a_diverged_training_says_so_in_its_last_line(job: Job) -> None:
    done = job.run(ds_initializer="normal", ds_default_stddev="1e30")

    assert done.returncode == 65
    assert done.stderr.splitlines()[-1].startswith("diverged: the loss is inf in epoch 1, step 1")
    assert "Traceback" not in done.stderr
    assert not list(job.logs.glob("*/hyper.json"))


def test_a_corpus_as_people_have_it_is_trained_and_its_text_is_named_in_the_signature(job: Job, tmp_path: Path) -> None:
    for table in job.dataset.glob("*.csv"):
        rows = [row.split(",") for row in table.read_text().splitlines()]
        odd = [[name, size, f'"‘{text.upper()}’…\u00ad"', speaker] for name, size, text, speaker in rows[1:]]
        table.write_text("\n".join(",".join(row) for row in [rows[0], *odd]), "utf-8-sig")
    for path in job.dataset.glob("test/*.wav"):
        samples, rate = soundfile.read(path, dtype="int16")
        soundfile.write(path, np.stack([samples, samples], 1), rate)

    done = job.run(ds_text="fold", ds_resample="1", ds_epochs="1", ds_export_dir=str(tmp_path / "exports"))

    assert done.returncode == 0, done.stderr
    assert job.record()["results"]["signature"]["normaliser"] == "fold@2"
    assert set("".join(row[3] for row in job.record("utterances.json")["rows"])) == set("abc ")


def test_faults_of_all_sets_are_told_in_one_run(job: Job) -> None:
    for name in ("dev", "test"):
        table = job.dataset / f"{name}.csv"
        table.write_text(table.read_text() + f"train/0.wav,1,{name} 1,s0\ntrain/1.wav,1,{name} 2,s0\n")

    done = job.run()

    assert done.returncode == 1
    assert [line.split(" ")[0] for line in done.stderr.splitlines()[-6:]] == ["utterance", "utterance", "2"] * 2


def test_an_unlearnable_utterance_is_named_in_one_line(job: Job) -> None:
    table = job.dataset / "dev.csv"
    table.write_text(table.read_text() + "train/0.wav,1,a & b,s0\n")

    done = job.run()

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        f"utterance train/0.wav ({job.dataset}/train/0.wav): '&' in its transcript 'a & b'"
    )
    assert "Traceback" not in done.stderr


def test_unusable_settings_are_all_reported_with_exit_code_2(job: Job) -> None:
    done = job.run(ds_epochs="0", ds_beta1="high")

    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()[-2:]] == ["ds_epochs='0'", "ds_beta1='high'"]


def test_an_interpreter_without_tensorflow_is_refused(job: Job) -> None:
    done = job.run(ds_python="/bin/false")

    assert done.returncode == 1
    assert "/bin/false cannot import tensorflow and nbconvert" in done.stderr


def test_a_checkout_without_any_interpreter_says_what_makes_one(tmp_path: Path) -> None:
    script = tmp_path / "bin" / SCRIPT.name
    script.parent.mkdir()
    shutil.copy(SCRIPT, script)
    (tmp_path / "python3").symlink_to("/bin/false")

    done = subprocess.run(
        [script], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert f"'{tmp_path}/bin/install training' makes a .venv that can" in done.stderr


AN4 = ROOT.parent / "shared" / "speech" / "an4"


@pytest.mark.skipif(not AN4.exists(), reason=f"{AN4} is not there: real speech for this test")
def test_the_an4_recipe_trains_on_real_speech(job: Job) -> None:
    small = {"ds_limit_train": "32", "ds_limit_dev": "4", "ds_limit_test": "4", "ds_epochs": "1", "ds_n_hidden": "16"}
    own = {name: value for name, value in job.environment(**small).items() if name != "ds_dataset_path"}

    done = subprocess.run([ROOT / "bin" / "run-an4.sh"], env=own, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    parameters = job.record()["parameters"]
    assert (parameters["augment_tempo"], parameters["n_cell_dim"], parameters["epochs"]) == (0.15, 16, 1)


@pytest.mark.parametrize("name", ["ds_export_dir", "ds_checkpoint_dir", "ds_logs_dir"])
def test_an_unwritable_directory_is_reported_before_the_training(job: Job, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()

    done = job.run(**{name: str(tmp_path / "file" / "below")})

    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(str(tmp_path / "file" / "below"))
    assert last.endswith(f": cannot be written: Not a directory: free space, or change {name}")
    assert "epoch" not in done.stdout


def test_an_export_that_fails_loses_no_result(job: Job, tmp_path: Path) -> None:
    (tmp_path / "exports" / "latest").mkdir(parents=True)  # what a link cannot replace

    done = job.run(ds_export_dir=str(tmp_path / "exports"), ds_wer_sha="c0ffee1" * 5 + "c0ffe")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{tmp_path}/exports/c0ffee1: cannot be written: ")
    assert job.record()["results"]["test_wer"] >= 0


def test_a_signal_to_the_job_reaches_the_training(job: Job) -> None:
    environment = job.environment(ds_epochs="10000")
    with subprocess.Popen(job.command(), env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert any(line.startswith("epoch 1/") for line in process.stdout)
        process.terminate()
        process.communicate(timeout=60)  # the pipe ends with the last process that holds it
    assert process.returncode == -signal.SIGTERM


def test_an_unknown_argument_is_refused(job: Job) -> None:
    done = job.run("--chekpoint_dir", "x")

    assert done.returncode == 2
    assert "unknown argument --chekpoint_dir" in done.stderr


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Another checkout of the code, beside the one that is installed in the environment."""
    target = tmp_path / "checkout"
    ignored = shutil.ignore_patterns("__pycache__", "website")
    shutil.copytree(ROOT / "deepspeech_wer", target / "deepspeech_wer", ignore=ignored)
    shutil.copytree(ROOT / "bin", target / "bin")
    return target


@pytest.fixture
def its_job(checkout: Path, job: Job) -> Job:
    """The job of that checkout, started in it."""
    return replace(job, script=checkout / "bin" / SCRIPT.name, cwd=checkout)


def test_the_code_of_the_checkout_runs_from_any_directory(checkout: Path, its_job: Job, tmp_path: Path) -> None:
    parameters = checkout / "deepspeech_wer" / "training" / "parameters.py"
    parameters.write_text(parameters.read_text() + '\nraise SystemExit("this is the checkout")\n')
    decoy = tmp_path / "decoy"
    (decoy / "deepspeech_wer").mkdir(parents=True)
    (decoy / "deepspeech_wer" / "__init__.py").write_text('raise SystemExit("this is the working directory")\n')

    done = replace(its_job, cwd=decoy).run()

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "this is the checkout"


@pytest.mark.parametrize("notebook", ["", "{}", '{"cells": [', None])
def test_a_notebook_that_cannot_be_converted_fails_the_job(checkout: Path, its_job: Job, notebook: str | None) -> None:
    path = checkout / "deepspeech_wer" / "training" / "DeepSpeech.ipynb"
    path.unlink()
    if notebook is not None:
        path.write_text(notebook)

    assert its_job.run().returncode != 0


def test_a_cell_that_fails_or_leaves_gives_its_exit_code(checkout: Path, its_job: Job) -> None:
    path = checkout / "deepspeech_wer" / "training" / "DeepSpeech.ipynb"
    for source, code, said in (("1 / 0", 1, "ZeroDivisionError"), ("raise SystemExit(7)", 7, "")):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        notebook.metadata.language_info = {"name": "python", "file_extension": ".py"}
        path.write_text(nbformat.writes(notebook))

        done = its_job.run()

        assert (done.returncode, said in done.stderr) == (code, True)


def test_the_notebook_stores_no_outputs_and_needs_no_magics() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]

    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert not [cell.source for cell in cells if cell.source.lstrip().startswith(("%", "!"))]
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= 8


def test_by_hand_the_notebook_builds_and_publishes(checkout: Path, its_job: Job) -> None:
    (checkout / "deepspeech_wer" / "cli.py").write_text(
        "def main(argv):\n    print('called', argv)\n    return 3 if argv == ['publish'] else 0\n"
    )

    done = its_job.run(ds_epochs="1", ds_website_username="ada")

    assert done.stdout.splitlines()[-2:] == ["called ['build']", "called ['publish']"]
    assert done.returncode == 3


def test_the_records_keep_the_contract(job: Job) -> None:
    assert job.run(ds_epochs="2").returncode == 0

    utterances, history = job.record("utterances.json"), job.record("history.json")
    assert utterances["columns"] == ["id", "speaker", "seconds", "reference", "hypothesis"]
    assert [row[0] for row in utterances["rows"]] == [f"test/{number}.wav" for number in range(8)]
    assert utterances["rows"][0][1] == "s0"
    assert {"epoch", "train_loss", "validation_loss", "validation_wer", "seconds"} <= history["epochs"][0].keys()
    record = job.record()
    assert json.dumps(record, allow_nan=False)
    assert record["context"]["data"]["train"].keys() == {"sha256", "utterances", "left_out", "seconds"}
    assert (record["context"]["data"]["test"]["utterances"], record["context"]["data"]["test"]["left_out"]) == (8, 0)
    assert record["context"]["data"]["test"]["sha256"] == record["results"]["signature"]["test_set_sha256"]
    assert record["context"]["data"]["dev"]["seconds"] == pytest.approx(6 * 0.8, abs=3)
    assert record["context"]["machine"]["threads"] == 1
    assert record["context"]["machine"]["processor"]
    assert {"python", "tensorflow", "keras", "numpy"} <= record["context"]["versions"].keys()
    assert {"cpu_seconds", "peak_memory_bytes", "real_time_factor", "model_bytes"} <= record["results"].keys()


def test_the_records_do_not_reveal_local_paths(job: Job, tmp_path: Path) -> None:
    done = job.run(
        "--checkpoint_dir",
        str(tmp_path / "checkpoints" / "abc"),
        ds_epochs="1",
        ds_cache_dir=str(tmp_path),
        ds_mirror_url="http://ada:secret@mirror.invalid/",
    )
    assert done.returncode == 0, done.stderr

    parameters = job.record()["parameters"]
    paths = [parameters[name] for name in ("dataset_path", "checkpoint_dir", "logs_dir")]
    assert paths == [".../tones", ".../abc", ".../logs"]
    assert parameters["export_dir"] is None
    assert parameters["alphabet"] == " abcdefghijklmnopqrstuvwxyz'"
    for name in ("hyper.json", "utterances.json", "history.json"):
        text = json.dumps(job.record(name))
        assert str(tmp_path) not in text
        assert str(Path(sys.executable).parent) not in text
        assert "cache_dir" not in text
        assert "secret" not in text
