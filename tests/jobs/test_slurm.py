"""Merges that train on a real Slurm: no job twice, none lost, whatever is killed.

`python -m tests.benchmarks.slurm_kills` does the same for longer, and reaches time limits.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer.exit_codes import FAILED, TROUBLE
from tests.jobs.slurm_cluster import Cluster, running_slurm
from tests.jobs.slurm_machine import JOB, WAIT_S, Machine, end_by
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


# Kills itself while it submits a job: before sbatch, or after it, when only Slurm knows the job's id.
KILLED_AT_SBATCH = """
import os, signal, sys
from deepspeech_wer import cli
from deepspeech_wer.jobs import slurm_client
submit = slurm_client.submit
def killing(*given):
    if sys.argv[1] == "after": submit(*given)
    os.kill(os.getpid(), signal.SIGKILL)
slurm_client.submit = killing
sys.exit(cli.main([]))
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_tick_killed_at_sbatch_submits_no_job_twice(machine: Machine, when: str) -> None:
    machine.merge("one", held=when == "after")
    assert machine.start("-c", KILLED_AT_SBATCH, when).wait(timeout=WAIT_S) == -signal.SIGKILL
    tick = machine.start()
    if when == "after":
        machine.started("one")
        until(lambda: "left by an earlier tick" in machine.log(), WAIT_S)
        machine.let_go("one")
    assert tick.wait(timeout=WAIT_S) == 0
    assert machine.ended() == [("one", "done")]
    assert machine.starts() == {"one": 1}


def test_a_job_is_cancelled_whether_it_runs_or_waits_by_the_tracker_or_by_slurm(machine: Machine) -> None:
    machine.environment["ds_slurm_options"] = "--cpus-per-task=2"  # one job fills a node
    shas = machine.merge("one", "two", "three")
    tick = machine.start()
    outside = machine.started("one")[0]
    machine.started("two")
    until(lambda: "waiting" in [job["state"] for job in machine.status()["jobs"]], WAIT_S)
    machine.cluster.run("scancel", outside)
    machine.cluster.run("scontrol", "update", "NodeName=n1,n2", "State=DRAIN", "Reason=test")
    try:
        until(lambda: len(machine.status()["jobs"]) == 2, WAIT_S)
        assert "no job of 0000000 is running" in machine.command("cancel", "0000000")
        assert machine.command("cancel", shas[2][:8]).count("cancelled") == 1
        until(lambda: len(machine.status()["jobs"]) == 1, WAIT_S)
        assert machine.command("cancel").count("cancelled") == 1
        assert tick.wait(timeout=WAIT_S) == FAILED
    finally:
        machine.cluster.run("scontrol", "update", "NodeName=n1,n2", "State=RESUME")
    assert machine.ended() == [(name, "cancelled") for name in ("one", "two", "three")]
    assert machine.starts() == {"one": 1, "two": 1}
    said = [run.detail for run in machine.runs()]
    assert said[0].startswith(f"Slurm's job {outside} was cancelled on n")
    assert [one[:3] for one in said[1:]] == ["by ", "by "]


CGROUPS = Path("/sys/fs/cgroup")
EATS = """#!/bin/bash
. ./merge
if [ "$name" = fat ]; then exec python3 -c 'bytearray(800_000_000)'; fi
"""


@pytest.mark.skipif(
    not os.access(CGROUPS / "memory", os.W_OK), reason="needs memory cgroups of version 1 that this user may change"
)
def test_a_job_beyond_slurms_memory_limit_is_out_of_memory(tmp_path: Path) -> None:
    settings = {"TaskPlugin": "task/cgroup", "SelectTypeParameters": "CR_Core_Memory"}
    limit = {"CgroupPlugin": "cgroup/v1", "CgroupMountpoint": str(CGROUPS), "ConstrainRAMSpace": "yes"}
    limit |= {"ConstrainSwapSpace": "yes", "AllowedSwapSpace": "0"}
    with running_slurm(settings, memory_mb=1000, cgroup=limit) as cluster:
        machine = Machine(tmp_path / "machine", cluster, ds_slurm_options="--mem=200", ds_job_attempts="1")
        machine.merge("thin", held=False)
        machine.repository.commit("eats", {"bin/run-wer-automation.sh": f"{EATS}{JOB.removeprefix('#!/bin/bash')}"})
        machine.merge("fat", held=False)
        assert machine.tick() == FAILED
        assert machine.ended() == [("thin", "done"), ("fat", "out-of-memory")]
        machine.end()
    for path in sorted(CGROUPS.glob("*/slurm_n[12]/**/"), reverse=True):
        with contextlib.suppress(OSError):  # of another Slurm, in use
            path.rmdir()


