"""One merge: checked out, its job submitted and waited for, its run archived. What earlier ticks left is collected."""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from deepspeech_wer import archive, clock, contract, environment, files, hyper, journal, signals
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import gpu
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE
from deepspeech_wer.jobs.output import Follower
from deepspeech_wer.jobs.runner import Runner, attend
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.places import Places
from deepspeech_wer.records import Merge, Outcome, Run
from deepspeech_wer.repository import checkout as checkouts
from deepspeech_wer.settings import JobLimits

_LOG_LINE = re.compile(r"\S+Z (?P<level>[A-Z]+) (?P<message>.*)")  # as `logs` writes them

MAX_INTERRUPTIONS = 10  # a merge whose job was cut off so often without a new checkpoint is given up

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """Where merges are run, and with what."""

    places: Places
    job: JobLimits
    clone_path: Path
    origin: str  # what the clone's remote is called: the repository's URL without password
    runner: Runner
    job_line: Callable[[str], None] | None = None  # gets each line of the job's output


@dataclass(frozen=True)
class Left:
    """A run that is begun and not archived, and how its job ended, as far as anybody knows."""

    work: Work
    order: Order
    outcome: Outcome | None


def run_merge(bench: Bench, merge: Merge, *, base: str | None) -> Run:
    """Run a merge's job until it is done or given up, and archive that: from then on the result cannot be lost.

    `base` goes into the archive with the run. Raises Trouble for what is no fault of the job (no room, a file at
    ds_clone_path), Stopped where a signal asked this process to end; the job has then ended in good order.
    """
    work, order = _begin(bench, merge, base)
    while True:
        if order.interruptions > MAX_INTERRUPTIONS:
            return _archive(bench, work, order, _given_up(work, order))
        outcome = _attempt(bench, work, order)
        if outcome and _is_final(bench, outcome):
            return _archive(bench, work, order, outcome)
        signals.check()
        _tell_of_attempt(bench, order, outcome)
        work, order = _begin(bench, merge, base)


def collect(bench: Bench) -> Iterator[Run]:
    """Bring to its end what an earlier tick left, and yield each run that is archived so.

    A job that still runs is waited for. What a killed supervisor left is ended; its training is resumed from its
    checkpoint when the tick comes to that merge.
    """
    _set_earlier_aside(bench.places)
    for left in begun(bench.places):
        if bench.runner.is_alive(left.work):
            log.warning("%s: the tick that started its job is gone; waiting for the job", title(left.order.merge))
            left = replace(left, outcome=_wait(bench, left.work, left.order))
        elif left.outcome is None:
            left = replace(left, outcome=_cut_off(bench, left.work, left.order))
        checkouts.wipe(left.work.checkout)
        if archive.holds(bench.places.runs, left.work.run):
            _tidy(bench, left.work, left.order.merge)
        elif left.outcome and _is_final(bench, left.outcome):
            yield _archive(bench, left.work, left.order, left.outcome)
        signals.check()
    for place in (bench.places.runs, bench.places.site):
        files.remove_partial(place)
    for partial in bench.places.cache.glob(f".*{files.PARTIAL}"):
        partial.unlink()


def begun(places: Places) -> list[Left]:
    """The runs that are begun and not archived, oldest first."""
    files.let_in(places.data, places.work, places.runs, places.site, places.checkpoints)
    found = []
    for work in works.begun(places.work):
        files.let_in(work.path)
        order = works.read_order(work)
        if order:
            found.append(Left(work, order, outcomes.read(work)))
    return found


def forget(places: Places, is_needed: Callable[[str], bool]) -> None:
    """Remove checkpoints and work directories of commits, named by SHA, that are never resumed."""
    for path in places.checkpoints.glob("*"):
        if not is_needed(path.name):
            log.info("removing the checkpoint of %s, which is no longer due", path.name[:12])
            files.remove_tree(path)
    for left in begun(places):
        if not is_needed(left.order.merge.sha):
            files.remove_tree(left.work.path)


def _set_earlier_aside(places: Places) -> None:
    """What a release with one work directory and one checkout left in the middle of a run."""
    checkouts.wipe(places.cache / "checkout.json")
    if (places.work / "logs").exists() or (places.work / "outcome.json").exists():
        aside = places.work.with_name("work.earlier")
        places.work.rename(aside)
        log.warning("an earlier release was cut off in the middle of a run; what the run left is kept in %s", aside)


def title(merge: Merge) -> str:
    """How a merge is called in the log."""
    return f'{merge.sha[:12]} "{merge.subject[:60]}"'


