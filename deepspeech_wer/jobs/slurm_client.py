"""Asks Slurm through its own commands: sbatch, squeue, sacct, scancel. Knows nothing of work directories.

Not through PSI/J (psij-python 0.9.11), which docs/scaling.md explains.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from deepspeech_wer.configuration import environment
from deepspeech_wer.errors import Trouble

TIMEOUT_S = 90  # a client itself gives up on slurmctld after some ten seconds, and tries another one
_FIELDS = (
    "JobID",
    "Name",
    "State",
    "RestartCnt",
    "SubmitTime",
    "StartTime",
    "EndTime",
    "TimeLimit",
    "NodeList",
    "Reason",
)
_SACCT_FIELDS = ("JobIDRaw", "JobName", "State", "Submit", "Start", "End", "Timelimit", "NodeList", "ExitCode")
_OVER = {  # squeue(1), JOB STATE CODES; whatever is not listed here goes on, or begins once more
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
}


class CannotAskSlurm(Trouble):
    """Slurm does not answer. That says nothing of any job."""


class Seen(NamedTuple):
    """What Slurm says of a job."""

    id: str
    name: str
    state: str  # in words of squeue: PENDING, RUNNING, TIMEOUT, ...
    submitted: str  # ISO 8601 in UTC, without a zone, as all times here; a requeued job gets a new one
    started: str = ""  # "" if it has not
    ended: str = ""  # the expected end while it runs
    limit_s: float | None = None
    node: str = ""
    reason: str = ""  # why it waits, or how it ended
    restarts: int = 0

    @property
    def is_over(self) -> bool:
        """Whether it has ended for good: a job that was requeued has not."""
        return self.state in _OVER

    @property
    def is_waiting(self) -> bool:
        """Whether it has not started, or has to start again."""
        return self.state in ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "CONFIGURING")


def jobs() -> list[Seen]:
    """Return every job of this user that slurmctld remembers, ended ones included. Raises CannotAskSlurm."""
    columns = ",".join(f"{name}:|" for name in _FIELDS)
    said = _ask("squeue", "--noheader", "--states=all", "--me", f"--Format={columns}")
    return [_seen(line) for line in said.splitlines() if line.count("|") >= len(_FIELDS)]


def recorded(job: str) -> list[Seen]:
    """Return the jobs that had an id, from the accounting, which not every Slurm has. Newest last."""
    command = ("sacct", "--jobs", job, "--noheader", "--parsable2", "--allocations", "--duplicates")
    try:
        said = _ask(*command, f"--format={','.join(_SACCT_FIELDS)}")
    except CannotAskSlurm:
        return []
    rows = (dict(zip(_SACCT_FIELDS, line.split("|"), strict=False)) for line in said.splitlines())
    return [
        Seen(
            id=row["JobIDRaw"],
            name=row["JobName"],
            state=row["State"].split()[0],  # "CANCELLED by 1000"
            submitted=_time(row["Submit"]),
            started=_time(row["Start"]),
            ended=_time(row["End"]),
            limit_s=_seconds(row["Timelimit"]),
            node=row["NodeList"],
            reason=row["State"] if " by " in row["State"] else f"exit {row['ExitCode']}",
        )
        for row in rows
        if len(row) == len(_SACCT_FIELDS) and row["State"]
    ]


def submit(options: Sequence[str], script: str, variables: Mapping[str, str]) -> str:
    """Submit a batch script and return the job's id. Raises CannotAskSlurm, or Trouble if Slurm refuses it.

    After CannotAskSlurm it may have been submitted all the same.
    """
    said = _ask("sbatch", "--parsable", *options, variables=variables, given=script)
    job = said.strip().splitlines()[-1].partition(";")[0] if said.strip() else ""
    if not job.isdecimal():
        raise CannotAskSlurm(f"cannot ask Slurm: sbatch: expected the id of a job, found {said.strip()[:200]!r}")
    return job


def cancel(job: str, *options: str) -> None:
    """Cancel a job, or signal it. A job that is over is no error. Raises CannotAskSlurm."""
    _ask("scancel", "--quiet", *options, job)


def _ask(*command: str, variables: Mapping[str, str] | None = None, given: str = "") -> str:
    name = command[0]
    path = shutil.which(name)
    if path is None:
        raise Trouble(f"cannot ask Slurm: {name}: not found: install Slurm's clients here, or set ds_runner=local")
    kept = environment.job_environment() if variables is None else variables
    its = {
        key: value for key, value in kept.items() if not key.startswith(("SBATCH_", "SQUEUE_", "SACCT_", "SCANCEL_"))
    }
    if name != "sbatch":  # which gives its environment to the job
        its |= {"TZ": "UTC0", "SLURM_TIME_FORMAT": "standard"}
    try:
        done = subprocess.run(
            [path, *command[1:]], env=its, input=given, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise CannotAskSlurm(f"cannot ask Slurm: {name} does not end: is slurmctld at work? Jobs go on") from None
    except OSError as error:
        raise CannotAskSlurm(f"cannot ask Slurm: {name}: {error.strerror}") from None
    if done.returncode == 0 or (name == "scancel" and not done.stderr.strip()):  # there was no such job any more
        return done.stdout
    said = " ".join((done.stderr or done.stdout).split())[-300:]
    if name == "sbatch" and "Batch job submission failed" in said and not _is_of_contact(said):
        raise Trouble(f"Slurm refuses the job: {said}: correct ds_slurm_*")
    raise CannotAskSlurm(f"cannot ask Slurm: {said or f'{name} ended with {done.returncode}'}; jobs go on")


def _is_of_contact(said: str) -> bool:
    words = (
        "Unable to contact",
        "timed out",
        "Zero Bytes",
        "Connection",
        "Communication",
        "Protocol auth",
        "credential",
    )
    return any(word in said for word in words)


def _seen(line: str) -> Seen:
    row = dict(zip(_FIELDS, line.split("|"), strict=False))
    return Seen(
        id=row["JobID"],
        name=row["Name"],
        state=row["State"],
        submitted=_time(row["SubmitTime"]),
        started=_time(row["StartTime"]),
        ended=_time(row["EndTime"]),
        limit_s=_seconds(row["TimeLimit"]),
        node=row["NodeList"],
        reason="" if row["Reason"] == "None" else row["Reason"],
        restarts=int(row["RestartCnt"]) if row["RestartCnt"].isdecimal() else 0,
    )


def _time(text: str) -> str:
    return text if text[:1].isdecimal() else ""


def _seconds(text: str) -> float | None:
    """Read D-HH:MM:SS, HH:MM:SS or MM:SS; None for UNLIMITED and the like."""
    days, _, clock = text.rpartition("-")
    parts = clock.split(":")
    if not all(part.isdecimal() for part in parts) or (days and not days.isdecimal()):
        return None
    total = 0
    for part in parts:
        total = total * 60 + int(part)
    return float(total + 86400 * int(days or 0))
