"""What there is to tell: the newest runs, and the verdicts. Read only once somebody is to be told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from deepspeech_wer.archive_order import moment
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard.news import Known
from deepspeech_wer.errors import Trouble
from deepspeech_wer.notify.ledger import NEWEST
from deepspeech_wer.records import Run


class Archive(NamedTuple):
    """Where the facts come from. `mark` changes whenever there may be something new to tell."""

    mark: str
    names: Callable[[], Sequence[str]]  # of the runs, oldest start first
    read: Callable[[str], Run]  # raises Trouble
    record: Callable[[], Mapping[str, Any]]  # of verdicts.json; empty if there is none
    logs: PublishedLogs


class Facts:
    """The archive as it is now. A run is read once."""

    def __init__(self, archive: Archive) -> None:
        self._read, self._runs = archive.read, dict[str, Run | None]()
        self.newest = tuple(archive.names()[-NEWEST:])
        self.known = Known(archive.record(), self.run, archive.logs)

    def run(self, name: str) -> Run | None:
        """Return a run; None if it cannot be read, which building the site reports."""
        if name not in self._runs:
            try:
                self._runs[name] = self._read(name)
            except Trouble:
                self._runs[name] = None
        return self._runs[name]

    def own(self, names: Sequence[str]) -> list[Run]:
        """Return the readable runs that are news: no re-trainings, nothing imported. In the order of their starts."""
        found = [run for run in map(self.run, names) if run and run.rerun_of is None and not run.imported]
        return sorted(found, key=lambda run: (moment(run.id), run.merge.ordinal))
