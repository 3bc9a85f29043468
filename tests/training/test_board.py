"""Learning curves of many runs for TensorBoard, read back from the event files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from deepspeech_wer.training import board
from deepspeech_wer.training.summaries import Events


def run(runs: Path, name: str, losses: list[float | None], test_wer: Any = 0.25) -> None:
    (runs / name).mkdir(parents=True)
    epochs = [
        {"epoch": number, "train_loss": loss, "learning_rate": 0.5, "seconds": 1.0, "validation_wer": None}
        for number, loss in enumerate(losses, start=1)
    ]
    (runs / name / "history.json").write_text(json.dumps({"version": 1, "epochs": epochs}))
    if test_wer is not None:
        (runs / name / "hyper.json").write_text(json.dumps({"results": {"test_wer": test_wer}}))


def read(directory: Path) -> list[tuple[int, str, float]]:
    (events,) = directory.iterdir()
    summaries = tf.compat.v1.train.summary_iterator(str(events))
    return [(event.step, value.tag, value.simple_value) for event in summaries for value in event.summary.value]


def test_each_run_is_a_directory_with_its_curves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "runs", "one", [4.0, 2.0])
    run(tmp_path / "more", "without a result", [3.0], test_wer=None)
    (tmp_path / "runs" / "failed").mkdir()
    command = [str(tmp_path / name) for name in ("runs", "more", "board")]
    assert board.main(command) == 0
    assert capsys.readouterr().out == f"2 new, 0 there before: tensorboard --logdir {tmp_path / 'board'}\n"
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == ["one", "without a result"]
    assert read(tmp_path / "board" / "one") == [
        (1, "train_loss", 4.0),
        (1, "learning_rate", 0.5),
        (2, "train_loss", 2.0),
        (2, "learning_rate", 0.5),
        (2, "test_wer", 0.25),
    ]
    assert read(tmp_path / "board" / "without a result") == [(1, "train_loss", 3.0), (1, "learning_rate", 0.5)]


def test_each_event_file_has_its_own_writer(tmp_path: Path) -> None:
    first, second = (Events(tmp_path / name) for name in ("first", "second"))  # both open
    first.scalar(1, "train_loss", 4.0)
    second.scalar(1, "train_loss", 2.0)
    first.close()
    second.close()
    assert read(tmp_path / "first") == [(1, "train_loss", 4.0)]
    assert read(tmp_path / "second") == [(1, "train_loss", 2.0)]


def test_a_second_call_adds_what_is_new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "runs", "one", [4.0])
    command = [str(tmp_path / "runs"), str(tmp_path / "board")]
    assert board.main(command) == 0
    before = read(tmp_path / "board" / "one")
    (tmp_path / "board" / ".two.partial").mkdir()  # of a call that was killed
    run(tmp_path / "runs", "two", [5.0])
    assert board.main(command) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("1 new, 1 there before")
    assert read(tmp_path / "board" / "one") == before
    assert sorted(path.name for path in (tmp_path / "board").iterdir()) == ["one", "two"]


@pytest.mark.parametrize(
    "history", ["", "[]", "{}", '{"epochs": 3}', '{"epochs": [{"train_loss": 1}]}', "[" * 100_000, '{"epochs": ["x"]}']
)
def test_a_history_that_is_none_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], history: str) -> None:
    run(tmp_path / "runs", "one", [4.0])
    (tmp_path / "runs" / "one" / "history.json").write_text(history)
    assert board.main([str(tmp_path / "runs"), str(tmp_path / "board")]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{tmp_path}/runs/one/history.json: cannot be read as learning curves" in said
    assert not (tmp_path / "board" / "one").exists()


def test_a_directory_without_runs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert board.main([str(tmp_path), str(tmp_path / "board")]) == 1
    assert capsys.readouterr().err.startswith(f"{tmp_path}: holds no run with a history.json")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path / "runs", "one", [4.0])
    (tmp_path / "board").write_text("a file")
    assert board.main([str(tmp_path / "runs"), str(tmp_path / "board")]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"{tmp_path}/board")
    assert said.count("\n") == 1


def test_keras_of_another_time_does_not_hinder_it(sealed: Path, tmp_path: Path) -> None:
    run(tmp_path / "runs", "one", [4.0])
    (sealed / ".keras").mkdir()
    (sealed / ".keras" / "keras.json").write_text('{"floatx": "float128", "backend": "cntk"}')
    command = [sys.executable, "-m", "deepspeech_wer.training.board", tmp_path / "runs", tmp_path / "board"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
