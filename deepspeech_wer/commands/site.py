"""Commands for the page: build, publish, serve."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from deepspeech_wer import archive, identity, journal, update_site
from deepspeech_wer.commands import progress
from deepspeech_wer.commands.locked import locked
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Settings, Website
from deepspeech_wer.errors import Trouble

if TYPE_CHECKING:
    from deepspeech_wer.publish.report import Report


def build(_: argparse.Namespace) -> int:
    """Merge the archived runs into js/hyper.js and build the site."""
    current = every_setting.load()
    places = current.places
    with locked(places, current.repository):
        files = update_site.build(current)
    count = len(archive.names(places.runs))
    say(f"{count} runs merged into {places.site / 'js' / 'hyper.js'}, {files} files")
    return 0


def publish(options: argparse.Namespace) -> int:
    """Build the site and publish it."""
    current = every_setting.load()
    if current.website is None:
        say(f"not publishing: {', '.join(current.website_missing)} not set")
        return 0
    if options.rollback:
        return _rollback(current.website, options, current)
    with locked(current.places, current.repository):
        update_site.build(current)
        listed = update_site.names(current)
        from deepspeech_wer.publish import publisher  # loads paramiko
        from deepspeech_wer.publish.report import Options

        how = Options(
            dry_run=options.dry_run,
            adopt=options.adopt,
            take_over=options.take_over,
            kept=current.places.published,
            owner=identity.owner(current.places, current.repository),
            progress=progress.upload_bar(),
        )
        try:
            report = publisher.publish(current.places.site, listed, current.website, how)
        except Trouble as trouble:
            journal.happened(current.places.cache, journal.ERROR, f"{journal.NOT_PUBLISHED}{trouble}")
            raise
        if options.dry_run:
            journal.happened(current.places.cache, journal.DRY_RUN, update_site.place(current.website))
        else:
            update_site.note_shown(current)
    return _tell("published", report, current, is_dry=options.dry_run)


def serve(options: argparse.Namespace) -> int:
    """Serve the site on this machine until Ctrl-C."""
    site = every_setting.load().places.site
    if not (site / "index.htm").exists():
        raise Trouble(f"{site}: the site is not built yet: run `build`")
    from deepspeech_wer.dashboard.preview import preview  # an HTTP server, which no tick needs

    with preview(str(site), options.port) as server:
        say(f"http://127.0.0.1:{server.server_port}/index.htm (stop with Ctrl-C)", flush=True)
        server.serve_forever()
    return 0


def _rollback(website: Website, options: argparse.Namespace, current: Settings) -> int:
    with locked(current.places, current.repository):
        from deepspeech_wer.publish import publisher
        from deepspeech_wer.publish.report import Options

        how = Options(
            dry_run=options.dry_run,
            take_over=options.take_over,
            kept=current.places.published,
            owner=identity.owner(current.places, current.repository),
        )
        report = publisher.rollback(website, how)
    return _tell("rolled back", report, current, is_dry=options.dry_run)


def _tell(done: str, report: Report, current: Settings, *, is_dry: bool) -> int:
    differences = update_site.differences(current, report.shown, report.sent)
    for line in (*report.lines, *report.notes, *differences):
        say(line)
    say(f"{'would send' if is_dry else done} {report.summary}")
    return 4 if differences else 0
