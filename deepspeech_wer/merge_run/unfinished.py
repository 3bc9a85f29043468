"""The runs that were begun but not archived: found, and removed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

from deepspeech_wer import checkpoints, files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import lock
from deepspeech_wer.places import Places
from deepspeech_wer.records import Outcome

log = logging.getLogger(__name__)


class Unfinished(NamedTuple):
    """A run that was begun but not archived, and how its job ended; None if that is unknown."""

    work: Work
    order: Order
    outcome: Outcome | None


def find(places: Places, *, is_looking: bool = False) -> list[Unfinished]:
    """Return the runs that were begun but not archived, oldest first. What is damaged is set aside.

    Where the caller `is_looking`, nothing is: a tick may be at work, and has just made or is removing what looks so.
    """
    files.restore_access(places.data, places.work, places.runs, places.site, places.checkpoints)
    found = []
    for work in works.unfinished(places.work):
        files.restore_access(work.path)
        order = works.read_order(work, is_looking=is_looking)
        if order:
            is_over = not lock.is_held(str(work.lock))  # else only the job can have written an outcome
            outcome = outcomes.read(work, is_looking=is_looking) if is_over else None
            found.append(Unfinished(work, order, outcome))
    return found


def forget(places: Places, is_needed: Callable[[str], bool]) -> None:
    """Remove the checkpoints and work directories of every commit whose SHA `is_needed` rejects."""
    checkpoints.forget(places, is_needed)
    for left in find(places):
        if not is_needed(left.order.merge.sha):
            works.remove(left.work)


def clear(work: Work) -> None:
    """Remove a work directory, or rename it: otherwise it would look like an unfinished run."""
    left = works.remove(work)
    if left is None:
        return
    aside = work.path.with_name(f"{work.run}.left")
    try:
        left.rename(aside)
    except OSError as error:
        raise Trouble(f"cannot remove {work.path}: {error.strerror}: remove it by hand") from None
    log.warning(
        "cannot remove %s: the job left files that this user may not remove (from a container that runs as root?): "
        "remove them by hand",
        aside,
    )
