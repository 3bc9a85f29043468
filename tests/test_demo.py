"""The demo: once with its own training at a tiny size, and repeated, killed and resumed with a scripted job."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepspeech_wer import archive
from deepspeech_wer.dashboard.preview import preview
from deepspeech_wer.demo import cycle, sample
from deepspeech_wer.demo.place import Place
from tests.waiting import until

JOB = """#!/bin/sh
set -e
. ./parameters.sh
if grep -q relu_limit deepspeech_wer/training/network/model.py; then echo "no relu_limit" >&2; exit 1; fi
sleep "${pause:-0}"
mkdir -p "$ds_logs_dir/x"
printf '{"context":{"time_started":"2026-01-01T00:00:00.000%03d","git_hash":"%s"},"parameters":{"n":1},"results":{
"test_wer":%s%04d,"last_validation_wer":0.4,"last_train_wer":0.3}}' "$$" "$ds_wer_sha" \
    "${ds_dropout_rate:-$ds_learning_rate}" $((${ds_random_seed:-0} % 8999)) > "$ds_logs_dir/x/hyper.json"
"""

# `python -m deepspeech_wer demo` with a scripted job instead of the training.
SCRIPTED = """
import sys
from deepspeech_wer import cli
from deepspeech_wer.demo import sample
from tests.test_demo import scripted
sample.sources = lambda: scripted(sys.argv[1])
sys.exit(cli.main(["demo", *sys.argv[2:]]))
"""
WERS = [0.001, 0.004, 0.004, "exit 1", 0.004, 0.3, 0.004]
STORY = ["too few runs", "too few runs", "unchanged", "failed", "unchanged", "worse", "recovered"]


def scripted(pause: str = "0") -> dict[str, str]:
    """Return a repository whose job takes `pause` seconds and trains nothing."""
    return {"bin/run-wer-automation.sh": f"#!/bin/sh\npause={pause}\n{JOB}", sample.MODEL: "parameters.relu_clip\n"}


@dataclass(frozen=True)
class Demo:
    """A demo in a temporary directory, started like the command."""

    place: Place

    def start(self, *arguments: str, pause: str = "0") -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPTED, pause, "--directory", str(self.place.root), *arguments],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, pause: str = "0") -> str:
        """Run the demo to its end and return its output."""
        with self.start("--no-serve", pause=pause) as process, contextlib.ExitStack() as stack:
            stack.callback(process.kill)  # if it hangs
            out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err
        return out

    def wers(self) -> list[float | str | None]:
        runs = [run for run in archive.in_order(archive.load(self.place.data / "runs")) if run.rerun_of is None]
        return [run.hyper["results"]["test_wer"] if run.hyper else run.failure for run in runs]

    def seeds(self) -> int:
        """Return how many re-trainings there are. Each has a seed of its own."""
        seeds = [run.seed for run in archive.load(self.place.data / "runs") if run.rerun_of]
        assert len({*seeds}) == len(seeds)
        return len(seeds)

    def state(self) -> dict[Path, int]:
        """Return the modification times of the files that a call with nothing to do must not change."""
        roots = (self.place.web, self.place.data, self.place.sample)
        found = (path for root in roots for path in root.rglob("*") if path.name != "lock")  # of the data root
        return {path: path.stat().st_mtime_ns for path in found}


@pytest.fixture
def fast(tmp_path: Path) -> Demo:
    return Demo(Place(tmp_path / "a demo"))


def test_every_merge_is_trained_and_published_once(fast: Demo, sealed: Path) -> None:
    said = fast.finish()
    assert fast.wers() == WERS
    assert fast.seeds() > 1
    assert f"trained {len(WERS) + fast.seeds()} times" in said
    assert re.findall(r"^    [0-9a-f]{12}  +\S+(?: %)?  (.{14})  ", said, re.MULTILINE) == [
        f"{state:<14}" for state in STORY
    ]
    assert re.search(r"30\.0 %  worse           Drop out 30 % of each layer", said)
    assert "(no relu_limit)" in said
    web, site = fast.place.web, fast.place.data / "site"
    assert (web / "js" / "hyper.js").read_bytes() == (site / "js" / "hyper.js").read_bytes()
    assert (web / "index.htm").exists()
    assert {path.stat().st_mode & 0o777 for path in fast.place.keys.glob("*_key")} == {0o600}
    assert list(sealed.iterdir()) == []  # nothing was written to the home

    before = fast.state()
    assert "nothing new" in fast.finish()
    assert fast.state() == before


def test_a_merge_made_by_the_user_runs_too(fast: Demo) -> None:
    fast.finish()

    def git(*arguments: str) -> None:
        who = ("-c", "user.name=Me", "-c", "user.email=me@example.com")
        subprocess.run(["git", *who, "-C", fast.place.sample, *arguments], check=True, capture_output=True)

    git("checkout", "-b", "mine")
    with (fast.place.sample / "parameters.sh").open("a") as stream:
        stream.write("export ds_dropout_rate=0.1\n")
    git("commit", "--all", "--message", "mine")
    git("checkout", "main")
    git("merge", "--no-ff", "--message", "My idea", "mine")
    assert re.search(r"^==> trained \d+ times?$", fast.finish(), re.MULTILINE)
    assert fast.wers() == [*WERS, 0.1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_demo_is_resumed(fast: Demo, number: signal.Signals) -> None:
    for wait_s in (0.5, 1.0, 2.0):
        with fast.start("--no-serve", pause="0.3") as process:
            time.sleep(wait_s)
            process.send_signal(number)
    said = fast.finish(pause="0.3")
    assert fast.wers() == WERS
    assert "  worse           Drop out" in said, said
    assert fast.seeds() > 1


def test_the_page_is_served_until_interrupted(fast: Demo) -> None:
    fast.finish()
    with contextlib.ExitStack() as stack:
        taken = stack.enter_context(preview(str(fast.place.root), 0))
        process = stack.enter_context(fast.start("--port", str(taken.server_port)))
        stack.callback(process.kill)
        said, address = _address(process)
        assert f"port {taken.server_port} is in use" in said
        with urllib.request.urlopen(address) as answer:  # noqa: S310 - it is http
            page = answer.read()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert page == (fast.place.web / "index.htm").read_bytes()


def test_a_second_demo_in_the_same_directory_names_the_first(fast: Demo) -> None:
    first = fast.start("--no-serve", pause="5")
    try:
        until((fast.place.cache / "tick.json").exists)
        second = fast.start("--no-serve")
        _, err = second.communicate(timeout=60)
        assert second.returncode == 1
        assert f"another demo is running there (process {first.pid})" in err
    finally:
        first.terminate()
        first.communicate(timeout=60)
    assert first.returncode == 128 + signal.SIGTERM


def test_the_sample_holds_its_own_training(
    fast: Demo, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run the real training on a few utterances. The second merge breaks the code of the network."""
    tiny = {"ds_synthetic_train": "16", "ds_synthetic_dev": "2", "ds_synthetic_test": "4", "ds_epochs": "1"}
    monkeypatch.setattr(sample, "RECIPE", {**sample.RECIPE, **tiny, "ds_n_hidden": "8"})
    baseline, second, *_ = sample.DAYS
    broken = next(step for step in second.steps if step.renamed)
    monkeypatch.setattr(sample, "DAYS", (baseline, sample.Day((broken,), "it breaks")))
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # keep pytest's handlers
    assert cycle.run(str(fast.place.root), port=0, serve=False) == 0
    assert "has no attribute 'relu_limit'" in capsys.readouterr().out
    trained, failed = fast.wers()
    assert isinstance(trained, float)
    assert failed == "exit 1"


def _address(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return (the output of a demo, the address of its page)."""
    assert process.stdout
    said = ""
    for line in process.stdout:
        said += line
        if match := re.search(r"(http://\S+)", line):
            return said, match[1]
    raise AssertionError(said)
