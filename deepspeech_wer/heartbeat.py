"""What the tracker is doing now, for visitors: js/now.js, one small file that is replaced between publishes.

    window.WER_NOW = {"version": 1, "looked_at": <UTC>, "every": <seconds until the next, at most>,
                      "waiting": <merges>, "index": <what the page of this site opens from>,
                      "job": {"sha", "subject", "author", "attempt", "again", "started_at", "ends_at",
                              "epoch", "epochs", "curve": [[epoch, training loss, validation loss], ...],
                              "beside": [{"sha", "subject", "author"}, ...]} or null}

By its age and by "every" a visitor sees whether the tracker lives, also while nothing is merged.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import clock, files
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import signals
from deepspeech_wer.places import BEAT, Places

VERSION = 1
LEAST_S = 900  # a job may be checked out, or its results be published, without a word
_LOOK_S = 5.0
_LOG_BYTES = 200_000  # of the end of the job's output
_MAX_EPOCHS = 500
_EPOCH = re.compile(
    r"epoch (?P<epoch>\d{1,6})/(?P<epochs>\d{1,6})\b.*?train loss (?P<train>\d[\d.e+-]*)"
    r"(?:.*?validation loss (?P<validation>\d[\d.e+-]*))?"
)

log = logging.getLogger(__name__)


class _State(NamedTuple):
    """The last heartbeat, kept in the cache: each tick is a process of its own."""

    at: float = 0.0  # Unix time
    waiting: int = 0  # merges, as the last plan counted them
    is_job: bool = False


class Heartbeat:
    """Tells visitors what goes on, as often as the settings allow. A failure is logged and never stops a tick."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._next = 0.0  # monotonic: the state is not read at each poll of a job

    def plans(self, waiting: int) -> None:
        """So many merges wait, without the one that runs."""
        state = _read(self._settings.places)
        if state.waiting != waiting:
            with suppress(OSError):
                _write(self._settings.places, state._replace(waiting=waiting))

    def idle(self) -> None:
        """The tracker looked, and there was nothing to do."""
        state, every = _read(self._settings.places), self._settings.beat.idle_s
        if every and (state.is_job or not 0 <= time.time() - state.at < every):
            self._tell(None)

    def job(self, work: Work, order: Order) -> None:
        """A job runs. Called at each poll."""
        every, now = self._settings.beat.job_s, time.monotonic()
        if not every or now < self._next:
            return
        is_due = not 0 <= time.time() - _read(self._settings.places).at < every
        self._next = now + (every if is_due else min(every, _LOOK_S))
        if is_due:
            beside = _beside(self._settings.places, work) if self._settings.cluster.is_slurm else []
            self._tell({**_job(work, order), "beside": beside})

    def _tell(self, job: dict[str, Any] | None) -> None:
        settings = self._settings
        try:
            data = write(settings, job)
            if settings.website and data:
                from deepspeech_wer.publish import publisher  # loads paramiko
                from deepspeech_wer.publish.report import Options

                options = Options(timeout_s=10.0, lock_wait_s=2.0, is_stopped=lambda: signals.count() > 0)
                publisher.refresh(BEAT, data, settings.website, options)
        except Trouble as trouble:
            log.info("the page was not told what goes on: %s", trouble)
        except OSError as error:
            log.info("the page was not told what goes on: %s: %s", error.filename, error.strerror)


def write(settings: Settings, job: dict[str, Any] | None = None) -> bytes | None:
    """Write js/now.js into the site and return it; None if no site is built. Raises OSError."""
    places, beat = settings.places, settings.beat
    if not (places.site / "index.htm").is_file():
        return None
    state = _read(places)
    index = _index(places)
    record = {
        "version": VERSION,
        "looked_at": clock.utc_now(),
        "every": max(beat.job_s, LEAST_S) if job else beat.idle_s,
        "waiting": state.waiting,
        "index": index and f"js/{index}",
        "job": job,
    }
    from deepspeech_wer.dashboard.literal import javascript  # most ticks write nothing

    data = f"window.WER_NOW={javascript(record)};\n".encode("ascii")
    files.write_atomically(_place(places), data)
    _write(places, state._replace(at=time.time(), is_job=job is not None))
    return data


def keep_up(settings: Settings) -> None:
    """Write js/now.js if it does not name the page that is built now: open pages reload by it. Raises OSError.

    What a person builds by hand is no sign that the tracker lives, so the file stays as it is otherwise.
    """
    index = _index(settings.places)
    try:
        is_current = (index or "").encode() in files.read(_place(settings.places))
    except (FileNotFoundError, IsADirectoryError):
        is_current = False
    if not is_current:
        write(settings)


def _place(places: Places) -> Path:
    return places.site / BEAT


def _index(places: Places) -> str | None:
    """Return the name of what the page of the site opens from."""
    return max((path.name for path in (places.site / "js").glob("index.*.js")), default=None)


def _beside(places: Places, shown: Work) -> list[dict[str, str]]:
    """The other merges that train on the cluster, or wait there."""
    others = [work for work in works.unfinished(places.work) if work != shown and work.ticket.exists()]
    orders = [works.read_order(work, is_looking=True) for work in others if not outcomes.is_there(work)]
    merges = [order.merge for order in orders if order]
    return [{"sha": merge.sha, "subject": merge.subject, "author": merge.author} for merge in merges]


def _job(work: Work, order: Order) -> dict[str, Any]:
    curve, epochs = _curve(work.out_log)
    started = _started(work)
    merge = order.merge
    return {
        "sha": merge.sha,
        "subject": merge.subject,
        "author": merge.author,
        "attempt": order.attempt,
        "again": order.rerun_of is not None,
        "started_at": clock.stamp(clock.UTC, started),
        "epoch": curve[-1][0] if curve else None,
        "epochs": epochs,
        "ends_at": clock.stamp(clock.UTC, started + (time.time() - started) * epochs / curve[-1][0])
        if curve and epochs and curve[-1][0]
        else None,
        "curve": curve,
    }


def _started(work: Work) -> float:
    """When the run began, which its id tells: 20230101-120000-..."""
    try:
        return datetime.fromisoformat(f"{work.run[:8]}T{work.run[9:15]}Z").timestamp()
    except ValueError:
        return time.time()


def _curve(out_log: Path) -> tuple[list[list[Any]], int | None]:
    """Return [[epoch, training loss, validation loss or None], ...] and how many epochs there will be.

    They are read from lines such as `epoch 3/30, train loss 12.3, validation loss 14.5`.
    """
    try:
        with files.open_regular(out_log) as stream:
            stream.seek(max(0, os.fstat(stream.fileno()).st_size - _LOG_BYTES))
            text = stream.read(_LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return [], None
    found: dict[int, list[Any]] = {}
    epochs = None
    for match in _EPOCH.finditer(text):
        epoch, epochs = int(match["epoch"]), int(match["epochs"])
        found[epoch] = [epoch, _number(match["train"]), _number(match["validation"])]
    return list(found.values())[-_MAX_EPOCHS:], epochs


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").rstrip(".,"))
    except ValueError:
        return None
    return value if abs(value) < 1e12 else None


def _read(places: Places) -> _State:
    """A state that is missing or damaged reads as none: then a heartbeat is due."""
    try:
        record = json.loads(files.read(places.heartbeat))
        return _State(float(record["at"]), int(record["waiting"]), record["is_job"] is True)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return _State()


def _write(places: Places, state: _State) -> None:
    files.write_atomically(places.heartbeat, json.dumps(state._asdict()).encode(), mode=0o600)
