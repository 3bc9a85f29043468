"""Files that survive a crash: written under a temporary name, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from io import BufferedReader
from pathlib import Path

_FEW_INODES = 16
_AT = os.O_PATH | os.O_DIRECTORY  # enough to look up, rename and unlink names in a directory

_NO_FILE = ".no-file"  # suffix of what is no file and stood in the place of one

SMALL, LARGE = 64 << 20, 1 << 30  # bytes: more than any record has, and than what grows with the archive

PARTIAL = ".partial"  # suffix of temporary names; what a crash leaves is safe to delete
# The names of writes, with a process id, and of the directories of runs. What else ends so is not ours.
_PARTIAL = re.compile(r"\.(.+\.\d+|claim-\d+-.+|\d{8}-\d{6}-[0-9a-f]{12}(-\d+)?)" + re.escape(PARTIAL))

log = logging.getLogger(__name__)


def make_private(directory: Path) -> None:
    """Create a directory and its missing parents with mode 0700. Raises OSError."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
    except FileNotFoundError:
        if directory.parent == directory:
            raise
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)


def set_pipes_aside(directories: Iterable[Path]) -> None:
    """Rename the pipes directly in directories, and links to pipes: a job may put one in the place of a file.

    Whoever opens a pipe to read a file waits for ever, and no signal ends that.
    """
    for directory in directories:
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                if not entry.name.endswith(_NO_FILE) and _is_pipe(entry):
                    aside = f"{entry.path}{_NO_FILE}"
                    os.rename(entry.path, aside)  # noqa: PTH104 - they are texts
                    log.warning("%s: expected a file, found a pipe; it is %s now", entry.path, aside)


def _is_pipe(entry: os.DirEntry[str]) -> bool:
    if entry.is_file(follow_symlinks=False):  # nearly all, without a look at them
        return False
    with suppress(OSError):  # a broken link
        return stat.S_ISFIFO(entry.stat().st_mode)
    return False


def restore_access(*directories: Path) -> None:
    """Restore this user's access to directories whose permissions a job removed. List parents first.

    Follows no link in the place of a directory: the permissions of its target are not ours.
    """
    for directory in directories:
        with suppress(OSError):  # not there
            descriptor = os.open(directory, _AT | os.O_NOFOLLOW)
            try:
                _restore_access(descriptor)
            finally:
                os.close(descriptor)


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


def read(path: Path, most: int = SMALL) -> bytes:
    """Return the content of a file that may be anything else by now. Raises OSError as `open_file` does."""
    with open_file(path, most) as stream:
        return stream.read(os.fstat(stream.fileno()).st_size)


def open_file(path: Path, most: int = LARGE, flags: int = 0) -> BufferedReader:
    """Open a regular file of at most `most` bytes to read, with further flags of open(2).

    A pipe would be waited for, and a device may never end: whatever is there instead of a file is told as a directory
    is, by IsADirectoryError. Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise _no_file(path, most, "a socket or a device") from None
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_size <= most:
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kinds = {stat.S_IFREG: f"one of {status.st_size}", stat.S_IFIFO: "a pipe"}
    raise _no_file(path, most, kinds.get(stat.S_IFMT(status.st_mode), "a device"))


def _no_file(path: Path, most: int, found: str) -> OSError:
    return OSError(errno.EISDIR, f"expected a file of at most {most} bytes, found {found}", str(path))


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file to read, and follow no link. Raises OSError for anything else."""
    return open_file(path, sys.maxsize, os.O_NOFOLLOW)


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to `source`, or a copy where the file system has no hard links. Raises OSError."""
    beside = target.with_name(f".{target.name}.{os.getpid()}{PARTIAL}")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, beside, follow_symlinks=False)
    beside.replace(target)
    beside.unlink(missing_ok=True)  # rename(2) does nothing between two names of one file


def home() -> Path:
    """Return the user's home directory; the relative path `~` if there is none, where Path.home() would raise."""
    return Path(os.path.expanduser("~"))  # noqa: PTH111


def visit(path: Path, each: Callable[[int, str], bool], after: Callable[[int, str], None] | None = None) -> None:
    """Walk the tree at `path` by descriptors, and restore access to the directories in it.

    `each` gets a directory's descriptor and a name in it, the top first. The walk enters what `each` returns False for,
    if it is a directory. Then `after` gets the same. The walk follows no link and enters no other file system. Neither
    depth nor the length of a path matters: it holds few descriptors. It ends where somebody moves a directory
    meanwhile. Raises OSError if the parent of `path` cannot be opened, or from `each` and `after`.
    """
    _visit(os.open(path.parent, _AT), path.name, each, after)


def _visit(
    here: int, name: str, each: Callable[[int, str], bool], after: Callable[[int, str], None] | None = None
) -> None:
    """Walk from the directory `here`, which this closes."""
    try:
        levels = [(_identity(here), [name])]  # the directories from the top down to `here`, and the names to visit
        while True:
            names = levels[-1][1]
            if names:
                below = None if each(here, names[-1]) else _enter(here, names[-1])
                if below is None:
                    names.pop()
                    continue
                os.close(here)
                here = below
                levels.append((_identity(here), os.listdir(here)))  # noqa: PTH208 - a descriptor
                continue
            levels.pop()
            if not levels:
                return
            above = os.open("..", _AT, dir_fd=here)
            os.close(here)
            here = above
            if _identity(here) != levels[-1][0]:
                return
            left = levels[-1][1].pop()
            if after:
                after(here, left)
    finally:
        os.close(here)


