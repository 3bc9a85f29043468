"""A training whose workers are the tasks of one job on a real Slurm, on two nodes."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.jobs.slurm_cluster import running_slurm
from tests.jobs.slurm_machine import WAIT_S, Machine
from tests.waiting import until

pytest.importorskip("tensorflow")
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "training"))
from tone_corpus import SMALL, random_texts, write_corpus  # noqa: E402


def workers_of(machine: Machine) -> dict[str, int]:
    """The pids of the training's processes, by their node."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if b"deepspeech_wer.training" not in (place / "cmdline").read_bytes().split(b"\0"):
                continue
            variables = dict(one.split(b"=", 1) for one in (place / "environ").read_bytes().split(b"\0") if b"=" in one)
        except OSError:
            continue
        if variables.get(b"SLURM_CONF") == os.fsencode(machine.cluster.config):
            found[variables[b"SLURMD_NODENAME"].decode()] = int(place.name)
    return found


def test_two_nodes_train_one_merge_and_a_lost_one_is_no_fault_of_it(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "tones", random_texts("abc", train=21, dev=3, test=4))
    with running_slurm() as cluster:
        settings = {**SMALL, "ds_dataset_path": str(corpus), "ds_epochs": "15", "ds_cache_dir": str(tmp_path / "cache")}
        machine = Machine(tmp_path / "machine", cluster, **settings)
        machine.environment |= {
            "ds_wer_automation": str(ROOT / "bin" / "run-wer-automation.sh"),
            "ds_python": sys.executable,
            "ds_distribute": "slurm",
            "ds_slurm_options": "--nodes=2",
        }
        try:
            machine.merge("one", held=False)
            tick = machine.start()
            until(lambda: list(machine.data.glob("checkpoints/*/checkpoint.npz")), WAIT_S)
            workers = workers_of(machine)
            assert workers.keys() == {"n1", "n2"}
            os.kill(workers["n2"], signal.SIGKILL)
            assert tick.wait(timeout=WAIT_S) == 0
        finally:
            machine.end()
        [run] = machine.runs()
        assert (run.status, run.attempt) == ("done", 1)
        assert "interrupted; resuming from its checkpoint" in machine.log()
        [path] = machine.data.glob("runs/*/hyper.json")
        record = json.loads(path.read_text())
        assert record["context"]["machine"]["workers"] == 2
        [log] = machine.data.glob("runs/*/out.log*")
        assert "resuming after epoch" in log.read_text()
