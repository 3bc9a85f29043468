"""Records what was told to each receiver, in told.json in the cache.

The file is written after each message, so only a crash in that moment sends one again, with the same id. Nothing is
queued: what is due follows from the archive each time, so that after an outage people hear how things are now.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import files, versions

NEWEST = 20  # runs that are looked at, and messages that are sent in one tick
VERSION = versions.TOLD_VERSION
KEPT = 500  # states that are remembered beyond those that may still change
GIVE_UP_S = 3 * 86_400.0  # since a receiver first refused a message
FIRST_DELAY_S, MAX_DELAY_S, MAX_ASKED_DELAY_S = 600.0, 3600.0, 86_400.0

NAME = versions.TOLD
LOG = "log"  # the receiver that there always is
OWED = "the exit code is owed"  # the tick that logged the line has not ended yet

log = logging.getLogger(__name__)


class NotSent(Exception):
    """A message could not be sent. The text says why, without secrets such as the webhook's address."""

    def __init__(self, why: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Refused(NotSent):
    """The receiver refuses the message of this id; it may take others."""

    def __init__(self, why: str, *, of: str) -> None:
        super().__init__(why)
        self.of = of


class Told(NamedTuple):
    """What a receiver knows."""

    states: Mapping[str, str] = {}  # what it was told last, by event, merge or run
    runs: tuple[str, ...] = ()  # the newest runs that were looked at
    last: str | None = None  # the status of the newest of them
    is_new: bool = True  # nothing is known of what happened before: years of history are not told
    mark: str = ""  # of the archive of which all was told
    failures: int = 0  # in a row
    until: float = 0.0  # no attempt before this Unix time
    refused: Mapping[str, float] = {}  # message id -> Unix time of its first refusal

    def now(self, changes: Mapping[str, str], may_change: Iterable[str] = ()) -> Told:
        """Return it with newer states. Those in `may_change`, and the newest others, are remembered."""
        kept = {name: state for name, state in self.states.items() if name not in changes} | dict(changes)
        wanted = {*may_change, *list(kept)[-KEPT:]}
        return self._replace(states={name: state for name, state in kept.items() if name in wanted})

    def failed(self, now: float, retry_after_s: float) -> Told:
        """Return it after a failure. The next tick tries again, later ones at growing distances."""
        delay = min(FIRST_DELAY_S * 2 ** (self.failures - 1), MAX_DELAY_S) if self.failures else 0.0
        delay = max(delay, min(retry_after_s, MAX_ASKED_DELAY_S))
        return self._replace(failures=min(self.failures + 1, 30), until=now + delay if delay else 0.0)

    def refusing(self, message: str, now: float) -> Told:
        """Return it after the receiver refused a message. The first time counts, unless the clock was set back."""
        kept = dict(list(self.refused.items())[-NEWEST:])
        return self._replace(refused={**kept, message: min(kept.get(message, now), now)})

    def gives_up(self, message: str, now: float) -> bool:
        """Return whether the receiver has refused a message for so long that it will never take it."""
        return now - self.refused.get(message, now) >= GIVE_UP_S

    def waits(self, now: float) -> bool:
        """Return whether no attempt is due yet; a time too far ahead is of a clock that was set back."""
        return now < self.until <= now + MAX_ASKED_DELAY_S + 1


class Due(NamedTuple):
    """Something to tell, and what the receiver knows once it was told."""

    send: Callable[[], None] | None  # raises NotSent; None: noted without a word
    after: Callable[[Told], Told]


class Ledger:
    """Read the file. If it is unreadable, start anew: each receiver then gets the present state."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / NAME
        self._channels = _read(self._path)

    def told(self, channel: str) -> Told:
        """Return what a receiver knows."""
        return self._channels.get(channel, Told())

    def write(self, channel: str, told: Told) -> None:
        """Record what a receiver knows. Raises OSError."""
        channels = {**self._channels, channel: told}
        record = {"version": VERSION, "channels": {name: one._asdict() for name, one in channels.items()}}
        versions.keep_older(self._path, VERSION)
        files.write_atomically(self._path, json.dumps(record).encode(), mode=0o600)
        self._channels = channels


def now() -> float:
    """Return the Unix time."""
    return time.time()


def owes_exit_code(cache: Path) -> bool:
    """Return whether a regression was logged whose exit code no tick gave yet. It counts as given from now on."""
    book = Ledger(cache)
    told = book.told(LOG)
    if told.last != OWED:
        return False
    try:
        book.write(LOG, told._replace(last=None))
    except OSError as error:
        log.warning("%s: cannot record in %s that it was told: %s", LOG, cache, error.strerror)
    return True


def was_logged(cache: Path, mark: str) -> bool:
    """Return whether the log has all that there was to tell of an archive; `mark` is that of its verdicts."""
    return Ledger(cache).told(LOG).mark == mark


def _read(path: Path) -> dict[str, Told]:
    try:
        record = json.loads(files.read(path))
        read = {1: _of_version_1, VERSION: _told}[record["version"]]
        return {str(name): read(told) for name, told in record["channels"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _told(record: Mapping[str, Any]) -> Told:
    return Told(
        states={str(name): str(state) for name, state in record["states"].items()},
        runs=tuple(map(str, record["runs"])),
        last=None if record["last"] is None else str(record["last"]),
        is_new=record["is_new"] is True,
        mark=str(record["mark"]),
        failures=max(0, int(record["failures"])),
        until=float(record["until"]),
        refused={str(name): float(since) for name, since in record.get("refused", {}).items()},
    )


def _of_version_1(record: Mapping[str, Any]) -> Told:
    """An earlier release told of runs only, not of verdicts."""
    return Told(runs=tuple(map(str, record["names"])), last=record["last"])
