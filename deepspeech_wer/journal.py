"""What the tick is doing, for `status`: tick.json in the cache. Nothing is recovered from it: see jobs/work.py."""

from __future__ import annotations

import json
import logging
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_wer import clock
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import write_atomically
from deepspeech_wer.records import Merge

VERSION = 2
PHASES = ("checkout", "job", "wipe", "archive", "advance", "show")  # in their order

_NAME = "tick.json"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """One merge that a tick is at work on."""

    phase: str  # one of PHASES
    sha: str
    subject: str
    attempt: int
    since: str  # ISO 8601, UTC


def enter(cache: Path, phase: str, merge: Merge, attempt: int) -> None:
    """Note what is going on. Raises Trouble: no room, no permission."""
    write(cache, Entry(phase, merge.sha, merge.subject, attempt, clock.utc_now()))


def write(cache: Path, entry: Entry) -> None:
    """Note an entry. Raises Trouble."""
    try:
        text = json.dumps({"version": VERSION, **asdict(entry)}, ensure_ascii=False)
        write_atomically(cache / _NAME, text.encode("utf-8", "replace"), mode=0o600)
    except OSError as error:
        raise Trouble(f"cannot write below {cache}: {error.strerror}; the next call goes on") from None


def read(cache: Path) -> Entry | None:
    """What a tick is doing, or was doing when it was killed; None where nothing is noted.

    An unreadable note is told and set aside. Raises Trouble: something else stands in its place.
    """
    place = cache / _NAME
    try:
        record = json.loads(place.read_bytes())
        if record.pop("version") == 1:  # of an earlier release
            return Entry(
                record["phase"], record["merge"]["sha"], record["merge"]["subject"], record["attempt"], record["since"]
            )
        return Entry(**record)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Trouble(f"{place}: {error.strerror}: move what stands there away") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        aside = place.with_name(f"{_NAME}.unreadable")
        place.replace(aside)
        log.warning("%s cannot be read (%s); kept as %s", place, error, aside.name)
        return None


def clear(cache: Path) -> None:
    """Nothing is going on any more."""
    with suppress(FileNotFoundError):
        (cache / _NAME).unlink()
