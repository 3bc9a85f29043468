"""The built site -> the web root, over SFTP. A visitor sees the site before or the site after, never a mixture.

The package: `known_hosts` and `connection` (who is at the other end), `pipeline` and `remote` (the protocol),
`site`, `page` and `plan` (what is to be done; pure but for reading the site), `publisher` (doing it). Importing this
loads none of them but `report`: a tick with nothing to publish needs no paramiko.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from deepspeech_wer.publish.report import Report
from deepspeech_wer.settings import Website

__all__ = ["Report", "publish"]

RETRY_AFTER_S = (1.0, 4.0, 10.0)
TIMEOUT_S = 30.0


def publish(
    site: Path,
    files: Sequence[str],
    website: Website,
    *,
    dry_run: bool = False,
    adopt: bool = False,
    progress: Callable[[int, int], None] | None = None,
    timeout_s: float = TIMEOUT_S,
    retry_after_s: Sequence[float] = RETRY_AFTER_S,
) -> Report:
    """Bring `files` (paths relative to `site`, with /) to the web root, index.htm last. Nothing new: nothing is sent.

    Only files that an earlier publish of ours put there are replaced or removed; `adopt` takes over others that are in
    the way. A dry run changes nothing and says in `Report.lines` what would happen. `progress` is called with bytes
    done and bytes in all. A connection that breaks is tried again after each of `retry_after_s`.

    Raises Trouble, one line: what, where, expected and found, cure. Whatever it says, visitors have a whole site.
    """
    from deepspeech_wer.publish import publisher  # the import that loads paramiko

    options = publisher.Options(dry_run=dry_run, adopt=adopt, progress=progress, timeout_s=timeout_s)
    return publisher.publish(site, files, website, options, retry_after_s)
