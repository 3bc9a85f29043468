"""Measures the memory of a training by the hours of its corpus.

    .venv/bin/python tests/benchmarks/memory.py [--dataset DIR] [--hours 1 10 100] [--directory DIR]

For each number of hours, it makes a corpus of copies of AN4's training set. The bytes of each copy differ, so that each
has its own features. Then the job trains on it for one epoch. Prints the figures of hyper.json. 100 hours take about
7 GB of disk in DIR (a new one below /tmp, removed afterwards) and a quarter of an hour.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import soundfile

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "ds_importer": "csv",
    "ds_epochs": "1",
    "ds_n_hidden": "16",
    "ds_train_batch_size": "64",
    "ds_display_step": "0",
    "ds_limit_dev": "32",
    "ds_limit_test": "32",
}


def main() -> int:
    """Print one line per number of hours."""
    options = _options()
    print(f"{'hours':>6} {'utterances':>10} {'peak MB':>8} {'CPU-s':>6} {'s':>6}")
    for hours in options.hours:
        with tempfile.TemporaryDirectory(dir=options.directory) as directory:
            write_corpus(options.dataset, Path(directory, "corpus"), hours)
            started = time.perf_counter()
            record = train(Path(directory))
            took = time.perf_counter() - started
        data, results = record["context"]["data"]["train"], record["results"]
        print(
            f"{data['seconds'] / 3600:6.1f} {data['utterances']:10} {results['peak_memory_bytes'] / 1e6:8.0f} "
            f"{results['cpu_seconds']:6.0f} {took:6.0f}",
            flush=True,
        )
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--dataset", type=Path, default=ROOT.parent / "shared" / "speech" / "an4", help="AN4's tables")
    parser.add_argument("--hours", type=float, nargs="+", default=[1, 10, 100], help="of training speech")
    parser.add_argument("--directory", type=Path, help="where the corpora are made (below /tmp)")
    return parser.parse_args()


def write_corpus(source: Path, target: Path, hours: float) -> None:
    """Copy the source's training set until it has that many hours; keep its dev and test sets."""
    with (source / "train.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    seconds = {row["wav_filename"]: soundfile.info(source / row["wav_filename"]).duration for row in rows}
    missing = hours * 3600
    copies: list[dict[str, str]] = []
    while missing > 0:
        for row in rows:
            path = target / f"train/{len(copies)}{Path(row['wav_filename']).suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            content = (source / row["wav_filename"]).read_bytes()
            path.write_bytes(content + len(copies).to_bytes(8, "big"))  # after the last frame, so it is not decoded
            copies.append({**row, "wav_filename": str(path)})
            missing -= seconds[row["wav_filename"]]
    _write_table(target / "train.csv", copies)
    for name in ("dev", "test"):
        with (source / f"{name}.csv").open(newline="") as stream:
            kept = [{**row, "wav_filename": str(source / row["wav_filename"])} for row in csv.DictReader(stream)]
        _write_table(target / f"{name}.csv", kept)


def _write_table(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def train(directory: Path) -> Any:
    """Train on the corpus in the directory and return the hyper.json."""
    own = {
        "ds_python": sys.executable,
        "ds_dataset_path": str(directory / "corpus"),
        "ds_cache_dir": str(directory / "cache"),
        "ds_logs_dir": str(directory / "logs"),
    }
    subprocess.run(
        [ROOT / "bin" / "run-wer-automation.sh"], env=os.environ | SMALL | own, stdout=subprocess.DEVNULL, check=True
    )
    (path,) = (directory / "logs").glob("*/hyper.json")
    return json.loads(path.read_text())


if __name__ == "__main__":
    sys.exit(main())
