"""Merges that train on a real Slurm: no job twice, none lost, whatever is killed.

`python -m tests.benchmarks.slurm_kills` does the same for longer, and reaches time limits.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.jobs.slurm_cluster import Cluster, running_slurm
from tests.jobs.slurm_machine import WAIT_S, Machine, end_by
from tests.waiting import until


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running_slurm() as running:
        yield running


@pytest.fixture
def machine(tmp_path: Path, cluster: Cluster) -> Iterator[Machine]:
    made = Machine(tmp_path / "machine", cluster)
    yield made
    made.end()


def test_four_merges_train_side_by_side_and_show_themselves_in_the_order_of_history(machine: Machine) -> None:
    names = ["one", "two", "three", "four", "five"]
    shas = machine.merge(*names)
    tick = machine.start()
    nodes = {machine.started(name)[2] for name in names[:4]}
    assert nodes == {"n1", "n2"}
    jobs = machine.status()["jobs"]
    assert [job["state"] for job in jobs] == ["running"] * 4
    assert {job["node"] for job in jobs} == nodes
    assert "Slurm's job" in machine.command("status")
    machine.let_go("four", "three")
    machine.started("five")
    until(lambda: machine.held() == ["four", "three"], WAIT_S)
    assert machine.runs() == []
    assert machine.last_sha1() not in shas
    machine.let_go("one")
    until(lambda: machine.ended() == [("one", "done")], WAIT_S)
    machine.let_go("two", "five")
    assert tick.wait(timeout=WAIT_S) == 0
    assert machine.ended() == [(name, "done") for name in names]
    assert machine.starts() == dict.fromkeys(names, 1)
    assert machine.last_sha1() == shas[-1]
    assert [run.number for run in machine.runs()] == sorted(run.number for run in machine.runs())
    assert machine.works() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_a_tick_leaves_its_jobs_running_for_the_next_one(machine: Machine, number: int) -> None:
    machine.merge("one", "two")
    tick = machine.start()
    machine.started("one")
    machine.started("two")
    assert end_by(tick, number) != 0
    tick = machine.start()
    until(lambda: machine.log().count("left by an earlier tick") == 2, WAIT_S)
    machine.let_go("one", "two")
    assert tick.wait(timeout=WAIT_S) == 0
    assert machine.ended() == [("one", "done"), ("two", "done")]
    assert machine.starts() == {"one": 1, "two": 1}
