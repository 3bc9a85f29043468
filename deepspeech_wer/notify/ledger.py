"""What each channel was told, in told.json in the cache. It is written after each notice: a crash between tells again.

What could not be told is tried again at the next tick, for the newest NEWEST runs at most, so that a long outage ends
quietly.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_wer import files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import Run

NEWEST = 20
VERSION = 1

_NAME = "told.json"


class NotTold(Exception):
    """A notice did not arrive; the message says why, without any secret: neither a token nor a webhook's address."""


@dataclass(frozen=True)
class Channel:
    """One way of telling. `send` gets a run and the status of the run told before, and raises NotTold."""

    name: str
    send: Callable[[Run, str | None], None]


@dataclass(frozen=True)
class _Told:
    """What a channel was told."""

    names: tuple[str, ...]  # of the newest runs
    last: str | None  # the status of the last run told


def tell(channel: Channel, cache: Path, names: Sequence[str], read: Callable[[str], Run]) -> None:
    """Send each of the newest runs that the channel does not know yet. Raises NotTold, OSError.

    A channel that is new is told of the newest run alone, not of years of history.
    """
    newest = names[-NEWEST:]
    known = _read(cache).get(channel.name)
    if known is None:
        known = _Told(tuple(newest[:-1]), None)
        _write(cache, channel.name, known)
    untold = [name for name in newest if name not in known.names]
    for run in sorted(_readable(read, untold), key=lambda run: (run.started_at, run.merge.ordinal)):
        channel.send(run, known.last)
        told = tuple(name for name in newest if name in known.names or name == run.id)
        known = _Told(told, run.status)
        _write(cache, channel.name, known)


def _readable(read: Callable[[str], Run], names: Sequence[str]) -> Iterator[Run]:
    for name in names:
        with suppress(Trouble):  # the build of the page tells of it
            yield read(name)


def _read(cache: Path) -> dict[str, _Told]:
    """Channel -> what it was told. Unreadable is like new: the newest run alone will be told."""
    try:
        record = json.loads((cache / _NAME).read_bytes())
        if record["version"] != VERSION:
            return {}
        return {name: _Told(tuple(told["names"]), told["last"]) for name, told in record["channels"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write(cache: Path, channel: str, told: _Told) -> None:
    channels = {name: asdict(known) for name, known in {**_read(cache), channel: told}.items()}
    record = {"version": VERSION, "channels": channels}
    files.write_atomically(cache / _NAME, json.dumps(record).encode(), mode=0o600)
