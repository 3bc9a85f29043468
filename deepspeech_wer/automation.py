"""THE entry point: one tick trains new merges, archives them and publishes the page. A crash at any line is safe."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from deepspeech_wer import archive, backlog, files, journal, lock, places, run_merge, signals, update_site
from deepspeech_wer.backlog import ASKED, FIRST, NEW, RESUMED, Branch, Due, Interrupted, Plan, State
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs.local import Local
from deepspeech_wer.jobs.outcome import INTERRUPTED
from deepspeech_wer.notify import channels
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.repository import git, history, mirror
from deepspeech_wer.repository.history import History
from deepspeech_wer.run_merge import Bench, title
from deepspeech_wer.setting_types import without_password
from deepspeech_wer.settings import Repository, Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watcher:
    """Callbacks that show a tick's progress on a terminal. Under cron they are None."""

    job_line: Callable[[str], None] | None = None  # called with each line of the job's output
    upload: Callable[[int, int], None] | None = None  # called with bytes sent and total bytes


def tick(settings: Settings, descriptor: int, *, watcher: Watcher, asked: Sequence[str] = ()) -> bool:
    """Run one tick. The caller holds the lock, whose descriptor is `descriptor`.

    Returns False if a merge or the publishing failed, else True. `asked` names commits to run even if they are
    archived; then no other commit runs. Raises Trouble if the tick could not work at all, Stopped after a signal.
    """
    _recover(settings.places, descriptor)
    try:
        return _work(settings, watcher, asked)
    finally:
        journal.clear(settings.places.cache)


def _work(settings: Settings, watcher: Watcher, asked: Sequence[str]) -> bool:
    bench = _bench(settings, watcher)
    succeeded, ran = True, 0
    for run in run_merge.collect(bench):
        succeeded &= _publish_run(settings, watcher, run)
        ran += 1
    names = list(asked)
    while due := _next(settings, names, only_asked=bool(asked)):
        if due.why == ASKED:
            names.pop(0)
        merge = history.merge(settings.places.mirror, due.sha)
        succeeded &= _publish_run(settings, watcher, run_merge.run_merge(bench, merge, base=due.base))
        ran += 1
    if not ran and update_site.is_behind(settings.places, settings.website):
        succeeded &= _publish(settings, watcher)
    elif not ran:
        _notify(settings)
    if ran and settings.website is None:
        log.info("not publishing: %s not set", ", ".join(settings.website_missing))
    return succeeded


def make_plan(settings: Settings, names: Sequence[str] = ()) -> Plan:
    """Fetch the branch and plan what to run. `names` are abbreviated SHAs of commits requested by hand.

    Raises Trouble if the repository cannot be reached or if the branch or a commit does not exist.
    """
    repository, where = settings.repository, settings.places
    last = read_last(where)
    tip = mirror.update(where.mirror, repository.url, repository.ref, known=last)
    if tip is None:
        _warn_once(where, "warned_empty", repository.url, f"{repository.name}: the repository has no commits yet")
        return Plan(None, 0, None)
    asked = [merge.sha for merge in history.resolve(where.mirror, names)] if names else []
    found = _history(where, repository, tip, last)
    plan = backlog.plan(_branch(found), _state(where, repository, tip, asked))
    _warn_about_history(where, found, plan)
    return plan


def read_last(where: Places) -> str | None:
    """Return the text of last_sha1, unchecked; None if there is no such file. Raises Trouble if it is unreadable."""
    try:
        return where.last_sha1.read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:  # an unreadable file must not look like a first run
        raise Trouble(f"cannot read {where.last_sha1}: {error.strerror}") from None


def _recover(where: Places, descriptor: int) -> None:
    """Clean up after a killed tick, and warn if the lock may not be reliable."""
    doubt = places.doubt_of_locks(where.cache)
    if doubt:
        _warn_once(where, "warned_mount", doubt, doubt)
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
    """Return the next commit to run. Planned again after each run: new merges may arrive during a long training."""
    signals.check()
    where = settings.places
    plan = make_plan(settings, names)
    if not only_asked:
        _write_last(where, plan.reached)
    if plan.next is None or (only_asked and plan.next.why in (FIRST, NEW)):
        if not only_asked:
            _forget(settings)
        return None
    merge = history.merge(where.mirror, plan.next.sha)
    log.info("%s by %s: training%s", title(merge), merge.author, _reason(plan))
    return plan.next


def _reason(plan: Plan) -> str:
    if plan.next and plan.next.why in (ASKED, RESUMED):
        return ", requested by hand" if plan.next.why == ASKED else ", requested by hand earlier"
    return f", {plan.waiting - 1} more in the queue" if plan.waiting > 1 else ""


