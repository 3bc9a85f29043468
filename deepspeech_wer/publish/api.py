"""Publish a site, or roll it back. Importing this does not load paramiko: a tick that publishes nothing needs none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from deepspeech_wer.publish.report import Options, Report
from deepspeech_wer.settings import Website

DEFAULTS = Options()


def publish(site: Path, files: Sequence[str], website: Website, options: Options = DEFAULTS) -> Report:
    """Bring `files` (paths relative to `site`, with /) to the web root, index.htm last. Unchanged files are not sent.

    Only files that an earlier publish put there are replaced or removed, unless `options.adopt` is set. Raises Trouble;
    visitors have a whole site all the same.
    """
    from deepspeech_wer.publish import publisher  # loads paramiko

    return publisher.publish(site, files, website, options)


def rollback(website: Website, options: Options = DEFAULTS) -> Report:
    """Bring back the version before the published one. A second rollback undoes the first.

    The server still has all of it: no local site is needed. The next publish brings the newest version again. Raises
    Trouble where there is no version before, or where the server could not keep it.
    """
    from deepspeech_wer.publish import publisher

    return publisher.rollback(website, options)
