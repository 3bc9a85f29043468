"""THE entry point: one tick trains new merges, archives them and publishes the page. A crash at any line is safe."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import (
    archive,
    archive_record,
    backlog,
    backlog_inputs,
    data_lock,
    decision_files,
    identity,
    journal,
    kept_log,
    places,
    update_site,
    versions,
)
from deepspeech_wer.backlog import ASKED, BISECTED, CALIBRATED, FIRST, NEW, RERUN, RESUMED, RETRIED, Due, Plan
from deepspeech_wer.configuration import environment
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.errors import Trouble
from deepspeech_wer.heartbeat import Heartbeat
from deepspeech_wer.jobs.runners import Runners
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.judging import standing
from deepspeech_wer.machine import lock, signals
from deepspeech_wer.merge_run import held, one_by_one, unfinished
from deepspeech_wer.merge_run.bench import Bench, title
from deepspeech_wer.notify import ledger
from deepspeech_wer.places import Places
from deepspeech_wer.records import Merge, Run
from deepspeech_wer.repository import git, history, mirror
from deepspeech_wer.showing import Showing
from deepspeech_wer.variables import without_password

_REPLAN_S = 60.0  # between two looks at the repository while there is room for one more run

log = logging.getLogger(__name__)


class Watcher(NamedTuple):
    """Callbacks that show a tick's progress on a terminal. Under cron they are None."""

    job_line: Callable[[str], None] | None = None  # called with each line of the job's output
    upload: Callable[[int, int], None] | None = None  # called with bytes sent and total bytes


def tick(settings: Settings, descriptor: int, *, watcher: Watcher, asked: Sequence[str] = ()) -> bool:
    """Run one tick. The caller holds the lock, whose descriptor is `descriptor`.

    Returns False if a merge or the publishing failed, or if a merge is now known to make it worse, else True. `asked`
    names commits to run even if they are archived; then no other commit runs. Raises Trouble if the tick could not
    work at all, Stopped after a signal.
    """
    identity.check(settings.places, settings.repository)
    with data_lock.held(settings.places) as of_data:
        locks = {settings.places.lock: descriptor, settings.places.data_lock: of_data}
        require_data = partial(identity.require, settings.places, settings.repository, identity.root(settings.places))
        _recover(settings.places, descriptor, settings.doubts)
        try:
            well = _work(settings, watcher, asked, locks, require_data)
        finally:
            journal.clear(settings.places.cache)
        require_data()
        identity.note(settings.places, settings.repository)
    return well


def _work(
    settings: Settings,
    watcher: Watcher,
    asked: Sequence[str],
    locks: Mapping[Path, int],
    require_data: Callable[[], None],
) -> bool:
    beat = Heartbeat(settings)
    showing = Showing(settings.places, partial(_show, settings, watcher), partial(update_site.is_behind, settings))
    bench = _bench(settings, watcher, beat, showing)._replace(require_data=require_data)
    well, ran = True, 0
    versions.refuse_replaced()  # the first call notes what there is
    work = _side_by_side if settings.cluster.is_slurm else _one_by_one
    try:
        for run in work(settings, bench, showing, asked, locks):
            if run is not None:
                well &= _go_on_from(run, settings, showing)
                ran += 1
            elif not showing.is_owed and update_site.lacks_verdicts(settings):
                showing.now()  # a tick was killed before it judged; the verdicts decide what is due
    except Trouble:
        require_data()
        _check(locks)
        if showing.is_owed:
            showing.now()
        raise
    showing.pay()
    if not ran and showing.is_well:  # else it was tried and told
        if update_site.is_behind(settings):
            showing.now()
        else:
            beat.idle()
            _notify(settings, is_idle=True)
    well &= showing.is_well and not ledger.owes_exit_code(settings.places.cache)
    if ran and settings.website is None:
        log.info("not publishing: %s not set", ", ".join(settings.website_missing))
    return well


def _one_by_one(
    settings: Settings, bench: Bench, showing: Showing, asked: Sequence[str], locks: Mapping[Path, int]
) -> Iterator[Run | None]:
    """Run what is due, one merge after the other, and yield each archived run; None once what was left is archived."""
    yield from one_by_one.collect(bench)
    yield from held.release(settings.places, ())  # left from when they trained on a cluster
    yield None
    beat, names, left = Heartbeat(settings), list(asked), 0
    while True:
        if not left or _depends_on_verdicts(settings):
            showing.pay()
        item, left = _next(settings, names, beat, only_asked=bool(asked))
        if item is None and showing.is_owed:
            showing.pay()  # the verdicts may want to have something trained again
            item, left = _next(settings, names, beat, only_asked=bool(asked))
        if item is None:
            return
        _check(locks)
        yield one_by_one.run(bench, _begun(settings, item, names), item)


