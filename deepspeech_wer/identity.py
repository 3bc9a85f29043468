"""Which repository, branch, cache and data root belong together: tracker.json in both directories.

Without this note, a second repository of the same user would share the mirror, last_sha1 and the notices of the first,
and a command typed without the crontab's variables would train another repository into the team's archive.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from deepspeech_wer import archive, archive_record, files, journal, versions
from deepspeech_wer.configuration.git_urls import spelled_alike
from deepspeech_wer.configuration.settings import Repository
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.places import Places
from deepspeech_wer.records import Owner
from deepspeech_wer.variables import without_password

VERSION = 1
NOTE = "tracker.json"
_ID = re.compile("[0-9a-f]{32}")


def check(places: Places, repository: Repository) -> None:
    """Raise Trouble if the cache or the data root belongs to another tracker, or if known runs have disappeared.

    So it does if a newer release has worked here, or another user, who could not read what this one writes.
    """
    _refuse_newer(places)
    _refuse_another_user(places)
    expected = {"url": without_password(repository.url), "branch": repository.ref or "HEAD"}
    for directory, other in ((places.cache, {"data": str(places.data)}), (places.data, {"cache": str(places.cache)})):
        note = _read(directory / NOTE)
        for name, value in {**expected, **other}.items():
            found = note.get(name, value)
            if found != value and not (name == "url" and spelled_alike(str(found)) == spelled_alike(value)):
                raise Trouble(
                    f"{directory} belongs to {name} {found}, not {value}: by hand, use the crontab's variables "
                    "(--crontab); for another repository or branch, set ds_instance to a name of its own, or "
                    "XDG_CACHE_HOME and ds_dataroot to directories of its own; if the same project has moved, remove "
                    f"{places.cache / NOTE} and {places.data / NOTE}"
                )
    if _read(places.cache / NOTE).get("has_runs") and not archive.names(places.runs):
        raise Trouble(
            f"{places.runs} is empty, but had runs before: is its disk mounted? "
            f"If they were removed on purpose, remove {places.cache / NOTE}"
        )


def root(places: Places) -> tuple[int, int]:
    """Return what tells the data root's directory from any other at its path. Raises Trouble if there is none."""
    try:
        status = places.data.stat()
    except OSError as error:
        raise Trouble(f"{places.data}: {error.strerror}: is its disk mounted? The next tick goes on") from None
    return status.st_dev, status.st_ino


def require(places: Places, repository: Repository, began: tuple[int, int]) -> None:
    """Raise Trouble as `check` does, and if the data root is not the one with which this tick began."""
    check(places, repository)
    if root(places) != began:
        raise Trouble(
            f"{places.data}: expected the directory with which this tick began, found another: is its disk mounted? "
            "The next tick goes on"
        )


def _refuse_newer(places: Places) -> None:
    known = {
        places.cache / NOTE: VERSION,
        places.data / NOTE: VERSION,
        places.cache / journal.NAME: journal.VERSION,
        places.cache / versions.TOLD: versions.TOLD_VERSION,
        places.runs / archive.newest(places.runs) / archive_record.RUN: archive_record.VERSION,
    }
    for path, version in known.items():
        versions.refuse_newer_file(path, version)


def _refuse_another_user(places: Places) -> None:
    for directory in (places.cache, places.data):
        with suppress(OSError):  # told where it is needed
            owner = (directory / NOTE).stat().st_uid
            if owner == os.geteuid():
                continue
            with tempfile.TemporaryFile(dir=directory) as probe:  # some mounts show one owner for all
                ours = os.fstat(probe.fileno()).st_uid
            if owner != ours:
                name, own = _user(owner), _user(ours)
                raise Trouble(
                    f"{directory} belongs to the user {name}, and this is {own}: run this as {name} (sudo -Hu {name}), "
                    f"or, where {own} is to go on with it, chown -R what is there"
                )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def lost_run(places: Places) -> str | None:
    """Return the run that was the newest when the last tick ended, if it is gone: the archive is an older copy now."""
    newest = _read(places.cache / NOTE).get("newest")
    return newest if isinstance(newest, str) and newest and not archive.holds(places.runs, newest) else None


def note(places: Places, repository: Repository) -> None:
    """Write down what belongs together, and what is archived. Raises Trouble if that cannot be written."""
    identity = {"version": VERSION, "url": without_password(repository.url), "branch": repository.ref or "HEAD"}
    newest = archive.newest(places.runs)
    has_runs = bool(newest)
    _write(places.cache / NOTE, {**identity, "data": str(places.data), "has_runs": has_runs, "newest": newest})
    if has_runs:
        _write(places.data / NOTE, {**identity, "cache": str(places.cache)})


def owner(places: Places, repository: Repository, *, create: bool = True) -> Owner:
    """Return who publishes from this archive, whatever its machine and directory are called.

    The id lies in the data root, so that it moves with the runs. It is made if there is none, unless `create` is False.
    Raises Trouble.
    """
    path = places.owner
    name = f"{repository.name} ({repository.ref or 'HEAD'}), {os.uname().nodename}:{places.data}"
    try:
        found = files.read(path).decode("ascii", "replace").strip()
    except FileNotFoundError:
        if not create:
            return Owner("", name)
        found = secrets.token_hex(16)
        try:
            files.make_private(path.parent)
            files.write_atomically(path, f"{found}\n".encode(), mode=0o600)
        except OSError as error:
            raise Trouble(f"cannot write {path}: {with_cure(error)}; the next tick tries again") from None
    except OSError as error:  # another id would make this tracker a stranger to its own web root
        raise Trouble(f"cannot read {path}: {error.strerror}: it holds this tracker's id") from None
    if not _ID.fullmatch(found):
        cure = "restore it, or remove it and run `publish --take-over`"
        raise Trouble(f"{path}: expected the tracker's id, 32 hex digits, found {found[:40]!r}: {cure}")
    return Owner(found, name)


def _write(path: Path, record: dict[str, object]) -> None:
    if _read(path) == record:
        return
    try:
        files.make_private(path.parent)
        files.write_atomically(path, json.dumps(record).encode("utf-8", "replace"), mode=0o600)
    except OSError as error:
        raise Trouble(f"cannot write {path}: {with_cure(error)}; the next tick tries again") from None


def _read(path: Path) -> dict[str, object]:
    """An unreadable note says nothing, and is written again: it protects against mistakes, not against damage."""
    try:
        record = json.loads(files.read(path))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}
