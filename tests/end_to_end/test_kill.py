"""Killing ticks and supervisors at any moment loses no result and repeats no finished job.

The backlog has six merges with a scripted job. Each kill is SIGKILL, like the out-of-memory killer's. If only the tick
is killed, its job continues and is not started again. `python -m tests.end_to_end.test_kill 500` kills five hundred
times, in every way in turn, while the tick publishes to a real sshd, and prints where the kills hit.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from deepspeech_wer import dashboard, journal
from deepspeech_wer.jobs import work as works
from deepspeech_wer.machine import lock, processes
from deepspeech_wer.places import BEAT
from deepspeech_wer.publish.web_root_lock import LOCK
from tests.conftest import Repository
from tests.end_to_end.publishing import leftovers
from tests.end_to_end.sshd import Sshd, running_sshd
from tests.waiting import until

log = logging.getLogger(__name__)

SEED = 2016
OUTSIDE = "before or after a merge"
WAYS = ("tick", "supervisor", "both", "reboot", "collect")  # what is killed
PUBLISH = "publish"  # one way more, with a server: the tick while it publishes
SOON = ("supervisor", PUBLISH)
MERGES = 6
JOB = """#!/bin/bash
set -e
. ./wer
echo "$ds_wer_sha" >> "$HOME/starts"
for epoch in 1 2 3; do
    [ -e "$2/epoch$epoch" ] || { sleep 0.03; touch "$2/epoch$epoch"; }
done
sleep 1000 &
mkdir -p "$ds_logs_dir/x"
printf '{"context":{"time_started":"2026-01-01T00:00:00"},"parameters":{"n":1},"results":{"test_wer":%s}}' \\
    "$wer" > "$ds_logs_dir/x/.partial"
mv "$ds_logs_dir/x/.partial" "$ds_logs_dir/x/hyper.json"
"""
# Kills itself at the n-th entry of a phase, just before or just after that is recorded.
KILL_AT_PHASE = """
import os, signal, sys
from deepspeech_wer import cli, journal
phase, after = sys.argv[1], sys.argv[2] == "after"
write = journal.write
def killing(cache, entry):
    if entry.phase == phase and not after: os.kill(os.getpid(), signal.SIGKILL)
    write(cache, entry)
    if entry.phase == phase and after: os.kill(os.getpid(), signal.SIGKILL)
journal.write = killing
sys.exit(cli.main([]))
"""
# Kills itself right before the n-th rename: every important write ends with one.
KILL_AT_RENAME = """
import os, signal, sys
from pathlib import Path
from deepspeech_wer import cli
left = int(sys.argv[1])
def killing(method):
    def wrapped(self, target):
        global left
        left -= 1
        if left == 0: os.kill(os.getpid(), signal.SIGKILL)
        return method(self, target)
    return wrapped
