"""Measures what limits a team that merges 10, 100 or 1,000 times a day, with a real Slurm on loopback.

    python -m tests.benchmarks.scaling [MERGES]

Prints what the tracker itself takes for each merge whose job ends at once (MERGES, 12, for each number of slots), what
a look at Slurm and at the repository costs with a long queue, and what a run leaves on the disk.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.jobs.slurm_cluster import Cluster, running_slurm
from tests.jobs.slurm_machine import Machine

PLAN = """
from deepspeech_wer import backlog_inputs
from deepspeech_wer.configuration import settings
backlog_inputs.find(settings.load())
"""
SLOTS = (1, 4, 16)
QUEUES = (10, 100, 1_000)
NODE_CPUS = 32


def main() -> None:
    """Measure and print."""
    merges = int(sys.argv[1]) if sys.argv[1:] else 12
    with tempfile.TemporaryDirectory() as name, running_slurm(cpus=NODE_CPUS) as cluster:
        for slots in SLOTS:
            through(Path(name) / f"slots{slots}", cluster, slots, merges)
        for length in QUEUES:
            looks(Path(name) / f"queue{length}", cluster, length)


def through(home: Path, cluster: Cluster, slots: int, merges: int) -> None:
    """Let merges through whose jobs end at once."""
    machine = Machine(home, cluster, ds_parallel_runs=str(slots))
    machine.merge(*(f"m{number}" for number in range(merges)), held=False)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "deepspeech_wer"], env=machine.environment, capture_output=True, check=False
    )
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    ended = machine.ended()
    assert done.returncode == 0, done.stderr.decode()
    assert len(ended) == merges
    each = f"{took / merges:.2f} s, {cpu_s / merges:.2f} CPU s of the tick"
    print(f"{slots:>5} slots: {each} for each of {merges} merges: {86400 * merges / took:,.0f} a day", flush=True)
    run = machine.runs()[0].directory
    files = [path for path in run.rglob("*") if path.is_file()]
    print(f"      a run leaves {len(files)} files, {sum(path.stat().st_size for path in files):,} bytes")
    machine.end()


def looks(home: Path, cluster: Cluster, length: int) -> None:
    """Take the time of a look at Slurm with a long queue, and of planning with as many waiting merges."""
    cluster.run("scontrol", "update", "PartitionName=work", "State=DOWN")
    try:
        for _ in range(length):
            cluster.run("sbatch", "--output=/dev/null", "--wrap=true")
        ask = ("squeue", "--noheader", "--states=all", "--me", "--Format=JobID:|,Name:|,State:|,SubmitTime:|")
        print(f"{length:>5} jobs in Slurm's queue: squeue takes {_least(lambda: cluster.run(*ask)):.3f} s", flush=True)
    finally:
        cluster.run("scancel", f"--user={os.getuid()}")
        cluster.run("scontrol", "update", "PartitionName=work", "State=UP")
    machine = Machine(home, cluster)
    machine.merge(*(f"m{number}" for number in range(length)), held=False)

    def plan() -> None:
        subprocess.run([sys.executable, "-c", PLAN], env=machine.environment, check=True)

    plan()
    took = _least(plan)
    print(f"{length:>5} merges waiting: fetching and planning take {took:.2f} s, start-up included", flush=True)


def _least(call: object, times: int = 3) -> float:
    """The least of the times that a call takes."""
    assert callable(call)
    found = []
    for _ in range(times):
        began = time.monotonic()
        call()
        found.append(time.monotonic() - began)
    return min(found)


if __name__ == "__main__":
    main()
