"""Measures the start of a training on a large table: `.venv/bin/python tests/benchmarks/startup.py [ROWS]`.

Makes a corpus of 100,000 rows below a temporary directory: hard links to 100 small recordings, each a file of its own
to the training. Prints the CPU-seconds of reading the table and preparing the set, first with an empty cache, then as
each later training does it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy is imported

import numpy as np
import soundfile

from deepspeech_wer.training import dataset, importers
from deepspeech_wer.training.audio import SAMPLE_RATE
from deepspeech_wer.training.parameters import from_environment

RECORDINGS = 100
ROUNDS = 3


def main() -> int:
    """Print the figures."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as place:
        corpus = write_corpus(Path(place), rows)
        time.sleep(2.5)  # a file that was changed just now is read again the next time
        parameters = from_environment(
            {"ds_importer": "csv", "ds_dataset_path": str(corpus), "ds_cache_dir": str(Path(place, "cache"))}
        )
        for number in range(1 + ROUNDS):
            started = time.process_time()
            loaded = importers.load(parameters)
            read = time.process_time()
            sets = dataset.prepare_corpus(loaded, parameters)
            done = time.process_time()
            name = "again" if number else "empty cache"
            print(
                f"{name:12} {len(sets['train'])} rows: {read - started:5.2f} CPU-seconds for the tables, "
                f"{done - read:6.2f} for the sets, {done - started:6.2f} in all",
                flush=True,
            )
    return 0


def write_corpus(directory: Path, rows: int) -> Path:
    """Write a training set of so many rows, and small validation and test sets."""
    rng = np.random.default_rng(1)
    sources = []
    for number in range(RECORDINGS):
        path = directory / f"source{number}.wav"
        envelope = np.repeat(np.tile([1.0, 0.02], 5), SAMPLE_RATE // 20)
        soundfile.write(path, (rng.normal(0, 3000, len(envelope)) * envelope).astype(np.int16), SAMPLE_RATE)
        sources.append(path)
    for name, count in {"train": rows, "dev": 10, "test": 10}.items():
        lines = ["wav_filename,wav_filesize,transcript,speaker"]
        for number in range(count):
            link = directory / name / f"{number // 1000:04d}" / f"{number:06d}.wav"
            if number % 1000 == 0:
                link.parent.mkdir(parents=True)
            os.link(sources[number % RECORDINGS], link)
            lines.append(
                f"{link.relative_to(directory)},1,the words of utterance {'abcdefghij'[number % 10]},s{number}"
            )
        (directory / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return directory


if __name__ == "__main__":
    sys.exit(main())
