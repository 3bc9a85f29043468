"""GPU samples, from a fake nvidia-smi that takes the same options and prints the same lines until it is ended."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepspeech_wer import archive
from deepspeech_wer.configuration import settings
from deepspeech_wer.jobs import gpu
from deepspeech_wer.machine import processes
from tests.conftest import Repository
from tests.test_automation import TICK, tick
from tests.test_automation import tracked as tracked  # the fixture

VALUES = {
    "index": "0",
    "utilization.gpu": "97",
    "utilization.memory": "41",
    "memory.used": "10240",
    "memory.total": "24576",
    "temperature.gpu": "71",
    "power.draw": "251.33",
}
NVIDIA_SMI = (
    # A #! line cannot name an interpreter whose path has a space: sh reads two commands here, Python a string.
    f"""#!/bin/sh
'''exec' '{sys.executable}' -S "$0" "$@"
' '''
VALUES = {VALUES}
"""
    + """
import os, sys, time
from pathlib import Path
options = dict(part.split("=", 1) for part in sys.argv[1:])
assert options["--format"] == "csv,noheader,nounits", options
Path.home().joinpath("nvidia-smi.pid").write_text(str(os.getpid()))
links = [f"/proc/self/fd/{number}" for number in range(3, 20)]
links = " ".join(map(os.readlink, filter(os.path.exists, links)))
while True:
    VALUES["timestamp"] = time.strftime("%Y/%m/%d %H:%M:%S.000")
    print(", ".join(VALUES[name] for name in options["--query-gpu"].split(",")), flush=True)
    Path.home().joinpath("nvidia-smi.fds").write_text(links)  # the job waits for this file, and so for a sample
    time.sleep(float(options["--loop"]))
"""
)
WAITS = 'for i in $(seq 1000); do [ -e "$HOME/nvidia-smi.fds" ] && break; sleep 0.02; done; sleep 0.1\nwer=0.5\n'


def put(home: Path, script: str) -> Path:
    """Install a script as nvidia-smi in a new directory."""
    program = home / "bin" / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    program.write_text(script)
    program.chmod(0o755)
    return program.parent


@pytest.fixture
def nvidia_smi(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the fake nvidia-smi on PATH. Returns the file with its pid."""
    monkeypatch.setenv("PATH", f"{put(sealed, NVIDIA_SMI)}:{os.environ['PATH']}")
    return sealed / "nvidia-smi.pid"


def is_running(pid_file: Path) -> bool:
    return processes.start_time(int(pid_file.read_text())) is not None


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, skipinitialspace=True))


def test_the_gpus_are_sampled_while_the_job_runs(tracked: Repository, nvidia_smi: Path) -> None:
    tracked.commit("waits", {"wer": WAITS})
    assert tick() == 0
    run = archive.load(settings.load().places.runs)[0]
    samples = rows(run.directory / "gpu-usage.csv")
    assert samples
    assert {name: samples[0][column] for column, name in gpu.COLUMNS.items() if name in VALUES} == VALUES
    now = time.strftime("%Y/%m/%d %H", time.gmtime())
    assert samples[0]["timestamp"].startswith(now)  # UTC, although nvidia-smi prints local time
    assert not is_running(nvidia_smi)
    assert "lock" not in nvidia_smi.with_name("nvidia-smi.fds").read_text()


