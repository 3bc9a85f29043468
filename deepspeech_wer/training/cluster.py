"""Which processes train together, and which of them this one is: from Slurm's environment, or from TF_CONFIG."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import Trouble, UsageTrouble

OFF, SLURM, TF_CONFIG = "off", "slurm", "tf_config"
PORTS = range(12_000, 32_000)  # below those that the kernel gives to outgoing connections
ASK_S = 30.0  # for scontrol
_GROUP = re.compile(r"(?:[^,\[\]]|\[[^\]]*\])+")  # a name of a node list; the commas in its brackets are its own
_CURE = "start one task for each worker with srun, or set ds_distribute=off"


@dataclass(frozen=True)
class Cluster:
    """The workers of a training. The first is the chief, which writes what the training leaves."""

    addresses: tuple[str, ...]  # host:port of each; they meet at the first
    index: int  # of this process


def wanted(text: str) -> str:
    """Check a value of ds_distribute: off, slurm, slurm:PORT or tf_config. Raises ValueError."""
    name, colon, port = text.partition(":")
    if name in (OFF, SLURM, TF_CONFIG) and not colon:
        return text
    if name == SLURM and port.isdecimal() and 1024 <= int(port) <= 65_000:
        return text
    raise ValueError("off, slurm, slurm:PORT with a port from 1024 to 65000, or tf_config")


def find(distribute: str, environ: Mapping[str, str]) -> Cluster | None:
    """Return the cluster of this process; None if it trains alone. Raises UsageTrouble for a cluster that is none."""
    name, _, port = distribute.partition(":")
    if name == OFF:
        return None
    cluster = _of_tf_config(environ) if name == TF_CONFIG else _of_slurm(environ, int(port or 0))
    return cluster if len(cluster.addresses) > 1 else None


def _of_tf_config(environ: Mapping[str, str]) -> Cluster:
    """Read TF_CONFIG as TensorFlow describes it. Without a chief the first worker is the chief."""
    text = environ.get("TF_CONFIG", "")
    cure = 'expected {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": 0}}'
    try:
        record = json.loads(text or "{}")
        jobs: dict[str, list[str]] = record["cluster"]
        kind, number = record["task"]["type"], int(record["task"]["index"])
        others = sorted(jobs.keys() - {"chief", "worker"})
        if others:
            raise UsageTrouble(f"TF_CONFIG: has {', '.join(others)}: expected chief and worker alone")
        addresses = (*jobs.get("chief", ()), *jobs.get("worker", ()))
        index = number + (len(jobs.get("chief", ())) if kind == "worker" else 0)
        if not all(re.fullmatch(r"\S+:[0-9]+", one) for one in addresses) or number < 0 or number >= len(jobs[kind]):
            raise ValueError("a worker has no address")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageTrouble(f"TF_CONFIG={text!r}: {type(error).__name__} {error}: {cure}") from error
    return Cluster(addresses, index)


def _of_slurm(environ: Mapping[str, str], port: int) -> Cluster:
    """Read the environment of a task that srun started (srun(1), OUTPUT ENVIRONMENT VARIABLES)."""
    if "SLURM_JOB_ID" not in environ:
        raise UsageTrouble(f"ds_distribute={SLURM!r}: this is no job of Slurm: {_CURE}")
    if "SLURM_STEP_ID" not in environ:
        if environ.get("SLURM_NTASKS", "1") == "1" and environ.get("SLURM_JOB_NUM_NODES", "1") == "1":
            return Cluster(("localhost:0",), 0)
        raise UsageTrouble(
            f"ds_distribute={SLURM!r}: srun did not start this process of a job of several tasks: {_CURE}"
        )
    try:
        nodes = expand(environ.get("SLURM_STEP_NODELIST") or environ["SLURM_JOB_NODELIST"])
        counts = _counts(environ.get("SLURM_STEP_TASKS_PER_NODE") or environ["SLURM_TASKS_PER_NODE"])
        index, node = int(environ["SLURM_PROCID"]), int(environ["SLURM_NODEID"])
        of_task = [place for place, count in enumerate(counts) for _ in range(count)]
        if len(counts) != len(nodes) or len(of_task) != int(environ["SLURM_NTASKS"]):
            raise ValueError(f"{len(nodes)} nodes, {counts} tasks on them, {environ['SLURM_NTASKS']} in all")
        is_in_blocks = of_task[index] == node
    except (KeyError, ValueError, IndexError) as error:
        raise UsageTrouble(f"the SLURM_* variables: {type(error).__name__} {error}: {_CURE}") from error
    if not is_in_blocks:
        raise UsageTrouble(
            f"SLURM_PROCID={index}: is a task of node {node}: expected {of_task[index]}: srun --distribution=block"
        )
    first = port or PORTS[int(environ["SLURM_JOB_ID"]) % len(PORTS)]
    hosts = {name: host_of(name) for name in dict.fromkeys(nodes[place] for place in of_task)}
    return Cluster(tuple(f"{hosts[nodes[place]]}:{first + task}" for task, place in enumerate(of_task)), index)


def expand(nodes: str) -> list[str]:
    """Return the names in a node list of Slurm, such as `gpu[01-03,7],login`. Raises ValueError."""
    groups = _GROUP.findall(nodes)
    if not nodes or ",".join(groups) != nodes:
        raise ValueError(f"{nodes}: is no list of nodes")
    return [name for group in groups for name in _expand(group)]


def _expand(group: str) -> list[str]:
    before, bracket, rest = group.partition("[")
    if not bracket:
        return [group]
    inside, _, after = rest.partition("]")
    numbers: list[str] = []
    for part in inside.split(","):
        least, _, most = part.partition("-")
        width = len(least)
        numbers += [f"{number:0{width}d}" for number in range(int(least), int(most or least) + 1)]
    return [f"{before}{number}{end}" for number in numbers for end in _expand(after)]


def _counts(text: str) -> list[int]:
    """Return the tasks on each node, of `2(x3),1`: 2, 2, 2, 1."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if not found:
            raise ValueError(f"{text}: expected numbers of tasks")
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def host_of(node: str) -> str:
    """Return the name or address of a node: its name, or what Slurm calls it where no name service knows that."""
    try:
        socket.getaddrinfo(node, None)
    except OSError:
        said = _scontrol("--oneliner", "show", "node", node)
        found = re.search(r"\bNodeAddr=(\S+)", said)
        if found is None:
            raise Trouble(f"the host {node}: cannot be found: expected a name that the name service knows") from None
        return found[1]
    return node


def _scontrol(*words: str) -> str:
    path: Any = shutil.which("scontrol")
    if path is None:
        return ""
    try:
        return subprocess.run([path, *words], capture_output=True, text=True, timeout=ASK_S, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
