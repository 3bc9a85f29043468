"""Measures computing features: `.venv/bin/python tests/benchmarks/features.py [DIR]`, AN4's training set, one thread.

Prints hours of speech per CPU-second, medians of five rounds: for the arithmetic only (as python_speech_features is
measured), for reading the flac files only, and for a complete training set, new and from the cache.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # before numpy is imported

from deepspeech_wer.training import audio, dataset, importers
from deepspeech_wer.training.corpus import Utterance
from deepspeech_wer.training.parameters import from_environment

AN4 = Path(__file__).resolve().parents[3] / "shared" / "speech" / "an4"
ROUNDS = 5


def main() -> int:
    """Print the figures."""
    directory = sys.argv[1] if len(sys.argv) > 1 else str(AN4)
    utterances = importers.load(from_environment({"ds_importer": "csv", "ds_dataset_path": directory})).train
    recordings = [audio.read_audio(one.audio) for one in utterances]
    hours = sum(map(len, recordings)) / audio.SAMPLE_RATE / 3600

    with tempfile.TemporaryDirectory() as cache:
        _print("features alone", hours, lambda: [audio.mfcc(samples) for samples in recordings])
        _print("reading alone", hours, lambda: [audio.read_audio(one.audio) for one in utterances])
        _print("all, new", hours, lambda: _prepare(utterances, Path(tempfile.mkdtemp(dir=cache))))
        _print("all, from the cache", hours, lambda: _prepare(utterances, Path(cache, "kept")))
    return 0


def _prepare(utterances: Sequence[Utterance], cache: Path) -> None:
    dataset.prepare(utterances, from_environment({}).alphabet, cache)


def _print(name: str, hours: float, work: Callable[[], object]) -> None:
    work()
    seconds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    print(f"{name:20} {hours / statistics.median(seconds):6.2f} hours of speech per CPU-second", flush=True)


if __name__ == "__main__":
    sys.exit(main())