def _begin(bench: Bench, merge: Merge, base: str | None) -> tuple[Work, Order]:
    """A new work directory with its order. Where a run of this merge was cut off, its counts go on."""
    places = bench.places
    earlier = [left for left in begun(places) if left.order.merge.sha == merge.sha]
    progress = _progress(places, merge)
    last = earlier[-1] if earlier else None
    stamp = clock.utc_now()
    work = Work(places.work / works.name(stamp, merge.sha, (places.runs, places.work)))
    order = Order(
        merge=merge,
        base=base,
        attempt=_next_attempt(last),
        interruptions=_interruptions(last, progress),
        progress=progress,
        script=bench.job.script,
        checkout=str(bench.clone_path / work.run),
        checkpoints=str(places.checkpoints / merge.sha),
        gpu_usage=str(gpu.place(work.path, merge.sha, csv=bench.job.gpu_usage_csv, root=bench.job.gpu_usage_root)),
        timeout_s=bench.job.timeout_s,
        grace_s=bench.job.grace_s,
        token=os.urandom(16).hex(),
    )
    try:
        files.make_private(work.path)
        works.write_order(work, order)
    except OSError as error:
        files.remove_tree(work.path)
        raise Trouble(f"cannot prepare a run: {work.path}: {error.strerror}") from None
    for left in earlier:  # only now: what they tell is in the new order
        _clear(left.work)
    return work, order


def _next_attempt(last: Left | None) -> int:
    if last is None:
        return 1
    is_over = last.outcome is not None and last.outcome.failure not in (INTERRUPTED, MACHINE)
    return last.order.attempt + is_over


def _interruptions(last: Left | None, progress: int) -> int:
    """A training that gets on is not given up, however often it is cut off."""
    if last is None or last.order.progress != progress:
        return 0
    was_cut_off = last.outcome is None and works.was_started(last.work)
    return last.order.interruptions + was_cut_off


def _progress(places: Places, merge: Merge) -> int:
    """Changes whenever a checkpoint is written."""
    with suppress(OSError):
        checkpoints = (places.checkpoints / merge.sha).rglob("*")
        return sum(file.lstat().st_mtime_ns for file in checkpoints)  # the newest alone would hide a clock set back
    return 0


