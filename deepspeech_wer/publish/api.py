"""Publish a site, or roll it back. Importing this loads no paramiko: a tick that publishes nothing needs none."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import deepspeech_wer.sftp.dial
from deepspeech_wer.publish.report import Report
from deepspeech_wer.settings import Website

RETRY_AFTER_S = (1.0, 4.0, 10.0)
TIMEOUT_S = 30.0
LOCK_WAIT_S = 60.0  # for another publisher in the same web root


def publish(
    site: Path,
    files: Sequence[str],
    website: Website,
    *,
    dry_run: bool = False,
    adopt: bool = False,
    url: str | None = None,
    probe: bool = False,
    progress: Callable[[int, int], None] | None = None,
    timeout_s: float = TIMEOUT_S,
    lock_wait_s: float = LOCK_WAIT_S,
    retry_after_s: Sequence[float] = RETRY_AFTER_S,
) -> Report:
    """Bring `files` (paths relative to `site`, with /) to the web root, index.htm last. Nothing new: nothing is sent.

    Only files that an earlier publish of ours put there are replaced or removed; `adopt` takes over others that are in
    the way. A dry run changes nothing and says in `Report.lines` what would happen; with
    `probe` it writes a file and removes it again, to see that it can. With `url`, the site's public
    address, what was published is read back through the web server; `Report.differences` says what it serves instead.
    `progress` is called with bytes done and bytes in all. A connection that breaks is tried again after each of
    `retry_after_s`.

    Raises Trouble, one line: what, where, expected and found, cure. Whatever it says, visitors have a whole site.
    """

    with _uncollected(), deepspeech_wer.sftp.dial.called(website, timeout_s) as call:
        from deepspeech_wer.publish import publisher  # the import that loads paramiko

        options = publisher.Options(dry_run, adopt, url, progress, timeout_s, lock_wait_s, retry_after_s, probe)
        return publisher.publish(site, files, website, options, call)


def rollback(
    website: Website,
    *,
    dry_run: bool = False,
    url: str | None = None,
    timeout_s: float = TIMEOUT_S,
    lock_wait_s: float = LOCK_WAIT_S,
    retry_after_s: Sequence[float] = RETRY_AFTER_S,
) -> Report:
    """Bring back the version before the one that is published; a second rollback undoes the first.

    All of it is on the server still: nothing is sent, and no local site is needed. The next publish brings the newest
    version again. Raises Trouble where there is none before, or where the server could not keep it.
    """

    with _uncollected(), deepspeech_wer.sftp.dial.called(website, timeout_s) as call:
        from deepspeech_wer.publish import publisher

        options = publisher.Options(dry_run, False, url, None, timeout_s, lock_wait_s, retry_after_s)
        return publisher.rollback(website, options, call)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the search for cycles, which goes through the records of 20,000 files again and again: a fifth of it all.

    The block leaves few cycles; what it does leave is found after it.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