def test_a_job_for_which_there_was_no_room_before_its_deadline_has_not_failed(machine: Machine) -> None:
    for node in ("n1", "n2"):
        machine.cluster.run("sbatch", "--exclusive", f"--nodelist={node}", "--output=/dev/null", "--wrap=sleep 600")
    machine.environment |= {"ds_slurm_time": "1", "ds_slurm_options": "--deadline=now+66seconds"}
    machine.merge("one", held=False)
    tick = machine.start()
    assert tick.wait(timeout=WAIT_S) == TROUBLE
    assert re.search(r"Slurm's job \d+ ended before it began \(DeadLine\): .* --deadline", machine.log())
    assert machine.runs() == []
    machine.cluster.run("scancel", "--name=wrap")
    del machine.environment["ds_slurm_options"]
    assert machine.tick() == 0
    assert machine.ended() == [("one", "done")]


@pytest.mark.parametrize(("partition", "starts"), [("work", ["0", "1"]), ("short", ["0", "0"])])
def test_a_preempted_job_begins_again_and_has_not_failed(machine: Machine, partition: str, starts: list[str]) -> None:
    """In the partition `work` Slurm requeues it under its id, in `short` it cancels it."""
    machine.environment["ds_slurm_partition"] = partition
    machine.merge("one")
    tick = machine.start()
    first = machine.started("one")
    urgent = machine.cluster.run(
        *("sbatch", "--parsable", "--partition=urgent", "--exclusive", f"--nodelist={first[2]}", "--output=/dev/null"),
        "--wrap=sleep 3",
    )
    if partition == "work":
        until(lambda: machine.cluster.jobs()[first[0]][0] == "PENDING", WAIT_S)
        machine.cluster.run("scontrol", "update", f"JobId={first[0]}", "StartTime=now")  # else two minutes later
    second = machine.started("one", times=2)
    assert (first[1], second[1]) == tuple(starts)
    assert (first[0] == second[0]) == (partition == "work")
    machine.let_go("one")
    assert tick.wait(timeout=WAIT_S) == 0
    assert machine.ended() == [("one", "done")]
    assert machine.runs()[0].attempt == 1
    assert machine.overlaps() == []
    machine.cluster.run("scancel", urgent, check=False)


@pytest.mark.parametrize(("saves", "starts"), [(True, 3), (False, 1)])
def test_a_job_that_says_each_time_that_it_lost_its_node_waits_for_the_next_tick(
    machine: Machine, saves: bool, starts: int
) -> None:
    lost = "echo 'interrupted: node n2 is gone' >&2; exit 75\n"
    job = JOB.replace("mkdir", f"{lost}mkdir", 1) if saves else JOB.replace('touch "$2/checkpoint"', lost)
    machine.repository.merge("one", {"merge": "name=one wer=0.5\n", "bin/run-wer-automation.sh": job})
    for tick in (1, 2):
        assert machine.tick() == TROUBLE
        assert "interrupted: node n2 is gone; the next tick resumes it" in machine.log()
        assert machine.starts() == {"one": starts * tick}
    assert machine.runs() == []


def test_a_commit_asked_for_by_hand_that_lost_its_node_is_resumed_by_the_next_tick(machine: Machine) -> None:
    once = '[ -e "$HOME/lost" ] || { touch "$HOME/lost"; echo "interrupted: node n2 is gone" >&2; exit 75; }'
    job = JOB.replace('touch "$2/checkpoint"', once)
    sha = machine.repository.commit("by hand", {"merge": "name=one wer=0.5\n", "bin/run-wer-automation.sh": job})
    asked = machine.start("-P", "-m", "deepspeech_wer", "run", "--sha", sha)
    assert asked.wait(timeout=WAIT_S) == TROUBLE
    assert machine.tick() == 0
    assert machine.ended() == [("by hand", "done")]


def test_a_killed_supervisor_leaves_nothing_behind_and_its_merge_is_resumed(machine: Machine) -> None:
    machine.merge("one")
    tick = machine.start()
    first = machine.started("one")
    os.kill(machine.supervisor(first[0]), signal.SIGKILL)
    second = machine.started("one", times=2)
    until(lambda: not Path(f"/proc/{first[3]}").exists(), WAIT_S)
    assert first[0] != second[0]
    machine.let_go("one")
    assert tick.wait(timeout=WAIT_S) == 0
    assert machine.ended() == [("one", "done")]
    assert machine.overlaps() == []


