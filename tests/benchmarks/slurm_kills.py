"""Kills whatever takes part in training on a real Slurm, at random moments: no job twice, none lost.

    python -m tests.benchmarks.slurm_kills [ROUNDS]

Each of ROUNDS (24) rounds has four merges on two nodes, and kills in one of WAYS. Before them comes what takes minutes:
a time limit, and ids that Slurm uses again.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from tests.jobs.slurm_cluster import Cluster, running_slurm
from tests.jobs.slurm_machine import WAIT_S, Machine
from tests.waiting import until

SEED = 2016
WAYS = ("tick", "supervisor", "slurmd", "slurmctld", "preempted", "requeued", "tick and supervisor", "all daemons")
MERGES = 4
TICKS = 10  # at most, for one round


def main() -> None:
    """Run all of it and print what happened. Fails if a job was lost or ran twice at a time."""
    rounds = int(sys.argv[1]) if sys.argv[1:] else 24
    with tempfile.TemporaryDirectory() as name:
        time_limit(Path(name))
        ids_again(Path(name))
        kill(Path(name), rounds)


def time_limit(home: Path) -> None:
    """Slurm's time limit ends a job: a failure, tried again."""
    with running_slurm() as cluster:
        machine = Machine(home / "time", cluster, ds_slurm_time="1", ds_job_attempts="1")
        machine.merge("slow")
        machine.start().wait(timeout=300)
        print(f"time limit of 1 minute: {machine.ended()}: {machine.runs()[0].detail}", flush=True)
        assert machine.ended() == [("slow", "timeout")]
        machine.end()


def ids_again(home: Path) -> None:
    """Slurm forgets a job and gives its id to a stranger's while no tick looks."""
    with running_slurm({"MinJobAge": "2", "FirstJobId": "1", "MaxJobId": "8"}) as cluster:
        machine = Machine(home / "ids", cluster)
        machine.merge("one")
        tick = machine.start()
        job = machine.started("one")[0]
        tick.kill()
        tick.wait(timeout=WAIT_S)
        machine.let_go("one")
        until(lambda: cluster.jobs().get(job, ("COMPLETED", ""))[0] == "COMPLETED", WAIT_S)
        (work,) = machine.works()
        (work.path / "outcome.json").unlink()  # else it would tell: the worst case
        (work.logs / "x" / "hyper.json").unlink()
        until(lambda: _has_strangers(cluster, job), 600)
        machine.hold("one")
        tick = machine.start()
        machine.started("one", times=2)
        machine.let_go("one")
        assert tick.wait(timeout=WAIT_S) == 0
        print(f"id {job} used again: {machine.ended()}, started {machine.starts()['one']} times", flush=True)
        assert machine.ended() == [("one", "done")]
        assert cluster.jobs()[job][0] == "RUNNING"  # the stranger's was let alone
        machine.end()


def _has_strangers(cluster: Cluster, job: str) -> bool:
    """Submit a stranger's job. Returns whether it got the id; else it is cancelled, and takes that one away."""
    if job in cluster.jobs():  # not forgotten yet
        time.sleep(1)
        return False
    got = cluster.run("sbatch", "--parsable", "--output=/dev/null", "--wrap=sleep 600", check=False)
    if got and got != job:
        cluster.run("scancel", got)
    return got == job


def kill(home: Path, rounds: int) -> None:
    """Kill at random moments, in every way in turn."""
    chance = random.Random(SEED)
    hits: Counter[str] = Counter()
    again: Counter[str] = Counter()
    with running_slurm() as cluster:
        machine = Machine(home / "kills", cluster)
        for number in range(rounds):
            way = WAYS[number % len(WAYS)]
            names = [f"{number}-{place}" for place in range(MERGES)]
            machine.merge(*names, held=False, nap_s=2)
            tick = machine.start()
            time.sleep(chance.uniform(0.5, 8))
            hits[way] += _kill(machine, way)
            code = tick.wait(timeout=600) if "tick" not in way else -signal.SIGKILL
            for _ in range(TICKS):
                if code == 0 and not machine.works():
                    break
                code = _tick(machine)
            ended = [(name, how) for name, how in machine.ended() if name in names]
            assert ended == [(name, "done") for name in names], f"{way}: {ended}\n{machine.log()[-3000:]}"
            assert machine.overlaps() == [], f"{way}: {machine.overlaps()}"
            again[way] += sum(machine.starts()[name] - 1 for name in names)
            print(f"round {number + 1}, {way}: all {MERGES} merges done, none beside itself", flush=True)
        machine.end()
    print(f"{rounds} rounds, {rounds * MERGES} merges: none lost, none archived twice, no two jobs of one at a time")
    for way in WAYS:
        print(f"  {way:<20} hit {hits[way]:>3} times; {again[way]} jobs began again")


def _tick(machine: Machine) -> int:
    """Run a tick to its end, and return its exit code."""
    tick = machine.start()
    deadline = time.monotonic() + 600
    while tick.poll() is None:
        assert time.monotonic() < deadline, machine.log()[-3000:]
        _hasten(machine.cluster)
        time.sleep(1)
    return tick.returncode


def _hasten(cluster: Cluster) -> None:
    """Do what an administrator does: bring back nodes that Slurm drained, and let requeued jobs begin at once."""
    cluster.run("scontrol", "update", "NodeName=n1,n2", "State=RESUME", check=False)
    for job, (state, _) in cluster.jobs().items():
        if state == "PENDING":
            cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)


def _kill(machine: Machine, way: str) -> bool:
    """Kill in one of WAYS. Returns whether there was something to kill."""
    cluster = machine.cluster
    running = {job: node for job, (state, node) in cluster.jobs().items() if state == "RUNNING"}
    job = next(iter(running), None)
    if "tick" in way:
        machine.ticks[-1].kill()
        machine.ticks[-1].wait(timeout=WAIT_S)
    if "supervisor" in way and job:
        with suppress(ProcessLookupError, AssertionError):
            os.kill(machine.supervisor(job, wait_s=5), signal.SIGKILL)
    if way == "preempted" and job:
        urgent = ("--partition=urgent", "--exclusive", f"--nodelist={running[job]}", "--output=/dev/null")
        cluster.run("sbatch", *urgent, "--wrap=sleep 1")
    if way == "requeued" and job:
        cluster.run("scontrol", "requeue", job, check=False)
    killed = {"slurmd": [running[job]] if job else [], "slurmctld": ["slurmctld"]}.get(way, [])
    killed = ["slurmctld", "n1", "n2"] if way == "all daemons" else killed
    for daemon in killed:
        cluster.kill(daemon)
    time.sleep(2)
    for daemon in killed:
        cluster.start(daemon)
    if killed:
        until(lambda: cluster.name in cluster.run("scontrol", "show", "config", check=False), WAIT_S)
    deadline = time.monotonic() + 600
    while machine.ticks[-1].poll() is None:
        assert time.monotonic() < deadline, machine.log()[-3000:]
        _hasten(cluster)
        time.sleep(1)
    return way == "tick" or bool(killed) or job is not None


if __name__ == "__main__":
    main()
