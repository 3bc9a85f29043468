"""A separate clone of the mirror for each run, below ds_clone_path, wiped after use.

It is a full clone rather than a worktree, because a job could plant a hook in a worktree that runs in the tracker's
next fetch. Objects are copied, because hard links would let a job change the mirror's files.
"""

from __future__ import annotations

import json
import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer.errors import Trouble, is_of_the_machine, with_cure
from deepspeech_wer.files import home, make_private, read, remove_tree, write_atomically
from deepspeech_wer.records import Checkout, Merge
from deepspeech_wer.repository import evidence
from deepspeech_wer.repository.access import Access
from deepspeech_wer.repository.git import GitError, odd, run_git
from deepspeech_wer.repository.mirror import tidy

_WIPE_TRIES = 20
_CHECKOUT = ("checkout", "--quiet", "--detach", "--force")
_CANNOT_EXIST = re.compile(  # what git says of a path that this file system, or any, cannot hold
    r"invalid path '|(unable to create (file|symlink)|cannot create directory at|unable to write file) .*: ("
    r"File name too long|Invalid argument|Invalid or incomplete multibyte|Illegal byte sequence|Not a directory"
    r"|Is a directory|File exists|Too many levels of symbolic links)",
    re.IGNORECASE,
)

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
    record = _claim(path, mark)
    try:
        _clone_or_explain(mirror, merge, path, origin)
        yield Checkout(path, merge)
    finally:
        wipe(mark, record)


def check_out(mirror: Path, merge: Merge, path: Path, *, mark: Path, origin: str) -> None:
    """Check out as `checked_out` does, and leave the clone: `wipe` removes it. Raises Trouble, and leaves nothing."""
    check(path.parent)
    record = _claim(path, mark)
    is_whole = False
    try:
        _clone_or_explain(mirror, merge, path, origin)
        is_whole = True
    finally:
        if not is_whole:
            wipe(mark, record)


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


def wipe(mark: Path, known: dict[str, object] | None = None) -> None:
    """Remove the clone that a mark names, and the mark. If a job removed the mark, `known` is what it said.

    If something other than the directory that we made is at the clone's path, it is left alone. Raises Trouble if the
    clone cannot be removed.
    """
    record = _read(mark) or known or {}
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
    remove_tree(mark)  # or whatever the job put in its place


def _claim(path: Path, mark: Path) -> dict[str, object]:
    """Make the directory and record its inode, so that a directory that replaces it is not taken for ours.

    Returns what the mark says.

    The path is recorded before the directory exists: a crash in between must not leave a directory without a mark.
    """
    record: dict[str, object] = {"version": 1, "path": str(path), "below": str(path.parent)}
    _write(mark, record)
    try:
        make_private(path.parent)
        path.mkdir(mode=0o700)
    except OSError as error:
        mark.unlink()
        raise Trouble(f"ds_clone_path {path.parent}: {with_cure(error)}; the next tick tries again") from None
    status = path.stat()
    record.update(device=status.st_dev, inode=status.st_ino)
    _write(mark, record)
    return record


def _clone_or_explain(mirror: Path, merge: Merge, path: Path, origin: str) -> None:
    """Clone. Raises CannotCheckOut if the merge is proved to be at fault, else Trouble with its cure.

    A mirror that is proved to lack objects of the merge is removed.
    """
    try:
        _clone(mirror, merge, path, origin)
    except GitError as error:
        what = f"cannot check out {merge.sha[:12]} into {path}: {error}"
        cure = evidence.cure(error, path, mirror)
        if cure or error.code is None:
            raise Trouble(f"{what}; {f'{cure}; ' if cure else ''}the next tick tries again") from None
        if evidence.lacks_files(mirror, merge.sha):
            remove_tree(mirror)
            raise Trouble(f"{what}; removed the damaged mirror {mirror}, which the next tick fetches again") from None
        is_impossible = _CANNOT_EXIST.search(error.said) or _has_too_long_a_path(mirror, merge)
        if is_impossible and _fails_alike(path, merge, error):
            raise CannotCheckOut(what.replace(str(path), path.parent.name)) from None  # it goes to the page
        raise Trouble(f"{what}; the next tick tries again") from None


def _has_too_long_a_path(mirror: Path, merge: Merge) -> bool:
    """Whether no system call takes one of its paths; git's complaint of it is cut before the reason."""
    names = run_git(mirror, "ls-tree", "-r", "-z", "--name-only", merge.sha).split("\0")
    return max(len(name.encode()) for name in names) >= os.pathconf(mirror, "PC_PATH_MAX")


def _fails_alike(path: Path, merge: Merge, first: GitError) -> bool:
    """Whether the same checkout fails in the same way in another directory, which is within the clone."""
    again = path / ".git" / "again"
    where = Access("", environment={"GIT_DIR": str(path / ".git"), "GIT_WORK_TREE": str(again)})
    try:
        again.mkdir()
        run_git(again, *_CHECKOUT, merge.sha, access=where)
    except GitError as error:
        return error.said == first.said
    except OSError:
        return False
    return False


def _clone(mirror: Path, merge: Merge, path: Path, origin: str) -> None:
    options = ("--quiet", "--no-hardlinks", "--no-checkout", "--no-tags", "--template=")
    tidy(mirror)  # the lock of a git that was killed would fail every merge from now on
    run_git(mirror, "update-ref", "refs/heads/tracked", merge.sha)  # clone takes branches alone
    run_git(path, "clone", *options, "--end-of-options", str(mirror), ".")
    named = {"GIT_DIR": str(path / ".git"), "GIT_WORK_TREE": str(path)}  # outright: then git asks for no owner
    run_git(path, "config", "remote.origin.url", origin, access=Access("", environment=named))
    run_git(path, *_CHECKOUT, merge.sha, access=Access("", environment=named))
    if not (path / ".git" / "index").exists():
        raise odd("checkout", "")


def _is_ours(path: Path, record: dict[str, object]) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == (record.get("device"), record.get("inode"))


def _read(mark: Path) -> dict[str, object]:
    try:
        record = json.loads(read(mark))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (IsADirectoryError, ValueError):
        log.warning("%s is damaged: it does not say which checkout is to be removed", mark)
        return {}
    return record if isinstance(record, dict) else {}


def _write(mark: Path, record: dict[str, object]) -> None:
    try:
        write_atomically(mark, json.dumps(record).encode(), mode=0o600)
    except OSError as error:
        wipe(mark)
        raise Trouble(f"cannot write {mark}: {with_cure(error)}; the next tick tries again") from None


def _remove(path: Path) -> None:
    for _ in range(_WIPE_TRIES):
        if remove_tree(path):
            return
        time.sleep(0.1)
    aside = path.with_name(f"{path.name}.left")
    cause = "something is mounted in it, a process still writes there, or files belong to another user or are immutable"
    try:
        path.rename(aside)
    except OSError as error:
        if is_of_the_machine(error):
            raise Trouble(f"cannot remove the checkout {path}: {with_cure(error)}") from None
        aside = path
    # The merge's result does not wait for a person: each run has a checkout of its own.
    log.warning("cannot remove the checkout, which is now %s: %s: remove it by hand", aside, cause)
