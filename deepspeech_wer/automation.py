"""THE entry point: one tick. New merges are trained, archived, shown, published; a crash at any line loses nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from deepspeech_wer import archive, backlog, decisions, due, journal, lock, places, run_merge, signals, update_site
from deepspeech_wer.backlog import ASKED, FIRST, NEW, RESUMED, RETRIED, Due, Plan
from deepspeech_wer.jobs.local import Local
from deepspeech_wer.notify import channels
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.repository import git, history, mirror
from deepspeech_wer.run_merge import Bench, title
from deepspeech_wer.setting_types import without_password
from deepspeech_wer.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watcher:
    """How a tick shows itself on a terminal; under cron not at all."""

    job_line: Callable[[str], None] | None = None  # gets each line of the job's output
    upload: Callable[[int, int], None] | None = None  # gets bytes done, bytes in all


def tick(settings: Settings, descriptor: int, *, watcher: Watcher, asked: Sequence[str] = ()) -> bool:
    """One tick, under the lock. True: all went well; False: done, but a merge failed or the publishing did.

    `asked` names commits to be run whatever the archive holds; then no others are. Raises Trouble: nothing could be
    done; Stopped: a signal asked for the end.
    """
    _look_around(settings.places, descriptor)
    try:
        return _work(settings, watcher, asked)
    finally:
        journal.clear(settings.places.cache)


def _work(settings: Settings, watcher: Watcher, asked: Sequence[str]) -> bool:
    bench = _bench(settings, watcher)
    well, ran = True, 0
    for run in run_merge.collect(bench):
        well &= _go_on_from(run, settings, watcher)
        ran += 1
    names = list(asked)
    while item := _next(settings, names, only_asked=bool(asked)):
        if item.why == ASKED:
            names.pop(0)
        merge = history.merge(settings.places.mirror, item.sha)
        run = run_merge.run_merge(bench, merge, base=item.base)
        well &= _go_on_from(run, settings, watcher)
        ran += 1
    if not ran and update_site.is_behind(settings.places, settings.website):
        well &= _show(settings, watcher)
    elif not ran:
        _tell(settings)
    if ran and settings.website is None:
        log.info("not publishing: %s not set", ", ".join(settings.website_missing))
    return well


def _look_around(where: Places, descriptor: int) -> None:
    """Put in order what an earlier tick left, and warn of a file system without locks."""
    doubt = places.doubt_of_locks(where.cache)
    if doubt:
        due.warn_once(where, "warned_mount", doubt, doubt)
    if lock.follows_a_kill(descriptor):
        ended = git.end_leftovers()
        mirror.tidy(where.mirror)
        if ended:
            log.warning("ended the git of a killed tick (processes %s)", ", ".join(map(str, ended)))
    entry = journal.read(where.cache)
    if entry:
        cut_off = f'{entry.sha[:12]} "{entry.subject}" ({entry.phase})'
        log.warning("the last tick was cut off at %s; going on from there", cut_off)
        journal.clear(where.cache)


def _bench(settings: Settings, watcher: Watcher) -> Bench:
    return Bench(
        places=settings.places,
        job=settings.job,
        clone_path=settings.clone_path,
        origin=without_password(settings.repository.url),
        runner=Local(),
        job_line=watcher.job_line,
    )


def _next(settings: Settings, names: Sequence[str], *, only_asked: bool) -> Due | None:
    """The next commit to be run. Found anew after each run: during a long training more merges may have come."""
    signals.check()
    where = settings.places
    plan = due.find(settings, names)
    if not only_asked:
        due.write_last(where, plan.reached)
    if plan.next is None or (only_asked and plan.next.why in (RETRIED, FIRST, NEW)):
        _tell_of_stop(settings, plan)
        if not only_asked:
            run_merge.forget(where, partial(due.is_of_use, where))
        return None
    merge = history.merge(where.mirror, plan.next.sha)
    log.info("%s by %s: training%s", title(merge), merge.author, _reason(plan))
    return plan.next


def _reason(plan: Plan) -> str:
    """Why this commit is run, for the log."""
    reasons = {ASKED: ", as asked for", RESUMED: ", as was asked for", RETRIED: " again, as asked for"}
    if plan.next and plan.next.why in reasons:
        return reasons[plan.next.why]
    return f", {plan.waiting - 1} more waiting" if plan.waiting > 1 else ""


def _tell_of_stop(settings: Settings, plan: Plan) -> None:
    """Say once that runs which failed alike stopped the queue."""
    failed = due.alike(settings.places) if plan.waiting and plan.next is None else []
    if len(failed) >= settings.job.stop_after_alike:
        reason = f"the last {len(failed)} runs failed alike ({failed[-1].failure}), which may be this machine's trouble"
        cure = "mend it, then `deepspeech-wer retry`; or raise ds_stop_after_alike"
        text = f"the queue stands still, {plan.waiting} waiting: {reason}: {cure}"
        due.warn_once(settings.places, "warned_alike", failed[0].started_at, text)


def _go_on_from(run: Run, settings: Settings, watcher: Watcher) -> bool:
    """What follows an archived run: last_sha1, the site, the notices. Whether it all went well."""
    where = settings.places
    decisions.end_retry(where.requests, run.merge.sha)
    if run.status == "done":
        _forgive(run, settings)
    due.write_last(where, due.reached(settings))
    journal.enter(where.cache, "show", run.merge, run.attempt)
    is_shown = _show(settings, watcher)
    return is_shown and run.status == "done"


def _forgive(run: Run, settings: Settings) -> None:
    """After a run that succeeded, those that failed alike before it are due again: it was the machine's trouble."""
    where = settings.places
    before = (one for one in archive.ended(where.runs) if one.sha != run.merge.sha[:12])
    failed = backlog.alike(before, since=decisions.released_at(where.requests))
    if len(failed) >= settings.job.stop_after_alike:
        shas = [archive.find(where.runs, one.sha).merge.sha for one in failed]
        decisions.retry_all(where.requests, shas, "the tracker")
        log.warning("%d merges that failed alike before are tried again", len(failed))


def _show(settings: Settings, watcher: Watcher) -> bool:
    """Bring the site and the web host up to date, and tell who wants to be told."""
    well = update_site.update(
        settings.places,
        settings.repository,
        settings.website,
        url=settings.notices.website_url,
        upload=watcher.upload,
    )
    _tell(settings)
    return well


def _tell(settings: Settings) -> None:
    notices, runs = settings.notices, settings.places.runs
    if notices.github_token or notices.webhook_url:

        def read(name: str) -> Run:
            return archive.read(runs / name)

        channels.tell(settings.repository, notices, settings.places.cache, archive.names(runs), read)
