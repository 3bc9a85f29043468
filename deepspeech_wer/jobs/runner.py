"""What a tick needs of any place where jobs run: submit a job, wait for it, end it, tidy up after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from deepspeech_wer import signals
from deepspeech_wer.jobs.work import Order, Work

POLL_S = 0.5


class Runner(Protocol):
    """One place where supervisors run."""

    def submit(self, work: Work, environment: Mapping[str, str]) -> None:
        """Start a supervisor for a work directory whose order is written. Raises Trouble: none can be started."""

    def is_alive(self, work: Work) -> bool:
        """Whether a supervisor looks after the job."""

    def wait(self, work: Work, seconds: float) -> None:
        """Wait for the supervisor's end; less where a signal comes."""

    def ask_to_end(self, work: Work) -> None:
        """Ask the supervisor to end its job in good order; asked twice, at once."""

    def clear(self, work: Work, order: Order) -> list[int]:
        """End what a supervisor that died left running; the pids."""


def attend(runner: Runner, work: Work, *, meanwhile: Callable[[], None] | None = None) -> None:
    """Wait until nobody looks after the job any more. Each signal to this process is passed on to the supervisor."""
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
