"""Begins a run: its work directory, and its order with the counts of earlier attempts."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import PurePath

from deepspeech_wer import archive, checkpoints, clock, files
from deepspeech_wer.backlog import Due
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.jobs import gpu
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.merge_run import unfinished
from deepspeech_wer.merge_run.bench import Bench
from deepspeech_wer.merge_run.unfinished import Unfinished
from deepspeech_wer.records import Changed, Merge
from deepspeech_wer.repository import history


def begin(bench: Bench, merge: Merge, due: Due, *, was_cut_off: bool = False) -> tuple[Work, Order]:
    """Create a work directory with its order. The counts of an interrupted run of the same merge carry over.

    `was_cut_off`: its job was interrupted, and not by a signal to the tick, which counts as one more interruption.
    """
    places = bench.places
    earlier = [left for left in unfinished.find(places) if left.order.merge.sha == merge.sha]
    if any((left.order.rerun_of, left.order.seed) != (due.rerun_of, due.seed) for left in earlier):
        checkpoints.remove(places, merge.sha)  # of a training with another seed
        for left in earlier:
            unfinished.clear(left.work)
        earlier = []
    progress = checkpoints.progress(places, merge.sha)
    last = earlier[-1] if earlier else None
    stamp = clock.utc_now()
    work = Work(places.work / works.name(stamp, merge.sha, archive.newest(places.runs), places.begun))
    order = Order(
        merge=merge,
        base=due.base,
        number=due.number,
        attempt=_next_attempt(last),
        interruptions=_interruptions(last, progress, was_cut_off=was_cut_off),
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
        changed=_changed(bench, merge, due),
        calibrates=due.calibrates,
        guards=bench.job.guards,
        links=works.links(work, places.checkpoints / merge.sha),
    )
    try:
        works.make(work, order)
    except OSError as error:
        raise Trouble(f"cannot prepare a run: {work.path}: {with_cure(error)}; the next tick tries again") from None
    for left in earlier:  # only now that the new order has their counts
        _keep_record(left, work)
        unfinished.clear(left.work)
    return work, order


def _changed(bench: Bench, merge: Merge, due: Due) -> Changed | None:
    """Return what a merge changed, for its record. It is trained all the same if git cannot tell."""
    if due.rerun_of is not None:
        return None
    with suppress(Trouble):
        found = history.changed(bench.places.mirror, merge, PurePath(bench.job.script).as_posix())
        return found._replace(passed=due.passed)
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


def _interruptions(last: Unfinished | None, progress: int, *, was_cut_off: bool) -> int:
    """Count interruptions without a new checkpoint: a training that makes progress is never given up."""
    if last is None or last.order.progress != progress:
        return 0
    if last.outcome is None:
        was_cut_off = works.was_started(last.work)
    else:
        was_cut_off = was_cut_off or outcomes.was_cut_off(last.outcome)
    return last.order.interruptions + was_cut_off
