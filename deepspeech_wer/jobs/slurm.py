"""Runs jobs on the nodes of a Slurm cluster: one batch job per supervisor, `deepspeech-wer supervise WORK JOB START`.

ticket.json in a work directory names its job. It is written before the job is submitted and completed afterwards, so
that a job is found again if the tick was killed in between: by its name, then by name, id and time of submission, since
Slurm uses ids again. What must be shared between this machine and the nodes is in docs/scaling.md.
"""

from __future__ import annotations

import logging
import re
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import clock, files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import claim, slurm_client
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE, Verdict
from deepspeech_wer.jobs.runner import Whereabouts
from deepspeech_wer.jobs.slurm_client import CannotAskSlurm, Seen
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import lock, signals
from deepspeech_wer.records import Outcome

NAME = "deepspeech_wer"  # what the names of its jobs begin with
_FRESH_S = 0.9  # what Slurm said so long ago is taken for the present
_LIMIT_SLACK_S = 100.0  # Slurm sends a signal up to a minute early (sbatch(1), --signal)
_CLEAR_S = 20.0  # for a supervisor that was given up, but still runs, to end its job
_SHOWS_S = 75.0  # nfs(5): acdirmax is 60 s
_KILLED = ("signal 9", "exit 137")  # what a supervisor sees of a job that was killed for its memory

log = logging.getLogger(__name__)


class Ticket(NamedTuple):
    """Which of Slurm's jobs belongs to a work directory."""

    name: str
    asked_at: str  # ISO 8601, UTC
    job: str | None = None  # its id; None: the tick was killed before it knew
    submitted: str = ""  # Slurm's time of submission; "": unknown


class Slurm:
    """The runner for a Slurm cluster. `options` are those of sbatch."""

    def __init__(self, options: Sequence[str] = ()) -> None:
        self._options = tuple(options)
        self._jobs: list[Seen] = []
        self._asked = -1000.0  # monotonic
        self._told: dict[Work, str] = {}
        self._over: dict[Work, float] = {}

    def submit(self, work: Work, environment: Mapping[str, str]) -> None:
        """See Runner."""
        order = works.read_order(work)
        grace_s = order.grace_s if order else 60.0
        ticket = Ticket(f"{NAME}-{work.run}", clock.utc_now())
        try:
            works.write(work.ticket, ticket._asdict())
            job = slurm_client.submit(self._sbatch(work, ticket, grace_s), _script(work), environment)
            self._asked = -1000.0
            works.write(work.ticket, ticket._replace(job=job)._asdict())
        except OSError as error:
            raise Trouble(f"cannot write below {work.path}: {error.strerror}") from None
        with suppress(CannotAskSlurm):  # the name and the id have to do
            self._find(work)

    def is_alive(self, work: Work) -> bool:
        """See Runner. Raises CannotAskSlurm.

        A job whose outcome is final is over, also if Slurm has not heard of it and wants to run it again.
        """
        if outcomes.is_final(outcomes.read(work)):
            return False
        seen = self._find(work)
        if seen is None or seen.is_over:
            return seen is not None and self._is_coming(work, seen)
        if _is_stuck(seen):
            return False
        if seen.is_waiting and seen.reason not in ("", "Priority", "Resources", self._told.get(work)):
            self._told[work] = seen.reason
            log.info("%s: Slurm's job %s waits: %s", work.run, seen.id, seen.reason)
        return True

    def wait(self, work: Work, seconds: float) -> None:  # noqa: ARG002 - the interface
        """See Runner."""
        signals.wait(max(seconds, 1.0))

    def ask_to_end(self, work: Work) -> None:
        """See Runner. A job that waits is cancelled; one that runs gets SIGTERM, in its supervisor alone."""
        seen = self._find(work)
        if seen is None or seen.is_over:
            return
        if seen.is_waiting:
            slurm_client.cancel(seen.id, "--state=PENDING")
        slurm_client.cancel(seen.id, "--batch", "--signal=TERM")
        self._asked = -1000.0

    def clear(self, work: Work, order: Order | None) -> list[int]:
        """See Runner. Slurm ends what a job leaves on its node. No process may start this run any more."""
        try:
            claim.give_up(work)
        except OSError as error:
            raise Trouble(f"cannot write below {work.path}: {error.strerror}") from None
        with suppress(CannotAskSlurm):
            seen = self._find(work)
            if seen and seen.is_waiting:
                slurm_client.cancel(seen.id, "--state=PENDING")
        deadline = time.monotonic() + _CLEAR_S + (order.grace_s if order else 0)
        while lock.is_held(str(work.lock)) and time.monotonic() < deadline and not signals.count():
            signals.wait(0.2)  # a node that Slurm gave up may still run it
        return []

    def verdict(self, work: Work, outcome: Outcome | None) -> Verdict | None:
        """See Runner."""
        if outcome and outcome.failure not in (INTERRUPTED, *_KILLED):
            return None
        seen = self._find(work)
        if seen is None:
            return None
        on = f" on {seen.node}" if seen.node else ""
        failure = outcome.failure if outcome else INTERRUPTED
        has_begun = outcome is not None or works.was_started(work)
        if has_begun and seen.state == "OUT_OF_MEMORY" and failure in (INTERRUPTED, *_KILLED):
            return Verdict("out-of-memory", f"Slurm ended the job{on} for lack of memory: see ds_slurm_options, --mem")
        if failure != INTERRUPTED:
            return None
        who = works.read_cancel(work)
        if who is not None:
            return Verdict("cancelled", f"by {who}")
        if (has_begun and seen.state in ("TIMEOUT", "DEADLINE")) or (
            outcome and seen.state == "COMPLETED" and _reached_limit(work, seen)
        ):
            return Verdict("timeout", f"Slurm's time limit for job {seen.id} was reached{on}: see ds_slurm_time")
        if seen.state == "CANCELLED":
            return Verdict("cancelled", f"Slurm's job {seen.id} was cancelled{on}, not by this tracker")
        if seen.state == "PREEMPTED":
            return Verdict(INTERRUPTED, f"Slurm preempted job {seen.id}{on}")
        if seen.state in ("NODE_FAIL", "BOOT_FAIL"):
            log.warning("%s: Slurm's job %s ended with its node%s", work.run, seen.id, on)
            return None
        if not has_begun:
            said = _last_line(work.supervisor_log)
            cure = "`check` tries whether the nodes see this data root and this Python"
            if seen.state == "DEADLINE":
                cure = "there was no room for it before its deadline: see ds_slurm_options, --deadline"
            return Verdict(MACHINE, f"Slurm's job {seen.id} ended{on} before it began ({said or seen.reason}): {cure}")
        return None

    def whereabouts(self, work: Work) -> Whereabouts | None:
        """See Runner."""
        try:
            seen = self._find(work)
        except Trouble as trouble:
            ticket = _read(work)
            if ticket is None:
                return None
            return Whereabouts(ticket.asked_at, job=ticket.job, state="unknown", reason=str(trouble))
        if seen is None or seen.is_over:
            return None
        return Whereabouts(
            since=f"{seen.submitted if seen.is_waiting else seen.started or seen.submitted}Z",
            job=seen.id,
            node=seen.node or None,
            state="waiting" if seen.is_waiting else seen.state.lower(),
            reason=seen.reason,
        )

    def _is_coming(self, work: Work, seen: Seen) -> bool:
        """Whether the outcome of a job that ended well is still to be seen: NFS shows new files after a while."""
        if seen.state != "COMPLETED" or outcomes.is_there(work):
            return False
        return time.monotonic() - self._over.setdefault(work, time.monotonic()) < _SHOWS_S

    def _sbatch(self, work: Work, ticket: Ticket, grace_s: float) -> list[str]:
        return [
            *_size(self._options),
            *self._options,
            f"--job-name={ticket.name}",
            f"--chdir={work.path}",
            f"--output={work.supervisor_log}",
            "--open-mode=append",
            "--export=ALL",
            "--requeue",
            f"--signal=B:TERM@{min(max(round(grace_s), 1), 65535)}",  # before the time limit
        ]

    def _find(self, work: Work) -> Seen | None:
        """Return the work directory's job as Slurm knows it; None if it has none, or if Slurm has forgotten it.

        Raises CannotAskSlurm.
        """
        ticket = _read(work)
        if ticket is None:
            return None
        if time.monotonic() - self._asked > _FRESH_S:
            self._jobs = slurm_client.jobs()
            self._asked = time.monotonic()
        if ticket.job is None:  # the tick was killed while it submitted the job
            of_claim = claim.read(work)
            ticket = ticket._replace(job=of_claim.job if of_claim and of_claim.job.isdecimal() else None)
        found = [seen for seen in self._jobs if _is_of(ticket, seen)]
        if not found and ticket.job:
            found = [seen for seen in slurm_client.recorded(ticket.job) if _is_of(ticket, seen)]
        if not found:
            return None
        if ticket.job is None or not ticket.submitted:
            with suppress(OSError):
                works.write(work.ticket, ticket._replace(job=found[-1].id, submitted=found[-1].submitted)._asdict())
        return found[-1]


