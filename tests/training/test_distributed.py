"""Two processes on this machine train as one does; one is killed, and the next attempt goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from test_workers import free_ports
from tone_corpus import NOTEBOOK, ROOT, SMALL

from tests.waiting import until

WAIT_S = 120
# 61 utterances by 8: the last batch has five, which two workers cannot divide.
SETTINGS = {**SMALL, "ds_limit_train": "61", "ds_epochs": "6", "ds_dropout_rate": "0.2", "ds_wer_sha": "a" * 40}


@dataclass
class Training:
    """Attempts of one training. The notebook is taken as it is: its conversion takes longer than the training."""

    directory: Path
    settings: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *, workers: int = 1, **own: str) -> None:
        """Start an attempt, of several workers or one."""
        self.directory.mkdir(exist_ok=True)
        script = self.directory / "job.py"
        cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.cell_type == "code"]
        script.write_text("\n".join(cells))
        addresses = [f"127.0.0.1:{port}" for port in free_ports(workers)]
        self.running = []
        for index in range(workers):
            cluster = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            variables = {**os.environ, **self.settings, "ds_logs_dir": str(self.directory / "logs"), **own}
            variables["ds_checkpoint_dir"] = str(self.directory / "checkpoint")
            if workers > 1:
                variables |= {"ds_distribute": "tf_config", "TF_CONFIG": json.dumps(cluster)}
            if index == 1:
                variables |= {name.removeprefix("of_second_"): one for name, one in own.items() if "_second_" in name}
            command = [sys.executable, "-u", "-m", "deepspeech_wer.training", str(script)]
            with self._place(index, "out").open("wb") as out, self._place(index, "err").open("wb") as err:
                process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=out, stderr=err)
            self.running.append(process)

    def said(self, index: int = 0, stream: str = "out") -> str:
        return self._place(index, stream).read_text()

    def codes(self) -> list[int]:
        return [one.wait(WAIT_S) for one in self.running]

    def record(self, name: str = "hyper.json") -> Any:
        (path,) = self.directory.glob(f"logs/*/{name}")
        return json.loads(path.read_text())

    def _place(self, index: int, stream: str) -> Path:
        return self.directory / f"{stream}{index}"


@pytest.fixture
def trainings(tones: Path, tmp_path: Path) -> Iterator[list[Training]]:
    """One for a process that trains alone, and one for two workers."""
    settings = {**SETTINGS, "ds_dataset_path": str(tones), "ds_cache_dir": str(tmp_path / "cache")}
    both = [Training(tmp_path / name, settings) for name in ("alone", "two")]
    yield both
    for process in (one for training in both for one in training.running):
        process.kill()
        process.wait(WAIT_S)


def test_two_workers_of_which_one_is_killed_end_with_the_figures_of_one_process(trainings: list[Training]) -> None:
    alone, two = trainings
    two.start(workers=2)
    until((two.directory / "checkpoint" / "checkpoint.npz").is_file, WAIT_S)
    two.running[1].kill()
    assert two.codes() == [75, -signal.SIGKILL]
    assert two.said(0, "err").splitlines()[-1].startswith("interrupted: worker 1 (127.0.0.1:")
    assert not list(two.directory.glob("logs/*/hyper.json"))

    two.start(workers=2)
    alone.start()
    assert (two.codes(), alone.codes()) == ([0, 0], [0])
    assert "resuming after epoch" in two.said()
    assert two.said(1) == ""

    epochs, expected = two.record("history.json")["epochs"], alone.record("history.json")["epochs"]
    assert len(epochs) == len(expected) == 6
    for name in ("train_loss", "validation_loss"):
        assert [one[name] for one in epochs] == pytest.approx([one[name] for one in expected], rel=1e-5)
    for name in ("train_wer", "validation_wer", "learning_rate"):
        assert [one[name] for one in epochs] == [one[name] for one in expected]
    ours, theirs = two.record(), alone.record()
    assert ours["results"]["test_loss"] == pytest.approx(theirs["results"]["test_loss"], rel=1e-5)
    for name in ("test_wer", "test_cer", "test_errors", "mean_utterance_wer", "signature", "tested_epoch"):
        assert ours["results"][name] == theirs["results"][name]
    assert two.record("utterances.json") == alone.record("utterances.json")
    assert ours["parameters"] == {**theirs["parameters"], "distribute": "tf_config"}
    assert ours["context"]["machine"] == {**theirs["context"]["machine"], "workers": 2}


def test_workers_with_other_settings_are_told_all_at_once(trainings: list[Training]) -> None:
    _, two = trainings
    two.start(workers=2, of_second_ds_n_hidden="20")

    assert two.codes() == [2, 2]
    for index in range(2):
        last = two.said(index, "err").splitlines()[-1]
        assert last.startswith("worker 1 (127.0.0.1:")
        assert "ds_n_hidden_1 is 20, the chief's 24" in last
        assert last.endswith(": start all workers with the same settings, and the same Python")
