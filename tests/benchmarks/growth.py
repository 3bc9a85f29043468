"""Measures what a large archive costs.

    python -m tests.benchmarks.growth [SIZE ...]

Prints, for archives of SIZE runs (100 1000 10000; 50000 takes some minutes), the CPU seconds, user and system, and the
peak RSS of each command, with its children, in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from deepspeech_wer.records import Run
from tests.benchmarks.tick import JOB
from tests.conftest import Repository
from tests.invented_runs import archive, years

SIZES = (100, 1_000, 10_000)


def main() -> None:
    """Measure and print."""
    sizes = [int(word) for word in sys.argv[1:]] or SIZES
    print(f"{'runs':>7}  {'command':<28}{'CPU s':>8}{'MB RSS':>8}")
    for size in sizes:
        with tempfile.TemporaryDirectory() as name:
            measure(size, Path(name))


def measure(size: int, home: Path) -> None:
    """Make an archive of `size` runs below `home`, and print a line for each command."""
    repository = Repository(home / "tracked")
    repository.commit("root", {"bin/run-wer-automation.sh": JOB})
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "ds_repo_url": f"file://{repository.path}",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    runs = home / ".local" / "share" / "deepspeech_wer" / "runs"
    cost([], environment)
    *most, last = years(size)
    write(most, runs)
    lines = {"build, all new": cost(["build"], environment)}
    write([last], runs)
    lines["build, one new run"] = cost(["build"], environment)
    lines["build, nothing new"] = cost(["build"], environment)
    repository.commit("one more", {"more": "more"})
    lines["tick with one new run"] = cost([], environment)
    lines["idle tick"] = cost([], environment)
    lines["status"] = cost(["status"], environment)
    lines["runs"] = cost(["runs"], environment)
    for what, (cpu_s, rss_mb) in lines.items():
        print(f"{size:>7}  {what:<28}{cpu_s:>8.2f}{rss_mb:>8.0f}", flush=True)


def cost(words: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the CPU seconds and the peak RSS in MB of a command.

    A process of our own measures it: the peak RSS of children is that of the largest so far.
    """
    code = (
        "import resource, subprocess, sys; "
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE); "
        "usage = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000)"
    )
    command = [sys.executable, "-P", "-c", code, sys.executable, "-P", "-m", "deepspeech_wer", *words]
    done = subprocess.run(command, env=environment, cwd=environment["HOME"], check=True, capture_output=True, text=True)
    cpu_s, rss_mb = map(float, done.stdout.split())
    return cpu_s, rss_mb


def write(runs: list[Run], root: Path) -> None:
    """Write runs as the tracker archives them."""
    for run in archive(runs, root):
        record = asdict(run)
        del record["id"], record["directory"], record["hyper"]
        record |= {"version": 1, "base": None, "number": run.merge.ordinal}
        (run.directory / "run.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
