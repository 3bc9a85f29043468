"""Decides what runs next, and why. Pure: callers pass in what git, the archive and people say.

Each reason for a run is a function in `_RULES`, most urgent first; the first one that finds a commit decides. A new
reason (a request to retry, the re-training of a suspect, a step of a bisection) is one more rule.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import groupby, takewhile
from typing import NamedTuple

from deepspeech_wer.archive_order import started

# The reasons.
ASKED, RESUMED, RETRIED, FIRST, NEW, RERUN = "asked for", "resumed", "retried", "first", "new", "re-trained"
BISECTED, CALIBRATED = "bisected", "calibrated"


class Branch(NamedTuple):
    """The tracked branch, as `repository.history` reads it."""

    tip: str
    base: str | None  # every merge up to this commit is archived; None if no such commit is known
    new: Sequence[str] = ()  # tracked commits after `base`, oldest first


class Interrupted(NamedTuple):
    """A run that was interrupted."""

    sha: str
    base: str | None  # None: the commit was requested by hand
    is_on_branch: bool = True  # False: a rewritten branch no longer holds it
    rerun_of: str | None = None  # see Due
    seed: int | None = None
    is_stuck: bool = False  # by trouble of the machine: all else that is due goes first


class Doubted(NamedTuple):
    """A stretch of history with commits that never ran, one of which may have made the WER worse."""

    after: str  # the commit before it, which ran
    before: str  # the commit at its end, which ran
    chance: float  # of each commit in it, and of the one at its end


class State(NamedTuple):
    """What is archived, unfinished and requested."""

    archived: Collection[str]  # the first 12 digits of every archived commit
    interrupted: Sequence[Interrupted] = ()
    asked: Sequence[str] = ()  # commits requested by hand that have not run yet, in the order of the request
    retried: Sequence[str] = ()  # commits to be run again, in the order of the requests
    is_stopped: bool = False  # too many runs failed alike: only what a person requested runs
    order: str = "all"  # the setting ds_backlog
    reruns: Sequence[Due] = ()  # what is to be trained again, most useful first
    are_reruns_first: bool = False  # before new commits
    doubted: Sequence[Doubted] = ()  # where the culprit of a regression may lie
    calibrations: Sequence[Due] = ()  # what people want to be trained with many seeds, in the order of the requests
    running: Collection[
        str
    ] = ()  # the first 12 digits of every commit whose run has begun and does not show itself yet

    def is_taken(self, sha: str) -> bool:
        return self.is_archived(sha) or sha[:12] in self.running

    def is_archived(self, sha: str) -> bool:
        return sha[:12] in self.archived


class Due(NamedTuple):
    """One commit to run."""

    sha: str
    why: str  # one of the reasons
    base: str | None  # once it has run, every merge up to here is archived; None: says nothing about other merges
    number: int = 0  # its place in the archive, see `archive_order`
    rerun_of: str | None = None  # the run that this one repeats with another seed
    seed: int | None = None
    reason: str = ""  # why it is trained again, for people
    passed: tuple[str, ...] = ()  # tracked commits just before it that have not run, oldest first
    calibrates: bool = False  # to measure the noise


class Ended(NamedTuple):
    """An archived run, as far as the backlog is concerned."""

    run: str  # its id
    failure: str | None  # the class; None where it is done
    started_at: str  # ISO 8601, UTC

    @property
    def sha(self) -> str:
        """The first 12 digits of its commit."""
        return self.run[16:28]


class Release(NamedTuple):
    """When somebody said that earlier failures no longer stop the queue."""

    at: str = ""  # ISO 8601, UTC; "" where nobody did
    after: str | None = None  # the newest run then, "" if there was none; None: noted by an earlier release

    def covers(self, run: Ended) -> bool:
        """Return whether a run came before."""
        return run.started_at <= self.at if self.after is None else started(run.run) <= started(self.after)


class Plan(NamedTuple):
    """What to run next, and how far the archive has come."""

    next: Due | None
    waiting: int  # new commits without a run, including the next one if it is one of them
    reached: str | None  # last_sha1: every merge up to here is archived; None before the first run


def plan(branch: Branch, state: State) -> Plan:
    """Return what runs next. Before the first run only the tip is due, later every tracked commit after the base."""
    waiting = _waiting(branch, state)
    found = (rule(branch, _without_running(state)) for rule in _RULES)
    return Plan(next(filter(None, found), None), len(waiting), _reached(branch, state))


def _without_running(state: State) -> State:
    """Leave out what is due again for a commit that runs: no two runs of one commit at a time."""
    return state._replace(
        asked=[sha for sha in state.asked if sha[:12] not in state.running],
        retried=[sha for sha in state.retried if sha[:12] not in state.running],
        reruns=[one for one in state.reruns if one.sha[:12] not in state.running],
        calibrations=[one for one in state.calibrations if one.sha[:12] not in state.running],
    )


def queue(branch: Branch, state: State, most: int) -> list[Due]:
    """Return what runs next and after that, at most so many, if every run succeeds and nothing new arrives."""
    found: list[Due] = []
    while len(found) < most and (item := plan(branch, state).next):
        found.append(item)
        if item.why == FIRST:
            branch = branch._replace(base=item.sha)
        state = state._replace(
            archived={*state.archived, item.sha[:12]},
            interrupted=[run for run in state.interrupted if run.sha != item.sha],
            asked=state.asked[1:] if item.why == ASKED else state.asked,
            retried=[sha for sha in state.retried if sha != item.sha],
            reruns=[one for one in state.reruns if one != item],
            calibrations=[one for one in state.calibrations if one != item],
        )
    return found


def alike(ended: Iterable[Ended], release: Release) -> list[Ended]:
    """The last runs that failed, all with the same class, oldest first.

    `ended` is every archived run, newest first; what came before the release does not count.
    """
    found: list[Ended] = []
    for run in ended:
        if run.failure is None or release.covers(run) or (found and run.failure != found[0].failure):
            break
        found.append(run)
    return found[::-1]


def may_resume(state: State, sha: str, *, is_on_branch: bool) -> bool:
    """Return whether a run of this commit may still resume from its checkpoint."""
    return is_on_branch and not state.is_archived(sha)


def _resumed(_: Branch, state: State) -> Due | None:
    """An interrupted run that was requested by hand: no other rule would find it."""
    return _begun_by_hand(state, is_stuck=False)


def _stuck(_: Branch, state: State) -> Due | None:
    """A run requested by hand that this machine could not run, perhaps for want of an old interpreter: last of all."""
    return _begun_by_hand(state, is_stuck=True)


def _begun_by_hand(state: State, *, is_stuck: bool) -> Due | None:
    waiting = (run for run in state.interrupted if run.sha[:12] not in state.running and run.is_stuck == is_stuck)
    found = (run for run in waiting if run.base is None and run.is_on_branch)
    return next((Due(run.sha, RESUMED, None, rerun_of=run.rerun_of, seed=run.seed) for run in found), None)


def _asked(_: Branch, state: State) -> Due | None:
    """A commit requested by hand, even if it is archived."""
    return Due(state.asked[0], ASKED, None) if state.asked else None


def _retried(_: Branch, state: State) -> Due | None:
    """A commit that was written off, and is to be run again."""
    stuck = {run.sha for run in state.interrupted if run.is_stuck}
    return next((Due(sha, RETRIED, None) for sha in state.retried if sha not in stuck), None)


def _first(branch: Branch, state: State) -> Due | None:
    if state.is_stopped:
        return None
    waiting = _waiting(branch, state) if branch.base is None else ()
    return Due(waiting[0], FIRST, waiting[0]) if waiting else None


def _new(branch: Branch, state: State) -> Due | None:
    """The oldest commit without a run. With ds_backlog=newest: the newest, then the middle of the longest gap."""
    if branch.base is None or state.is_stopped:
        return None
    due = [not state.is_taken(sha) for sha in branch.new]
    if not any(due):
        return None
    if state.order == "all":
        place = due.index(True)
    elif due[-1]:
        place = len(due) - 1
    else:
        groups = groupby(enumerate(due), lambda pair: pair[1])
        gaps = [[number for number, _ in group] for is_due, group in groups if is_due]
        longest = max(gaps, key=len)
        place = longest[len(longest) // 2]
    return Due(branch.new[place], NEW, _reached(branch, state))


def _bisected(branch: Branch, state: State) -> Due | None:
    """The commit that never ran and whose result says most about which one made the WER worse: it halves the chances.

    With ds_backlog=newest the newest commit comes first, unless re-trainings do.
    """
    if branch.base is None or state.is_stopped:
        return None
    is_newest_due = bool(branch.new) and not state.is_taken(branch.new[-1])
    if state.order == "newest" and is_newest_due and not state.are_reruns_first:
        return None
    chances = _chances(branch, state.doubted)
    candidates = [number for number in sorted(chances) if not state.is_taken(branch.new[number])]
    if not candidates:
        return None
    whole = sum(chances.values())
    up_to = {number: sum(one for place, one in chances.items() if place <= number) for number in candidates}
    best = min(candidates, key=lambda number: round(abs(up_to[number] - whole / 2), 9))
    return Due(branch.new[best], BISECTED, _reached(branch, state))


def _chances(branch: Branch, doubted: Iterable[Doubted]) -> dict[int, float]:
    """Return the chance of each commit in doubt, by its place among the new ones."""
    place = {sha: number for number, sha in enumerate(branch.new)}
    found = {}
    for stretch in doubted:
        if stretch.before in place:  # else the branch was rewritten
            numbers = range(place.get(stretch.after, -1) + 1, place[stretch.before] + 1)
            found.update(dict.fromkeys(numbers, stretch.chance))
    return found


def _urgent_rerun(branch: Branch, state: State) -> Due | None:
    is_anchor = bool(state.reruns) and state.reruns[0].seed is None  # the next merge is to be compared with it
    return _rerun(branch, state) if state.are_reruns_first or is_anchor else None


def _rerun(_: Branch, state: State) -> Due | None:
    """A commit that is trained again with another seed, to tell a change from noise."""
    return state.reruns[0] if state.reruns and not state.is_stopped else None


def _calibrated(_: Branch, state: State) -> Due | None:
    """A commit that is trained with many seeds, to measure the noise: only when nothing else is due."""
    return state.calibrations[0] if state.calibrations and not state.is_stopped else None


_RULES: tuple[Callable[[Branch, State], Due | None], ...] = (
    _resumed,
    _asked,
    _retried,
    _urgent_rerun,
    _first,
    _bisected,
    _new,
    _rerun,
    _calibrated,
    _stuck,
)


def _waiting(branch: Branch, state: State) -> list[str]:
    """Return the commits without a run. Before the first run: the tip, or the commit of an interrupted first run."""
    if branch.base is not None:
        return [sha for sha in branch.new if not state.is_taken(sha)]
    first = _first_ones(branch, state)
    return [] if any(sha[:12] in state.running for sha in first) else first[:1]


def _first_ones(branch: Branch, state: State) -> list[str]:
    begun = [run.sha for run in state.interrupted if run.base == run.sha and run.is_on_branch]
    return [sha for sha in (*begun, branch.tip) if not state.is_archived(sha)]


def _reached(branch: Branch, state: State) -> str | None:
    if branch.base is None:
        return None if _first_ones(branch, state) else branch.tip  # the tip was run by hand
    done = list(takewhile(state.is_archived, branch.new))
    return done[-1] if done else branch.base