def test_a_node_that_only_seems_to_be_down_runs_no_merge_beside_another_node(machine: Machine) -> None:
    """Its slurmd is killed and Slurm gives the same job to another node, while the first one's processes live on."""
    machine.merge("one")
    tick = machine.start()
    first = machine.started("one")
    machine.cluster.kill(first[2])
    try:
        machine.cluster.run("scontrol", "update", f"NodeName={first[2]}", "State=DOWN", "Reason=test")
        until(lambda: machine.cluster.jobs()[first[0]][0] == "PENDING", WAIT_S)
        assert Path(f"/proc/{first[3]}").exists()
        machine.cluster.run("scontrol", "update", f"JobId={first[0]}", "StartTime=now")
        second = machine.started("one", times=2)
    finally:
        machine.cluster.start(first[2])
        machine.cluster.run("scontrol", "update", f"NodeName={first[2]}", "State=RESUME")
    assert (second[0], second[1]) == (first[0], "1")
    assert second[2] != first[2]
    machine.let_go("one")
    assert tick.wait(timeout=WAIT_S) == 0
    assert machine.overlaps() == []
    assert machine.ended() == [("one", "done")]
    assert machine.runs()[0].machine == os.uname().nodename


def test_killed_daemons_of_slurm_cost_no_job(machine: Machine) -> None:
    machine.merge("one", "two", "three", "four")
    tick = machine.start()
    nodes = [machine.started(name)[2] for name in ("one", "two", "three", "four")]
    machine.cluster.kill("slurmctld")
    machine.cluster.kill(nodes[0])
    machine.let_go("one", "two")
    until(lambda: "cannot ask Slurm" in machine.log(), WAIT_S)
    assert "cannot ask Slurm" in machine.command("status")
    assert tick.poll() is None
    machine.cluster.start("slurmctld")
    machine.cluster.start(nodes[0])
    machine.let_go("three", "four")
    assert tick.wait(timeout=WAIT_S) == 0
    assert machine.ended() == [(name, "done") for name in ("one", "two", "three", "four")]
    assert machine.starts() == dict.fromkeys(("one", "two", "three", "four"), 1)


def test_check_asks_a_node_what_it_sees(machine: Machine) -> None:
    machine.data.mkdir(parents=True)

    def said() -> str:
        for _ in range(4):  # a node may still be cleaning up after the test before
            told = next(line for line in machine.command("check").splitlines() if " cluster " in line)
            if not told.endswith("try again"):
                break
            machine.resume()
        return told

    assert re.match(r"ok +cluster +a job on the node \S+ saw the data root, its locks", said())
    machine.environment["ds_slurm_partition"] = "nowhere"
    assert re.match(r"fault +cluster +Slurm refuses the job: .*invalid partition.*: correct ds_slurm_\*", said())


def test_check_tells_that_a_node_does_not_see_the_data_root(machine: Machine) -> None:
    machine.data.mkdir(parents=True)
    hidden = f"mount -t tmpfs none {machine.data} && exec {shlex.quote(sys.executable)} -P -m deepspeech_wer check"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", hidden],
        env=machine.environment,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    if " cluster " not in done.stdout:
        pytest.skip(f"no private mounts here: {done.stderr}")
    assert re.search(r"fault +cluster +.*the nodes must share the data root \(ds_dataroot\)", done.stdout), done.stdout


def test_commits_asked_for_by_hand_run_once_side_by_side_and_failed_ones_are_tried_again(machine: Machine) -> None:
    shas = machine.merge("one", "two", "three")
    (machine.directory / "fail-two").touch()
    tick = machine.start("-P", "-m", "deepspeech_wer", "run", "--sha", shas[0], "--sha", shas[1])
    machine.started("one")
    machine.started("two")
    end_by(tick)
    tick = machine.start("-P", "-m", "deepspeech_wer", "run", "--sha", shas[2])
    machine.started("three")
    machine.let_go("one", "two", "three")
    assert tick.wait(timeout=WAIT_S) == FAILED
    assert machine.ended() == [("one", "done"), ("two", "exit 3"), ("three", "done")]
    assert machine.starts() == {"one": 1, "two": 2, "three": 1}
    assert [run.attempt for run in machine.runs()] == [1, 2, 1]
    assert machine.overlaps() == []
