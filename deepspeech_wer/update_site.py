"""Builds the site with js/hyper.js from the archive, and publishes it to the web host."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepspeech_wer import (
    __version__,
    archive,
    clock,
    dashboard,
    decisions,
    files,
    heartbeat,
    identity,
    journal,
    signals,
)
from deepspeech_wer.dashboard import kept
from deepspeech_wer.errors import Trouble
from deepspeech_wer.judging import comparing, measuring, verdict_file
from deepspeech_wer.places import Places
from deepspeech_wer.publish.report import Options
from deepspeech_wer.records import Run
from deepspeech_wer.repository import history
from deepspeech_wer.settings import Settings, Website

SCORING_S = 60.0  # of a tick, for runs that were archived before they were scored

log = logging.getLogger(__name__)


def build(settings: Settings, *, scoring_s: float | None = None) -> Sequence[str]:
    """Score and judge the runs, merge them into js/hyper.js and build the site. Returns the paths to publish, in order.

    After `scoring_s` seconds, runs that are not scored yet are left for the next call. Raises Trouble if the site
    cannot be written.
    """
    # The runs, most of the memory that a tick takes, are forgotten before the files are listed.
    _build(settings, scoring_s)
    return dashboard.site_names(settings.places.site)


def _build(settings: Settings, scoring_s: float | None) -> None:
    places, repository = settings.places, settings.repository
    project = dashboard.Project(
        name=repository.name,
        url=repository.page,
        branch=repository.ref or "",
        looked_at=clock.utc_now(),
        website=settings.notices.website_url,
        audio=settings.audio,
    )
    try:
        files.make_private(places.site)
        loaded = kept.load(places.runs, places.kept, settings.logs)
        record = verdict_file.update(places, loaded.runs, loaded.results, settings.retraining, page=repository.page)
        ordered = archive.in_order(loaded.runs)
        measures = measuring.update(places, ordered, loaded.found, budget_s=scoring_s)
        comparing.update(measures, ordered, record["verdicts"])
        measuring.save(places, measures)
        dashboard.build(
            loaded.runs,
            places.site,
            project=project,
            line=loaded.line,
            whole=loaded.whole,
            found=loaded.found,
            marks=loaded.marks,
            judged=_judged(settings, ordered, record),
            logs=settings.logs,
            heard=dashboard.Heard(measures.stamp, measures.record, measures.edits, measures.sets),
        )
        heartbeat.keep_up(settings)
    except OSError as error:
        raise Trouble(f"site not built: {error.filename or places.site}: {error.strerror}") from None


def _judged(settings: Settings, ordered: Sequence[Run], record: Mapping[str, Any]) -> dashboard.Judged:
    own = [run for run in ordered if run.rerun_of is None]
    again = [run for run in ordered if run.rerun_of is not None]
    judged = dashboard.judged(
        record, own, again=again, accepted=decisions.accepted(settings.places.requests), logs=settings.logs
    )
    marks = {run: (text, is_new) for run, text, is_new in judged.marks}
    for run, skipped in _skipped(settings.places, own):
        text, is_new = marks.get(run, ("", False))
        marks[run] = (f"{text}; {skipped}" if text else skipped, is_new)
    return replace(judged, marks=[(run, text, is_new) for run, (text, is_new) in marks.items()])


def _skipped(places: Places, own: Sequence[Run]) -> Iterator[tuple[str, str]]:
    """Yield what to say of each skipped merge, and the run that follows it in the history."""
    decided = {one.sha: one for one in decisions.skipped(places.requests)}
    if not decided or not places.mirror.exists():
        return
    for sha, merge in history.known(places.mirror, list(decided)).items():
        after = next((run.id for run in own if run.merge.ordinal > merge.ordinal), None)
        if after:
            one = decided[sha]
            yield after, f"{sha[:12]} {merge.subject[:60]}: skipped by {one.who}: {one.why}"


def update(settings: Settings, *, upload: Callable[[int, int], None] | None = None) -> bool:
    """Build the site and publish it if a web host is set. Returns False on a failure, which is logged.

    After a failure the next tick tries again. `upload` is called with bytes sent and total bytes.
    """
    places, website = settings.places, settings.website
    try:
        listed = build(settings, scoring_s=SCORING_S)
        heartbeat.write(settings)
        if website:
            options = Options(
                kept=places.published,
                owner=identity.owner(places, settings.repository),
                url=settings.notices.website_url,
                progress=upload,
                is_stopped=lambda: signals.count() > 0,
            )
            from deepspeech_wer.publish import publisher  # loads paramiko

            report = publisher.publish(places.site, listed, website, options)
            log.info("published %s", report.summary)
            for note in report.notes:
                log.info("%s: %s", website.server_fqdn, note)
            for difference in report.differences:
                log.warning("%s", difference)
        note_shown(settings)
    except Trouble as trouble:
        return _failed(places, str(trouble))
    except OSError as error:
        return _failed(places, f"{error.filename or places.cache}: {error.strerror}")
    return True


def _failed(places: Places, reason: str) -> bool:
    log.error("not published: %s", reason)
    journal.happened(places.cache, journal.ERROR, f"{journal.NOT_PUBLISHED}{reason}")
    return False


def note_shown(settings: Settings) -> None:
    """Note that the site, and the web host if one is set, show what the archive holds. Raises OSError."""
    files.write_atomically(settings.places.shown, _state(settings).encode(), mode=0o600)
    if settings.website:
        journal.happened(settings.places.cache, journal.PUBLISHED, place(settings.website))
    journal.went_well(settings.places.cache, published=True)


def place(website: Website) -> str:
    """The web root, for people."""
    return f"{website.server_fqdn}:{website.server_root}"


def lacks_verdicts(settings: Settings) -> bool:
    """Return whether the archive holds runs, and its verdicts are not those of what it holds."""
    places = settings.places
    return bool(archive.names(places.runs)) and not verdict_file.is_current(places, settings.retraining)


def is_behind(settings: Settings) -> bool:
    """Return whether the site or the web host may lack something that the archive holds."""
    places = settings.places
    try:
        shown = places.shown.read_text()
    except OSError:
        shown = ""
    is_shown = shown == _state(settings) and verdict_file.is_current(places, settings.retraining)
    is_shown = is_shown and not places.unmeasured.exists()
    return not is_shown and bool(archive.names(places.runs))


def _state(settings: Settings) -> str:
    """Return a digest of the runs, the web host, what is shown of logs, the version of this program, and the site."""
    website, names = settings.website, archive.names(settings.places.runs)
    skips = [one.sha for one in decisions.skipped(settings.places.requests)]
    host = (website.username, website.server_fqdn, website.server_port, website.server_root) if website else ()
    return hashlib.sha256(
        repr(
            (names, skips, host, settings.logs.mode, settings.audio, __version__, _stamps(settings.places.site))
        ).encode()
    ).hexdigest()


def _stamps(site: Path) -> list[tuple[int, int]]:
    """Sizes and times of the site's main files: after a power cut or of an older copy, they are made again."""
    found = []
    for name in ("index.htm", "js/hyper.js", "js/merges.js"):
        with suppress(OSError):
            status = (site / name).stat()
            found.append((status.st_size, status.st_mtime_ns))
    return found
