"""The archive -> js/hyper.js and the site -> the web host."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Sequence

from deepspeech_wer import __version__, archive, dashboard, files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import api
from deepspeech_wer.publish.report import Options
from deepspeech_wer.settings import Settings

log = logging.getLogger(__name__)


def build(settings: Settings) -> Sequence[str]:
    """Merge the runs into js/hyper.js and build the site; what of it is to be published, in order. Raises Trouble."""
    project = dashboard.Project(
        name=settings.repo_name,
        url=settings.repo_page,
        branch=settings.github_ref or "",
        looked_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    try:
        files.make_private(settings.site)
        dashboard.build(archive.load(settings.runs), settings.site, project=project)
    except OSError as error:
        raise Trouble(f"site not built: {error.filename or settings.site}: {error.strerror}") from None
    return [str(path) for path in dashboard.site_files(settings.site)]


def show(settings: Settings, *, upload: Callable[[int, int], None] | None = None) -> bool:
    """Build and publish. A failure, False, never costs a training: the next tick tries again."""
    try:
        listed = build(settings)
        if settings.website:
            options = Options(url=settings.website_url, progress=upload)
            report = api.publish(settings.site, listed, settings.website, options)
            log.info("published %s", report.summary)
            for note in report.notes:
                log.info("%s: %s", settings.website.server_fqdn, note)
            for difference in report.differences:
                log.warning("%s", difference)
        files.write_atomically(settings.cache / "shown", _state(settings).encode(), mode=0o600)
    except Trouble as trouble:
        log.error("not published: %s", trouble)
        return False
    except OSError as error:
        log.error("not published: %s: %s", error.filename or settings.cache, error.strerror)
        return False
    return True


def is_behind(settings: Settings) -> bool:
    """Whether the archive holds more than the site and the web host are known to show."""
    try:
        shown = (settings.cache / "shown").read_text()
    except OSError:
        shown = ""
    return shown != _state(settings) and bool(archive.names(settings.runs))


def _state(settings: Settings) -> str:
    """Changes with the runs, with the place they are shown at, and with this program."""
    website = settings.website
    place = (website.username, website.server_fqdn, website.server_port, website.server_root) if website else ()
    return hashlib.sha256(repr((archive.names(settings.runs), place, __version__)).encode()).hexdigest()
