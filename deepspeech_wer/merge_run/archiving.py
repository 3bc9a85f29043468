"""Archives a run whose job has ended, and removes what that no longer needs."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from deepspeech_wer import archive_store, checkpoints, files, hyper, job_contract, journal, room
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import host
from deepspeech_wer.merge_run import unfinished
from deepspeech_wer.merge_run.bench import Bench, title
from deepspeech_wer.places import Places
from deepspeech_wer.records import Circumstances, Merge, Outcome, Run

log = logging.getLogger(__name__)


def archive_run(bench: Bench, work: Work, order: Order, outcome: Outcome, *, runs: Path | None = None) -> Run:
    """Archive a run, in `runs` if that is given."""
    places, merge = bench.places, order.merge
    if outcome.status == "failed" and outcome.files is None and work.kept.is_dir():
        outcome = outcome._replace(files=work.kept)
    outcome = _still_good(outcome)
    room.note(places.cache, files.size(places.checkpoints / merge.sha) + files.size(work.path))
    _free_space(places, work, order, outcome)
    journal.enter(places.cache, "archive", merge, order.attempt)
    try:
        run = archive_store.store(runs or places.runs, work.run, merge, outcome, _circumstances(work, order))
    except OSError as error:
        raise Trouble(
            f"cannot archive the run of {merge.sha[:12]} below {places.runs}: {with_cure(error)}; "
            "its result is kept, and the next tick tries again"
        ) from None
    if bench.job.gpu_usage_charts:
        _draw_gpu_usage(run, order, bench.job.gpu_usage_charts)
    journal.enter(places.cache, "advance", merge, order.attempt)
    clean_up(bench, work, merge)
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
    return outcome._replace(status="failed", failure=found.failure, detail=detail)


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
    kept = (
        {outcome.files / name for name in (job_contract.HYPER, *archive_store.COMPANIONS)} if outcome.files else set()
    )
    for place in (work.logs, outcome.files):
        if place and place.is_symlink():
            place.unlink()
    for path in (*work.logs.glob("*"), *(outcome.files.glob("*") if outcome.files else ())):
        if path not in kept and path != outcome.files:
            files.remove_tree(path)


def clean_up(bench: Bench, work: Work, merge: Merge) -> None:
    """Remove what an archived run no longer needs. The work directory goes last: `collect` finds the run by it."""
    checkpoints.remove(bench.places, merge.sha)
    unfinished.clear(work)
    with suppress(OSError):  # not empty: it holds other runs
        bench.places.work.rmdir()


def _result(run: Run) -> str:
    if run.hyper is None:
        tries = f" after {run.attempt} attempts" if run.attempt > 1 else ""
        kept = (
            f"; it had written a result: after a look at {run.directory}, `retry --judge {run.merge.sha[:12]}` takes it"
        )
        is_kept = run.failure != outcomes.BAD_HYPER and (run.directory / job_contract.HYPER).exists()
        return f"failed{tries}: {run.failure}: {run.detail} (log: {run.directory}/err.log){kept if is_kept else ''}"
    return f"done, test WER {hyper.shown(hyper.test_wer(run.hyper))}"
