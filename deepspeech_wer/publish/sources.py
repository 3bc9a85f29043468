"""The files to publish: what they hold and where the content comes from."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish.plan import INDEX, Entries, Entry, check_path, directories


def scan(site: Path, files: Sequence[str]) -> dict[str, os.stat_result]:
    """The state of each file. Raises Trouble for one that is missing or outside of the site, also by a link."""
    for path in files:
        check_path(path)
    with _readable():
        for directory in map(site.joinpath, directories(files)):
            if directory.is_symlink():
                raise Trouble(
                    f"{directory}: expected a directory of the site, found a link: remove it, and build again"
                )
        found = {path: os.lstat(f"{site}/{path}") for path in files}
    for path, status in found.items():
        if not stat.S_ISREG(status.st_mode):
            raise Trouble(f"{site}/{path}: expected a regular file, found something else: remove it, and build again")
    return found


def read(site: Path, scanned: Mapping[str, os.stat_result], known: Entries) -> dict[str, Entry]:
    """What to publish, index.htm last. Files with size and mtime of their `known` entry are unread. Raises Trouble."""
    with _readable():
        return {
            path: _entry(f"{site}/{path}", scanned[path], known.get(path)) for path in sorted(scanned, key=INDEX.__eq__)
        }


def chunks(file: Path, entry: Entry, size: int) -> Iterator[bytes]:
    """Read a file piece by piece. Raises Trouble if its content is not what was planned."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(size):
            digest.update(chunk)
            yield chunk
    if digest.hexdigest() != entry.sha256:
        raise Trouble(f"{file}: changed while it was being published: publish again")


def _entry(file: str, status: os.stat_result, known: Entry | None) -> Entry:
    if known is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return known
    with Path(file).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Entry(digest, status.st_size, status.st_mtime_ns)


@contextmanager
def _readable() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Trouble(f"{error.filename}: cannot be published: {error.strerror}: build the site again") from error
