"""The site as it is to stand on the server: which files, what they hold, where they come from."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish.plan import INDEX, Entry, check_path


@dataclass(frozen=True)
class Local:
    """One file to publish: a file of the site, or what the server has."""

    entry: Entry
    path: str
    stored: bool = False  # True: the server has this content (a rollback); there is no local file

    def chunks(self, size: int) -> Iterator[bytes]:
        """The content, read piece by piece. Raises Trouble if it is not what was planned."""
        digest = hashlib.sha256()
        with Path(self.path).open("rb") as stream:
            while chunk := stream.read(size):
                digest.update(chunk)
                yield chunk
        if digest.hexdigest() != self.entry.sha256:
            raise Trouble(f"{self.path}: changed while it was being published: publish again")


def scan(site: Path, files: Sequence[str]) -> dict[str, os.stat_result]:
    """The files to publish. Raises Trouble for one that is missing or outside the site."""
    found = {}
    for path in files:
        check_path(path)
        try:
            found[path] = os.stat(f"{site}/{path}")  # noqa: PTH116 - of 20,000 Paths each takes as long as the publish
        except OSError as error:
            raise _unreadable(f"{site}/{path}", error) from error
    return found


def newest(found: Mapping[str, os.stat_result], count: int) -> list[str]:
    """Those of the files that were written last."""
    return heapq.nlargest(count, found, key=lambda path: found[path].st_mtime_ns)


def read(site: Path, files: Mapping[str, os.stat_result], known: Mapping[str, Entry]) -> dict[str, Local]:
    """What to publish, path -> Local, index.htm last.

    `known`: records of an earlier publish; a file of the same size and time, to the nanosecond, is not read again.
    Raises Trouble for a file that is unreadable.
    """
    in_order = sorted(files, key=INDEX.__eq__)
    return {path: _local(f"{site}/{path}", files[path], known.get(path)) for path in in_order}


def _local(file: str, status: os.stat_result, known: Entry | None) -> Local:
    if known is not None and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return Local(known, file)
    try:
        with Path(file).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(file, error) from error
    return Local(Entry(digest, status.st_size, status.st_mtime_ns), file)


def _unreadable(file: str | Path, error: OSError) -> Trouble:
    return Trouble(f"{file}: cannot be published: {error.strerror}: build the site again")
