"""Each merge's own clone, made from the mirror and wiped after use.

Its own clone, with its own config and hooks, because a job can plant a hook in a worktree that runs in the tracker's
next fetch, and hard-linked objects share their inodes with the mirror.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import is_full, write_atomically
from deepspeech_wer.mirror import GitError, run_git
from deepspeech_wer.records import Checkout, Merge

_MARK = "checkout.json"  # in the cache: which directory is ours to wipe; within the checkout a job could forge it
_WIPE_TRIES = 20


@contextmanager
def checkout(mirror: Path, merge: Merge, path: Path, *, origin: str) -> Iterator[Checkout]:
    """The files of `merge` in a new clone at `path`; wiped on leaving.

    `origin` is what the clone's remote is called for the job (its URL without password). Raises Trouble where `path`
    holds anything that this program did not make.
    """
    wipe(mirror.parent, path)
    _claim(mirror.parent, path)
    try:
        _clone_or_explain(mirror, merge, path, origin)
        yield Checkout(path, merge)
    finally:
        wipe(mirror.parent, path)


def check(cache: Path, path: Path) -> None:
    """Raises Trouble where no checkout could be made at `path`, as far as that can be told without touching it."""
    _refuse_holder(cache, path)
    _refuse_foreign(cache, path)


def wipe(cache: Path, path: Path) -> None:
    """Remove the checkout at `path`, if this program made it; also one at another place, made under other settings.

    Raises Trouble where something else stands there.
    """
    for place in dict.fromkeys([path, *_marked(cache)]):
        if _is_ours(cache, place):
            _remove(place)
        elif place == path:
            _refuse_foreign(cache, path)
    (cache / _MARK).unlink(missing_ok=True)


def _claim(cache: Path, path: Path) -> None:
    """Make the directory, and note that it is ours by its inode: a directory put there later is not."""
    _refuse_holder(cache, path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Trouble(f"ds_clone_path {path}: {error.strerror}") from None
    status = path.stat()
    mark = {"version": 1, "path": str(path), "device": status.st_dev, "inode": status.st_ino}
    write_atomically(cache / _MARK, json.dumps(mark).encode(), mode=0o600)


def _refuse_holder(cache: Path, path: Path) -> None:
    if path == Path.home() or path in (*Path.home().parents, cache, *cache.parents):
        raise Trouble(
            f"ds_clone_path {path}: expected a directory that may be wiped, found one that holds other things"
        )


def _refuse_foreign(cache: Path, path: Path) -> None:
    if os.path.lexists(path) and not _is_empty_directory(path) and not _is_ours(cache, path):
        raise Trouble(
            f"ds_clone_path {path}: expected nothing there, or a checkout made by deepspeech_wer, found something "
            "else, which is left alone: move it away or set another path"
        )


def _clone_or_explain(mirror: Path, merge: Merge, path: Path, origin: str) -> None:
    """A mirror out of which nothing can be cloned is damaged, unless it is only room that lacks: it goes."""
    try:
        _clone(mirror, merge, path, origin)
    except GitError as error:
        full = next((place for place in (path, mirror) if is_full(place)), None)
        if full is None:
            shutil.rmtree(mirror, ignore_errors=True)
        cure = f"no space left for {full}" if full else f"the mirror {mirror} is fetched anew by the next call"
        raise Trouble(f"cannot check out {merge.sha[:12]} into {path}: {error}; {cure}") from None


def _clone(mirror: Path, merge: Merge, path: Path, origin: str) -> None:
    options = ("--quiet", "--no-hardlinks", "--no-checkout", "--no-tags", "--template=")
    run_git(mirror, "update-ref", "refs/heads/tracked", merge.sha)  # clone takes branches alone
    run_git(path, "clone", *options, "--config", "core.hooksPath=/dev/null", "--end-of-options", str(mirror), ".")
    run_git(path, "config", "remote.origin.url", origin)
    run_git(path, "-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", "--force", merge.sha)


def _marked(cache: Path) -> list[Path]:
    mark = _read_mark(cache)
    return [Path(str(mark["path"]))] if "path" in mark else []


def _is_ours(cache: Path, path: Path) -> bool:
    mark = _read_mark(cache)
    try:
        status = path.lstat()
    except OSError:
        return False
    return (str(path), status.st_dev, status.st_ino) == (mark.get("path"), mark.get("device"), mark.get("inode"))


def _read_mark(cache: Path) -> dict[str, object]:
    try:
        mark = json.loads((cache / _MARK).read_bytes())
    except (FileNotFoundError, ValueError):
        return {}  # an unreadable mark gives no right to wipe anything
    return mark if isinstance(mark, dict) else {}


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _remove(path: Path) -> None:
    """Remove a tree in which a job may have taken permissions away, or in which a dying process still writes."""
    for _ in range(_WIPE_TRIES):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        for directory, _, _ in os.walk(path):
            with suppress(OSError):
                Path(directory).chmod(0o700)
        time.sleep(0.1)
    raise Trouble(f"cannot wipe {path}: something goes on writing there, or it belongs to another user")
