"""Measures an idle tick, compared with its floor, in interleaved rounds.

    python -m tests.benchmarks.tick [ROUNDS]

The floor is pyxdg, the lock, and a git fetch that finds nothing. Prints CPU time, user and system, of the process and
its children: medians of ROUNDS (20) and their ratios.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import Repository

JOB = """#!/bin/sh
mkdir "$ds_logs_dir/x"
echo '{"context":{"time_started":"2026-01-01T00:00:00"},"results":{"test_wer":0.5}}' > "$ds_logs_dir/x/hyper.json"
"""
FLOOR = """
import fcntl, os, subprocess
from xdg import BaseDirectory
path = BaseDirectory.save_cache_path("floor")
fcntl.flock(os.open(path + "/lock", os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)
fetch = ["git", "-C", {mirror!r}, "fetch", "--quiet", "--no-tags", {url!r}, "+HEAD:refs/tracked/head"]
subprocess.run(fetch, check=True)
"""
# What DeepSpeech's util/automation.py imported on every tick. matplotlib is not a dependency of the tracker: install it
# to measure the complete list.
OF_2016 = """
import json, os, git, requests, sys, shutil, subprocess, datetime, copy, csv, glob, threading, time
import numpy, scipy.interpolate, xdg.BaseDirectory
"""
PYPLOT = "import matplotlib; matplotlib.use('Agg'); import matplotlib.pyplot"


def cpu_s(command: list[str], environment: dict[str, str]) -> float:
    """Return the CPU seconds of a command and its children."""
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    has_pyplot = importlib.util.find_spec("matplotlib") is not None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        repository = Repository(directory / "tracked")
        repository.commit("root", {"bin/run-wer-automation.sh": JOB})
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": name,
            "ds_repo_url": f"file://{repository.path}",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        tick = [sys.executable, "-P", "-m", "deepspeech_wer"]
        subprocess.run(tick, env=environment, check=True, capture_output=True, cwd=name)
        mirror = str(directory / ".cache" / "deepspeech_wer" / "repository.git")
        floor = FLOOR.format(mirror=mirror, url=environment["ds_repo_url"])
        commands = {
            "python -c pass": [sys.executable, "-P", "-c", "pass"],
            "floor": [sys.executable, "-P", "-c", floor],
            "idle tick": tick,
            "busy tick": tick,
            "imports of 2016": [sys.executable, "-P", "-c", OF_2016 + (PYPLOT if has_pyplot else "")],
        }
        figures: dict[str, list[float]] = {key: [] for key in commands}
        for _ in range(rounds + 1):
            for key, command in commands.items():
                with held(environment, key == "busy tick"):
                    figures[key].append(cpu_s(command, environment))
        report({key: values[1:] for key, values in figures.items()})  # the first round warms up
        print("imports of 2016: all" if has_pyplot else "imports of 2016: all but matplotlib, which is not installed")


@contextlib.contextmanager
def held(environment: dict[str, str], is_held: bool) -> Iterator[None]:
    """Hold another tick's lock within the block, or not."""
    if not is_held:
        yield
        return
    code = """
from deepspeech_wer import xdg_directories
from deepspeech_wer.machine import lock
held = lock.acquire(f"{xdg_directories.cache_directory()}/lock")
print()
input()
"""
    holder = subprocess.Popen(
        [sys.executable, "-u", "-c", code], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    holder.stdout.readline()
    yield
    holder.communicate(b"\n")


def report(figures: dict[str, list[float]]) -> None:
    """Print the table."""
    cpu = {key: statistics.median(values) for key, values in figures.items()}
    print(f"{'':<18}{'CPU ms':>8}")
    for key, median in cpu.items():
        print(f"{key:<18}{1000 * median:>8.1f}")
    for one, other, wanted in (
        ("idle tick", "floor", "4"),
        ("busy tick", "python -c pass", "2"),
        ("idle tick", "imports of 2016", "0.125"),
    ):
        print(f"{one} / {other}: {cpu[one] / cpu[other]:.2f} (goal: at most {wanted})")


if __name__ == "__main__":
    main()
