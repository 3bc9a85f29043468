"""A training prints less than it is worth: what it cannot print is lost, and nothing else."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tone_corpus import Job, random_texts, write_corpus

TOLD = "standard output cannot be written: {}: the training goes on without it"


@pytest.fixture
def job(tmp_path: Path) -> Job:
    write_corpus(tmp_path / "tones", random_texts("abc", train=16, dev=2, test=4))
    return Job(tmp_path / "logs", tmp_path / "tones")


def shell(job: Job, redirected: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"{shlex.join(job.command())} {redirected}; exit ${{PIPESTATUS[0]}}"],
        env=job.environment(ds_epochs="2", ds_wer_sha="a" * 40),
        cwd=job.cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("redirected", "told"),
    [
        (">/dev/full", TOLD.format("No space left on device")),
        ("| true", TOLD.format("Broken pipe")),
        (">/dev/full 2>/dev/full", None),
        (">&- 2>&-", None),
    ],
)
def test_output_that_nobody_takes_ends_no_training(job: Job, redirected: str, told: str | None) -> None:
    done = shell(job, redirected)

    assert done.returncode == 0, done.stderr
    assert job.record()["results"]["test_wer"] is not None
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("wrote ")]
    assert said == ([told] if told else [])


def test_a_failure_keeps_its_exit_code_where_nothing_can_be_printed(job: Job) -> None:
    assert shell(replace(job, dataset=job.dataset / "none"), ">/dev/full 2>&1").returncode in (1, 2)
