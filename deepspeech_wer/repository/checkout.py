"""A separate clone of the mirror for each run, below ds_clone_path, wiped after use.

It is a full clone rather than a worktree, because a job could plant a hook in a worktree that runs in the tracker's
next fetch. Objects are copied, because hard links would let a job change the mirror's files.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import home, is_full, make_private, remove_tree, write_atomically
from deepspeech_wer.records import Checkout, Merge
from deepspeech_wer.repository.git import GitError, run_git
from deepspeech_wer.repository.mirror import tidy

_WIPE_TRIES = 20

log = logging.getLogger(__name__)


class CannotCheckOut(Trouble):
    """The files of the merge cannot be written here, for example because a name is too long for the file system."""


@contextmanager
def checked_out(mirror: Path, merge: Merge, path: Path, *, mark: Path, origin: str) -> Iterator[Checkout]:
    """Check out `merge` in a new clone at `path`, which must not exist yet, and wipe it at the end of the block.

    `mark` is a file that names the clone, so that `wipe` finds it after a crash. It lies outside the clone, where a job
    could forge it. `origin` is the URL of the clone's remote, without a password. Raises Trouble if no clone can be
    made, CannotCheckOut if the merge cannot be checked out.
    """
    check(path.parent)
    _claim(path, mark)
    try:
        _clone_or_explain(mirror, merge, path, origin)
        yield Checkout(path, merge)
    finally:
        wipe(mark)


def check(clone_path: Path) -> None:
    """Check, without touching it, whether clones can be made below `clone_path`. Raises Trouble if not."""
    if clone_path in (home(), *home().parents):
        raise Trouble(
            f"ds_clone_path {clone_path}: expected a directory for checkouts only, found the home directory or one "
            "above it: set another path"
        )
    if os.path.lexists(clone_path) and not clone_path.is_dir():
        raise Trouble(
            f"ds_clone_path {clone_path}: expected a directory or nothing, found something else: "
            "move it away, or set another path"
        )


def wipe(mark: Path) -> None:
    """Remove the clone that a mark names, and the mark. Does nothing if there is no mark.

    If something other than the directory that we made is at the clone's path, it is left alone. Raises Trouble if the
    clone cannot be removed.
    """
    record = _read(mark)
    path = Path(str(record["path"])) if "path" in record else None
    if path and "inode" not in record:
        with suppress(OSError):  # it does not exist, or is not empty and so not ours
            path.rmdir()
    elif path and _is_ours(path, record):
        _remove(path)
    elif path and os.path.lexists(path):
        log.warning("%s: a job replaced its checkout; not removing what is there now", path)
    if "below" in record:
        with suppress(OSError):  # it holds other checkouts, or files of the user
            Path(str(record["below"])).rmdir()
    mark.unlink(missing_ok=True)


def _claim(path: Path, mark: Path) -> None:
    """Make the directory and record its inode, so that a directory that replaces it is not taken for ours.

    The path is recorded before the directory exists: a crash in between must not leave a directory without a mark.
    """
    record: dict[str, object] = {"version": 1, "path": str(path), "below": str(path.parent)}
    _write(mark, record)
    try:
        make_private(path.parent)
        path.mkdir(mode=0o700)
    except OSError as error:
        mark.unlink()
        raise Trouble(f"ds_clone_path {path.parent}: {error.strerror}") from None
    status = path.stat()
    _write(mark, {**record, "device": status.st_dev, "inode": status.st_ino})


def _clone_or_explain(mirror: Path, merge: Merge, path: Path, origin: str) -> None:
    """Clone. Raises CannotCheckOut if the merge is at fault, Trouble if this machine is.

    A damaged mirror is removed.
    """
    try:
        _clone(mirror, merge, path, origin)
    except GitError as error:
        what = f"cannot check out {merge.sha[:12]} into {path}: {error}"
        full = next((place for place in (path, mirror) if is_full(place)), None)
        if full:
            raise Trouble(f"{what}; no space left for {full}") from None
        if _is_complete(mirror, merge):
            raise CannotCheckOut(what.replace(str(path), path.parent.name)) from None  # shown on the page
        shutil.rmtree(mirror, ignore_errors=True)
        raise Trouble(f"{what}; removed the damaged mirror {mirror}, which the next tick fetches again") from None


def _is_complete(mirror: Path, merge: Merge) -> bool:
    """Return whether the mirror holds every object of the merge."""
    try:
        run_git(mirror, "rev-list", "--objects", "--no-walk", "--quiet", merge.sha)
    except GitError:
        return False
    return True


def _clone(mirror: Path, merge: Merge, path: Path, origin: str) -> None:
    options = ("--quiet", "--no-hardlinks", "--no-checkout", "--no-tags", "--template=")
    tidy(mirror)  # the lock of a killed git would make every later merge fail
    run_git(mirror, "update-ref", "refs/heads/tracked", merge.sha)  # git clone copies branches only
    run_git(path, "clone", *options, "--config", "core.hooksPath=/dev/null", "--end-of-options", str(mirror), ".")
    run_git(path, "config", "remote.origin.url", origin)
    run_git(path, "-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", "--force", merge.sha)


def _is_ours(path: Path, record: dict[str, object]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (record.get("device"), record.get("inode"))


def _read(mark: Path) -> dict[str, object]:
    try:
        record = json.loads(mark.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError:
        log.warning("%s is damaged: the checkout that it names is not removed", mark)
        return {}
    return record if isinstance(record, dict) else {}


def _write(mark: Path, record: dict[str, object]) -> None:
    try:
        write_atomically(mark, json.dumps(record).encode(), mode=0o600)
    except OSError as error:
        wipe(mark)
        raise Trouble(f"cannot write {mark}: {error.strerror}; the next tick tries again") from None


def _remove(path: Path) -> None:
    for _ in range(_WIPE_TRIES):
        if remove_tree(path):
            return
        time.sleep(0.1)
    raise Trouble(
        f"cannot remove the checkout {path}: a process still writes there, or files belong to another user: "
        "remove it by hand"
    )