Path.rename, Path.replace = killing(Path.rename), killing(Path.replace)
sys.exit(cli.main([]))
"""


class Machine:
    """A tracked repository with a backlog, its own home and, with a server, a web root."""

    def __init__(self, directory: Path, server: Sshd | None = None, merges: int = MERGES) -> None:
        self.directory, self.server, self.merges = directory, server, merges
        self.repository = Repository(directory / "tracked")
        self.repository.commit("root", {"bin/run-wer-automation.sh": JOB, "wer": "wer=0.9\n"})
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "XDG_CACHE_HOME": str(directory / "cache"),
            "ds_dataroot": str(directory / "data"),
            "ds_repo_url": str(self.repository.path),
            "ds_retrain": "off",
            "ds_clone_path": str(directory / "clone"),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "ds_publish_every": "1",
            "ds_heartbeat_every": "1",
            **(server.environment() if server else {}),
        }
        self.cache = directory / "cache" / "deepspeech_wer"
        self.data = directory / "data" / "deepspeech_wer"
        assert self.tick() == 0
        for number in range(merges):
            rate = f"0.{merges + 2 - number}"  # falling: a regression would have an exit code of its own
            self.repository.merge(f"merge {number}", {"wer": f"wer={rate}\n"})

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a tick, or a script that runs one."""
        command = [sys.executable, *(arguments or ("-P", "-m", "deepspeech_wer"))]
        log = (self.directory / "log").open("ab")
        with log:
            return subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def tick(self) -> int:
        """Run a complete tick and return its exit code."""
        return self.start().wait(timeout=600)

    def supervisors(self, tick: int = 0) -> list[int]:
        """Return the pids of the running supervisors."""
        holders = [lock.holder(str(work.lock)) for work in works.unfinished(self.data / "work")]
        return [holder[0] for holder in holders if holder and holder[0] != tick]

    def kill_during(self, seconds: float, way: str) -> str | None:
        """Start a tick and kill in one of WAYS after a while. Returns the phase; None if the tick was done already."""
        process = self.start()
        if way in SOON:  # what is killed is there for a moment only
            # Until the supervisor has started, its lock is signed by the tick.
            there = self.server.sessions if self.server and way == PUBLISH else lambda: self.supervisors(process.pid)
            until(lambda: bool(there()) or process.poll() is not None)
            seconds /= 8
        time.sleep(seconds)
        entry = journal.read(self.cache)
        supervisors = self.supervisors(process.pid)
        if way != "supervisor":
            process.kill()
        if way not in ("tick", "collect", PUBLISH):
            for pid in supervisors:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if way == "reboot":
            self.reboot()
        if way == "supervisor":
            return (entry.phase if entry else OUTSIDE) if process.wait(timeout=600) == 0 and supervisors else None
        if process.wait() != -signal.SIGKILL:
            return None
        if way == "collect":  # also kill the tick that collects what the first one left
            self.kill_during(seconds / 4, "tick")
        return entry.phase if entry else OUTSIDE

    def reboot(self) -> None:
        """Kill everything, and make the files on disk look as if they were from another boot."""
        deadline = time.monotonic() + 60
        while left := processes.with_environment(f"HOME={self.directory}"):
            assert time.monotonic() < deadline
            processes.end(left, grace_s=0)
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        for name in (
            "cache/deepspeech_wer/lock",
            "data/deepspeech_wer/work/*/lock",
            "data/deepspeech_wer/work/*/job.json",
        ):
            for file in self.directory.glob(name):
                file.write_text(file.read_text().replace(boot_id, "a-boot-before"))

    def log(self) -> str:
        """Return the end of the ticks' log."""
        return (self.directory / "log").read_text()[-10_000:]

    def starts(self) -> Counter[str]:
        """Return how often the job of each commit was started since the last call."""
        file = self.directory / "starts"
        found = Counter(file.read_text().split() if file.exists() else ())
        file.unlink(missing_ok=True)
        return found

    def check(self) -> None:
        """Check that after the next tick everything is done exactly once and nothing is left."""
        code = self.tick()
        assert code == 0, self.log()
        assert self.supervisors() == []
        runs = [json.loads((run / "run.json").read_text()) for run in sorted((self.data / "runs").glob("[0-9]*"))]
        history = self.repository.git("rev-list", "--reverse", "--first-parent", "main").split()
        assert sorted(run["merge"]["ordinal"] for run in runs) == list(range(1, self.merges + 2))
        assert {run["merge"]["sha"] for run in runs} == set(history)
        assert {run["status"] for run in runs} == {"done"}
        assert (self.cache / "last_sha1").read_text() == f"{history[-1]}\n"
        assert len(re.findall(r'"test_wer"', (self.data / "site" / "js" / "hyper.js").read_text())) == self.merges + 1
        assert not (self.directory / "clone").exists()
        assert not (self.cache / "tick.json").exists()
        names = {path.name for path in self.data.iterdir()} - {"id"}  # made for the first publish
        assert names == {"checkpoints", "lock", "log", "runs", "site", "tracker.json", "verdicts.json"}, names
        assert not list((self.data / "checkpoints").iterdir())
        assert not list(self.directory.rglob("*.partial"))
        assert processes.with_environment(f"HOME={self.directory}") == []
        if self.server:
            self.server.wait_for_sessions_to_end()
            site, root = self.data / "site", self.server.root
            # js/now.js is replaced between publishes
            wrong = [
                path for path in dashboard.site_names(site) if path != BEAT and not _same(site / path, root / path)
            ]
            assert wrong == [], (wrong, self.log())
            left = set(leftovers(self.server.root)) - {LOCK}  # a dead one, where only its removal was missing
            assert {path for path in left if not path.startswith(BEAT)} == set()  # the next publish removes these
            assert len(left) <= 2

    def check_page(self) -> None:
        """Check that a visitor has a whole page, whatever was killed."""
        if self.server and (index := self.server.root / "index.htm").exists():
            loaded = re.findall(r'(?:src|href)="((?:js|css)/[^"]+)"', index.read_text())
            assert loaded
            assert [path for path in loaded if not (self.server.root / path).exists()] == []


def _same(file: Path, other: Path) -> bool:
    return other.exists() and file.read_bytes() == other.read_bytes()


