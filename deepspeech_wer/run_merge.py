"""Runs one merge: checks it out, submits its job, waits, archives the run. Also collects what earlier ticks left."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from deepspeech_wer import archive, checkpoints, clock, files, hyper, job_contract, journal, room
from deepspeech_wer.backlog import Due
from deepspeech_wer.configuration import environment
from deepspeech_wer.configuration.settings import JobLimits
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.jobs import gpu
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE
from deepspeech_wer.jobs.output import Follower
from deepspeech_wer.jobs.runner import Runner, attend
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import host, lock, signals
from deepspeech_wer.places import Places
from deepspeech_wer.records import Changed, Circumstances, Merge, Outcome, Run
from deepspeech_wer.repository import checkout as checkouts
from deepspeech_wer.repository import history

_LOG_LINE = re.compile(r"\S+Z (?P<level>[A-Z]+) (?P<message>.*)")  # as `logging_setup` has them

MAX_INTERRUPTIONS = 10  # without a new checkpoint; after that the merge is given up

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """What running a merge needs: paths, limits and the runner."""

    places: Places
    job: JobLimits
    clone_path: Path
    variables: Mapping[str, str]  # the operator's ds_* variables, as run.json records them
    origin: str  # the URL of the clone's remote: the repository's URL without its password
    runner: Runner
    job_line: Callable[[str], None] | None = None  # called with each line of the job's output
    beat: Callable[[Work, Order], None] | None = None  # called again and again while a job runs


@dataclass(frozen=True)
class Unfinished:
    """A run that was begun but not archived, and how its job ended; None if that is unknown."""

    work: Work
    order: Order
    outcome: Outcome | None


def run_merge(bench: Bench, merge: Merge, due: Due) -> Run:
    """Run a merge's job until it succeeds or is given up, and archive the run.

    Raises Trouble if the machine, not the job, is at fault (no space, a file at
    ds_clone_path); Stopped after a signal, once the job has ended cleanly.
    """
    work, order = _begin(bench, merge, due)
    while True:
        if order.interruptions > MAX_INTERRUPTIONS:
            return _archive(bench, work, order, _given_up(work, order))
        outcome = _attempt(bench, work, order)
        if outcome and _is_final(bench, outcome):
            return _archive(bench, work, order, outcome)
        signals.check()
        _log_attempt(bench, order, outcome)
        work, order = _begin(bench, merge, due)


def start(bench: Bench, merge: Merge, due: Due) -> Unfinished:
    """Begin a merge's run, and leave its job to the runner: `finish` is for when that has ended.

    Its outcome is None while the job runs. Raises Trouble as `run_merge` does.
    """
    work, order = _begin(bench, merge, due)
    if order.interruptions > MAX_INTERRUPTIONS:
        return _ended(work, order, _given_up(work, order))
    journal.enter(bench.places.cache, "checkout", order.merge, order.attempt)
    path = Path(order.checkout)
    try:
        checkouts.check_out(bench.places.mirror, order.merge, path, mark=work.checkout, origin=bench.origin)
    except checkouts.CannotCheckOut as trouble:
        return _ended(work, order, _failed(work, order, "no-checkout", str(trouble)))
    _prepare(bench, work, order)
    journal.enter(bench.places.cache, "job", order.merge, order.attempt)
    bench.runner.submit(work, environment.job_environment())
    return Unfinished(work, order, None)


def finish(bench: Bench, left: Unfinished, *, was_seen: bool) -> Run | None:
    """Archive a run whose job has ended; None if it is to be tried again, or if it was archived before.

    A run of a merge is archived among those that are held, see `release`. `was_seen`: this tick saw the job alive.
    Raises Trouble if the job failed for a reason that is not its merge's, and this tick saw it.
    """
    work, order = left.work, left.order
    if archive.holds(bench.places.runs, work.run) or archive.holds(bench.places.held, work.run):
        _end(bench, work)
        _tidy(bench, work, order.merge)
        return None
    outcome = _outcome(bench, work, order)
    _end(bench, work)
    if outcome and _is_final(bench, outcome):
        if outcome.status == "failed" and was_seen:
            _refuse_machine_trouble(bench, order, outcome)
        return _archive(bench, work, order, outcome, runs=bench.places.held)
    if outcome and was_seen:
        _refuse_machine_trouble(bench, order, outcome)
    if was_seen or outcome is None:
        _log_attempt(bench, order, outcome)
    return None


def release(places: Places, running: Collection[Unfinished]) -> Iterator[Run]:
    """Yield the held runs whose turn it is in history, and move them to the others.

    A merge's own run waits until no earlier merge is running any more: else its verdict would be another one.
    """
    earliest = min((left.order.number for left in running if _is_in_order(left.order)), default=None)
    for directory in _held(places):
        try:
            is_early = earliest is not None and archive.read(directory).number > earliest
        except Trouble:  # the page's build names it
            is_early = False
        if is_early:
            continue
        try:
            files.rename_durably(directory, places.runs / directory.name)
        except OSError as error:
            raise Trouble(f"cannot move {directory} to {places.runs}: {error.strerror}") from None
        yield archive.read(places.runs / directory.name)


def _held(places: Places) -> list[Path]:
    """The held runs in the order of history, those that cannot be read last."""
    order = [run.id for run in archive.in_order(archive.load(places.held))]
    names = archive.names(places.held)
    return [
        places.held / name for name in sorted(names, key=lambda name: order.index(name) if name in order else 1 << 30)
    ]


def _is_in_order(order: Order) -> bool:
    return order.rerun_of is None and order.base is not None


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
    works.remove_planted(work, order)
    places = bench.places
    files.restore_access(
        places.cache, places.data, places.work, work.path, places.runs, places.site, places.checkpoints
    )
    _relay(work, order)
    outcome = outcomes.read(work)
    verdict = bench.runner.verdict(work, outcome)  # before anything is ended
    finished = outcome or _cut_off(bench, work, order)
    if verdict is None or (finished and finished.status == "done"):
        return finished
    outcome = replace(
        finished or _failed(work, order, "", ""),
        status="failed",
        failure=verdict.failure,
        detail=verdict.detail,
        files=outcomes.with_record(verdict, work.logs).files,
    )
    return _ended(work, order, outcome).outcome


def collect(bench: Bench) -> Iterator[Run]:
    """Finish the runs that an earlier tick left, and yield each run that this archives.

    Waits for a job that still runs. Ends the processes that a killed supervisor left; the training resumes from its
    checkpoint when that merge's turn comes.
    """
    for left in take_over(bench):
        if bench.runner.is_alive(left.work):
            log.warning("%s: the tick that started its job was killed; waiting for the job", title(left.order.merge))
            left = replace(left, outcome=_wait(bench, left.work, left.order))
        elif left.outcome is None:
            outcome = outcomes.read(left.work) or _cut_off(bench, left.work, left.order, is_told=True)
            left = replace(left, outcome=outcome)
        checkouts.wipe(left.work.checkout)
        if archive.holds(bench.places.runs, left.work.run):
            _tidy(bench, left.work, left.order.merge)
        elif left.outcome and _is_final(bench, left.outcome):
            yield _archive(bench, left.work, left.order, left.outcome)
        signals.check()
    tidy(bench)


def take_over(bench: Bench) -> list[Unfinished]:
    """Return what an earlier tick left unfinished. A job whose order cannot be read is ended."""
    _set_aside_earlier_release(bench.places)
    begun = unfinished(bench.places)
    for aside in bench.places.work.glob(f"*{works.UNREADABLE}"):
        _end_unknown(bench, Work(aside))
    return begun


def tidy(bench: Bench) -> None:
    """Remove what a killed tick left half made."""
    files.remove_leftovers(bench.places.site)
    for place in (bench.places.runs, bench.places.held):
        for partial in files.partial_in(place):  # none is below: a run is renamed when it is complete
            files.remove_tree(partial)
    for place in (bench.places.cache, bench.places.data):
        for partial in files.partial_in(place):
            partial.unlink()


def _end_unknown(bench: Bench, work: Work) -> None:
    """End a job whose order cannot be read any more, or it would run beside the next one; remove its checkout."""
    if bench.runner.is_alive(work):
        bench.runner.ask_to_end(work)
        attend(bench.runner, work)
    bench.runner.clear(work, None)
    checkouts.wipe(work.checkout)


def unfinished(places: Places) -> list[Unfinished]:
    """Return the runs that were begun but not archived, oldest first."""
    files.restore_access(places.data, places.work, places.runs, places.site, places.checkpoints)
    found = []
    for work in works.unfinished(places.work):
        files.restore_access(work.path)
        order = works.read_order(work)
        if order:
            is_over = not lock.is_held(str(work.lock))  # else only the job can have written an outcome
            found.append(Unfinished(work, order, outcomes.read(work) if is_over else None))
    return found


def forget(places: Places, is_needed: Callable[[str], bool]) -> None:
    """Remove the checkpoints and work directories of every commit whose SHA `is_needed` rejects."""
    checkpoints.forget(places, is_needed)
    for left in unfinished(places):
        if not is_needed(left.order.merge.sha):
            files.remove_tree(left.work.path)


def _set_aside_earlier_release(places: Places) -> None:
    """Clean up a run that was interrupted under an earlier release, which had a single work directory and checkout."""
    checkouts.wipe(places.cache / "checkout.json")
    if (places.work / "logs").exists() or (places.work / "outcome.json").exists():
        aside = places.work.with_name("work.earlier")
        places.work.rename(aside)
        log.warning("a run was interrupted under an earlier release; its files are kept in %s", aside)


def title(merge: Merge) -> str:
    """Return how the log names a merge."""
    return f'{merge.sha[:12]} "{merge.subject[:60]}"'


def _begin(bench: Bench, merge: Merge, due: Due) -> tuple[Work, Order]:
    """Create a work directory with its order. The counts of an interrupted run of the same merge carry over."""
    places = bench.places
    earlier = [left for left in unfinished(places) if left.order.merge.sha == merge.sha]
    if any((left.order.rerun_of, left.order.seed) != (due.rerun_of, due.seed) for left in earlier):
        checkpoints.remove(places, merge.sha)  # of a training with another seed
        for left in earlier:
            _clear(left.work)
        earlier = []
    progress = checkpoints.progress(places, merge.sha)
    last = earlier[-1] if earlier else None
    stamp = clock.utc_now()
    work = Work(places.work / works.name(stamp, merge.sha, (places.runs, places.held, places.work)))
    order = Order(
        merge=merge,
        base=due.base,
        number=due.number,
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
        variables=bench.variables,
        rerun_of=due.rerun_of,
        seed=due.seed,
        changed=_changed(places, merge, due),
        calibrates=due.calibrates,
        guards=bench.job.guards,
        links=works.links(work, places.checkpoints / merge.sha),
    )
    try:
        files.make_private(work.path)
        works.write_order(work, order)
    except OSError as error:
        files.remove_tree(work.path)
        raise Trouble(f"cannot prepare a run: {work.path}: {with_cure(error)}; the next tick tries again") from None
    for left in earlier:  # only now that the new order has their counts
        _keep_record(left, work)
        _clear(left.work)
    return work, order


def _changed(places: Places, merge: Merge, due: Due) -> Changed | None:
    """Return what a merge changed, for its record. It is trained all the same if git cannot tell."""
    if due.rerun_of is not None:
        return None
    with suppress(Trouble):
        return replace(history.changed(places.mirror, merge), passed=due.passed)
    return Changed(passed=due.passed)


def _keep_record(left: Unfinished, work: Work) -> None:
    """Move the record that a failed attempt wrote to the next one, which may write none."""
    written = left.outcome.files if left.outcome else None
    for place in (left.work.kept, written):
        if place and place.is_dir() and not place.is_symlink():
            files.remove_tree(work.kept)
            with suppress(OSError):
                place.rename(work.kept)


def _next_attempt(last: Unfinished | None) -> int:
    if last is None:
        return 1
    is_over = last.outcome is not None and last.outcome.failure not in (INTERRUPTED, MACHINE)
    return last.order.attempt + is_over


def _interruptions(last: Unfinished | None, progress: int) -> int:
    """Count interruptions without a new checkpoint: a training that makes progress is never given up."""
    if last is None or last.order.progress != progress:
        return 0
    was_cut_off = last.outcome is None and works.was_started(last.work)
    return last.order.interruptions + was_cut_off


def _attempt(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """Run the job once, in its own clean checkout. Returns None if its supervisor was killed."""
    journal.enter(bench.places.cache, "checkout", order.merge, order.attempt)
    path = Path(order.checkout)
    try:
        with checkouts.checked_out(bench.places.mirror, order.merge, path, mark=work.checkout, origin=bench.origin):
            _prepare(bench, work, order)
            journal.enter(bench.places.cache, "job", order.merge, order.attempt)
            bench.runner.submit(work, environment.job_environment())
            outcome = _wait(bench, work, order)
            room.note(bench.places.cache, files.size(path), room.CLONES)
            journal.enter(bench.places.cache, "wipe", order.merge, order.attempt)
    except checkouts.CannotCheckOut as trouble:
        return _failed(work, order, "no-checkout", str(trouble))
    if outcome and outcome.status == "failed":
        _refuse_machine_trouble(bench, order, outcome)
    return outcome


def _prepare(bench: Bench, work: Work, order: Order) -> None:
    """Create everything that the supervisor writes into, so that a full disk is noticed now. Raises Trouble."""
    checkpoints.fetch(bench.places, order.merge.sha)
    try:
        for directory in (work.logs, work.tmp, Path(order.checkpoints)):
            files.make_private(directory)
        checkpoints.mark(bench.places, order.merge.sha)
        for log_file in (work.out_log, work.err_log, work.supervisor_log):
            log_file.touch(mode=0o600)
        outcomes.reserve(work)
    except OSError as error:
        raise Trouble(
            f"cannot prepare a run: {error.filename or work.path}: {with_cure(error)}; the next tick tries again"
        ) from None


def _wait(bench: Bench, work: Work, order: Order) -> Outcome | None:
    """Wait for the supervisor to end, and copy its log into ours."""
    followers = [Follower(path) for path in (work.out_log, work.err_log)] if bench.job_line else []

    def echo() -> None:
        for follower in followers:
            for line in follower.lines():
                if bench.job_line:
                    bench.job_line(line)
        if bench.beat:
            bench.beat(work, order)

    attend(bench.runner, work, meanwhile=echo)
    works.remove_planted(work, order)
    places = bench.places
    files.restore_access(
        places.cache, places.data, places.work, work.path, places.runs, places.site, places.checkpoints
    )
    _relay(work, order)
    outcome = outcomes.read(work)
    return outcome or _cut_off(bench, work, order)


def _relay(work: Work, order: Order) -> None:
    """Copy the supervisor's log into ours."""
    with suppress(OSError):  # removed by the job
        for line in work.supervisor_log.read_text("utf-8", "replace").splitlines():
            said = _LOG_LINE.fullmatch(line)
            level = logging.getLevelNamesMapping().get(said["level"], logging.ERROR) if said else logging.ERROR
            log.log(level, "%s: %s", title(order.merge), said["message"] if said else line)


