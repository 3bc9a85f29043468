"""Measures a training step, compared with PyTorch's, on the same batches with one thread each, interleaved.

    python -m tests.benchmarks.training_step --dataset DIR --torch PYTHON [--rounds N]

DIR holds a corpus of importer csv (train.csv, dev.csv, test.csv). PYTHON is an interpreter with PyTorch, which is not a
dependency of this project:

    python3 -m venv peer && peer/bin/pip install torch numpy

A step is the work for 16 utterances: forward with dropout, CTC, backward, gradient clipping, Adam. PyTorch uses Conv1d
over the window of frames, nn.LSTM(bidirectional) over the padded batch, CTCLoss, clip_grad_norm_ and Adam(fused=True).
Prints CPU-milliseconds: medians of all steps, their ratio, and the ratio of the sums.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_wer.training import threads

BATCHES = 20  # of 16 utterances, of all lengths
CELLS = (64, 128, 256)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--torch", required=True, metavar="PYTHON")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    threads.limit(1)
    print(f"{'n_cell_dim':>10}{'TensorFlow':>12}{'PyTorch':>10}{'ratio':>8}{'of sums':>9}   (CPU-ms a step)")
    with tempfile.TemporaryDirectory() as name:
        for cells in CELLS:
            ours, theirs = measure(cells, options, Path(name))
            medians = statistics.median(ours), statistics.median(theirs)
            ratios = medians[0] / medians[1], sum(ours) / sum(theirs)
            print(f"{cells:>10}{medians[0]:>12.1f}{medians[1]:>10.1f}{ratios[0]:>8.2f}{ratios[1]:>9.2f}", flush=True)


def measure(cells: int, options: argparse.Namespace, work: Path) -> tuple[list[float], list[float]]:
    """Return (our, their) CPU-milliseconds of each step, in turns, after a warm-up round."""
    from deepspeech_wer.training import dataset, importers, train
    from deepspeech_wer.training.batches import Most, assemble, batches_of_epoch
    from deepspeech_wer.training.network import model
    from deepspeech_wer.training.parameters import from_environment
    from deepspeech_wer.training.text import Alphabet

    values = {"ds_importer": "csv", "ds_dataset_path": str(options.dataset), "ds_n_hidden": str(cells)}
    parameters = from_environment(values)
    items = dataset.prepare(importers.load(parameters).train, Alphabet(), work / "features")
    groups = batches_of_epoch(items, Most(parameters.train_batch_size), parameters.random_seed, 1)[:BATCHES]
    batches = [assemble(group, parameters) for group in groups]
    trainer = train.Trainer(model.Network(parameters), items, (), parameters, work)
    ours, theirs = [], []
    with peer(options.torch, batches, cells, work) as their_step:
        for turn in range(options.rounds + 1):
            for number, batch in enumerate(batches):
                started = time.process_time()
                trainer.step(batch, 1e-4, number)
                taken = 1000 * (time.process_time() - started)
                their_taken = their_step(number)
                if turn:
                    ours.append(taken)
                    theirs.append(their_taken)
    return ours, theirs


@contextmanager
def peer(python: str, batches: list[Any], cells: int, work: Path) -> Iterator[Any]:
    """Start PyTorch with the same batches. Yields a function: index of a batch -> CPU-milliseconds of its step."""
    arrays: dict[str, Any] = {}
    for number, batch in enumerate(batches):
        counts = np.bincount(batch.label_places[:, 0], minlength=len(batch.lengths))
        parts = {"features": batch.features, "lengths": batch.lengths, "labels": batch.label_values, "counts": counts}
        arrays |= {f"{name}{number}": value for name, value in parts.items()}
    np.savez(work / "batches.npz", **arrays)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [python, str(Path(__file__).with_name("training_step_torch.py")), str(work / "batches.npz"), str(cells)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdin
        assert process.stdout

        def step(number: int) -> float:
            print(number, file=process.stdin, flush=True)
            answer = process.stdout.readline()  # type: ignore[union-attr]
            if not answer:
                sys.exit(f"{python}: ended without an answer: expected an interpreter with torch and numpy")
            return float(json.loads(answer))

        yield step
        process.stdin.close()


if __name__ == "__main__":
    main()
