"""Records what was sent to each channel, in told.json in the cache.

The file is written after each notification, so a crash in between sends that one again. The next tick retries what
failed, for the NEWEST runs at most: a long outage must not end in a flood.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_wer import files
from deepspeech_wer.archive_order import moment
from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import Run

NEWEST = 20
VERSION = 1

NAME = "told.json"


class NotSent(Exception):
    """A notification could not be sent. The message says why, without secrets such as the webhook's address."""


@dataclass(frozen=True)
class Channel:
    """One receiver of notifications. `send` gets a run and the status of the run sent before, and raises NotSent."""

    name: str
    send: Callable[[Run, str | None], None]


@dataclass(frozen=True)
class _Told:
    """What was sent to a channel."""

    names: tuple[str, ...]  # those of the newest runs that were sent
    last: str | None  # the status of the last run that was sent


def tell(channel: Channel, cache: Path, names: Sequence[str], read: Callable[[str], Run]) -> None:
    """Send each of the newest runs that was not sent to the channel yet; no re-trainings. Raises NotSent, OSError.

    A new channel gets only the newest run, not years of history.
    """
    newest = names[-NEWEST:]
    known = _read(cache).get(channel.name)
    if known is None:
        known = _Told(tuple(newest[:-1]), None)
        _write(cache, channel.name, known)
    untold = [name for name in newest if name not in known.names]
    for run in sorted(_readable(read, untold), key=lambda run: (moment(run.id), run.merge.ordinal)):
        is_news = run.rerun_of is None  # the result of a re-training is not that of its merge
        if is_news:
            channel.send(run, known.last)
        told = tuple(name for name in newest if name in known.names or name == run.id)
        known = _Told(told, run.status if is_news else known.last)
        _write(cache, channel.name, known)


def _readable(read: Callable[[str], Run], names: Sequence[str]) -> Iterator[Run]:
    for name in names:
        with suppress(Trouble):  # building the site reports the unreadable run
            yield read(name)


def _read(cache: Path) -> dict[str, _Told]:
    """Return what was sent to each channel. A damaged file counts as missing: each channel then gets the newest run."""
    try:
        record = json.loads((cache / NAME).read_bytes())
        if record["version"] != VERSION:
            return {}
        return {name: _Told(tuple(told["names"]), told["last"]) for name, told in record["channels"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _write(cache: Path, channel: str, told: _Told) -> None:
    channels = {name: asdict(known) for name, known in {**_read(cache), channel: told}.items()}
    record = {"version": VERSION, "channels": channels}
    files.write_atomically(cache / NAME, json.dumps(record).encode(), mode=0o600)