@pytest.mark.parametrize("failing", ["exit 3\n", "sleep 1000\n"])
def test_sampling_ends_with_a_failing_job(
    tracked: Repository, nvidia_smi: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    monkeypatch.setenv("ds_job_attempts", "1")
    monkeypatch.setenv("ds_job_timeout", "5")
    monkeypatch.setenv("ds_job_grace", "1")
    tracked.commit("fails", {"wer": WAITS + failing})
    assert tick() != 0
    assert not is_running(nvidia_smi)
    assert rows(archive.load(settings.load().places.runs)[0].directory / "gpu-usage.csv")


def test_sampling_ends_with_a_killed_supervisor(tracked: Repository, nvidia_smi: Path) -> None:
    tracked.commit(
        "hangs", {"wer": WAITS + '[ -e "$HOME/killed" ] || { touch "$HOME/killed"; kill -9 $PPID; sleep 99; }\n'}
    )
    with subprocess.Popen(TICK, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not nvidia_smi.with_name("killed").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        first = int(nvidia_smi.read_text())
        nvidia_smi.with_name("nvidia-smi.fds").unlink(missing_ok=True)  # so that the job waits for the next one
        assert process.wait() == 0  # the tick resumes the same commit
    assert processes.start_time(first) is None
    assert not is_running(nvidia_smi)
    assert rows(archive.load(settings.load().places.runs)[0].directory / "gpu-usage.csv")


@pytest.mark.usefixtures("nvidia_smi")
def test_all_runs_share_ds_gpu_usage_csv(tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_gpu_usage_csv", str(sealed / "gpu" / "all.csv"))
    tracked.commit("waits", {"wer": WAITS})
    tick()
    once = len(rows(sealed / "gpu" / "all.csv"))
    (sealed / "nvidia-smi.fds").unlink()
    tracked.merge("again", {"more": ""})
    tick()
    assert len(rows(sealed / "gpu" / "all.csv")) > once >= 1
    assert (sealed / "gpu" / "all.csv").read_text().count("timestamp") == 1
    assert not list(settings.load().places.runs.glob("*/gpu-usage.csv"))


@pytest.mark.usefixtures("nvidia_smi")
def test_below_a_root_each_merge_has_its_directory(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_gpu_usage_root", str(sealed / "gpu"))
    sha = tracked.commit("waits", {"wer": WAITS})
    tick()
    assert [path.parent.name for path in (sealed / "gpu").glob("*/gpu-usage-*.csv")] == [sha[:12]]


@pytest.mark.usefixtures("nvidia_smi")
@pytest.mark.parametrize("place", [{}, {"ds_gpu_usage_csv": "gpu/all.csv"}, {"ds_gpu_usage_root": "gpu"}])
def test_charts_are_drawn_wherever_the_samples_are(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch, place: dict[str, str]
) -> None:
    for name, value in {**place, "ds_gpu_usage_charts": "charts"}.items():
        monkeypatch.setenv(name, str(sealed / value))
    tracked.commit("waits", {"wer": WAITS})
    assert tick() == 0
    [run] = archive.names(settings.load().places.runs)
    assert "GPU 0: Power, W" in (sealed / "charts" / f"{run}.svg").read_text("utf-8")


@pytest.mark.usefixtures("nvidia_smi")
def test_charts_that_cannot_be_written_do_not_fail_the_run(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sealed / "file").touch()
    monkeypatch.setenv("ds_gpu_usage_charts", str(sealed / "file"))
    tracked.commit("waits", {"wer": WAITS})
    assert tick() == 0
    assert "no GPU charts: " in capsys.readouterr().err


@pytest.mark.usefixtures("tracked")
def test_without_nvidia_smi_nothing_happens(capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    assert not list(settings.load().places.runs.glob("*/gpu-usage.csv"))
    assert "GPU" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n", "nvidia-smi failed with exit code 9"),
        ("#!/no/interpreter\n", "no GPU samples: "),
    ],
)
def test_a_failing_sampler_does_not_fail_the_job(
    tracked: Repository,
    sealed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    script: str,
    message: str,
) -> None:
    monkeypatch.setenv("PATH", f"{put(sealed, script)}:{os.environ['PATH']}")
    tracked.commit("waits", {"wer": "sleep 0.3\nwer=0.5\n"})
    assert tick() == 0
    assert capsys.readouterr().err.count(message) == 1


def test_a_directory_that_cannot_be_created_does_not_fail_the_job(
    tracked: Repository, nvidia_smi: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sealed / "file").touch()
    monkeypatch.setenv("ds_gpu_usage_root", str(sealed / "file"))
    assert tracked.path.exists()
    assert tick() == 0
    assert not nvidia_smi.exists()
