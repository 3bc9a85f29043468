"""What the tick is doing, and what happened last: files in the cache, for `status` only.

tick.json        the merge that a tick is working on; recovery uses the files of jobs/work.py
last_error.json  the last failure, of a tick or of publishing, and when it was resolved
published.json  published_dry.json   when and where the site was published, or that tried dry
"""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import clock, files, kept_log
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.files import make_private, write_atomically
from deepspeech_wer.records import Merge

VERSION = 2
PHASES = ("checkout", "job", "wipe", "archive", "advance", "show")  # in this order

NAME = "tick.json"

log = logging.getLogger(__name__)


class Entry(NamedTuple):
    """The merge that a tick is working on."""

    phase: str  # one of PHASES
    sha: str
    subject: str
    attempt: int
    since: str  # ISO 8601, UTC


def enter(cache: Path, phase: str, merge: Merge, attempt: int) -> None:
    """Record that a phase begins now. Raises Trouble if the file cannot be written."""
    kept_log.working_on(phase, merge.sha)
    log.debug("%s: %s", merge.sha[:12], phase)
    write(cache, Entry(phase, merge.sha, merge.subject, attempt, clock.utc_now()))


def write(cache: Path, entry: Entry) -> None:
    """Write an entry. Raises Trouble if the file cannot be written."""
    try:
        make_private(cache)  # it may have been deleted while a job ran, and that costs nothing
        text = json.dumps({"version": VERSION, **entry._asdict()}, ensure_ascii=False)
        write_atomically(cache / NAME, text.encode("utf-8", "replace"), mode=0o600)
    except OSError as error:
        raise Trouble(f"cannot write {cache / NAME}: {with_cure(error)}; the next tick resumes") from None


def read(cache: Path) -> Entry | None:
    """Return what a tick is doing, or was doing when it was killed; None if no tick is.

    An invalid file is logged and renamed. Raises Trouble if the path cannot be read, for example a directory.
    """
    place = cache / NAME
    try:
        record = json.loads(files.read(place))
        if record.pop("version") == 1:  # written by an earlier release
            return Entry(
                record["phase"], record["merge"]["sha"], record["merge"]["subject"], record["attempt"], record["since"]
            )
        return Entry(**record)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Trouble(f"{place}: {with_cure(error)}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        aside = place.with_name(f"{NAME}.unreadable")
        place.replace(aside)
        log.warning("%s cannot be read (%s); kept as %s", place, error, aside.name)
        return None


def clear(cache: Path) -> None:
    """Record that no tick is working."""
    kept_log.working_on("", "")
    with suppress(FileNotFoundError):
        (cache / NAME).unlink()


ERROR, PUBLISHED, DRY_RUN = "last_error.json", "published.json", "published_dry.json"
NOT_PUBLISHED = "not published: "  # how such an error begins: a good publish gets over it, a good tick does not


class Event(NamedTuple):
    """Something that happened, for people."""

    what: str
    at: str  # ISO 8601, UTC
    over_at: str | None = None  # of an error: when that went well again which had failed


def happened(cache: Path, name: str, what: str) -> None:
    """Note an event under one of the names above. A note that cannot be written is lost."""
    _note(cache, name, Event(what, clock.utc_now()))


def went_well(cache: Path, *, published: bool) -> None:
    """Note that the last error is resolved, if it was one of publishing (`published`), or of a tick."""
    if not (cache / ERROR).exists():  # an idle tick writes nothing
        return
    error = last(cache, ERROR)
    if error and not error.over_at and error.what.startswith(NOT_PUBLISHED) == published:
        _note(cache, ERROR, error._replace(over_at=clock.utc_now()))


def last(cache: Path, name: str) -> Event | None:
    """Return the last event of that name; None if there was none, or if its note cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        record = json.loads(files.read(cache / name))
        over_at = record.get("over_at")
        return Event(str(record["what"]), str(record["at"]), None if over_at is None else str(over_at))
    return None


def _note(cache: Path, name: str, event: Event) -> None:
    with suppress(OSError):
        text = json.dumps({"version": 1, **event._asdict()}, ensure_ascii=False)
        write_atomically(cache / name, text.encode("utf-8", "replace"), mode=0o600)
