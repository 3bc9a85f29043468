"""A real Slurm on loopback, as ordinary processes: munged, slurmctld and two slurmd.

    with running_slurm(directory) as cluster: ...

Everything lies below one directory, with ports and a key of its own, so that a Slurm of this machine is never touched.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.waiting import until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
NODES = ("n1", "n2")
CPUS = 2  # of each node, whatever this machine has
START_S = 60
END_S = 20
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@dataclass
class Cluster:
    """A running Slurm. `environment` is what its clients need."""

    directory: Path
    name: str
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.directory / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.config)}

    def run(self, *command: str, check: bool = True) -> str:
        """Run a client of this Slurm and return its output."""
        variables = {"PATH": _PATH, "TZ": "UTC0", **self.environment}
        done = subprocess.run(
            command, env=variables, cwd=self.directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def jobs(self) -> dict[str, tuple[str, str]]:
        """Return (state, node) of every job that it remembers, by id."""
        lines = self.run("squeue", "--noheader", "--states=all", "--format=%i|%T|%N").splitlines()
        return {number: (state, node) for number, state, node in (line.split("|") for line in lines)}

    def start(self, name: str) -> None:
        """Start a daemon: slurmctld, or slurmd on one of NODES."""
        command = (
            ["slurmd", "-D", "-N", name, "-f", str(self.config)]
            if name in NODES
            else [name, "-D", "-f", str(self.config)]
        )
        self.daemons[name] = self._spawn(command, name)

    def kill(self, name: str) -> None:
        """Kill a daemon with SIGKILL. What a slurmd started for its jobs lives on."""
        self.daemons[name].kill()
        self.daemons.pop(name).wait(timeout=END_S)

    def wait_until_ready(self) -> None:
        """Wait until the nodes take jobs."""

        def are_idle() -> bool:
            for name, daemon in self.daemons.items():
                assert daemon.poll() is None, f"{name} ended: {self.log(name)}"
            states = self.run("sinfo", "--noheader", "--Node", "--format=%N %t", check=False).split("\n")
            return {line.split()[1] for line in states if line} <= {"idle", "mix", "alloc"} and any(states)

        until(are_idle, START_S)

    def log(self, name: str) -> str:
        """The end of a daemon's log."""
        with contextlib.suppress(OSError):
            return (self.directory / f"{name}.log").read_text("utf-8", "replace")[-2000:]
        return ""

    def end(self) -> None:
        """End every job and daemon, by its id."""
        with contextlib.suppress(AssertionError, subprocess.TimeoutExpired):
            if "slurmctld" in self.daemons:
                self.run("scancel", f"--user={getpass.getuser()}", check=False)
                self.run("scancel", "--signal=KILL", "--full", f"--user={getpass.getuser()}", check=False)
        for name in (*NODES, "slurmctld", "munged"):
            daemon = self.daemons.pop(name, None)
            if daemon:
                daemon.terminate()
                try:
                    daemon.wait(timeout=END_S)
                except subprocess.TimeoutExpired:
                    daemon.kill()
                    daemon.wait(timeout=END_S)
        self._end_what_is_left()

    def _end_what_is_left(self) -> None:
        """End the steps of jobs whose slurmd was killed: their environment names this cluster's configuration."""
        wanted = f"SLURM_CONF={self.config}".encode()
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                pid = int(place.name)
                if pid != os.getpid() and wanted in (place / "environ").read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)

    def _spawn(self, command: list[str], name: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as said:
            variables = {"PATH": _PATH, "TZ": "UTC0", **self.environment}
            return subprocess.Popen(
                command,
                env=variables,
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )


@contextlib.contextmanager
def running_slurm(
    settings: Mapping[str, str] | None = None,
    *,
    cpus: int = CPUS,
    memory_mb: int = 1,
    cgroup: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Run a Slurm until the block ends. If it is not installed, skip the test.

    `settings` are lines of slurm.conf that differ from those below, `cgroup` those of cgroup.conf. Each node has so
    many processors and so much memory, in name.
    """
    _require()
    directory = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))  # a socket's path has 107 bytes at most
    cluster = Cluster(directory, f"ds{secrets.token_hex(4)}")
    _configure(cluster, settings or {}, f"CPUs={cpus} RealMemory={memory_mb}")
    (directory / "cgroup.conf").write_text("".join(f"{name}={value}\n" for name, value in (cgroup or {}).items()))
    try:
        _start_munged(cluster)
        for name in ("slurmctld", *NODES):
            cluster.start(name)
        until(lambda: cluster.name in cluster.run("scontrol", "show", "config", check=False), START_S)
        cluster.wait_until_ready()
        yield cluster
    finally:
        cluster.end()
        shutil.rmtree(directory, ignore_errors=True)


def _require() -> None:
    missing = [program for program in PROGRAMS if shutil.which(program, path=_PATH) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)}: not installed: apt-get install slurm-wlm munge")


def _configure(cluster: Cluster, settings: Mapping[str, str], size: str) -> None:
    where, user, machine = cluster.directory, getpass.getuser(), socket.gethostname().split(".")[0]
    for name in ("state", *NODES):
        (where / name).mkdir()
    values = {
        "ClusterName": cluster.name,
        "SlurmctldHost": f"{machine}(127.0.0.1)",
        "SlurmctldPort": str(_free_port()),
        "SlurmUser": user,
        "SlurmdUser": user,
        "AuthType": "auth/munge",
        "AuthInfo": f"socket={where}/munge.socket",
        "CredType": "cred/munge",
        "StateSaveLocation": f"{where}/state",
        "SlurmdSpoolDir": f"{where}/%n",
        "SlurmctldPidFile": f"{where}/slurmctld.pid",
        "SlurmdPidFile": f"{where}/%n.pid",
        "SwitchType": "switch/none",
        "MpiDefault": "none",
        "ProctrackType": "proctrack/linuxproc",
        "TaskPlugin": "task/none",
        "JobAcctGatherType": "jobacct_gather/none",
        "AccountingStorageType": "accounting_storage/none",
        "SelectType": "select/cons_tres",
        "SelectTypeParameters": "CR_Core",
        "SlurmdParameters": "config_overrides",
        "SchedulerParameters": "sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1",
        "ReturnToService": "2",
        "PreemptType": "preempt/partition_prio",
        "PreemptMode": "REQUEUE",
        "KillWait": "5",
        "UnkillableStepTimeout": "900",  # before a node whose processes end slowly takes no more jobs
        "MinJobAge": "300",
        "SlurmdTimeout": "30",
        "MessageTimeout": "5",
        "JobRequeue": "1",
        "SlurmctldDebug": "info",
        **settings,
    }
    at = f"NodeHostname={machine} NodeAddr=127.0.0.1"
    nodes = [f"NodeName={name} {at} Port={_free_port()} {size}" for name in NODES]
    partitions = [
        f"PartitionName=work Nodes={','.join(NODES)} Default=YES MaxTime=INFINITE PriorityTier=1",
        f"PartitionName=short Nodes={','.join(NODES)} MaxTime=INFINITE PriorityTier=1 PreemptMode=CANCEL",
        f"PartitionName=urgent Nodes={','.join(NODES)} MaxTime=INFINITE PriorityTier=10 PreemptMode=OFF",
    ]
    lines = [*(f"{name}={value}" for name, value in values.items()), *nodes, *partitions]
    cluster.config.write_text("\n".join(lines) + "\n")


def _start_munged(cluster: Cluster) -> None:
    where = cluster.directory
    key = where / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    files = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "file.log", "seed-file": "seed"}
    options = [f"--{option}={where}/munge.{suffix}" for option, suffix in files.items()]
    cluster.daemons["munged"] = cluster._spawn(["munged", "--foreground", "--force", *options], "munged")
    until((where / "munge.socket").exists, START_S)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
