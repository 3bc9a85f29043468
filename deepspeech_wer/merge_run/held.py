"""The held runs: archived before their turn in history, and released when it comes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

from deepspeech_wer import archive, archive_record, files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs.work import Order
from deepspeech_wer.merge_run.unfinished import Unfinished
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run


def release(places: Places, running: Collection[Unfinished]) -> Iterator[Run]:
    """Yield the held runs whose turn it is in history, and move them to the others.

    A merge's own run waits until no earlier merge is running any more: else its verdict would be another one.
    """
    earliest = min((left.order.number for left in running if _is_in_order(left.order)), default=None)
    for directory in _held(places):
        try:
            is_early = earliest is not None and archive_record.read(directory).number > earliest
        except Trouble:  # the page's build names it
            is_early = False
        if is_early:
            continue
        try:
            files.rename_durably(directory, places.runs / directory.name)
        except OSError as error:
            raise Trouble(f"cannot move {directory} to {places.runs}: {error.strerror}") from None
        yield archive_record.read(places.runs / directory.name)


def _held(places: Places) -> list[Path]:
    """The held runs in the order of history, those that cannot be read last."""
    order = [run.id for run in archive.in_order(archive.load(places.held))]
    names = archive.names(places.held)
    return [
        places.held / name for name in sorted(names, key=lambda name: order.index(name) if name in order else 1 << 30)
    ]


def _is_in_order(order: Order) -> bool:
    return order.rerun_of is None and order.base is not None
