"""The order of the archived runs, which never falls. Pure.

A merge's place in the first-parent history is no such order: it falls after a foxtrot merge, in a rewritten history and
in a repository that has moved. So each run gets a number above those of all earlier merges; a re-run keeps its merge's.
Runs archived before there were numbers are numbered when they are read. The order in which runs started is another one,
and no clock tells it: see `started`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

_USUAL = 28  # characters of an id without an era: YYYYmmdd-HHMMSS-<sha12>

Started = tuple[int, str]  # to sort by
Key = tuple[int, int, Started]  # to sort by


class Placed(NamedTuple):
    """What decides the place of an archived run."""

    id: str
    sha: str  # at least the first 12 digits
    number: int  # 0 if it was archived before there were numbers
    ordinal: int  # place in the first-parent history
    started_at: str
    committed_at: str  # looked at where the number is 0


def started(run_id: str) -> Started:
    """Return what run ids are sorted by to be in the order in which the runs started, whatever the clock said.

    That is the era, then the id. A new era begins with a run whose id would not be above the newest one's: the clock
    was wrong, then or now, or both started in one second. The first era is 1, and ids do not name it.
    """
    if len(run_id) <= _USUAL:  # nearly all
        return 1, run_id
    era = run_id[_USUAL + 1 :]
    return (int(era) if era.isdecimal() else 1), run_id


def moment(run_id: str) -> Started:
    """Return the same, to the second: earlier releases began no new era where runs started in one second."""
    era, name = started(run_id)
    return era, name[:15]


def start_keys(run_ids: Sequence[str]) -> Sequence[Any]:
    """Return what sorts these runs as `started` does. Nearly always those are the ids themselves."""
    return run_ids if _are_usual(run_ids) else list(map(started, run_ids))


def moment_keys(run_ids: Sequence[str]) -> Sequence[Any]:
    """Return what sorts these runs as `moment` does."""
    return [name[:15] for name in run_ids] if _are_usual(run_ids) else list(map(moment, run_ids))


def _are_usual(run_ids: Sequence[str]) -> bool:
    return max(map(len, run_ids), default=0) <= _USUAL


def keys(runs: Iterable[Placed]) -> dict[str, Key]:
    """Return the sort key of each run, by its id; the first element of the key is its number."""
    listed = list(runs)
    early = _numbers([run for run in listed if not run.number])
    return {run.id: (run.number or early[run.sha[:12]], run.ordinal, started(run.id)) for run in listed}


def number_for(sha: str, ordinal: int, archived: Sequence[Placed], new: Sequence[str]) -> int:
    """Return the number of a run to be archived.

    `new` are the tracked commits since the one up to which everything is archived, oldest first: whatever the order in
    which they run, their numbers are in the order of history, and above all others. An older commit that was requested
    by hand gets the number of the archived merge before it.
    """
    early = _numbers([run for run in archived if not run.number])
    numbers = {run.sha[:12]: run.number or early[run.sha[:12]] for run in archived}
    if sha[:12] in numbers:
        return numbers[sha[:12]]
    waiting = {one[:12] for one in new}
    others = [run for run in archived if run.sha[:12] not in waiting]
    highest = max((numbers[run.sha[:12]] for run in others), default=0)
    if sha in new or not others:
        return highest + 1 + (list(new).index(sha) if sha in new else 0)
    older = [numbers[run.sha[:12]] for run in others if run.ordinal < ordinal]
    return max(older, default=0)


def _numbers(runs: Sequence[Placed]) -> dict[str, int]:
    """Number runs that have none, by their commits: in the order of their ordinals, as long as those do not fall.

    They fell if a commit that is newer than all before, and ran after them, has an ordinal that is not above theirs.
    """
    line, highest, newest = 0, 0, ""
    seen: dict[str, tuple[int, int, Started]] = {}
    for run in sorted(runs, key=lambda run: (run.started_at, run.ordinal, run.id)):
        if run.sha[:12] in seen:
            continue
        if run.committed_at > newest and run.ordinal <= highest:
            line, highest = line + 1, 0
        highest, newest = max(highest, run.ordinal), max(newest, run.committed_at)
        seen[run.sha[:12]] = (line, run.ordinal, started(run.id))
    return {sha: number for number, sha in enumerate(sorted(seen, key=lambda sha: seen[sha]), start=1)}
