"""Unpacks archives of public corpora without trusting them: only files and directories, only below the target."""

from __future__ import annotations

import fcntl
import lzma
import shutil
import sys
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Self

from tqdm import tqdm

from ....errors import Trouble
from ....files import PARTIAL
from .download import RemoteFile, cure_of, directory_in, fetch, forget, is_unchanged, record_of, tell_if_changed

MOST_GROWTH = 50  # largest unpacked size, in archive sizes; audio hardly grows, tables up to tenfold
ALLOWANCE = 64 << 20  # bytes on top of that, for small archives
SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")


class Damaged(Trouble):
    """An archive that is truncated or damaged."""


class _Header(tarfile.TarInfo):
    """Raises for a damaged or missing header after the first, which tarfile takes for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is {error}" if buf else "its end is missing") from error


def obtain(remote: RemoteFile, directory: Path, mirror: str) -> Path:
    """Return the directory below `directory` with the archive's content; download and unpack it if it is not there."""
    target = directory / stem(remote.name)
    if not target.is_dir():
        with exclusive(directory):
            if not target.is_dir():  # else another training was faster
                archive = fetch(remote, directory, mirror)
                try:
                    unpack(archive, target)
                except Damaged as damage:
                    if remote.sha256 is None:
                        forget(remote, directory)
                    raise Damaged(f"{damage}: {cure_of(directory_in(mirror))}") from damage
                print(f"unpacked {archive} to {target}", file=sys.stderr, flush=True)
    elif not is_unchanged(remote, directory, mirror):
        raise Trouble(
            f"{(directory_in(mirror) or directory) / remote.name}: is not the archive that {target} was unpacked from: "
            f"expected the same release: to train on the new one, move {target.name} away (a new test set, whose rates "
            "do not compare with the old ones); to go on with the old one, move the archive away"
        )
    else:
        tell_if_changed(remote, directory, mirror)
    return target


def was_obtained(remote: RemoteFile, directory: Path) -> bool:
    """Whether `obtain` has unpacked an archive of this name into the directory, be it there still or not."""
    return (directory / stem(remote.name)).is_dir() or record_of(remote, directory).exists()


def stem(name: str) -> str:
    """Return the name of an archive without its suffix."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), f"{name}.unpacked")


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Lock `directory`, so that one process at a time downloads and unpacks into it; others wait. Raises Trouble."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise Trouble(f"{directory}: cannot be written: {error}: set ds_dataset_path to a writable place") from error
    with lock as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{directory}: waiting for another training that downloads to it", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive to the new directory `target`, which then exists completely or not at all.

    After an interruption, the next call starts over. Permissions, owners and times are not restored; links are skipped.
    Raises Damaged for a damaged archive, and Trouble for a path or a link out of it, a device, an absurd size, and a
    full disk.
    """
    beside = target.with_name(f"{target.name}{PARTIAL}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        with (
            archive.open("rb") as stream,
            _bar(stream, archive) as watched,
            # not "r|*", which accepts truncated files
            tarfile.open(fileobj=watched, mode="r:*", tarinfo=_Header) as tar,
        ):
            _extract(tar, archive, beside)
            while tar.fileobj.read(1 << 20):  # to the end: the checksum is verified there
                pass
        beside.rename(target)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 raise it for damaged data; the system's errors have a number
            raise _damaged(archive, error) from error
        cure = "free space, or set ds_dataset_path"
        raise Trouble(f"{target}: {archive.name} cannot be unpacked: {error}: {cure}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _damaged(archive: Path, error: Exception) -> Damaged:
    reason = str(error).split("\n", 1)[0]
    return Damaged(f"{archive}: is damaged: {reason}")


def _bar(stream: BinaryIO, archive: Path) -> Any:
    """Wrap the stream with a progress bar, shown on a terminal."""
    total = archive.stat().st_size
    return tqdm.wrapattr(
        stream, "read", total=total, desc=archive.name, unit="B", leave=False, disable=not sys.stderr.isatty()
    )


def _extract(tar: tarfile.TarFile, archive: Path, directory: Path) -> None:
    room = min(archive.stat().st_size * MOST_GROWTH + ALLOWANCE, shutil.disk_usage(directory).free)
    for member in _members(tar):
        tar.members = []  # type: ignore[attr-defined]  # else it keeps all members, a million in a large corpus
        path = _place(member, archive, directory)
        if path is None:
            continue
        room -= member.size
        if room < 0:
            raise Trouble(
                f"{archive}: {member.name} ({member.size:,} bytes) is more than the disk has room for, or than an "
                f"archive of this size should hold: free space, or look what it is"
            )
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        if content:  # always true for a file
            with content, path.open("wb") as stream:  # of members of one name the last counts, as for tar
                shutil.copyfileobj(content, stream, 1 << 20)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield every member. Raises ReadError where tarfile raises ValueError: for the damaged map of a sparse file."""
    while True:
        try:
            member = tar.next()
        except ValueError as error:
            raise tarfile.ReadError(f"a header is damaged: {error}") from error
        if member is None:
            return
        yield member


def _place(member: tarfile.TarInfo, archive: Path, directory: Path) -> Path | None:
    """Return the target of a member; None for a link, which no corpus needs. Raises Trouble for one out of it."""
    name = PurePosixPath(member.name)
    if member.issym():
        name = name.parent / member.linkname
    elif member.islnk():
        name = PurePosixPath(member.linkname)
    elif not (member.isreg() or member.isdir()):
        raise Trouble(f"{archive}: {member.name} is a device: expected files and directories: do not use this archive")
    if name.is_absolute() or _climbs(name) or "\0" in str(name):
        raise Trouble(f"{archive}: {member.name} leaves the archive: expected paths below it: do not use this archive")
    return None if member.issym() or member.islnk() else directory / name


def _climbs(path: PurePosixPath) -> bool:
    """Whether a relative path leads above its start at any point."""
    depth = 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