def _size(options: Sequence[str]) -> list[str]:
    """Return the size of a job: one task, unless the options ask for nodes. They cannot take back a number of tasks."""
    asks = any(one.startswith("--nodes=") for one in options)
    return [] if asks else ["--nodes=1", "--ntasks=1"]


def _is_of(ticket: Ticket, seen: Seen) -> bool:
    """Whether a job is the one of a ticket. A job that is requeued keeps its id and gets a later time of submission."""
    if seen.name != ticket.name or (ticket.job is not None and seen.id != ticket.job):
        return False
    return not ticket.submitted or seen.submitted >= ticket.submitted


def _is_stuck(seen: Seen) -> bool:
    """Whether Slurm could not launch a job and holds it for an administrator: another one is to be submitted."""
    return seen.is_waiting and "launch failed" in seen.reason.lower()


def _read(work: Work) -> Ticket | None:
    """Return the ticket; None if there is none. A damaged one is set aside: then the claim tells the job."""
    path = work.ticket
    try:
        record = works.read(path)
        job = record["job"]
        return Ticket(str(record["name"]), str(record["asked_at"]), str(job) if job else None, str(record["submitted"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        return Ticket(f"{NAME}-{work.run}", "")


def _script(work: Work) -> str:
    """The batch script. The supervisor replaces the shell, so that Slurm's signals reach it."""
    command = shlex.join([sys.executable, "-P", "-m", "deepspeech_wer", "supervise", str(work.path)])
    return f'#!/bin/sh\nexec {command} "$SLURM_JOB_ID" "${{SLURM_RESTART_COUNT:-0}}"\n'


def _reached_limit(work: Work, seen: Seen) -> bool:
    """Whether Slurm's signal before the time limit ended a job: then Slurm calls it completed."""
    order = works.read_order(work)
    if seen.limit_s is None or order is None:
        return False
    try:
        ran = (datetime.fromisoformat(seen.ended) - datetime.fromisoformat(seen.started)).total_seconds()
    except ValueError:
        return False
    return ran > seen.limit_s - order.grace_s - _LIMIT_SLACK_S


def _last_line(path: Path) -> str:
    with suppress(OSError):
        lines = files.read(path).decode("utf-8", "replace").splitlines()
        return re.sub(r"\s+", " ", lines[-1])[:300] if lines else ""
    return ""
