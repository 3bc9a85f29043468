"""Runs several merges at a time: begins each, and archives it among the held runs when its job has ended."""

from __future__ import annotations

from pathlib import Path

from deepspeech_wer import archive, checkpoints, journal
from deepspeech_wer.backlog import Due
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.merge_run import archiving, attempt, beginning, ended
from deepspeech_wer.merge_run.bench import Bench
from deepspeech_wer.merge_run.unfinished import Unfinished
from deepspeech_wer.records import Merge, Outcome, Run
from deepspeech_wer.repository import checkout as checkouts


def start(bench: Bench, merge: Merge, due: Due) -> Unfinished:
    """Begin a merge's run, and leave its job to the runner: `finish` is for when that has ended.

    Its outcome is None while the job runs. Raises Trouble as `one_by_one.run` does.
    """
    work, order = beginning.begin(bench, merge, due)
    given_up = ended.given_up(work, order)
    if given_up:
        return _ended(work, order, given_up)
    journal.enter(bench.places.cache, "checkout", order.merge, order.attempt)
    path = Path(order.checkout)
    try:
        checkouts.check_out(bench.places.mirror, order.merge, path, mark=work.checkout, origin=bench.origin)
    except checkouts.CannotCheckOut as trouble:
        return _ended(work, order, ended.failed(work, order, "no-checkout", str(trouble)))
    attempt.submit(bench, work, order)
    return Unfinished(work, order, None)


def finish(bench: Bench, left: Unfinished, *, was_seen: bool, tries: int) -> Run | None:
    """Archive a run whose job has ended; None if it is to be tried again, or if it was archived before.

    A run of a merge is archived among those that are held, see `held.release`. `was_seen`: this tick saw the job alive.
    `tries`: how many runs of this merge this tick began. Raises Trouble if the job failed for a reason that is not its
    merge's, and this tick saw it.
    """
    work, order = left.work, left.order
    if archive.holds(bench.places.runs, work.run) or archive.holds(bench.places.held, work.run):
        _end(bench, work)
        archiving.clean_up(bench, work, order.merge)
        return None
    outcome = _outcome(bench, work, order)
    _end(bench, work)
    if outcome and ended.is_final(bench, outcome):
        if outcome.status == "failed" and was_seen:
            ended.refuse_machine_trouble(bench, order, outcome)
        return archiving.archive_run(bench, work, order, outcome, runs=bench.places.held)
    if outcome and was_seen:
        ended.refuse_machine_trouble(bench, order, outcome)
    if was_seen and (outcome is None or outcomes.was_cut_off(outcome)):
        is_stuck = checkpoints.progress(bench.places, order.merge.sha) == order.progress
        ended.refuse_hurry(order.merge, outcome, tries, is_stuck=is_stuck)
    if was_seen or outcome is None:
        ended.log_attempt(bench, order, outcome)
    return None


def _end(bench: Bench, work: Work) -> None:
    """Let nothing run any more for a work directory whose job has ended, and remove its checkout."""
    bench.runner.clear(work, works.read_order(work))
    checkouts.wipe(work.checkout)


def _ended(work: Work, order: Order, outcome: Outcome) -> Unfinished:
    """Record how a run ended whose job never began."""
    try:
        outcomes.write(work, outcome)
    except OSError as error:
        raise Trouble(f"cannot write below {work.path}: {error.strerror}; the next tick tries again") from None
    return Unfinished(work, order, outcome)


def _outcome(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """Return how a job ended, by its supervisor and by the place where it ran, and keep that."""
    outcome = ended.read(bench, work, order)
    verdict = bench.runner.verdict(work, outcome)  # before anything is ended
    finished = outcome or ended.cut_off(bench, work, order)
    if verdict is None or (finished and finished.status == "done"):
        return finished
    outcome = (finished or ended.failed(work, order, "", ""))._replace(
        status="failed",
        failure=verdict.failure,
        detail=verdict.detail,
        files=outcomes.with_record(verdict, work.logs).files,
    )
    return _ended(work, order, outcome).outcome
