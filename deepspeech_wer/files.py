"""Files that survive a crash: written under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_FEW_INODES = 16

PARTIAL = ".partial"  # suffix of temporary names; what a crash leaves is safe to delete


def make_private(directory: Path) -> None:
    """Create a directory and its missing parents with mode 0700. Raises OSError."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if directory.parent == directory:
            raise
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def restore_access(*directories: Path) -> None:
    """Restore this user's access to directories whose permissions a job removed. List parents first."""
    for directory in directories:
        with suppress(OSError):  # not there
            mode = stat.S_IMODE(directory.stat().st_mode)
            if mode & 0o700 != 0o700:
                directory.chmod(mode | 0o700)


def write_atomically(path: Path, data: bytes | Iterable[bytes], *, mode: int = 0o644) -> None:
    """Replace the content of `path` by bytes, or by pieces of them.

    After a crash at any moment it holds either the old bytes or the new ones. Raises OSError (disk full, no
    permission); the old file is then intact and no temporary file is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
        with os.fdopen(descriptor, "wb") as stream:
            os.fchmod(descriptor, mode)  # whatever the umask
            stream.writelines([data] if isinstance(data, bytes) else data)
            stream.flush()
            os.fsync(descriptor)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # write(2) errors carry no file name
        raise
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def home() -> Path:
    """Return the user's home directory; the relative path `~` if there is none, where Path.home() would raise."""
    return Path(os.path.expanduser("~"))  # noqa: PTH111


def remove_tree(path: Path) -> bool:
    """Remove a file or tree, even if a job removed permissions in it. Returns False if it still exists."""
    with suppress(OSError):  # the parent may lack permissions
        if path.is_symlink() or path.is_file():
            path.unlink()
    shutil.rmtree(path, ignore_errors=True)
    if not os.path.lexists(path):
        return True
    with suppress(OSError):
        path.chmod(0o700)
    for directory, below, _ in os.walk(path):  # top down, so each directory is made readable before the walk enters it
        for name in below:
            if not Path(directory, name).is_symlink():
                with suppress(OSError):
                    Path(directory, name).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
    return not os.path.lexists(path)


def remove_partial(directory: Path) -> None:
    """Remove what crashed writes left below `directory`. Call this only while nobody else writes there."""
    for left in directory.rglob(f".*{PARTIAL}"):
        remove_tree(left)


def lack_of_room(place: Path) -> str | None:
    """Return why no file can be written at `place`, which need not exist yet: space, inodes, quota. None if one can.

    git's error messages and a job's do not always mention a full disk.
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
    """Return whether the file system of `place`, which need not exist yet, takes no file."""
    return lack_of_room(place) is not None


def rename_durably(source: Path, target: Path) -> None:
    """Rename so that the rename survives a power cut. `target` may be an existing file or an empty directory."""
    source.rename(target)
    sync_directory(target.parent)


def sync_directory(directory: Path) -> None:
    """Flush a directory's entries to disk: fsync of a file does not save its name (fsync(2))."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(directory: Path) -> None:
    """Flush `directory` and everything below it to disk."""
    for root, _, names in os.walk(directory):
        for name in names:
            descriptor = os.open(Path(root, name), os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_directory(Path(root))