def reset(machine: Machine) -> None:
    """Remove all runs but the first, to restore the backlog."""
    root = machine.repository.git("rev-list", "--max-parents=0", "main")
    for run in (machine.data / "runs").glob("[0-9]*"):
        if root[:12] not in run.name:
            subprocess.run(["rm", "-r", str(run)], check=True)
    (machine.cache / "last_sha1").write_text(f"{root}\n")
    machine.starts()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    return Machine(tmp_path_factory.mktemp("machine"))


@pytest.fixture(scope="module")
def publishing_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield Machine(tmp_path_factory.mktemp("publishing_machine"), server, merges=3)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("phase", journal.PHASES)
def test_killed_at_a_phase(machine: Machine, phase: str, when: str) -> None:
    reset(machine)
    assert machine.start("-c", KILL_AT_PHASE, phase, when).wait(timeout=300) == -signal.SIGKILL
    machine.check()
    assert set(machine.starts().values()) == {1}


@pytest.mark.parametrize("number", range(1, 21))
def test_killed_at_a_rename(machine: Machine, number: int) -> None:
    reset(machine)
    assert machine.start("-c", KILL_AT_RENAME, str(number)).wait(timeout=300) in (-signal.SIGKILL, 0)
    machine.check()
    assert set(machine.starts().values()) == {1}


def test_a_tick_waits_for_the_job_of_a_killed_one(machine: Machine) -> None:
    reset(machine)
    hold = machine.directory / "hold"
    hold.touch()
    machine.repository.merge("slow", {"wer": f"while [ -e {hold} ]; do sleep 0.02; done; wer=0.7\n"})
    machine.environment["ds_backlog"] = "newest"
    try:
        process = machine.start()
        # Not before: until the supervisor has started, the lock is signed by the tick itself.
        until(lambda: any(works.read_job(work) for work in works.unfinished(machine.data / "work")))
        process.kill()
        process.wait()
        (machine.directory / "log").write_text("")
        second = machine.start()
        until(lambda: "waiting for the job" in (machine.directory / "log").read_text())
        assert machine.supervisors()
        hold.unlink()
        assert second.wait(timeout=300) == 0
        assert (machine.directory / "log").read_text().count("waiting for the job") == 1
        assert set(machine.starts().values()) == {1}
    finally:
        del machine.environment["ds_backlog"]
        machine.repository.git("reset", "--quiet", "--hard", "HEAD~1")
        for run in (machine.data / "runs").glob("[0-9]*"):
            if json.loads((run / "run.json").read_text())["merge"]["subject"] == "slow":
                subprocess.run(["rm", "-r", str(run)], check=True)


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_random_moments(machine: Machine, way: str) -> None:
    assert kill_at_random(machine, times=4, seed=SEED, ways=(way,)).total() == 4


def test_killed_while_it_publishes(publishing_machine: Machine) -> None:
    assert kill_at_random(publishing_machine, times=4, seed=SEED, ways=(PUBLISH,)).total() == 4


def kill_at_random(machine: Machine, *, times: int, seed: int, ways: Sequence[str] = WAYS) -> Counter[str]:
    """Repeat: kill at a random moment, run a complete tick, check everything. Returns the number of kills per phase."""
    moments = random.Random(seed)
    hit = Counter[str]()
    while hit.total() < times:
        reset(machine)
        way = ways[hit.total() % len(ways)]
        phase = machine.kill_during(moments.uniform(0.02, 4), way)
        machine.check_page()
        machine.check()
        if way in ("tick", "collect", PUBLISH):
            assert set(machine.starts().values()) <= {1}
        if phase:
            hit[f"{way} in {phase}"] += 1
            log.info("%d of %d: %s killed in %s; the next tick left all in order", hit.total(), times, way, phase)
    return hit


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_tick_that_gets_a_signal_ends_its_job_and_logs_it(machine: Machine, number: signal.Signals) -> None:
    reset(machine)
    process = machine.start()
    until(lambda: (entry := journal.read(machine.cache)) and entry.phase == "job")
    process.send_signal(number)
    assert process.wait(timeout=300) == 128 + number
    assert processes.with_environment(f"HOME={machine.directory}") == []
    assert not (machine.directory / "clone").exists()
    machine.check()


def main() -> None:
    """Kill, and print where the kills hit."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    times = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else SEED
    with tempfile.TemporaryDirectory() as directory, running_sshd(Path(directory, "sshd")) as server:
        machine = Machine(Path(directory, "machine"), server, merges=3)
        hit = kill_at_random(machine, times=times, seed=seed, ways=(*WAYS, PUBLISH))
    where = ", ".join(f"{count} {what}" for what, count in sorted(hit.items()))
    print(f"{times} kills, seed {seed}: {where}. No result was lost or repeated, and nothing was left behind.")


if __name__ == "__main__":
    main()