def _cut_off(bench: Bench, work: Work, order: Order, *, is_told: bool = False) -> Outcome | None:
    """End the processes of a job whose supervisor died, and return its outcome.

    The exit code is lost. Writing hyper.json is the last thing a job does, so a valid one counts as success. `is_told`:
    the log has it already that the tick was killed, which says as much.
    """
    ended = bench.runner.clear(work, order)
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


def _refuse_machine_trouble(bench: Bench, order: Order, outcome: Outcome) -> None:
    """Raise Trouble if a job failed for a reason that is not its merge's: the next tick tries again.

    That is so if the job cannot be started here, or if a disk is full although the job's own files are removed.
    """
    if outcome.failure == MACHINE:
        raise Trouble(f"{title(order.merge)}: {outcome.detail}; the next tick tries again")
    for place in (bench.places.data, bench.places.cache, bench.clone_path):
        lack = files.lack_of_room(place)
        if lack:
            raise Trouble(f"{title(order.merge)}: its job failed, and there is {lack}; the next tick tries again")


def _is_final(bench: Bench, outcome: Outcome) -> bool:
    if outcome.status == "done" or outcome.failure in outcomes.NEVER_RETRIED:
        return True
    return outcome.failure not in (INTERRUPTED, MACHINE) and outcome.attempt >= bench.job.attempts


