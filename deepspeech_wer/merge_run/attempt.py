"""One attempt at a merge: check it out, submit its job, wait for the end."""

from __future__ import annotations

from pathlib import Path

from deepspeech_wer import checkpoints, files, journal, room
from deepspeech_wer.configuration import environment
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs.output import Follower
from deepspeech_wer.jobs.runner import attend
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.merge_run import ended
from deepspeech_wer.merge_run.bench import Bench
from deepspeech_wer.records import Outcome
from deepspeech_wer.repository import checkout as checkouts


def make(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """Run the job once, in its own clean checkout. Returns None if its supervisor was killed."""
    journal.enter(bench.places.cache, "checkout", order.merge, order.attempt)
    path = Path(order.checkout)
    try:
        with checkouts.checked_out(bench.places.mirror, order.merge, path, mark=work.checkout, origin=bench.origin):
            submit(bench, work, order)
            outcome = wait(bench, work, order)
            room.note(bench.places.cache, files.size(path), room.CLONES)
            journal.enter(bench.places.cache, "wipe", order.merge, order.attempt)
    except checkouts.CannotCheckOut as trouble:
        return ended.failed(work, order, "no-checkout", str(trouble))
    if outcome and outcome.status == "failed":
        ended.refuse_machine_trouble(bench, order, outcome)
    return outcome


def submit(bench: Bench, work: Work, order: Order) -> None:
    """Submit the job of a merge that is checked out. Raises Trouble."""
    _prepare(bench, work, order)
    journal.enter(bench.places.cache, "job", order.merge, order.attempt)
    bench.runner.submit(work, environment.job_environment())


def _prepare(bench: Bench, work: Work, order: Order) -> None:
    """Create everything that the supervisor writes into, so that a full disk is noticed now. Raises Trouble."""
    checkpoints.fetch(bench.places, order.merge.sha)
    try:
        for directory in (work.logs, work.tmp, Path(order.checkpoints)):
            files.make_private(directory)
        checkpoints.mark(bench.places, Path(order.checkpoints))
        for log_file in (work.out_log, work.err_log, work.supervisor_log):
            log_file.touch(mode=0o600)
        outcomes.reserve(work)
    except OSError as error:
        raise Trouble(
            f"cannot prepare a run: {error.filename or work.path}: {with_cure(error)}; the next tick tries again"
        ) from None


def wait(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """Wait for the supervisor to end, and copy its log into ours."""
    followers = [Follower(path) for path in (work.out_log, work.err_log)] if bench.job_line else []

    def echo() -> None:
        for follower in followers:
            for line in follower.lines():
                if bench.job_line:
                    bench.job_line(line)
        if bench.meanwhile:
            bench.meanwhile(work, order)

    attend(bench.runner, work, meanwhile=echo)
    files.set_pipes_aside(bench.places.of_files)
    bench.require_data()  # a job that lost its disk is no failure of its merge
    return ended.read(bench, work, order) or ended.cut_off(bench, work, order)
