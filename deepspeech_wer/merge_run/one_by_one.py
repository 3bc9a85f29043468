"""Runs one merge after the other: each until it is archived."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from deepspeech_wer import archive
from deepspeech_wer.backlog import Due
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.machine import signals
from deepspeech_wer.merge_run import archiving, attempt, beginning, ended, leftovers
from deepspeech_wer.merge_run.bench import Bench, title
from deepspeech_wer.records import Merge, Run
from deepspeech_wer.repository import checkout as checkouts

_MOST_STARTS = 3  # in one tick, of a supervisor that ends before it has started its job

log = logging.getLogger(__name__)


def run(bench: Bench, merge: Merge, due: Due) -> Run:
    """Run a merge's job until it succeeds or is given up, and archive the run.

    Raises Trouble if the machine, not the job, is at fault (no space, a file at ds_clone_path, a supervisor that cannot
    start it, a lost node); Stopped after a signal, once the job has ended cleanly.
    """
    work, order = beginning.begin(bench, merge, due)
    unstarted = cut_off = 0
    while True:
        given_up = ended.given_up(work, order)
        if given_up:
            return archiving.archive_run(bench, work, order, given_up)
        outcome = attempt.make(bench, work, order)
        if outcome and ended.is_final(bench, outcome):
            return archiving.archive_run(bench, work, order, outcome)
        signals.check()
        has_begun = outcome is not None or works.was_started(work)
        unstarted = 0 if has_begun else unstarted + 1
        if unstarted == _MOST_STARTS:
            told = f"its supervisor ended before the job began, or the job removed {work.path}"
            raise Trouble(
                f"{title(merge)}: {told}: see the lines above, and `dmesg` for memory; the next tick tries again"
            )
        is_cut_off = outcome.failure == outcomes.INTERRUPTED if outcome else has_begun
        cut_off += is_cut_off
        earlier = order
        work, order = beginning.begin(bench, merge, due, was_cut_off=is_cut_off)
        if ended.given_up(work, order):
            continue
        if is_cut_off:
            ended.refuse_hurry(merge, outcome, cut_off, is_stuck=order.progress == earlier.progress)
        ended.log_attempt(bench, earlier, outcome)


def collect(bench: Bench) -> Iterator[Run]:
    """Finish the runs that an earlier tick left, and yield each run that this archives.

    Waits for a job that still runs. Ends the processes that a killed supervisor left; the training resumes from its
    checkpoint when that merge's turn comes.
    """
    for left in leftovers.take_over(bench):
        if bench.runner.is_alive(left.work):
            log.warning("%s: the tick that started its job was killed; waiting for the job", title(left.order.merge))
            left = left._replace(outcome=attempt.wait(bench, left.work, left.order))
        elif left.outcome is None:
            outcome = outcomes.read(left.work) or ended.cut_off(bench, left.work, left.order, is_told=True)
            left = left._replace(outcome=outcome)
        checkouts.wipe(left.work.checkout)
        if archive.holds(bench.places.runs, left.work.run):
            archiving.clean_up(bench, left.work, left.order.merge)
        elif left.outcome and ended.is_final(bench, left.outcome):
            yield archiving.archive_run(bench, left.work, left.order, left.outcome)
        signals.check()
    leftovers.tidy(bench)