def _log_attempt(bench: Bench, order: Order, outcome: Outcome | None) -> None:
    if outcome is None or outcome.failure == INTERRUPTED:
        log.warning("%s: interrupted; resuming from its checkpoint", title(order.merge))
        return
    attempt, attempts = order.attempt, bench.job.attempts
    reason = f"{outcome.failure}: {outcome.detail}"
    log.warning("%s: attempt %d of %d: %s", title(order.merge), attempt, attempts, reason)


def _given_up(work: Work, order: Order) -> Outcome:
    return _failed(work, order, INTERRUPTED, f"interrupted {order.interruptions} times without a new checkpoint")


def _failed(work: Work, order: Order, failure: str, detail: str) -> Outcome:
    now = clock.utc_now()
    return Outcome("failed", failure, detail, order.attempt, now, now, files=None, logs=work.path)


def _archive(bench: Bench, work: Work, order: Order, outcome: Outcome, *, runs: Path | None = None) -> Run:
    """Archive a run, in `runs` if that is given."""
    places, merge = bench.places, order.merge
    if outcome.status == "failed" and outcome.files is None and work.kept.is_dir():
        outcome = replace(outcome, files=work.kept)
    outcome = _still_good(outcome)
    room.note(places.cache, files.size(places.checkpoints / merge.sha) + files.size(work.path))
    _free_space(places, work, order, outcome)
    journal.enter(places.cache, "archive", merge, order.attempt)
    try:
        run = archive.store(runs or places.runs, work.run, merge, outcome, _circumstances(work, order))
    except OSError as error:
        raise Trouble(
            f"cannot archive the run of {merge.sha[:12]} below {places.runs}: {with_cure(error)}; "
            "its result is kept, and the next tick tries again"
        ) from None
    if bench.job.gpu_usage_charts:
        _draw_gpu_usage(run, order, bench.job.gpu_usage_charts)
    journal.enter(places.cache, "advance", merge, order.attempt)
    _tidy(bench, work, merge)
    log.log(logging.INFO if run.status == "done" else logging.ERROR, "%s: %s", title(run.merge), _result(run))
    rate = hyper.test_wer(run.hyper)
    if rate and rate > hyper.DOUBTFUL:
        log.warning("%s: results.test_wer is %g: expected a fraction, 0.12 for 12 %%", title(run.merge), rate)
    return run


