"""Which workers train together: what Slurm and TF_CONFIG say."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training import cluster
from deepspeech_wer.training.cluster import Cluster
from deepspeech_wer.training.parameters import from_environment

TASK = {
    "SLURM_JOB_ID": "20003",
    "SLURM_STEP_ID": "0",
    "SLURM_JOB_NODELIST": "elsewhere[1-9]",
    "SLURM_STEP_NODELIST": "127.0.0.[1-2]",
    "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_NODEID": "1",
}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", ["n1"]),
        ("n1,m-2.x", ["n1", "m-2.x"]),
        ("n[1-3,7]", ["n1", "n2", "n3", "n7"]),
        ("gpu[008-011]-ib,login", ["gpu008-ib", "gpu009-ib", "gpu010-ib", "gpu011-ib", "login"]),
        ("r[1-2]n[0-1]", ["r1n0", "r1n1", "r2n0", "r2n1"]),
    ],
)
def test_lists_of_nodes_are_expanded(text: str, names: list[str]) -> None:
    assert cluster.expand(text) == names


def test_a_task_of_slurm_knows_the_others_and_its_place() -> None:
    assert cluster.find("slurm", TASK) == Cluster(("127.0.0.1:12003", "127.0.0.2:12004"), 1)
    assert cluster.find("slurm:3000", TASK) == Cluster(("127.0.0.1:3000", "127.0.0.2:3001"), 1)
    several = {**TASK, "SLURM_STEP_TASKS_PER_NODE": "2,1", "SLURM_NTASKS": "3", "SLURM_NODEID": "0"}
    found = cluster.find("slurm:3000", several)
    assert found == Cluster(("127.0.0.1:3000", "127.0.0.1:3001", "127.0.0.2:3002"), 1)


def test_a_single_process_trains_alone() -> None:
    assert cluster.find("off", TASK) is None
    assert cluster.find("slurm", {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "1"}) is None
    one = {"cluster": {"worker": ["h:1"]}, "task": {"type": "worker", "index": 0}}
    assert cluster.find("tf_config", {"TF_CONFIG": json.dumps(one)}) is None


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({}, "ds_distribute='slurm': this is no job of Slurm: start one task for each worker with srun"),
        ({"SLURM_JOB_ID": "1", "SLURM_JOB_NUM_NODES": "2"}, "srun did not start this process"),
        ({**TASK, "SLURM_PROCID": "x"}, "the SLURM_.* variables: ValueError"),
        (
            {**TASK, "SLURM_NTASKS": "5"},
            r"the SLURM_.* variables: ValueError 2 nodes, \[1, 1\] tasks on them, 5 in all",
        ),
        ({**TASK, "SLURM_STEP_NODELIST": "n[1-"}, r"ValueError n\[1-: is no list of nodes"),
        ({**TASK, "SLURM_NODEID": "0"}, "SLURM_PROCID=1: is a task of node 0: expected 1: srun --distribution=block"),
    ],
)
def test_a_process_that_is_no_task_of_slurm_is_told_so(variables: dict[str, str], told: str) -> None:
    with pytest.raises(UsageTrouble, match=told):
        cluster.find("slurm", variables)


@pytest.mark.parametrize(
    ("jobs", "kind", "index", "place"),
    [
        ({"worker": ["a:1", "b:2"]}, "worker", 1, 1),
        ({"chief": ["c:3"], "worker": ["a:1", "b:2"]}, "worker", 1, 2),
        ({"worker": ["a:1", "b:2"], "chief": ["c:3"]}, "chief", 0, 0),
    ],
)
def test_tf_config_names_the_workers(jobs: dict[str, list[str]], kind: str, index: int, place: int) -> None:
    text = json.dumps({"cluster": jobs, "task": {"type": kind, "index": index}})
    chief = tuple(jobs.get("chief", ()))
    assert cluster.find("tf_config", {"TF_CONFIG": text}) == Cluster((*chief, "a:1", "b:2"), place)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:2"]}}',
        '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 2}}',
        '{"cluster": {"worker": ["a:1", "b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:1"], "ps": ["b:2"]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_tf_config_that_names_no_workers_is_refused(text: str) -> None:
    with pytest.raises(UsageTrouble, match=r"^TF_CONFIG.*expected "):
        cluster.find("tf_config", {"TF_CONFIG": text})


@pytest.mark.parametrize("text", ["on", "slurm:", "slurm:80", "slurm:x", "off:1", "tf_config:2222", ""])
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(UsageTrouble, match=r"ds_distribute=.*expected off, slurm, slurm:PORT"):
        from_environment({"ds_distribute": text})


def test_a_node_whose_name_nobody_knows_has_the_address_that_slurm_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(*_: object) -> None:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    script = tmp_path / "scontrol"
    script.write_text("#!/bin/sh\necho NodeName=$4 NodeAddr=10.0.0.7 NodeHostName=x\n")
    script.chmod(0o755)
    assert cluster.host_of("n1") == "10.0.0.7"
    script.write_text("#!/bin/sh\necho 'Node not found' >&2; exit 1\n")
    with pytest.raises(Trouble, match="the host n1: cannot be found"):
        cluster.host_of("n1")
