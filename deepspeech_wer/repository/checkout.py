"""Each merge's own clone, made from the mirror and wiped after use.

Its own clone, with its own config and hooks, because a job can plant a hook in a worktree that runs in the tracker's
next fetch, and hard-linked objects share their inodes with the mirror.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import home, is_full, make_private, remove_tree, write_atomically
from deepspeech_wer.records import Checkout, Merge
from deepspeech_wer.repository.git import GitError, run_git
from deepspeech_wer.repository.mirror import tidy

_MARK = "checkout.json"  # in the cache: which directory is ours to wipe; within the checkout a job could forge it
_WIPE_TRIES = 20

log = logging.getLogger(__name__)


class CannotCheckOut(Trouble):
    """The merge itself cannot be laid out here: a name longer than the file system takes, say."""


@contextmanager
def checked_out(mirror: Path, merge: Merge, path: Path, *, origin: str) -> Iterator[Checkout]:
    """The files of `merge` in a new clone at `path`; wiped on leaving.

    `origin` is what the clone's remote is called for the job (its URL without password). Raises Trouble where `path`
    holds anything that this program did not make, CannotCheckOut where the merge cannot be laid out.
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
            if path in _marked(cache) and os.path.lexists(path):
                _set_aside(path)
            _refuse_foreign(cache, path)
    (cache / _MARK).unlink(missing_ok=True)


def _set_aside(path: Path) -> None:
    """A job put something else in the place of its checkout: not ours to wipe, but not to stop the queue either."""
    aside = path.with_name(f"{path.name}.left-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    path.rename(aside)
    log.warning("%s: a job replaced its checkout; what stands there is kept as %s", path, aside)


def _claim(cache: Path, path: Path) -> None:
    """Make the directory, and note that it is ours by its inode: a directory put there later is not."""
    _refuse_holder(cache, path)
    try:
        make_private(path)
    except OSError as error:
        raise Trouble(f"ds_clone_path {path}: {error.strerror}") from None
    status = path.stat()
    mark = {"version": 1, "path": str(path), "device": status.st_dev, "inode": status.st_ino}
    write_atomically(cache / _MARK, json.dumps(mark).encode(), mode=0o600)


def _refuse_holder(cache: Path, path: Path) -> None:
    if path in (home(), *home().parents, cache, *cache.parents):
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
    """Raises Trouble for what is wrong here (no room; a damaged mirror, which goes), CannotCheckOut for the merge."""
    try:
        _clone(mirror, merge, path, origin)
    except GitError as error:
        what = f"cannot check out {merge.sha[:12]} into {path}: {error}"
        full = next((place for place in (path, mirror) if is_full(place)), None)
        if full:
            raise Trouble(f"{what}; no space left for {full}") from None
        if _is_complete(mirror, merge):
            raise CannotCheckOut(what.replace(str(path), path.name)) from None  # it goes to the page
        shutil.rmtree(mirror, ignore_errors=True)
        raise Trouble(f"{what}; the mirror {mirror} is fetched anew by the next call") from None


def _is_complete(mirror: Path, merge: Merge) -> bool:
    """Whether the mirror holds every file of the merge."""
    try:
        run_git(mirror, "rev-list", "--objects", "--no-walk", "--quiet", merge.sha)
    except GitError:
        return False
    return True


def _clone(mirror: Path, merge: Merge, path: Path, origin: str) -> None:
    options = ("--quiet", "--no-hardlinks", "--no-checkout", "--no-tags", "--template=")
    tidy(mirror)  # the lock of a git that was killed would fail every merge from now on
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
    for _ in range(_WIPE_TRIES):
        if remove_tree(path):
            return
        time.sleep(0.1)
    raise Trouble(f"cannot wipe {path}: something goes on writing there, or it belongs to another user")
