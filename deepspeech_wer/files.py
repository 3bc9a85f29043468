"""Files that survive a crash: written beside, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_FEW_INODES = 16

PARTIAL = ".partial"  # the suffix of what a crash may leave behind; safe to delete at any time


def make_private(directory: Path) -> None:
    """Make a directory, and those above it that are missing, for this user alone. Raises OSError."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if directory.parent == directory:
            raise
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def let_in(*directories: Path) -> None:
    """Let this user into those of its directories, from the outermost on, whose permissions a job took away."""
    for directory in directories:
        with suppress(OSError):  # not there
            mode = stat.S_IMODE(directory.stat().st_mode)
            if mode & 0o700 != 0o700:
                directory.chmod(mode | 0o700)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Replace `path` by `data`: after a crash at any moment it holds the old bytes or the new, never a part.

    Raises OSError (disk full, no permission); then the old file is whole and nothing is left beside it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)  # whatever the umask
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except OSError as error:
        error.filename = str(path)  # a write does not know its file
        raise
    finally:
        beside.unlink(missing_ok=True)
    sync_directory(path.parent)


def home() -> Path:
    """The user's home directory; no whole path where there is none, of which Path.home() makes an error."""
    return Path(os.path.expanduser("~"))  # noqa: PTH111


def remove_tree(path: Path) -> bool:
    """Remove a file or a tree in which a job may have taken permissions away; False: it is still there."""
    with suppress(OSError):  # as an ordinary user, below a directory without permissions
        if path.is_symlink() or path.is_file():
            path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return True
    with suppress(OSError):
        path.chmod(0o700)
    for directory, below, _ in os.walk(path):  # top down: what is permitted here is looked into next
        for name in below:
            if not Path(directory, name).is_symlink():
                with suppress(OSError):
                    Path(directory, name).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)


def remove_partial(directory: Path) -> None:
    """Remove what crashed writes left below `directory`. Only while nobody else writes there."""
    for left in directory.rglob(f".*{PARTIAL}"):
        remove_tree(left)


def lack_of_room(place: Path) -> str | None:
    """Why nothing can be written on the file system that `place` is on, or will be: no space, no inodes, the quota.

    None where there is room. git and jobs do not always say so.
    """
    existing = next(path for path in (place, *place.parents) if path.exists())
    status = os.statvfs(existing)
    if status.f_bavail * status.f_frsize < 1 << 20:
        return f"no space left for {place}"
    if status.f_files and status.f_favail < _FEW_INODES:
        return f"no inodes left for {place} (see df -i)"
    try:
        with tempfile.TemporaryFile(dir=existing if existing.is_dir() else existing.parent) as probe:
            probe.write(b"?" * (64 << 10))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"{place}: {os.strerror(error.errno)}"
    return None


def is_full(place: Path) -> bool:
    """Whether nothing can be written where `place` is, or will be."""
    return lack_of_room(place) is not None


def rename_durably(source: Path, target: Path) -> None:
    """Rename and make the rename itself survive a power cut. `target` may be an existing file or empty directory."""
    source.rename(target)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries to the disk: fsync of a file alone does not keep its name."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Flush all files and directories below `directory`, and itself."""
    for root, _, names in os.walk(directory):
        for name in names:
            descriptor = os.open(Path(root, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(root))
