"""The files to publish: what they hold, and what of it the server can copy (copy-data, OpenSSH 9.0).

Of js/hyper.js it can copy all but the new lines. The tracker keeps the data files that it published last, to compare
them with the new ones. Without them, or where the server's file is not what was published, the whole file is sent.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import delta
from deepspeech_wer.delta import Span
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import link_or_copy, make_private
from deepspeech_wer.publish.plan import INDEX, Entries, Entry, check_path, directories

LARGE = 32 << 10  # bytes; a smaller file is sent in less time than it takes to compare
WHOLE_EVERY = 50  # publishes: then files are sent whole, in case the server's were changed unseen
_HASHED = re.compile(r"(.+)\.[0-9a-f]{8}(\.\w+)")  # a name that tells versions apart


class Copied(NamedTuple):
    """How to make a file of an older one."""

    source: str  # its path in the web root
    parts: tuple[Span | int, ...]  # what is copied from it, and how many bytes are new, in turn

    @property
    def size(self) -> int:
        """Bytes that need not be sent."""
        return sum(part.size for part in self.parts if isinstance(part, Span))


def scan(site: Path, files: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Size and mtime_ns of each file. Raises OSError where one is missing, Trouble where one is outside, or a link."""
    for path in files:
        check_path(path)
    for directory in directories(files):
        if stat.S_ISLNK(os.lstat(place := f"{site}/{directory}").st_mode):
            raise Trouble(f"{place}: expected a directory of the site, found a link: remove it, and build again")
    return {path: _state(f"{site}/{path}") for path in files}


def _state(file: str) -> tuple[int, int]:
    status = os.lstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise Trouble(f"{file}: expected a regular file, found something else: remove it, and build again")
    return status.st_size, status.st_mtime_ns


def read(site: Path, scanned: Mapping[str, tuple[int, int]], known: Entries) -> dict[str, Entry]:
    """What to publish, index.htm last. Files with size and mtime of their `known` entry are unread. Raises OSError."""
    return {path: _entry(site, path, scanned[path], known.get(path)) for path in sorted(scanned, key=INDEX.__eq__)}


def version_before(path: str, current: Entries) -> str | None:
    """Return which file of a manifest is an earlier version of one, if any: names may have a hash of the content."""
    if path in current or not (match := _HASHED.fullmatch(path)):
        return path if path in current else None
    found = (_HASHED.fullmatch(other) for other in current if other.startswith(f"{match[1]}."))
    return next((other[0] for other in found if other and other.groups() == match.groups()), None)


def compared(kept: Path, before: Entry, new: Path) -> tuple[Span | int, ...]:
    """Compare a file with its version before. Nothing is equal if that is not kept, or was changed since."""
    with suppress(OSError), (kept / before.sha256).open("rb") as old, new.open("rb") as stream:
        if hashlib.file_digest(old, "sha256").hexdigest() == before.sha256:
            return delta.between_files(old.fileno(), stream.fileno())
    return ()


def keep(kept: Path, site: Path, entries: Entries) -> None:
    """Keep the files of the site that change with each run, as hard links where the file system has them."""
    wanted = {entry.sha256: path for path, entry in entries.items() if entry.size >= LARGE and path.count("/") < 2}
    with suppress(OSError):  # the next publish sends more
        make_private(kept)
        for path in (path for path in kept.iterdir() if len(path.name) == 64 and path.name not in wanted):
            path.unlink()
        for sha256, name in wanted.items():
            if not (kept / sha256).exists():
                link_or_copy(site / name, kept / sha256)


def _entry(site: Path, path: str, state: tuple[int, int], known: Entry | None) -> Entry:
    if known is not None and known[1:] == state:
        return known
    with (site / path).open("rb") as stream:
        return Entry(hashlib.file_digest(stream, "sha256").hexdigest(), *state)
