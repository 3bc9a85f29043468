"""Brings the site and the web host up to date, and tells whether they are."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_wer import __version__, archive, built, decision_files, files, heartbeat, identity, journal
from deepspeech_wer.built import Built
from deepspeech_wer.configuration.settings import Settings, Website
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.judging import standing
from deepspeech_wer.machine import signals
from deepspeech_wer.places import Places

if TYPE_CHECKING:
    from deepspeech_wer.publish.plan import Entries

SCORING_S = 60.0  # of a tick, for runs that were archived before they were scored

log = logging.getLogger(__name__)


def build(settings: Settings, *, scoring_s: float | None = None) -> int:
    """Score and judge the runs, merge them into js/hyper.js and build the site. Returns how many files there are.

    After `scoring_s` seconds, runs that are not scored yet are left for the next call. Raises Trouble if the site
    cannot be written.
    """
    places, sources = settings.places, built.sources(settings)
    last = built.last(places)
    is_old = last is not None and last.made_from == sources.digest
    is_whole = last is not None and last.shown_at == built.shown_at(places)
    if last and is_old and is_whole and _is_there(places, last):
        return last.files
    from deepspeech_wer import build_site  # loads what judges and draws, which takes longer than an idle tick

    count = build_site.build(settings, scoring_s=scoring_s, times=sources.times, is_trusted=is_whole and not is_old)
    built.note(places, Built(sources.digest, built.results(places), built.shown_at(places), count))
    return count


def _is_there(places: Places, last: Built) -> bool:
    """Return whether a build is still there and nothing was left for the next one."""
    is_same = last.made == built.results(places) and built.are_runs_as_built(places)
    return is_same and not places.unmeasured.exists()


def names(settings: Settings) -> list[str]:
    """Return the paths of the built site to publish, in order. Raises Trouble if there is no site."""
    from deepspeech_wer import dashboard  # not in an idle tick

    return dashboard.site_names(settings.places.site)


def update(settings: Settings, *, upload: Callable[[int, int], None] | None = None) -> bool:
    """Build the site and publish it if a web host is set. Returns False on a failure, which is logged.

    After a failure the next tick tries again. `upload` is called with bytes sent and total bytes.
    """
    places, website = settings.places, settings.website
    try:
        build(settings, scoring_s=SCORING_S)
        heartbeat.write(settings)
        if website:
            from deepspeech_wer.publish import publisher  # loads paramiko
            from deepspeech_wer.publish.report import Options

            options = Options(
                kept=places.published,
                owner=identity.owner(places, settings.repository),
                progress=upload,
                is_stopped=lambda: signals.count() > 0,
            )
            report = publisher.publish(places.site, names(settings), website, options)
            log.info("published %s", report.summary)
            for note in report.notes:
                log.info("%s: %s", website.server_fqdn, note)
            for difference in differences(settings, report.shown, report.sent):
                log.warning("%s", difference)
        note_shown(settings)
    except Trouble as trouble:
        return _failed(places, str(trouble))
    except OSError as error:
        return _failed(places, f"{error.filename or places.cache}: {with_cure(error)}")
    return True


def differences(settings: Settings, shown: Entries, sent: tuple[str, ...]) -> tuple[str, ...]:
    """One line for each address that serves something other than what was just published there."""
    url = settings.notices.website_url
    if url is None or not shown or not sent:
        return ()
    from deepspeech_wer import read_back  # loads requests

    return read_back.differences(url, shown, sent)


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
    return bool(archive.names(places.runs)) and not standing.is_current(places, settings.retraining)


def is_behind(settings: Settings) -> bool:
    """Return whether the site or the web host may lack something that the archive holds."""
    places = settings.places
    try:
        shown = files.read(places.shown).decode("utf-8", "replace")
    except OSError:
        shown = ""
    is_shown = shown == _state(settings) and standing.is_current(places, settings.retraining)
    is_shown = is_shown and not places.unmeasured.exists()
    return not is_shown and bool(archive.names(places.runs))


def _state(settings: Settings) -> str:
    """Return a digest of the runs, the web host, what is shown of logs, the version of this program, and the site."""
    website, runs = settings.website, archive.names(settings.places.runs)
    skips = [one.sha for one in decision_files.skipped(settings.places.requests)]
    host = (website.username, website.server_fqdn, website.server_port, website.server_root) if website else ()
    return hashlib.sha256(
        repr(
            (runs, skips, host, settings.logs.mode, settings.audio, __version__, _stamps(settings.places.site))
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