def _history(where: Places, repository: Repository, tip: str, last: str | None) -> History:
    bases = lambda: archive.bases(where.runs)  # noqa: E731 - reads every run, so call it only if last_sha1 is unusable
    return history.read(where.mirror, tip, last, bases=bases, track=repository.track)


def _branch(found: History) -> Branch:
    return Branch(found.tip, found.base, found.new)


def _state(where: Places, repository: Repository, tip: str, asked: Sequence[str] = ()) -> State:
    return State(
        archived=archive.commits(where.runs),
        interrupted=_interrupted(where, tip),
        asked=asked,
        order=repository.backlog,
    )


def _interrupted(where: Places, tip: str) -> list[Interrupted]:
    """Return the interrupted runs, except those requested by hand that a signal to their tick ended cleanly: ending
    the tick withdraws the request.
    """
    found = []
    for left in run_merge.unfinished(where):
        merge, base = left.order.merge, left.order.base
        if base is None and left.outcome and left.outcome.failure == INTERRUPTED:
            continue
        found.append(Interrupted(merge.sha, base, is_on_branch=history.contains(where.mirror, tip, merge.sha)))
    return found


def _reached(settings: Settings) -> str | None:
    """Return the newest commit up to which every merge is archived."""
    where, last = settings.places, read_last(settings.places)
    tip = mirror.tip(where.mirror)
    found = _history(where, settings.repository, tip, last)
    return backlog.plan(_branch(found), _state(where, settings.repository, tip)).reached


def _forget(settings: Settings) -> None:
    """Remove checkpoints and work directories that no run will resume, such as those of a rewritten branch."""
    where = settings.places

    def may_resume(sha: str) -> bool:
        tip = mirror.tip(where.mirror)
        state = State(archived=archive.commits(where.runs))
        return backlog.may_resume(state, sha, is_on_branch=history.contains(where.mirror, tip, sha))

    run_merge.forget(where, may_resume)


def _warn_about_history(where: Places, found: History, plan: Plan) -> None:
    if found.squashed:
        squashed = f"{found.squashed} commits and no merge among them"
        cure = "if the team squashes or rebases, set ds_track=commits"
        _warn_once(where, "warned_sha1", found.tip, f"{squashed}: {cure}")
    if found.lost is None:
        return
    start = "at its newest commit, since none of its commits is archived"
    if found.base is not None:
        start = f"after {(plan.reached or found.base)[:12]}, the newest commit up to which all merges are archived"
    if history.is_sha(found.lost):
        log.warning("the branch was rewritten: last_sha1 %s is not in its history; continuing %s", found.lost, start)
    else:
        shown = found.lost[:64]
        log.warning("last_sha1 is damaged: expected 40 or 64 hex digits, found %r; continuing %s", shown, start)


def _publish_run(settings: Settings, watcher: Watcher, run: Run) -> bool:
    """Advance last_sha1, publish and notify after a run was archived.

    Returns whether both the run and the publishing succeeded.
    """
    _write_last(settings.places, _reached(settings))
    journal.enter(settings.places.cache, "show", run.merge, run.attempt)
    is_shown = _publish(settings, watcher)
    return is_shown and run.status == "done"


def _publish(settings: Settings, watcher: Watcher) -> bool:
    """Update the site and the web host, then send the notifications. Returns whether the update succeeded."""
    succeeded = update_site.update(
        settings.places,
        settings.repository,
        settings.website,
        url=settings.notices.website_url,
        upload=watcher.upload,
    )
    _notify(settings)
    return succeeded


def _notify(settings: Settings) -> None:
    notices = settings.notices
    if notices.github_token or notices.webhook_url:
        runs = settings.places.runs

        def read(name: str) -> Run:
            return archive.read(runs / name)

        channels.tell(settings.repository, notices, settings.places.cache, archive.names(runs), read)


def _warn_once(where: Places, name: str, occasion: str, warning: str) -> None:
    """Log a warning once per `occasion`, which the file `name` in the cache remembers."""
    place = where.cache / name
    with contextlib.suppress(OSError):  # no such file yet; a repeated warning is better than none
        if place.read_text("utf-8", "replace").strip() == occasion:
            return
    log.warning("%s", warning)
    with contextlib.suppress(OSError):
        files.write_atomically(place, f"{occasion}\n".encode(), mode=0o600)


def _write_last(where: Places, sha: str | None) -> None:
    """Write last_sha1. None removes it: no archived commit is on the branch any more."""
    if sha == read_last(where):
        return
    try:
        if sha is None:
            where.last_sha1.unlink(missing_ok=True)
        else:
            files.write_atomically(where.last_sha1, f"{sha}\n".encode(), mode=0o600)
    except OSError as error:
        raise Trouble(f"cannot write {where.last_sha1}: {error.strerror}; the next tick tries again") from None