def open_within(root: Path, path: Path) -> int:
    """Open a directory at or below `root` to look up names in it. Follows no link below `root`. Raises OSError."""
    here = os.open(root, _AT)
    for part in path.relative_to(root).parts:
        above = here
        try:
            here = os.open(part, _AT | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return here


def remove_tree(path: Path) -> bool:
    """Remove a file or tree, however deep, even if a job removed permissions in it. Returns False if it still exists.

    A link in the place of a file or directory is removed itself.
    """
    with suppress(OSError):  # seen below
        visit(path, _unlink, _remove_directory)
    return not os.path.lexists(path)


def partial_in(directory: Path) -> list[Path]:
    """Return what crashed writes left directly in `directory`."""
    try:
        with os.scandir(directory) as entries:
            ended = [entry for entry in entries if entry.name.endswith(PARTIAL)]
            return [Path(entry.path) for entry in ended if is_partial(entry.name)]
    except OSError:  # tried again by the next tick
        return []


def is_partial(name: str) -> bool:
    """Return whether a crashed write of this program may have left a file or directory of this name."""
    return _PARTIAL.fullmatch(name) is not None


def size(path: Path) -> int:
    """Return the bytes that a file or tree takes on its disk; 0 if there is none. Follows no link."""
    return taken(path)[0]


def taken(path: Path) -> tuple[int, int]:
    """Return the bytes and the inodes that a file or tree takes on its disk. Follows no link."""
    total = count = 0

    def add(parent: int, name: str) -> bool:
        nonlocal total, count
        with suppress(OSError):
            total += os.stat(name, dir_fd=parent, follow_symlinks=False).st_blocks * 512
            count += 1
        return False

    with suppress(OSError):
        visit(path, add)
    return total, count


def remove_partial(directory: Path) -> None:
    """Remove what crashed writes left below `directory`. Call this only while nobody else writes there."""

    def remove(parent: int, name: str) -> bool:
        if not is_partial(name):
            return False
        _visit(os.dup(parent), name, _unlink, _remove_directory)
        return True

    with suppress(OSError):  # tried again by the next tick
        visit(directory, remove)


def remove_leftovers(site: Path) -> None:
    """Remove what a killed build left. In the directories of runs, which are many, the next build does it."""
    for left in partial_in(site / "runs"):
        remove_partial(left)
    with suppress(OSError), os.scandir(site) as entries:  # there is none yet
        for entry in entries:
            if entry.name != "runs":
                remove_partial(Path(entry.path))


def _unlink(parent: int, name: str) -> bool:
    """Unlink anything but a directory. Returns whether it is gone."""
    with suppress(OSError):
        os.unlink(name, dir_fd=parent)
        return True
    return False


def _remove_directory(parent: int, name: str) -> None:
    with suppress(OSError):  # not empty: something in it could not be removed
        os.rmdir(name, dir_fd=parent)


def _enter(parent: int, name: str) -> int | None:
    """Open a directory; None for anything else, and where something is mounted: its files are not ours."""
    try:
        found = os.open(name, _AT | os.O_NOFOLLOW, dir_fd=parent)
    except OSError:
        return None
    try:
        if os.fstat(found).st_dev != os.fstat(parent).st_dev or _mount(found) != _mount(parent):
            return None
        _restore_access(found)
        return os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=found)
    except OSError:
        return None
    finally:
        os.close(found)


def _mount(descriptor: int) -> str:
    """Return the id of the mount of a file, see proc_pid_fdinfo(5): a bind mount has the device of what it shows."""
    with suppress(OSError):
        fields = Path(f"/proc/self/fdinfo/{descriptor}").read_text("ascii").splitlines()
        return next((line for line in fields if line.startswith("mnt_id:")), "")
    return ""


def _restore_access(descriptor: int) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if mode & 0o700 != 0o700:
        with suppress(OSError):  # owned by somebody else
            os.chmod(f"/proc/self/fd/{descriptor}", mode | 0o700)  # noqa: PTH101 - fchmod(2) takes no O_PATH


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


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
    refused = refusal(place)
    if refused and refused.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{place}: {refused.strerror}"
    return None


def refusal(place: Path) -> OSError | None:
    """Return the error that a file gives which is written at `place`, or above it where that does not exist yet."""
    import tempfile  # most processes never ask

    try:
        existing = next(path for path in (place, *place.parents) if path.exists())
        with tempfile.TemporaryFile(dir=existing if existing.is_dir() else existing.parent) as probe:
            probe.write(b"?" * (64 << 10))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        return error
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
    """Flush `directory` and everything below it to disk. Raises OSError."""
    visit(directory, _flush, partial(_flush_at, flags=os.O_DIRECTORY))


def _flush(parent: int, name: str) -> bool:
    """Flush a regular file. Returns False for a directory."""
    mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
    if stat.S_ISREG(mode):
        _flush_at(parent, name)
    return not stat.S_ISDIR(mode)


def _flush_at(parent: int, name: str, flags: int = 0) -> None:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | flags, dir_fd=parent)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