def _still_good(outcome: Outcome) -> Outcome:
    """Return the outcome, failed if its record is no longer what it was when the job ended: nobody could read it."""
    found = outcomes.judge(outcome.files) if outcome.status == "done" and outcome.files else None
    if found is None or found.failure is None:
        return outcome
    detail = f"{found.detail}; it was right when the job ended"
    return replace(outcome, status="failed", failure=found.failure, detail=detail)


def _draw_gpu_usage(run: Run, order: Order, charts: Path) -> None:
    """Write the load of the GPUs as `<charts>/<id of the run>.svg`. A failure is logged: the run does not need it."""
    from deepspeech_wer.dashboard import gpu_charts, gpu_usage  # few want them

    archived = run.directory / job_contract.GPU_USAGE
    samples = archived if archived.is_file() else Path(order.gpu_usage or "")
    since, until = (datetime.fromisoformat(time).timestamp() for time in (run.started_at, run.finished_at))
    found = gpu_usage.usage(samples, since=since - 60, until=until + 60) if samples.is_file() else None
    if found is None:
        return
    try:
        charts.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write_atomically(charts / f"{run.id}.svg", gpu_charts.picture(found, run.id).encode(), mode=0o600)
    except OSError as error:
        log.warning("%s: no GPU charts: %s: %s", title(run.merge), error.filename or charts, error.strerror)


