"""Measures what the tracker takes to score a run's utterances, keep them, and compare it with the run before.

    .venv/bin/python tests/benchmarks/utterances.py [--utterances 2620 100000]

For each size, a process of its own does what a tick does with the newer of two runs; the older one is scored already.
Prints its CPU seconds and its largest memory, both with the interpreter's start, then the CPU seconds of `compare` for
both runs, and the bytes that the page loads, as gzip sends them. The test sets are synthetic: 40 speakers, about 20
words an utterance, 16 % WER.
"""

from __future__ import annotations

import argparse
import gzip
import re
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from deepspeech_wer import archive  # noqa: E402
from deepspeech_wer.errors import Trouble  # noqa: E402
from deepspeech_wer.judging import comparing, kept_scores  # noqa: E402
from deepspeech_wer.verdicts import paired  # noqa: E402
from tests import heard_runs  # noqa: E402


def main() -> int:
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--utterances", type=int, nargs="+", default=[2_620, 100_000])
    parser.add_argument("--directory", type=Path, help="measure the two runs in it: what the processes do")
    options = parser.parse_args()
    if options.directory:
        return measured(options.directory)
    print(
        f"{'utterances':>10} {'words':>9} {'score':>6} {'compare':>7} {'CPU-s':>6} {'MB':>5} {'words':>6} {'kB gz':>7}"
    )
    for size in options.utterances:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), size)
            subprocess.run([sys.executable, __file__, "--directory", name], check=True)
    return 0


def write(directory: Path, size: int) -> None:
    """Archive two runs on one test set, of which the older one is scored."""
    where = heard_runs.places(directory)
    where.cache.mkdir()
    runs = heard_runs.archive(where, heard_runs.run(1, heard_runs.invented(size, 1)))
    measures = kept_scores.update(where, runs)
    kept_scores.save(where, measures)
    heard_runs.archive(where, heard_runs.run(2, heard_runs.invented(size, 2, 0.17)))


def measured(directory: Path) -> int:
    """Print the line of two runs."""
    where = heard_runs.places(directory)
    marks = [time.process_time()]
    runs = archive.load(where.runs)
    measures = kept_scores.update(where, runs)
    marks.append(time.process_time())
    comparing.update(measures, runs, [])
    kept_scores.save(where, measures)
    marks.append(time.process_time())
    peak = int((re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text()) or ["", "0"])[1]) / 1024
    record = measures.record(runs[1].id)
    if not record or not record["against"]:
        raise Trouble(f"{directory}: nothing was compared")
    before, after = (kept_scores.heard(measures, run.id, "test") for run in runs)
    if before and after:
        paired.words(before.edits, after.edits)
    changed = time.process_time() - marks[-1]
    score, compare = (later - earlier for earlier, later in pairwise(marks))
    [test] = record["sets"]
    sent = len(gzip.compress((where.measured / "runs" / f"{runs[1].id}.js").read_bytes(), 6))
    print(
        f"{test['utterances']:10} {test['words']['reference']:9} {score:6.2f} {compare:7.2f} {marks[-1]:6.2f} "
        f"{peak:5.0f} {changed:6.2f} {sent / 1000:7.1f}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