def _depends_on_verdicts(settings: Settings) -> bool:
    """Return whether the verdicts decide what runs next also while new merges wait."""
    return settings.repository.backlog != "all" or settings.retraining.mode == "first"


def _side_by_side(
    settings: Settings, bench: Bench, showing: Showing, asked: Sequence[str], locks: Mapping[Path, int]
) -> Iterator[Run | None]:
    """Run what is due on a cluster, several merges at a time, and yield as `_one_by_one` does, in order of history.

    A signal ends the tick and leaves the jobs running.
    """
    from deepspeech_wer.team import Team  # only with a cluster

    where = settings.places

    def is_of_use(sha: str) -> bool:  # without a mirror, the plan finds it again after the next fetch
        return where.mirror.exists() and backlog_inputs.is_of_use(where, sha)

    team = Team(bench, settings.cluster.parallel_runs, is_of_use)
    team.take_over()
    beat, names = Heartbeat(settings), list(asked)
    yield from team.look()
    yield None
    showing.pay()
    looked_for_more = -_REPLAN_S
    while True:
        signals.check()
        _check(locks)
        is_due = time.monotonic() - looked_for_more >= _REPLAN_S
        while is_due and team.has_room():
            item, _ = _next(settings, names, beat, only_asked=bool(asked), running=team.busy())
            if item is None:
                looked_for_more = time.monotonic()
                break
            team.begin(_begun(settings, item, names), item)
        if team.is_idle():
            return
        team.wait()
        bench.require_data()
        for run in team.look():
            yield run
            looked_for_more = -_REPLAN_S
        showing.pay()


def _check(locks: Mapping[Path, int]) -> None:
    versions.refuse_replaced()
    for path, descriptor in locks.items():
        lock.check(descriptor, str(path))


def _begun(settings: Settings, item: Due, names: list[str]) -> Merge:
    """Tell that a run begins, and return its merge."""
    if item.why == ASKED:  # not the first one if that runs already
        names.remove(next((name for name in names if item.sha.startswith(name)), names[0]))
    if item.rerun_of is None:
        from deepspeech_wer.notify import channels  # not in an idle tick

        channels.begin(settings.repository, settings.notices, settings.places.cache, item.sha)
    return history.merge(settings.places.mirror, item.sha)


def _recover(where: Places, descriptor: int, doubts: Sequence[str]) -> None:
    """Clean up after a killed tick, and warn if the lock may not be reliable."""
    doubt = places.doubt_of_locks(where.cache)
    if doubt:
        backlog_inputs.warn_once(where, "warned_mount", doubt, doubt)
    misspelt = "; ".join(doubts)
    if misspelt:
        backlog_inputs.warn_once(where, "warned_variables", misspelt, misspelt)
    if lock.follows_a_kill(descriptor):
        ended = git.end_leftovers()
        mirror.tidy(where.mirror)
        if ended:
            log.warning("ended git processes of a killed tick: %s", ", ".join(map(str, ended)))
    entry = journal.read(where.cache)
    if entry:
        log.warning(
            'the last tick was killed at %s "%s" (phase %s); resuming it', entry.sha[:12], entry.subject, entry.phase
        )
        journal.clear(where.cache)
    lost = identity.lost_run(where)
    if lost:
        log.warning(
            "the run %s, which was the newest, is gone from %s: was an older copy restored? Merges without a run are "
            "trained again",
            lost,
            where.runs,
        )
        backlog_inputs.write_last(where, None)  # it tells how far the archive reached


def _bench(settings: Settings, watcher: Watcher, beat: Heartbeat, showing: Showing) -> Bench:
    def meanwhile(work: Work, order: Order) -> None:
        showing.meanwhile(work, order)
        beat.job(work, order)

    return Bench(
        places=settings.places,
        job=settings.job,
        clone_path=settings.clone_path,
        variables=environment.operators_variables(ignored=every_setting.NAMES),
        origin=without_password(settings.repository.url),
        runner=Runners(settings.cluster),
        job_line=watcher.job_line,
        meanwhile=meanwhile,
    )


