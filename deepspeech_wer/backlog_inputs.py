"""Gathers what git, the archive, unfinished runs and people's decisions say; `backlog` plans from it what to run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Sequence
from itertools import takewhile

from deepspeech_wer import archive, archive_order, backlog, decision_files, files
from deepspeech_wer.backlog import Branch, Due, Ended, Interrupted, Plan, State
from deepspeech_wer.configuration import environment
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Retraining, Settings
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.jobs.outcome import INTERRUPTED, MACHINE
from deepspeech_wer.judging import standing
from deepspeech_wer.merge_run import unfinished
from deepspeech_wer.places import Places
from deepspeech_wer.repository import history, mirror
from deepspeech_wer.repository.git import GitError
from deepspeech_wer.repository.history import History
from deepspeech_wer.variables import without_password

MAX_ANCHORS = 3  # of one merge: a variable that holds the time of day differs in every tick
MAX_PASSED = 100  # commits that a run names because they were skipped

log = logging.getLogger(__name__)


def find(settings: Settings, names: Sequence[str] = (), running: Collection[str] = ()) -> Plan:
    """Fetch the branch and plan what to run. `names` are abbreviated SHAs of commits requested by hand.

    `running` are the first 12 digits of the commits whose runs have begun: they are not due again. Raises Trouble if
    the repository cannot be reached or if the branch or a commit does not exist.
    """
    repository, places = settings.repository, settings.places
    last = read_last(places)
    tip = mirror.update(places.mirror, repository.url, repository.ref, known=last)
    if tip is None:
        warn_once(places, "warned_empty", without_password(repository.url), no_commits(settings))
        return Plan(None, 0, None)
    asked = [merge.sha for merge in history.resolve(places.mirror, names)] if names else []
    found = _history(settings, tip, last)
    state = _state(settings, tip, asked)._replace(running=frozenset(running))
    plan = backlog.plan(_branch(found), state)
    _warn_of_history(places, found, plan)
    return plan._replace(next=_numbered(places, plan.next, found, running)) if plan.next else plan


def no_commits(settings: Settings) -> str:
    """Return what to say of an empty repository. Raises Trouble if it had commits."""
    shown = without_password(settings.repository.url)
    if archive.newest(settings.places.runs):
        cure = "was it made anew, or does something else answer there, such as a login page? The next tick tries again"
        raise Trouble(f"{shown}: the repository is empty, but had commits: {cure}")
    return f"{settings.repository.name}: the repository has no commits yet"


def queue(settings: Settings, most: int) -> tuple[list[Due], int]:
    """Return what is due as of the last fetch, at most so many, and how many new merges wait. Changes nothing.

    Raises Trouble if the mirror cannot be read.
    """
    places = settings.places
    if not places.mirror.exists():
        return [], 0
    try:
        tip = mirror.tip(places.mirror)
    except GitError as error:
        if error.code == 1:  # there is no such branch in it
            raise Trouble("not known, as nothing of the branch has been fetched yet") from None
        raise Trouble(f"cannot read the mirror {places.mirror}: {error}") from None
    branch, state = _branch(_history(settings, tip, read_last(places))), _state(settings, tip)
    return backlog.queue(branch, state, most), backlog.plan(branch, state).waiting


def reached(settings: Settings) -> str | None:
    """Return the newest commit up to which every merge is archived; without a usable mirror, what last_sha1 says.

    A mirror that was deleted or damaged while a job ran is mended by the next fetch.
    """
    try:
        tip = mirror.tip(settings.places.mirror)
    except GitError:
        return read_last(settings.places)
    found = _history(settings, tip, read_last(settings.places))
    return backlog.plan(_branch(found), _state(settings, tip)).reached


def is_of_use(places: Places, sha: str) -> bool:
    """Return whether a run may still resume from the checkpoint of a commit: not once it has left the branch."""
    state = State(archived=_settled(places))
    is_on_branch = history.contains(places.mirror, mirror.tip(places.mirror), sha)
    return backlog.may_resume(state, sha, is_on_branch=is_on_branch)


def alike(places: Places) -> list[Ended]:
    """Return the last runs, oldest first, that failed with one class since the queue was last released."""
    return backlog.alike(archive.ended(places.runs), decision_files.released(places.requests))


def read_last(places: Places) -> str | None:
    """Return the text of last_sha1, unchecked; None if there is no such file. Raises Trouble if it is unreadable."""
    try:
        return files.read(places.last_sha1).decode("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:  # an unreadable file must not look like a first run
        raise Trouble(f"cannot read {places.last_sha1}: {with_cure(error)}") from None


def write_last(places: Places, sha: str | None) -> None:
    """Write last_sha1. None removes it: no archived commit is on the branch any more. Raises Trouble."""
    if sha == read_last(places):
        return
    try:
        if sha is None:
            places.last_sha1.unlink(missing_ok=True)
        else:
            files.write_atomically(places.last_sha1, f"{sha}\n".encode(), mode=0o600)
    except OSError as error:
        raise Trouble(f"cannot write {places.last_sha1}: {with_cure(error)}; the next tick tries again") from None


def warn_once(places: Places, name: str, occasion: str, warning: str) -> None:
    """Log a warning once per `occasion`, which the file `name` in the cache remembers."""
    place = places.cache / name
    with contextlib.suppress(OSError):  # no such file yet; a repeated warning is better than none
        if files.read(place).decode("utf-8", "replace").strip() == occasion:
            return
    log.warning("%s", warning)
    with contextlib.suppress(OSError):
        files.write_atomically(place, f"{occasion}\n".encode(), mode=0o600)


def _numbered(places: Places, item: Due, found: History, running: Collection[str]) -> Due:
    ordinal = history.merge(places.mirror, item.sha).ordinal
    placed = archive.placed(places.runs, places.placed)
    new = (item.sha,) if item.why == backlog.FIRST else found.new  # after a rewrite from its root, `found` has none
    number = archive_order.number_for(item.sha, ordinal, placed, new)
    return item._replace(
        number=number, passed=_passed(item.sha, found.new, archive.commits(places.runs) | set(running))
    )


def _passed(sha: str, new: Sequence[str], archived: Collection[str]) -> tuple[str, ...]:
    """Return the commits just before a new one that have not run, oldest first."""
    earlier = list(new[: new.index(sha)]) if sha in new else []
    skipped = list(takewhile(lambda one: one[:12] not in archived, reversed(earlier)))
    return tuple(skipped[:MAX_PASSED][::-1])


def _history(settings: Settings, tip: str, last: str | None) -> History:
    def bases() -> set[str]:
        return archive.bases(settings.places.runs)  # reads every run, so call it only if last_sha1 is unusable

    return history.read(settings.places.mirror, tip, last, bases=bases, track=settings.repository.track)


def _branch(found: History) -> Branch:
    return Branch(found.tip, found.base, found.new)


def _state(settings: Settings, tip: str, asked: Sequence[str] = ()) -> State:
    places = settings.places
    return State(
        archived=_settled(places),
        interrupted=_interrupted(places, tip),
        asked=asked,
        retried=_retried(places, tip),
        is_stopped=len(alike(places)) >= settings.job.stop_after_alike,
        order=settings.repository.backlog,
        reruns=_reruns(settings, tip),
        are_reruns_first=settings.retraining.mode == "first",
        doubted=standing.doubted(places, settings.retraining),
        calibrations=_calibrations(places, tip),
    )


def _calibrations(places: Places, tip: str) -> list[Due]:
    if not decision_files.calibrations(places.requests):
        return []
    from deepspeech_wer.judging import calibrating  # loads what judges; few ask for it

    return [one for one in calibrating.due(places) if history.contains(places.mirror, tip, one.sha)]


def _settled(places: Places) -> set[str]:
    """The first 12 digits of every commit that is archived, or that somebody decided not to train."""
    return archive.commits(places.runs) | {one.sha[:12] for one in decision_files.skipped(places.requests)}


def _reruns(settings: Settings, tip: str) -> list[Due]:
    """Return what is to be trained again: the anchor of a new series, then what the verdicts ask for."""
    places, wanted = settings.places, settings.retraining
    again = [_anchor(places) if wanted.anchor else None, _retraining(places, wanted) if wanted.mode != "off" else None]
    due = [one for one in again if one and history.contains(places.mirror, tip, one.sha)]
    return due if due and not standing.is_share_spent(places, wanted.share) else []


def _retraining(places: Places, wanted: Retraining) -> Due | None:
    again = standing.retraining(places, wanted)
    if again is None:
        return None
    tried = (run for run in archive.of_commit(places.runs, again.sha) if run.rerun_of == again.rerun_of)
    from deepspeech_wer.verdicts.levels import MAX_FAILED  # loads what judges; few merges are trained again

    return again if sum(run.hyper is None for run in tried) < MAX_FAILED else None


def _anchor(places: Places) -> Due | None:
    """Return the newest good merge if it ran under other variables: under the new ones, nothing is comparable yet."""
    newest = next((run for run in archive.recent(places.runs) if run.hyper and run.rerun_of is None), None)
    if newest is None or newest.variables is None:
        return None
    now = environment.operators_variables(ignored=every_setting.NAMES)
    ran = list(archive.of_commit(places.runs, newest.merge.sha))
    anchors = [run for run in ran if run.rerun_of and run.seed is None]
    if any(run.variables == now for run in ran) or len(anchors) >= MAX_ANCHORS:
        return None
    from deepspeech_wer.judging import draws  # loads what judges

    changed = ", ".join(draws.changed_variables(newest.variables, now))
    reason = f"as the first run after the operator changed {changed}"
    return Due(newest.merge.sha, backlog.RERUN, None, rerun_of=newest.id, reason=reason)


def _interrupted(places: Places, tip: str) -> list[Interrupted]:
    """Return the interrupted runs, without calibrations: their own rule finds them again by their seed.

    A run requested by hand is left out if a signal ended its tick: whoever ends the tick withdraws the request. So does
    whoever skips the commit.
    """
    found, skipped = [], {one.sha for one in decision_files.skipped(places.requests)}
    for left in unfinished.find(places, is_looking=True):
        merge, base = left.order.merge, left.order.base
        failure = left.outcome.failure if left.outcome else None
        if left.order.calibrates or (base is None and (failure == INTERRUPTED or merge.sha in skipped)):
            continue
        is_on_branch = history.contains(places.mirror, tip, merge.sha)
        is_stuck = failure == MACHINE
        found.append(Interrupted(merge.sha, base, is_on_branch, left.order.rerun_of, left.order.seed, is_stuck))
    return found


def _retried(places: Places, tip: str) -> list[str]:
    return history.contained(places.mirror, tip, [retry.sha for retry in decision_files.retries(places.requests)])


def drop_requests(places: Places) -> None:
    """Remove the requests that are fulfilled, and those for commits that have left the branch. Call after a fetch.

    Raises Trouble.
    """
    wanted = list({retry.sha: retry for retry in decision_files.retries(places.requests)}.values())
    calibrations = decision_files.calibrations(places.requests)
    tip = mirror.tip(places.mirror) if wanted or calibrations else ""
    there = set(history.contained(places.mirror, tip, [retry.sha for retry in wanted]))
    try:
        for retry in wanted:
            if retry.sha not in there:
                decision_files.end_retry(places.requests, retry.sha)
                _warn_of_lost(retry.sha, "run again", retry.who, retry.at)
        if calibrations:
            from deepspeech_wer.judging import calibrating  # loads what judges; few ask for it
        for request in calibrations:
            if not history.contains(places.mirror, tip, request.sha):
                decision_files.end_calibration(places.requests, request.sha)
                _warn_of_lost(request.sha, "calibrated", request.who, request.at)
            elif not calibrating.progress(places, request).is_open:
                calibrating.end(places, request)
    except OSError as error:
        raise Trouble(f"cannot remove a request below {places.requests}: {with_cure(error)}") from None


def _warn_of_lost(sha: str, what: str, who: str, at: str) -> None:
    log.warning("%s is no longer in the branch: it is not %s, as %s asked at %s", sha[:12], what, who, at)


def _warn_of_history(places: Places, found: History, plan: Plan) -> None:
    if found.squashed:
        squashed = f"{found.squashed} commits and no merge among them"
        cure = "if the team squashes or rebases, set ds_track=commits"
        warn_once(places, "warned_sha1", found.tip, f"{squashed}: {cure}")
    if found.passed_over:
        count, names = len(found.passed_over), ", ".join(sha[:12] for sha in found.passed_over[:5])
        where = "behind the second parent of a foxtrot merge"
        text = f"{count} merges lie {where} and are not trained ({names}): to train them, set ds_track=all-merges"
        warn_once(places, "warned_passed_over", found.passed_over[0], text)
    if found.lost is None:
        return
    start = "at its newest commit, since none of its commits is archived"
    if found.base is not None:
        start = f"after {(plan.reached or found.base)[:12]}, the newest commit up to which all merges are archived"
    if history.is_sha(found.lost) and (places.mirror / "shallow").exists():
        log.warning(
            "the repository is a shallow clone, and what it has of the history does not reach back to last_sha1 %s: "
            "merges after that may be missing; continuing %s: call git fetch --unshallow there, and deepspeech-wer run "
            "--sha for what is missing",
            found.lost,
            start,
        )
    elif history.is_sha(found.lost):
        log.warning("the branch was rewritten: last_sha1 %s is not in its history; continuing %s", found.lost, start)
    else:
        shown = found.lost[:64]
        log.warning("last_sha1 is damaged: expected 40 or 64 hex digits, found %r; continuing %s", shown, start)
