"""The notebook as a reader runs it, with its pictures."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tone_corpus import NOTEBOOK, Job

from deepspeech_wer.training.curves import Curves
from deepspeech_wer.training.epochs import Epoch

PNG = b"\x89PNG\r\n\x1a\n"


def execute(job: Job, directory: Path, **variables: str) -> Any:
    """The notebook after nbconvert has run it."""
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", "--output-dir", str(directory)]
    done = subprocess.run(
        [*command, str(NOTEBOOK)], env=job.environment(**variables), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return nbformat.read(directory / NOTEBOOK.name, as_version=4)


def test_the_notebook_runs_and_shows_curves_and_times_of_words(job: Job, tmp_path: Path) -> None:
    notebook = execute(job, tmp_path / "executed", ds_epochs="2")

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code)
    pictures = [
        base64.b64decode(output.data["image/png"])
        for cell in code
        for output in cell.outputs
        if output.output_type == "execute_result" and "image/png" in output.data
    ]
    assert [picture[:8] for picture in pictures] == [PNG, PNG]
    assert not [output for cell in code for output in cell.outputs if output.output_type == "error"]
    said = "".join(output.text for cell in code for output in cell.outputs if output.output_type == "stream")
    assert "epoch 2/2, train loss" in said
    assert "test WER" in said
    assert "Could not find cuda drivers" not in said
    assert job.record()["results"]["test_wer"] is not None


def epoch(number: int, **more: float | None) -> Epoch:
    values: dict[str, Any] = {"train_wer": None, "validation_loss": None, "validation_wer": None, **more}
    return Epoch(epoch=number, train_loss=9.0 / number, learning_rate=1e-3, seconds=1, cpu_seconds=1, **values)


@pytest.mark.parametrize(
    "history",
    [
        (),
        (epoch(1),),
        tuple(
            epoch(number, train_wer=1 / number, validation_wer=1.5 if number % 5 == 0 else None)
            for number in range(1, 40)
        ),
    ],
    ids=["none", "one", "gaps"],
)
def test_curves_are_drawn_of_whatever_was_measured(history: tuple[Epoch, ...]) -> None:
    assert Curves(history).png().startswith(PNG)


def test_without_matplotlib_there_is_a_line_instead() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
from types import SimpleNamespace as Some
from IPython.core.formatters import DisplayFormatter
from deepspeech_wer.training.curves import Curves
from deepspeech_wer.training.word_times import WordTimes
for one in Curves(()), WordTimes(Some(test=Some(hypotheses=()))):
    print(DisplayFormatter().format(one)[0])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.count("pip install 'deepspeech-wer[notebook]'") == 2
    assert "image/png" not in done.stdout
    assert "Traceback" not in done.stderr
