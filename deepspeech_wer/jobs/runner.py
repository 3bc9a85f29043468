"""The interface of a place where jobs run: submit a job, wait for it, end it, clean up after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from deepspeech_wer.jobs.outcome import Verdict
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import signals
from deepspeech_wer.records import Outcome

POLL_S = 0.5


class Whereabouts(NamedTuple):
    """Where a job is, for people. None: unknown, or it has not started."""

    since: str  # ISO 8601, UTC: when its supervisor started, or when it began to wait
    pid: int | None = None  # of its supervisor, on this machine
    job: str | None = None  # its id in the cluster
    node: str | None = None
    state: str = "running"  # or "waiting", or another word of the cluster
    reason: str = ""  # why it waits

    @property
    def is_running(self) -> bool:
        """Whether it has started, as far as is known."""
        return self.state == "running"


class Runner(Protocol):
    """A place where supervisors run."""

    def submit(self, work: Work, environment: Mapping[str, str]) -> None:
        """Start a supervisor for a work directory that holds an order. Raises Trouble if it cannot be started."""

    def is_alive(self, work: Work) -> bool:
        """Return whether the job's supervisor is alive, or is still to start. Raises Trouble if that is unknown."""

    def wait(self, work: Work, seconds: float) -> None:
        """Wait until the supervisor ends, a signal comes or the time is up."""

    def ask_to_end(self, work: Work) -> None:
        """Ask the supervisor to end its job cleanly. A second request ends the job at once."""

    def clear(self, work: Work, order: Order | None) -> list[int]:
        """End the processes that a dead supervisor left. Returns their pids. None: the order cannot be read."""

    def verdict(self, work: Work, outcome: Outcome | None) -> Verdict | None:
        """Return how a job ended whose supervisor is gone, where the place knows better than its outcome; else None."""

    def whereabouts(self, work: Work) -> Whereabouts | None:
        """Return where the job is; None if it is not alive, or if that is unknown."""


def attend(runner: Runner, work: Work, *, meanwhile: Callable[[], None] | None = None) -> None:
    """Wait until the supervisor ends. Passes on each signal to this process; calls `meanwhile` at each poll."""
    passed_on = 0
    while runner.is_alive(work):
        if meanwhile:
            meanwhile()
        while passed_on < signals.count():
            runner.ask_to_end(work)
            passed_on += 1
        runner.wait(work, POLL_S)
    if meanwhile:
        meanwhile()
