"""Measures what the tracker takes to read, score and compare the utterances of two runs.

    .venv/bin/python tests/benchmarks/utterances.py [--utterances 2620 100000]

For each size, a process of its own reads and scores the newer run, reads the errors that were kept of the older one,
and compares the two; then it lists the words that changed. Prints its CPU seconds and its largest memory, both with
the interpreter's start. The test sets are synthetic: 40 speakers, about 20 words an utterance, 16 % WER.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from deepspeech_wer.errors import Trouble  # noqa: E402
from deepspeech_wer.verdicts import measure, paired, utterances  # noqa: E402
from tests.verdicts import speakers  # noqa: E402


def main() -> int:
    """Print one line per size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--utterances", type=int, nargs="+", default=[2_620, 100_000])
    parser.add_argument("--directory", type=Path, help="measure the two runs in it: what the processes do")
    options = parser.parse_args()
    if options.directory:
        return measured(options.directory)
    print(
        f"{'utterances':>10} {'words':>9} {'read':>6} {'score':>6} {'compare':>7} {'CPU-s':>6} {'MB':>5} {'words':>6}"
    )
    for size in options.utterances:
        with tempfile.TemporaryDirectory() as name:
            write(Path(name), size)
            subprocess.run([sys.executable, __file__, "--directory", name], check=True)
    return 0


def write(directory: Path, size: int) -> None:
    """Write two runs on one test set, and the errors of the older one as the tracker keeps them."""
    rows = speakers.references(size)
    for seed, name in enumerate(("before", "after")):
        path = directory / f"{name}.json"
        path.write_bytes(speakers.file_of(speakers.heard(rows, seed, rate=0.16 + seed / 100, spread=0.05)))
    before = measure.score("test", found(directory / "before.json")["test"])
    (directory / "kept.json").write_text(json.dumps(before.each.to_record()))


def found(path: Path) -> dict[str, list[utterances.Utterance]]:
    """Return the test sets of a run."""
    read = utterances.read(path)
    if read is None:
        raise Trouble(f"{path}: missing")
    return {name: list(rows) for name, rows in read.sets.items()}


def measured(directory: Path) -> int:
    """Print the line of two runs."""
    marks = [time.process_time()]
    sets = found(directory / "after.json")
    marks.append(time.process_time())
    _, scored = measure.summarise(utterances.Utterances(sets))
    marks.append(time.process_time())
    kept = measure.each_from(json.loads((directory / "kept.json").read_bytes()))
    if kept is None or paired.compare(kept, scored["test"].each) is None:
        raise Trouble(f"{directory}: nothing to compare")
    marks.append(time.process_time())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    paired.words(found(directory / "before.json")["test"], sets["test"])
    changed = time.process_time() - marks[-1]
    read, score, compare = (later - earlier for earlier, later in pairwise(marks))
    words = scored["test"].score.words.reference
    print(
        f"{len(sets['test']):10} {words:9} {read:6.2f} {score:6.2f} {compare:7.2f} {marks[-1]:6.2f} "
        f"{peak:5.0f} {changed:6.2f}",
        flush=True,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
