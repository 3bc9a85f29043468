"""When archived runs are shown: the page built and published, and everybody told. Once for a burst of short jobs.

To show one run more takes a second of CPU where 10,000 are archived. So a run is not shown while the next job may end
at once, but when that has run for a while, when nothing else is due, and after a minute at the latest.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from deepspeech_wer import journal, kept_log, versions
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import signals
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run

SETTLED_S = 5.0  # a job that has run for so long is no part of a burst
LATEST_S = 60.0  # after the end of the first run that is not shown

log = logging.getLogger(__name__)


class Showing:
    """Remembers whether runs are still to be shown, and shows them."""

    def __init__(self, places: Places, show: Callable[[], bool], is_behind: Callable[[], bool]) -> None:
        """`show` shows all that is archived, and returns whether that went well; `is_behind`: whether it has to."""
        self._places, self._show, self._is_behind = places, show, is_behind
        self._owed_since: float | None = None
        self._last: Run | None = None
        self._job, self._job_since = "", 0.0
        self.is_well = True  # whether all went well so far

    @property
    def is_owed(self) -> bool:
        """Whether an archived run is not shown yet."""
        return self._owed_since is not None

    def owe(self, run: Run) -> None:
        """A run was archived."""
        self._last = run
        if self._owed_since is None:
            self._owed_since = time.monotonic()
        elif time.monotonic() - self._owed_since >= LATEST_S:
            self.pay()

    def pay(self) -> None:
        """Show the archived runs now, if any is not shown yet."""
        if self.is_owed:
            if self._last:
                journal.enter(self._places.cache, "show", self._last.merge, self._last.attempt)
            self.now()

    def now(self) -> None:
        """Show the archived runs. Raises Trouble if the program was replaced meanwhile."""
        versions.refuse_replaced()
        self._owed_since = None
        self.is_well &= self._show()

    def meanwhile(self, work: Work, order: Order) -> None:
        """A job runs. Called at each poll. Trouble is logged: raised here, it would wipe the checkout below the job."""
        try:
            self._show_if_settled(work, order)
        except (Trouble, OSError) as trouble:
            log.error("not shown, until this job has ended: %s", trouble)
            self.is_well = False
            self._owed_since, self._job_since = time.monotonic(), math.inf

    def _show_if_settled(self, work: Work, order: Order) -> None:
        now = time.monotonic()
        if work.run != self._job:
            is_first, self._job, self._job_since = not self._job, work.run, now
            if is_first and not self.is_owed and self._is_behind():
                self._owed_since = now  # the tick before was killed, or could not publish
        if self.is_owed and now - self._job_since >= SETTLED_S and not signals.count():
            kept_log.working_on("show", self._last.merge.sha if self._last else "")
            try:
                self.now()
            finally:
                kept_log.working_on("job", order.merge.sha)