def _circumstances(work: Work, order: Order) -> Circumstances:
    machine, processor = works.read_node(work) or (os.uname().nodename, host.processor())
    return Circumstances(
        machine=machine,
        processor=processor,
        base=order.base,
        number=order.number,
        variables=order.variables,
        rerun_of=order.rerun_of,
        seed=order.seed,
        changed=order.changed,
        calibrates=order.calibrates,
    )


def _free_space(places: Places, work: Work, order: Order, outcome: Outcome) -> None:
    """Remove everything that is not archived: a job may have filled the disk with it. Follows no symbolic link."""
    checkpoints.remove(places, order.merge.sha)
    files.remove_tree(work.tmp)
    kept = {outcome.files / name for name in (job_contract.HYPER, *archive.COMPANIONS)} if outcome.files else set()
    for place in (work.logs, outcome.files):
        if place and place.is_symlink():
            place.unlink()
    for path in (*work.logs.glob("*"), *(outcome.files.glob("*") if outcome.files else ())):
        if path not in kept and path != outcome.files:
            files.remove_tree(path)


def _tidy(bench: Bench, work: Work, merge: Merge) -> None:
    """Remove what an archived run no longer needs. The work directory goes last: `collect` finds the run by it."""
    checkpoints.remove(bench.places, merge.sha)
    _clear(work)
    with suppress(OSError):  # not empty: it holds other runs
        bench.places.work.rmdir()


def _clear(work: Work) -> None:
    """Remove a work directory, or rename it: otherwise it would look like an unfinished run."""
    if files.remove_tree(work.path):
        return
    aside = work.path.with_name(f"{work.run}.left")
    try:
        work.path.rename(aside)
    except OSError as error:
        raise Trouble(f"cannot remove {work.path}: {error.strerror}: remove it by hand") from None
    log.warning(
        "cannot remove %s: the job left files that this user may not remove (from a container that runs as root?): "
        "remove them by hand",
        aside,
    )


def _result(run: Run) -> str:
    if run.hyper is None:
        tries = f" after {run.attempt} attempts" if run.attempt > 1 else ""
        kept = (
            f"; it had written a result: after a look at {run.directory}, `retry --judge {run.merge.sha[:12]}` takes it"
        )
        is_kept = run.failure != outcomes.BAD_HYPER and (run.directory / job_contract.HYPER).exists()
        return f"failed{tries}: {run.failure}: {run.detail} (log: {run.directory}/err.log){kept if is_kept else ''}"
    return f"done, test WER {hyper.shown(hyper.test_wer(run.hyper))}"
