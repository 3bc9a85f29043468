"""What is due: git, the archive, what is begun and what people decided, gathered for `backlog`, which decides."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

from deepspeech_wer import archive, backlog, decisions, files, run_merge
from deepspeech_wer.backlog import Begun, Branch, Ended, Plan, State
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs.outcome import INTERRUPTED
from deepspeech_wer.places import Places
from deepspeech_wer.repository import history, mirror
from deepspeech_wer.repository.history import History
from deepspeech_wer.settings import Settings

log = logging.getLogger(__name__)


def find(settings: Settings, names: Sequence[str] = ()) -> Plan:
    """Fetch, and say what is to be done. `names` are the first digits of commits that are asked for by hand.

    Raises Trouble: the repository cannot be reached, the branch or the commit is not there.
    """
    repository, places = settings.repository, settings.places
    last = read_last(places)
    tip = mirror.update(places.mirror, repository.url, repository.ref, known=last)
    if tip is None:
        warn_once(places, "warned_empty", repository.url, f"{repository.name}: no commit there yet")
        return Plan(None, 0, None)
    asked = [merge.sha for merge in history.resolve(places.mirror, names)] if names else []
    found = _history(settings, tip, last)
    plan = backlog.plan(_branch(found), _state(settings, tip, asked))
    _tell(places, found, plan)
    return plan


def reached(settings: Settings) -> str | None:
    """The newest commit up to which everything is archived."""
    tip = mirror.tip(settings.places.mirror)
    found = _history(settings, tip, read_last(settings.places))
    return backlog.plan(_branch(found), _state(settings, tip)).reached


def is_of_use(places: Places, sha: str) -> bool:
    """Whether the checkpoint of a commit may still be resumed: no longer, once the branch was rewritten without it."""
    state = State(archived=archive.commits(places.runs))
    is_on_branch = history.contains(places.mirror, mirror.tip(places.mirror), sha)
    return backlog.may_resume(state, sha, is_on_branch=is_on_branch)


def alike(places: Places) -> list[Ended]:
    """The last runs, oldest first, that failed with one class since the queue was last released."""
    return backlog.alike(archive.ended(places.runs), since=decisions.released_at(places.requests))


def read_last(places: Places) -> str | None:
    """What last_sha1 holds, whatever it is; None when there is none. Raises Trouble: it cannot be read."""
    try:
        return places.last_sha1.read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:  # never taken for a first run
        raise Trouble(f"cannot read {places.last_sha1}: {error.strerror}") from None


def write_last(places: Places, sha: str | None) -> None:
    """None removes last_sha1: no archived commit is on the branch any more. Raises Trouble."""
    if sha == read_last(places):
        return
    try:
        if sha is None:
            places.last_sha1.unlink(missing_ok=True)
        else:
            files.write_atomically(places.last_sha1, f"{sha}\n".encode(), mode=0o600)
    except OSError as error:
        raise Trouble(f"cannot write {places.last_sha1}: {error.strerror}; the next call goes on") from None


def warn_once(places: Places, name: str, occasion: str, warning: str) -> None:
    """Warn once for each occasion, which a file of that name in the cache remembers."""
    place = places.cache / name
    with contextlib.suppress(OSError):  # no such file yet; a warning too many is better than none
        if place.read_text("utf-8", "replace").strip() == occasion:
            return
    log.warning("%s", warning)
    with contextlib.suppress(OSError):
        files.write_atomically(place, f"{occasion}\n".encode(), mode=0o600)


def _history(settings: Settings, tip: str, last: str | None) -> History:
    def bases() -> set[str]:
        return archive.bases(settings.places.runs)  # read only where last_sha1 is of no use

    return history.read(settings.places.mirror, tip, last, bases=bases, track=settings.repository.track)


def _branch(found: History) -> Branch:
    return Branch(found.tip, found.base, found.new)


def _state(settings: Settings, tip: str, asked: Sequence[str] = ()) -> State:
    places = settings.places
    return State(
        archived=archive.commits(places.runs),
        begun=_begun(places, tip),
        asked=asked,
        retried=_retried(places, tip),
        is_stopped=len(alike(places)) >= settings.job.stop_after_alike,
        order=settings.repository.backlog,
    )


def _begun(places: Places, tip: str) -> list[Begun]:
    """Runs that were cut off.

    A commit that was asked for by hand is not asked for any longer once its tick was ended in good order.
    """
    found = []
    for left in run_merge.begun(places):
        merge, base = left.order.merge, left.order.base
        if base is None and left.outcome and left.outcome.failure == INTERRUPTED:
            continue
        found.append(Begun(merge.sha, base, is_on_branch=history.contains(places.mirror, tip, merge.sha)))
    return found


def _retried(places: Places, tip: str) -> list[str]:
    shas = [retry.sha for retry in decisions.retries(places.requests)]
    return [sha for sha in shas if history.contains(places.mirror, tip, sha)]


def _tell(places: Places, found: History, plan: Plan) -> None:
    if found.squashed:
        squashed = f"{found.squashed} commits and no merge among them: this branch is squashed or rebased?"
        warn_once(places, "warned_sha1", found.tip, f"{squashed} Set ds_track=commits")
    if found.lost is None:
        return
    way = "with its newest commit, for none is archived"
    if found.base is not None:
        way = f"from {(plan.reached or found.base)[:12]}, up to which all is archived"
    if history.is_sha(found.lost):
        log.warning("the branch was rewritten: last_sha1 %s is not in its history; going on %s", found.lost, way)
    else:
        shown = found.lost[:64]
        log.warning("last_sha1 is damaged: expected 40 or 64 hex digits, found %r; going on %s", shown, way)
