"""How a job ended, whether that is final, and whose fault it is."""

from __future__ import annotations

import logging
import re
from contextlib import suppress

from deepspeech_wer import archive, archive_record, clock, files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE
from deepspeech_wer.jobs.work import Job, Order, Work
from deepspeech_wer.merge_run.bench import Bench, title
from deepspeech_wer.places import Places
from deepspeech_wer.records import Merge, Outcome

_LOG_LINE = re.compile(r"\S+Z (?P<level>[A-Z]+) (?P<message>.*)")  # as `logging_setup` has them
_MOST_RESUMED = 3  # in one tick, of one merge's jobs that something outside of them cut off
_MAX_INTERRUPTIONS = 10  # without a new checkpoint; after that the merge is given up

log = logging.getLogger(__name__)


def read(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """Return what the supervisor of an ended job wrote, and copy its log into ours. None if it wrote nothing."""
    works.remove_planted(work, order)
    places = bench.places
    files.restore_access(
        places.cache, places.data, places.work, work.path, places.runs, places.site, places.checkpoints
    )
    _relay(work, order)
    outcome = outcomes.read(work)
    if outcome and outcome.failure == MACHINE and _is_inherited(places, outcome):
        return outcome._replace(failure=outcomes.NO_SCRIPT)
    return outcome


def _is_inherited(places: Places, outcome: Outcome) -> bool:
    """Return whether the last run failed for this very fault of its script: then this merge has only inherited it."""
    for runs in (places.held, places.runs):
        newest = archive.newest(runs)
        with suppress(Trouble):  # it cannot be read
            last = archive_record.read(runs / newest) if newest else None
            if last and (last.failure, last.detail) == (outcomes.NO_SCRIPT, outcome.detail):
                return True
    return False


def _relay(work: Work, order: Order) -> None:
    """Copy the supervisor's log into ours."""
    with suppress(OSError):  # removed by the job
        for line in files.read(work.supervisor_log).decode("utf-8", "replace").splitlines():
            said = _LOG_LINE.fullmatch(line)
            level = logging.getLevelNamesMapping().get(said["level"], logging.ERROR) if said else logging.ERROR
            log.log(level, "%s: %s", title(order.merge), said["message"] if said else line)


def cut_off(bench: Bench, work: Work, order: Order, *, is_told: bool = False) -> Outcome | None:
    """End the processes of a job whose supervisor died, and return its outcome.

    The exit code is lost. Writing hyper.json is the last thing a job does, so a valid one counts as success. `is_told`:
    the log has it already that the tick was killed, which says as much.
    """
    ended = bench.runner.clear(work, order)
    works.take_back(work, order)  # its counts end what is interrupted again and again
    if ended and not works.was_started(work):  # the job removed the record
        with suppress(OSError):
            works.write_job(work, Job())
    if not works.was_started(work) and not ended:
        return None
    left = f"; ended the processes that it left: {', '.join(map(str, ended))}" if ended else ""
    if ended or not is_told:
        log.warning("%s: its supervisor was killed%s", title(order.merge), left)
    verdict = outcomes.judge(work.logs)
    if verdict.failure:
        return None
    now = clock.utc_now()
    return Outcome("done", None, "", order.attempt, now, now, files=verdict.files, logs=work.path)


def is_final(bench: Bench, outcome: Outcome) -> bool:
    """Return whether a job that ended like this is not tried again."""
    if outcome.status == "done" or outcome.failure in outcomes.NEVER_RETRIED:
        return True
    return outcome.failure not in (INTERRUPTED, MACHINE) and outcome.attempt >= bench.job.attempts


def refuse_machine_trouble(bench: Bench, order: Order, outcome: Outcome) -> None:
    """Raise Trouble if a job failed for a reason that is not its merge's: the next tick tries again.

    That is so if the job cannot be started here, or if a disk is full although the job's own files are removed.
    """
    if outcome.failure == MACHINE:
        raise Trouble(f"{title(order.merge)}: {outcome.detail}; the next tick tries again")
    for place in (bench.places.data, bench.places.cache, bench.clone_path):
        lack = files.lack_of_room(place)
        if lack:
            raise Trouble(f"{title(order.merge)}: its job failed, and there is {lack}; the next tick tries again")


def refuse_hurry(merge: Merge, outcome: Outcome | None, tries: int, *, is_stuck: bool) -> None:
    """Raise Trouble if a job that was cut off, by something outside of it, is to wait for the next tick.

    `tries`: how many of the merge's jobs this tick saw end. `is_stuck`: the last one left no new checkpoint.
    """
    said = outcome.detail if outcome else "its supervisor was killed (for lack of memory? see `dmesg`)"
    if tries >= _MOST_RESUMED or (outcome and is_stuck):
        raise Trouble(f"{title(merge)}: {said}; the next tick resumes it")


def log_attempt(bench: Bench, order: Order, outcome: Outcome | None) -> None:
    """Log why a job is tried again."""
    if outcome is None or outcome.failure == INTERRUPTED:
        log.warning("%s: interrupted; resuming from its checkpoint", title(order.merge))
        return
    attempt, attempts = order.attempt, bench.job.attempts
    reason = f"{outcome.failure}: {outcome.detail}"
    log.warning("%s: attempt %d of %d: %s", title(order.merge), attempt, attempts, reason)


def given_up(work: Work, order: Order) -> Outcome | None:
    """Return the outcome of a run that was interrupted too often to be tried again; None if it was not."""
    if order.interruptions <= _MAX_INTERRUPTIONS:
        return None
    return failed(work, order, INTERRUPTED, f"interrupted {order.interruptions} times without a new checkpoint")


def failed(work: Work, order: Order, failure: str, detail: str) -> Outcome:
    """Return the outcome of a job that failed now, without a record."""
    now = clock.utc_now()
    return Outcome("failed", failure, detail, order.attempt, now, now, files=None, logs=work.path)
