"""Measures what the judging of one run more costs, on an archive of 10,000.

    python -m tests.benchmarks.judging [RUNS [SETS]]

SETS (0) further test sets are measured by each run.

Each judging is a process of its own, as each tick is. Prints the CPU seconds, user and system, of
`verdict_file.update`:
reading what is remembered, judging, writing verdicts.json and what is remembered. The runs are invented: real noise,
three regressions, failures. The first row judges all of them from nothing.
"""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deepspeech_wer.configuration.settings import Retraining
from deepspeech_wer.judging import verdict_file
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from tests.invented_runs import years

MORE = 9  # judgings of one run more


def invented(runs: int, sets: int = 0) -> list[Run]:
    """Return the archive: every hundredth merge is a re-training of an earlier one."""
    noise = random.Random(3)
    made = [run._replace(number=run.merge.ordinal, variables={}) for run in years(runs)]
    for place in range(100, runs, 100):
        of = made[place - 3]
        merge = of.merge._replace(ordinal=of.number)
        made[place] = made[place]._replace(merge=merge, number=of.number, rerun_of=of.id, seed=1)
    for run in made:
        if run.hyper and run.hyper["results"]["test_wer"] is not None and sets:
            rates = [1.8 * run.hyper["results"]["test_wer"] + noise.gauss(0, 0.01) for _ in range(sets)]
            tests = {f"set {number}": {"wer": rate, "words": 30_000} for number, rate in enumerate(rates)}
            run.hyper["results"]["tests"] = tests
    return made


def judge_one(home: Path, most: int, count: int, sets: int) -> None:
    """Judge the first `count` of `most` runs, and print the CPU seconds."""
    places = Places(home / "cache", home / "data")
    runs = invented(most, sets)[:count]
    for run in runs:
        (places.runs / run.id).mkdir(parents=True, exist_ok=True)
    places.cache.mkdir(exist_ok=True)
    start = time.process_time()
    verdict_file.update(places, runs, {}, Retraining("on", 12, 0.3, anchor=True))
    print(time.process_time() - start)


def measure(home: Path, most: int, count: int, sets: int) -> float:
    """Return the CPU seconds of a judging in a process of its own."""
    words = [sys.executable, "-m", "tests.benchmarks.judging", str(home), str(most), str(count), str(sets)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    if len(sys.argv) == 5:
        judge_one(Path(sys.argv[1]), *map(int, sys.argv[2:]))
        return
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    sets = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with tempfile.TemporaryDirectory() as name:
        home, most = Path(name), runs + MORE
        print(f"{runs - 1} runs from nothing: {measure(home, most, runs - 1, sets):.3f} s of CPU", flush=True)
        costs = [measure(home, most, runs + more, sets) for more in range(MORE)]
        size = (home / "data" / "verdicts.json").stat().st_size, (home / "cache" / "remembered").stat().st_size
    print(f"one run more: median {statistics.median(costs):.3f} s, {min(costs):.3f} to {max(costs):.3f} s")
    print(f"verdicts.json {size[0] / 1e6:.1f} MB, remembered {size[1] / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