def _next(
    settings: Settings, names: Sequence[str], beat: Heartbeat, *, only_asked: bool, running: Collection[str] = ()
) -> tuple[Due | None, int]:
    """Return what to run next, if anything is due, and how many merges wait behind it.

    `running`: see `backlog_inputs.find`.

    Planned again after each run: new merges may arrive during a long training.
    """
    signals.check()
    where = settings.places
    plan = backlog_inputs.find(settings, names, running)
    if plan.next or plan.reached:  # else the repository has no commits
        backlog_inputs.drop_requests(where)
    if not only_asked:
        backlog_inputs.write_last(where, plan.reached)
    left = plan.waiting - (plan.next is not None and plan.next.why in (FIRST, BISECTED, NEW))
    beat.plans(left)
    if plan.next is None or (only_asked and plan.next.why in (RETRIED, FIRST, BISECTED, NEW, RERUN, CALIBRATED)):
        _tell_of_stop(settings, plan)
        if not only_asked and not running:
            unfinished.forget(where, partial(backlog_inputs.is_of_use, where))
        return None, left
    merge = history.merge(where.mirror, plan.next.sha)
    kept_log.working_on("", merge.sha)  # no longer on the merge before it
    log.info("%s by %s: training%s", title(merge), merge.author, _reason(plan))
    return plan.next, left


def _reason(plan: Plan) -> str:
    """Why this commit is run, for the log."""
    reasons = {
        ASKED: ", requested by hand",
        RESUMED: ", requested by hand earlier",
        RETRIED: " again, requested by hand",
        BISECTED: ", to find the merge that made the WER worse",
    }
    if plan.next and plan.next.why in (RERUN, CALIBRATED):
        seed = "" if plan.next.seed is None else f" with seed {plan.next.seed}"
        return f" again{seed}, {plan.next.reason}"
    if plan.next and plan.next.why in reasons:
        return reasons[plan.next.why]
    return f", {plan.waiting - 1} more in the queue" if plan.waiting > 1 else ""


def _tell_of_stop(settings: Settings, plan: Plan) -> None:
    """Warn once that runs which failed alike stopped the queue."""
    failed = backlog_inputs.alike(settings.places) if plan.waiting and plan.next is None else []
    if len(failed) >= settings.job.stop_after_alike:
        reason = f"the last {len(failed)} runs failed alike ({failed[-1].failure}), so this machine may be at fault"
        cure = "fix it, then `deepspeech-wer retry`; or raise ds_stop_after_alike"
        text = f"the queue is stopped with {plan.waiting} waiting: {reason}: {cure}"
        backlog_inputs.warn_once(settings.places, "warned_alike", failed[0].run, text)


def _go_on_from(run: Run, settings: Settings, showing: Showing) -> bool:
    """Advance last_sha1 after a run was archived, and have it shown. Returns whether it went well."""
    where = settings.places
    if run.rerun_of is None:
        decision_files.end_retry(where.requests, run.merge.sha)
    if run.status == "done":
        _forgive(run, settings)
    backlog_inputs.write_last(where, backlog_inputs.reached(settings))
    showing.owe(run)
    return run.status == "done" or run.rerun_of is not None


def _forgive(run: Run, settings: Settings) -> None:
    """Queue the runs again that failed alike before this one succeeded: the machine, not they, was at fault."""
    where = settings.places
    before = (one for one in archive.ended(where.runs) if one.sha != run.merge.sha[:12])
    failed = backlog.alike(before, decision_files.released(where.requests))
    if len(failed) >= settings.job.stop_after_alike:
        shas = [archive.find(where.runs, one.sha).merge.sha for one in failed]
        decision_files.retry_all(where.requests, shas, "the tracker", archive.newest(where.runs))
        log.warning("%d merges that failed alike before are tried again", len(failed))


def _show(settings: Settings, watcher: Watcher) -> bool:
    """Update the site and the web host, then tell everybody. Returns whether the update succeeded."""
    well = update_site.update(settings, upload=watcher.upload)
    _notify(settings)
    return well


def _notify(settings: Settings, *, is_idle: bool = False) -> None:
    places, notices = settings.places, settings.notices
    if is_idle and not notices.has_receivers and ledger.was_logged(places.cache, standing.mark(places)):
        return
    from deepspeech_wer import dashboard  # this and what follows take longer to load than an idle tick takes
    from deepspeech_wer.notify import channels
    from deepspeech_wer.notify.facts import Archive

    source = Archive(
        mark=standing.mark(places),
        names=lambda: archive.names(places.runs),
        read=lambda name: archive_record.read(places.runs / name),
        record=lambda: dashboard.decided(standing.read(places), decision_files.accepted(places.requests)),
        logs=settings.logs,
    )
    channels.tell(settings.repository, notices, places.cache, source, is_idle=is_idle)
