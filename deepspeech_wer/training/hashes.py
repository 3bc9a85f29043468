"""Hashes of audio files, kept from one training to the next: a file of the same size and times is not read again.

What was odd in a recording is kept, too, since it shows only when the recording is read.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from .corpus import file_sha256

NAME = "hashes.sqlite3"
SETTLED = 2.0  # seconds since the last change, after which another change shows in the times
BETWEEN = "; "  # two doubts
WAIT = 10.0  # seconds for another training that writes to the file
TABLE = "CREATE TABLE IF NOT EXISTS hashes (path BLOB PRIMARY KEY, times TEXT, sha256 TEXT) WITHOUT ROWID"
DOUBTS = "CREATE TABLE IF NOT EXISTS doubts (features TEXT PRIMARY KEY, doubt TEXT) WITHOUT ROWID"


class Hashes:
    """SHA-256 of audio files. Where the file of hashes cannot be used, everything is read.

    The segments of a recording are consecutive, so they are looked up once for all of them.
    """

    def __init__(self, directory: Path) -> None:
        self._last = (Path(), "")
        self._new: list[tuple[bytes, str, str]] = []
        self._ahead: dict[bytes, tuple[str, str]] | None = None  # kept ones of the files that `look_ahead` was told
        self.doubts: dict[str, str] = {}  # by the name of the features: what is odd in the recording, joined by BETWEEN
        self._store: sqlite3.Connection | None = None
        with suppress(sqlite3.Error, OSError):
            directory.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(directory / NAME, timeout=WAIT)
            self._store.execute(TABLE)
            self._store.execute(DOUBTS)
            self.doubts = dict(self._store.execute("SELECT features, doubt FROM doubts"))

    def of(self, path: Path) -> str:
        """Return the hash of a file. Raises OSError."""
        if path != self._last[0]:
            self._last = (path, self._look_up(path))
        return self._last[1]

    def look_ahead(self, paths: Sequence[Path]) -> None:
        """Look up the files that are asked for next, all at once."""
        self._ahead = None
        if self._store is not None:
            keys = list({os.fsencode(path) for path in paths})
            marks = ",".join("?" * len(keys))
            with suppress(sqlite3.Error):
                found = self._store.execute(f"SELECT * FROM hashes WHERE path IN ({marks})", keys)  # noqa: S608  # marks
                self._ahead = {path: (times, sha256) for path, times, sha256 in found}

    def keep_doubt(self, features: str, doubts: Sequence[str]) -> None:
        """Remember what is odd, at once: the features are kept at once, too."""
        if not doubts and features not in self.doubts:
            return
        self.doubts.pop(features, None)
        if doubts:
            self.doubts[features] = BETWEEN.join(doubts)
        if self._store is not None:
            with suppress(sqlite3.Error), self._store:
                self._store.execute("DELETE FROM doubts WHERE features = ?", (features,))
                kept = [(features, self.doubts[features])] if doubts else []
                self._store.executemany("INSERT INTO doubts VALUES (?, ?)", kept)

    def _look_up(self, path: Path) -> str:
        status = os.stat(key := os.fsencode(path))  # noqa: PTH116  # a third of a second less of 100,000 files
        times = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
        kept = self._kept(key)
        if kept is not None and kept[0] == times:
            return kept[1]
        found = file_sha256(path)
        if time.time() - max(status.st_mtime, status.st_ctime) > SETTLED:
            self._new.append((key, times, found))
        return found

    def _kept(self, key: bytes) -> tuple[str, str] | None:
        if self._ahead is not None and key in self._ahead:
            return self._ahead[key]
        if self._store is not None:
            with suppress(sqlite3.Error):
                row: tuple[str, str] | None = self._store.execute(
                    "SELECT times, sha256 FROM hashes WHERE path = ?", (key,)
                ).fetchone()
                return row
        return None

    def close(self) -> None:
        """Keep what is new."""
        if self._store is None:
            return
        with suppress(sqlite3.Error):
            if self._new:
                self._store.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", self._new)
                self._store.commit()
        self._store.close()
