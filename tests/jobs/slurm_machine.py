"""A tracked repository whose merges train on a real Slurm, and its own home. A job waits as long as it is held."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from deepspeech_wer import archive
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Work
from deepspeech_wer.records import Run
from tests.conftest import Repository
from tests.jobs.slurm_cluster import Cluster
from tests.waiting import until

WAIT_S = 120
JOB = """#!/bin/bash
set -e
. ./merge
echo "$name $SLURM_JOB_ID ${SLURM_RESTART_COUNT:-0} $SLURMD_NODENAME $$" >> "$HOME/starts"
exec 9> "$HOME/lock-$name"
flock --nonblock 9 || echo "$name" >> "$HOME/overlaps"
touch "$2/checkpoint"
while [ -e "$HOME/hold-$name" ]; do sleep 0.1 9>&-; done
sleep "${nap:-0}" 9>&-
[ ! -e "$HOME/fail-$name" ] || exit 3
mkdir -p "$ds_logs_dir/x"
printf '{"context":{"time_started":"2026-01-01T00:00:00"},"parameters":{"n":1},"results":{"test_wer":%s}}' \\
    "$wer" > "$ds_logs_dir/x/.partial"
mv "$ds_logs_dir/x/.partial" "$ds_logs_dir/x/hyper.json"
"""


class Machine:
    """The machine where ticks run. The nodes of the cluster see all of its files."""

    def __init__(self, directory: Path, cluster: Cluster, **variables: str) -> None:
        self.directory, self.cluster = directory, cluster
        directory.mkdir(parents=True, exist_ok=True)
        self.repository = Repository(directory / "tracked")
        root = self.repository.commit("root", {"bin/run-wer-automation.sh": JOB, "merge": "name=root wer=0.9\n"})
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "ds_dataroot": str(directory / "data"),
            "ds_repo_url": str(self.repository.path),
            "ds_retrain": "off",
            "ds_clone_path": str(directory / "clone"),
            "ds_job_grace": "2",
            "ds_runner": "slurm",
            "ds_parallel_runs": "4",
            "PYTHONPATH": str(Path(__file__).parents[2]),
            **cluster.environment,
            **variables,
        }
        self.cache = directory / "cache" / "deepspeech_wer"
        self.data = directory / "data" / "deepspeech_wer"
        self.cache.mkdir(parents=True)
        (self.cache / "last_sha1").write_text(root)
        self.ticks: list[subprocess.Popen[bytes]] = []

    def merge(self, *names: str, held: bool = True, nap_s: float = 0) -> list[str]:
        """Merge branches, whose jobs wait until they are let go, and then so long. Returns their SHAs."""
        shas = []
        for name in names:
            if held:
                self.hold(name)
            shas.append(self.repository.merge(name, {"merge": f"name={name} wer=0.5 nap={nap_s}\n"}))
        return shas

    def hold(self, name: str) -> None:
        (self.directory / f"hold-{name}").touch()

    def let_go(self, *names: str) -> None:
        for name in names:
            (self.directory / f"hold-{name}").unlink()

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a tick, or another command or script."""
        command = [sys.executable, *(arguments or ("-P", "-m", "deepspeech_wer"))]
        with (self.directory / "log").open("ab") as log:
            process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
        self.ticks.append(process)
        return process

    def tick(self) -> int:
        """Run a complete tick and return its exit code."""
        return self.start().wait(timeout=WAIT_S)

    def command(self, *words: str) -> str:
        """Run a command by hand and return what it says."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "deepspeech_wer", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        return done.stdout + done.stderr

    def status(self) -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = json.loads(self.command("status", "--json"))
        return found

    def end(self) -> None:
        """Kill the ticks that are left, and cancel the jobs."""
        for process in self.ticks:
            if process.poll() is None:
                process.kill()
                process.wait(timeout=WAIT_S)
        for path in self.directory.glob("hold-*"):
            path.unlink()
        self.cluster.run("scancel", "--user", str(os.getuid()), check=False)
        until(lambda: not self.cluster.run("squeue", "--noheader", check=False), WAIT_S)
        self.resume()

    def resume(self) -> None:
        """Have nodes take jobs again that Slurm drained, since a job was killed too slowly."""
        states = self.cluster.run("sinfo", "--noheader", "--format=%T", check=False)
        if "drain" in states or "down" in states:
            self.cluster.run("scontrol", "update", "NodeName=n1,n2", "State=RESUME", check=False)

    def starts(self) -> Counter[str]:
        """How often each merge's job was started."""
        return Counter(line.split()[0] for line in self._lines("starts"))

    def started(self, name: str, times: int = 1) -> list[str]:
        """Wait until a merge's job was started so often. Returns [job's id, starts before, node, pid] of the last."""
        try:
            until(lambda: self.starts()[name] >= times, WAIT_S)
        except AssertionError as error:
            queue, nodes = (
                self.cluster.run(*words, check=False) for words in (("squeue",), ("scontrol", "show", "nodes"))
            )
            raise AssertionError(f"{name}: {error}\n{queue}\n{nodes}\n{self.log()}") from error
        return [line.split()[1:] for line in self._lines("starts") if line.split()[0] == name][-1]

    def overlaps(self) -> list[str]:
        """The merges of which two jobs ran at one time."""
        return self._lines("overlaps")

    def runs(self) -> list[Run]:
        """The archived runs that show themselves, in the order of history."""
        return archive.in_order(archive.load(self.data / "runs"))

    def held(self) -> list[str]:
        """The archived runs that wait for earlier merges, by their subjects."""
        return sorted(run.merge.subject for run in archive.load(self.data / "runs" / ".held"))

    def ended(self) -> list[tuple[str, str]]:
        """(subject, class or status) of each archived run that shows itself, in the order of history."""
        return [(run.merge.subject, run.failure or run.status) for run in self.runs()]

    def works(self) -> list[Work]:
        return works.unfinished(self.data / "work")

    def log(self) -> str:
        return (self.directory / "log").read_text("utf-8", "replace")

    def last_sha1(self) -> str:
        return (self.cache / "last_sha1").read_text().strip()

    def supervisor(self, job: str, wait_s: float = WAIT_S) -> int:
        """The pid of the supervisor of one of Slurm's jobs."""
        wanted = [b"supervise", job.encode()]

        def find() -> int | None:
            for place in Path("/proc").glob("[0-9]*"):
                try:
                    words = (place / "cmdline").read_bytes().split(b"\0")
                except OSError:
                    continue
                if all(word in words for word in wanted):
                    return int(place.name)
            return None

        return until(find, wait_s) or 0

    def _lines(self, name: str) -> list[str]:
        path = self.directory / name
        return path.read_text().splitlines() if path.exists() else []


def end_by(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
    """End a tick with a signal and return its exit code."""
    process.send_signal(number)
    return process.wait(timeout=WAIT_S)