def _attempt(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """One try, in a clean checkout of its own; how it ended, None where its supervisor was killed."""
    journal.enter(bench.places.cache, "checkout", order.merge, order.attempt)
    path = Path(order.checkout)
    try:
        with checkouts.checked_out(bench.places.mirror, order.merge, path, mark=work.checkout, origin=bench.origin):
            _prepare(bench, work, order)
            journal.enter(bench.places.cache, "job", order.merge, order.attempt)
            bench.runner.submit(work, environment.job_environment())
            outcome = _wait(bench, work, order)
            journal.enter(bench.places.cache, "wipe", order.merge, order.attempt)
    except checkouts.CannotCheckOut as trouble:
        return _failed(work, order, "no-checkout", str(trouble))
    if outcome and outcome.status == "failed":
        _refuse_trouble_of_the_machine(bench, order, outcome)
    return outcome


def _prepare(bench: Bench, work: Work, order: Order) -> None:
    """Make all that the supervisor writes into, so that a disk without room is told here. Raises Trouble."""
    _fetch_checkpoint(bench.places, order.merge)
    try:
        for directory in (work.logs, work.tmp, Path(order.checkpoints)):
            files.make_private(directory)
        for log_file in (work.out_log, work.err_log, work.supervisor_log):
            log_file.touch(mode=0o600)
        outcomes.reserve(work)
    except OSError as error:
        raise Trouble(f"cannot prepare a run: {error.filename or work.path}: {error.strerror}") from None


def _wait(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """Wait for the supervisor's end, and relay what it has to say."""
    followers = [Follower(path) for path in (work.out_log, work.err_log)] if bench.job_line else []

    def echo() -> None:
        for follower in followers:
            for line in follower.lines():
                if bench.job_line:
                    bench.job_line(line)

    attend(bench.runner, work, meanwhile=echo)
    places = bench.places
    files.let_in(places.cache, places.data, places.work, work.path, places.runs, places.site, places.checkpoints)
    _relay(work, order)
    outcome = outcomes.read(work)
    return outcome or _cut_off(bench, work, order)


def _relay(work: Work, order: Order) -> None:
    """Say in our log what the supervisor said in its own."""
    with suppress(OSError):  # removed by the job
        for line in work.supervisor_log.read_text("utf-8", "replace").splitlines():
            said = _LOG_LINE.fullmatch(line)
            level = logging.getLevelNamesMapping().get(said["level"], logging.ERROR) if said else logging.ERROR
            log.log(level, "%s: %s", title(order.merge), said["message"] if said else line)


def _cut_off(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """What became of a job whose supervisor died: all of it is ended now.

    Nobody knows the exit code. A whole hyper.json is a job's last act, and counts.
    """
    ended = bench.runner.clear(work, order)
    if not works.was_started(work) and not ended:
        return None
    left = f"; ended what it left running (processes {', '.join(map(str, ended))})" if ended else ""
    log.warning("%s: its supervisor was killed%s", title(order.merge), left)
    verdict = outcomes.judge(work.logs)
    if verdict.failure:
        return None
    now = clock.utc_now()
    return Outcome("done", None, "", order.attempt, now, now, files=verdict.files, logs=work.path)


def _refuse_trouble_of_the_machine(bench: Bench, order: Order, outcome: Outcome) -> None:
    """A job that failed for the machine's trouble proves nothing of its merge: the next tick tries again.

    Such trouble is a job that cannot be started here, and a disk without room although the job's files are removed.
    Raises Trouble.
    """
    if outcome.failure == MACHINE:
        raise Trouble(f"{title(order.merge)}: {outcome.detail}; the next call tries again")
    for place in (bench.places.data, bench.places.cache, bench.clone_path):
        lack = files.lack_of_room(place)
        if lack:
            raise Trouble(f"{title(order.merge)}: its job failed, and there is {lack}; the next call tries again")


def _is_final(bench: Bench, outcome: Outcome) -> bool:
    if outcome.status == "done" or outcome.failure in outcomes.NEVER_RETRIED:
        return True
    return outcome.failure not in (INTERRUPTED, MACHINE) and outcome.attempt >= bench.job.attempts


def _tell_of_attempt(bench: Bench, order: Order, outcome: Outcome | None) -> None:
    if outcome is None or outcome.failure == INTERRUPTED:
        log.warning("%s: interrupted; resuming from its checkpoint", title(order.merge))
        return
    attempt, attempts = order.attempt, bench.job.attempts
    reason = f"{outcome.failure}: {outcome.detail}"
    log.warning("%s: attempt %d of %d: %s", title(order.merge), attempt, attempts, reason)


def _given_up(work: Work, order: Order) -> Outcome:
    return _failed(work, order, INTERRUPTED, f"cut off {order.interruptions} times without a new checkpoint")


def _failed(work: Work, order: Order, failure: str, detail: str) -> Outcome:
    now = clock.utc_now()
    return Outcome("failed", failure, detail, order.attempt, now, now, files=None, logs=work.path)


def _archive(bench: Bench, work: Work, order: Order, outcome: Outcome) -> Run:
    places, merge = bench.places, order.merge
    _make_room(work, order, outcome)
    journal.enter(places.cache, "archive", merge, order.attempt)
    try:
        run = archive.store(places.runs, work.run, merge, outcome, machine=os.uname().nodename, base=order.base)
    except OSError as error:
        raise Trouble(
            f"cannot archive the run of {merge.sha[:12]} below {places.runs}: {error.strerror}; "
            "its result is kept, the next call tries again"
        ) from None
    journal.enter(places.cache, "advance", merge, order.attempt)
    _tidy(bench, work, merge)
    log.log(logging.INFO if run.status == "done" else logging.ERROR, "%s: %s", title(run.merge), _result(run))
    return run


def _make_room(work: Work, order: Order, outcome: Outcome) -> None:
    """Remove all that the archive does not take: a job may have filled the disk with it. No link is followed."""
    files.remove_tree(Path(order.checkpoints))
    files.remove_tree(work.tmp)
    kept = {outcome.files / name for name in (contract.HYPER, *archive.COMPANIONS)} if outcome.files else set()
    if work.logs.is_symlink():
        work.logs.unlink()
    for path in (*work.logs.glob("*"), *(outcome.files.glob("*") if outcome.files else ())):
        if path not in kept and path != outcome.files:
            files.remove_tree(path)


def _tidy(bench: Bench, work: Work, merge: Merge) -> None:
    """Remove what an archived run no longer needs; last the directory that tells `collect` of it."""
    files.remove_tree(bench.places.checkpoints / merge.sha)
    _clear(work)
    with suppress(OSError):  # other runs are begun
        bench.places.work.rmdir()


def _clear(work: Work) -> None:
    """Remove a work directory, or move it out of the way: it would be taken for a run that is begun."""
    if files.remove_tree(work.path):
        return
    aside = work.path.with_name(f"{work.run}.left")
    try:
        work.path.rename(aside)
    except OSError as error:
        raise Trouble(f"cannot remove {work.path}: {error.strerror}: remove it by hand") from None
    log.warning(
        "cannot remove %s: a job left files there that this user may not remove (from a container, as root?): "
        "remove it by hand",
        aside,
    )


def _fetch_checkpoint(places: Places, merge: Merge) -> None:
    """Fill the merge's checkpoint directory, once, from the one that <cache>/checkpoint_file names. Raises Trouble."""
    path, request = places.checkpoints / merge.sha, places.checkpoint_request
    if path.is_symlink() or path.is_file():
        path.unlink()  # put there by a job
    if path.exists() or not request.is_file():
        return
    source = Path(request.read_text("utf-8", "replace").strip())
    if not source.is_absolute() or not source.is_dir() or places.data.is_relative_to(source):
        raise Trouble(f"{request}: expected the whole path of a checkpoint directory, found {str(source)!r}")
    _copy(source, path)
    request.unlink()


def _copy(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}{files.PARTIAL}")
    files.remove_tree(beside)
    try:
        shutil.copytree(source, beside)
    except (OSError, shutil.Error) as error:
        files.remove_tree(beside)
        raise Trouble(f"cannot copy the checkpoint {source}: {error}") from None
    beside.rename(target)


def _result(run: Run) -> str:
    if run.hyper is None:
        tries = f" after {run.attempt} attempts" if run.attempt > 1 else ""
        return f"failed{tries}: {run.failure}: {run.detail} (log: {run.directory}/err.log)"
    return f"done, test WER {hyper.shown(hyper.test_wer(run.hyper))}"
