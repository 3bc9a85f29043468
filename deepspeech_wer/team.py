"""Several merges that train side by side on a cluster: what runs, what has ended, what may begin.

Ending the tick leaves the jobs running; the next tick takes them over.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator

from deepspeech_wer import archive, backlog
from deepspeech_wer.backlog import Due
from deepspeech_wer.jobs.output import Follower
from deepspeech_wer.jobs.slurm_client import CannotAskSlurm
from deepspeech_wer.machine import signals
from deepspeech_wer.merge_run import held, leftovers, side_by_side
from deepspeech_wer.merge_run.bench import Bench, title
from deepspeech_wer.merge_run.unfinished import Unfinished
from deepspeech_wer.records import Merge, Run

PATIENCE_S = 120.0  # with a cluster that does not answer
_QUICK_S, _SLOW_S = 1.0, 15.0  # between two looks: soon after something happened, and later

log = logging.getLogger(__name__)


class Team:
    """The runs that are at work. `is_of_use` tells whether a commit is still to be trained."""

    def __init__(self, bench: Bench, slots: int, is_of_use: Callable[[str], bool]) -> None:
        self._bench = bench
        self._slots = slots
        self._is_of_use = is_of_use
        self._runs: dict[str, Unfinished] = {}  # by the run's id, oldest first
        self._seen: set[str] = set()  # those that this tick saw alive
        self._tries = Counter[str]()  # begun by this tick, by SHA
        self._followers: dict[str, list[Follower]] = {}
        self._silent_since: float | None = None  # monotonic
        self._happened = time.monotonic()

    def take_over(self) -> None:
        """Take over what an earlier tick left."""
        for left in leftovers.take_over(self._bench):
            self._runs[left.work.run] = left
        leftovers.tidy(self._bench)

    def is_idle(self) -> bool:
        """Whether nothing runs."""
        return not self._runs

    def has_room(self) -> bool:
        """Whether one more may begin."""
        return len(self._runs) < self._slots and self._silent_since is None

    def busy(self) -> set[str]:
        """Return the first 12 digits of the commits that run, or whose result is held."""
        held = archive.commits(self._bench.places.held)
        return {left.order.merge.sha[:12] for left in self._runs.values()} | held

    def begin(self, merge: Merge, due: Due) -> None:
        """Begin a run. Raises Trouble if it cannot begin."""
        left = side_by_side.start(self._bench, merge, due)
        self._runs[left.work.run] = left
        self._seen.add(left.work.run)
        self._tries[merge.sha] += 1
        self._happened = time.monotonic()

    def look(self) -> Iterator[Run]:
        """Archive what has ended, try again what is to be tried again, and yield each run whose turn it is in history.

        Raises Trouble if a job failed through no fault of its merge, or if the cluster has not answered for long.
        """
        for name, left in list(self._runs.items()):
            signals.check()
            try:
                if not self._is_over(left):
                    continue
                self._follow(left)
                tries = self._tries[left.order.merge.sha]
                run = side_by_side.finish(self._bench, left, was_seen=name in self._seen, tries=tries)
            except CannotAskSlurm as trouble:
                self._bear(trouble)
                continue
            del self._runs[name]
            self._happened = time.monotonic()
            if run is None and self._is_to_be_tried_again(left):
                self.begin(left.order.merge, _again(left))
        yield from held.release(self._bench.places, self._runs.values())

    def wait(self) -> None:
        """Wait until it is time for another look, or a signal comes."""
        signals.wait(min(max((time.monotonic() - self._happened) / 20, _QUICK_S), _SLOW_S))

    def _is_over(self, left: Unfinished) -> bool:
        name = left.work.run
        is_alive = self._bench.runner.is_alive(left.work)
        if self._silent_since is not None:
            log.info("Slurm answers again")
            self._silent_since = None
        if not is_alive:
            return True
        if name not in self._seen:
            log.info("%s: its job was left by an earlier tick; waiting for it", title(left.order.merge))
            self._seen.add(name)
        self._follow(left)
        if self._bench.meanwhile and name == next(iter(self._runs)):
            self._bench.meanwhile(left.work, left.order)
        return False

    def _bear(self, trouble: CannotAskSlurm) -> None:
        now = time.monotonic()
        if self._silent_since is None:
            log.warning("%s", trouble)
            self._silent_since = now
        if now - self._silent_since > PATIENCE_S:
            raise trouble

    def _follow(self, left: Unfinished) -> None:
        """Show a job's output on a terminal."""
        say = self._bench.job_line
        if say is None:
            return
        paths = (left.work.out_log, left.work.err_log)
        followers = self._followers.setdefault(left.work.run, [Follower(path) for path in paths])
        mark = "" if self._slots == 1 else f"{left.order.merge.sha[:12]} "
        for follower in followers:
            for line in follower.lines():
                say(f"{mark}{line}")

    def _is_to_be_tried_again(self, left: Unfinished) -> bool:
        return left.work.path.exists() and self._is_of_use(left.order.merge.sha)


def _again(left: Unfinished) -> Due:
    order = left.order
    return Due(
        order.merge.sha,
        backlog.RESUMED,
        order.base,
        number=order.number,
        rerun_of=order.rerun_of,
        seed=order.seed,
        passed=order.changed.passed if order.changed else (),
        calibrates=order.calibrates,
    )
