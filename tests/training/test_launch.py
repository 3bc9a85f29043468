"""A job of Slurm with several tasks: what srun says and how it ends becomes what the contract of the job asks for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import until

ROOT = Path(__file__).parents[2]


def launch(directory: Path, srun: str, **variables: str) -> subprocess.Popen[str]:
    """Start the launcher with a srun that is a shell script."""
    script = directory / "srun"
    script.write_text(f"#!/bin/sh\n{srun}\n")
    script.chmod(0o755)
    return subprocess.Popen(
        [sys.executable, "-m", "deepspeech_wer.training.launch", "job", "--checkpoint_dir", "a b"],
        cwd=ROOT,
        env={"PATH": f"{directory}:{os.environ['PATH']}", **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


GONE = "interrupted: worker 1 (n2:12001) is gone"


@pytest.mark.parametrize(
    ("srun", "code", "last"),
    [
        ("echo done", 0, ""),
        (
            "echo 'diverged: inf' >&2; echo 'srun: error: n1: task 0: Exited with exit code 65' >&2; exit 65",
            65,
            "diverged: inf",
        ),
        (f"echo 'srun: error: n2: task 1: Killed' >&2; echo '{GONE}' >&2; exit 137", 75, GONE),
        (f"echo '{GONE}' >&2; echo 'srun: error: n1: task 0: Exited with exit code 75' >&2; exit 137", 75, GONE),
        ("echo 'srun: error: Unable to allocate' >&2; exit 1", 1, "srun: error: Unable to allocate"),
        ("echo no luck >&2; exit 1", 1, "no luck"),
        ("kill -KILL $$", 137, ""),
    ],
)
def test_the_last_words_and_the_code_are_the_trainings(tmp_path: Path, srun: str, code: int, last: str) -> None:
    process = launch(tmp_path, srun)
    _, said = process.communicate(timeout=60)

    assert process.returncode == code
    assert (said.splitlines() or [""])[-1] == last
    assert said.count(last) == 1 + (code == 65 or "75" in srun) or not last


def test_the_tasks_get_the_job_with_the_processors_that_were_asked_for(tmp_path: Path) -> None:
    out, _ = launch(tmp_path, 'for one in "$@"; do echo "$one"; done', SLURM_CPUS_PER_TASK="8").communicate(timeout=60)

    words = out.splitlines()
    assert words[-3:] == ["job", "--checkpoint_dir", "a b"]
    assert {"--cpus-per-task=8", "--export=ALL", "--distribution=block", "--kill-on-bad-exit=0"} <= set(words)


def test_the_words_on_a_lost_worker_are_the_last_ones_whatever_other_tasks_write(tmp_path: Path) -> None:
    lines = "TensorFlow starts", "interrupted: worker 1 (n2:12345) is gone: look", ":UNKNOWN:Error received from peer"
    script = "; ".join(f"echo '{line}' >&2" for line in lines)
    process = launch(tmp_path, f"{script}; echo 'srun: error: n2: task 1: Killed' >&2; exit 137")

    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert said.splitlines() == [*lines, "srun: error: n2: task 1: Killed", lines[1]]


def test_a_signal_reaches_srun(tmp_path: Path) -> None:
    process = launch(tmp_path, f"trap 'exit 143' TERM; touch {tmp_path}/there; while :; do sleep 0.05; done")
    until((tmp_path / "there").exists)
    process.send_signal(signal.SIGTERM)

    process.communicate(timeout=60)
    assert process.returncode == 143


def test_a_node_without_srun_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deepspeech_wer.training.launch", "job"],
        cwd=ROOT,
        env={"PATH": str(tmp_path / "nowhere")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        "srun: not found: install Slurm's commands on this node, or set ds_distribute=off\n",
    )
