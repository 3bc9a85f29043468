"""The command import: results of earlier trackers -> the archive."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path

from deepspeech_wer import archive, import_records, old_records
from deepspeech_wer.commands.locked import locked
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE, TROUBLE
from deepspeech_wer.old_records import OldRecord
from deepspeech_wer.records import Merge
from deepspeech_wer.repository import history, mirror


def run(options: argparse.Namespace) -> int:
    """Archive every record below a path that is not archived yet. Returns TROUBLE if some could not be read."""
    current = every_setting.load()
    places = current.places
    found = list(old_records.read(Path(options.path)))
    records = [one for one in found if isinstance(one, OldRecord)]
    damaged = [one for one in found if not isinstance(one, OldRecord)]
    with locked(places, current.repository):
        fresh = import_records.fresh(records, archive.each(places.runs))
        commits = _known(current, {record.sha for record in fresh if record.sha})
        for placing in import_records.place(fresh, commits, archive.placed(places.runs, places.placed)):
            try:
                import_records.store(places.runs, placing)
            except OSError as error:
                raise Trouble(
                    f"cannot archive below {places.runs}: {error.strerror}; what was archived stays: import again"
                ) from None
    _tell(records, fresh, commits)
    for one in damaged:
        say(f"not imported: {one.reason}")
    return TROUBLE if damaged else DONE


def _known(current: Settings, shas: Collection[str]) -> dict[str, Merge]:
    """Return the commits that the repository knows."""
    if not shas:
        return {}
    places, repository = current.places, current.repository
    if not places.mirror.exists() and mirror.update(places.mirror, repository.url, repository.ref) is None:
        return {}
    return history.known(places.mirror, sorted(shas))


def _tell(records: Collection[OldRecord], fresh: Collection[OldRecord], commits: Collection[str]) -> None:
    say(f"imported {len(fresh)} of {len(records)} records; {len(records) - len(fresh)} were archived before")
    unknown = len({record.sha for record in fresh if record.sha not in commits})
    if unknown:
        what = "1 commit is" if unknown == 1 else f"{unknown} commits are"
        say(f"{what} not in the repository: their runs stand where their times put them")
    changed = sum(bool(record.changed) for record in fresh)
    if changed:
        say(f"{changed} records have WERs of 0 or NaN, which were not measured: they count as not measured")
    if fresh:
        say("the next tick shows them; `publish` does so now")
