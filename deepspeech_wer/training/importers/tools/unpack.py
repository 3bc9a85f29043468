"""Archives of public corpora, unpacked without trust: only files and directories, only below the target."""

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
from .download import RemoteFile, fetch, forget

MOST_GROWTH = 50  # times its own size that an archive may hold; audio hardly grows, tables up to tenfold
ALLOWANCE = 64 << 20  # bytes, for small ones
SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")


class Damaged(Trouble):
    """What was downloaded is no whole archive."""


class _Header(tarfile.TarInfo):
    """One that is damaged or missing is an error also in the middle, where tarfile takes it for the end."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"a header is {error}" if buf else "its end is missing") from error


def obtain(remote: RemoteFile, directory: Path, mirror: str) -> Path:
    """The directory below `directory` with what the archive holds: downloaded and unpacked where it is not there."""
    target = directory / stem(remote.name)
    if not target.is_dir():
        with exclusive(directory):
            if not target.is_dir():  # else another training was quicker
                archive = fetch(remote, directory, mirror)
                try:
                    unpack(archive, target)
                except Damaged:
                    if remote.sha256 is None:
                        forget(remote, directory)
                    raise
                print(f"unpacked {archive} to {target}", file=sys.stderr, flush=True)
    return target


def stem(name: str) -> str:
    """The name of an archive without what says how it is packed."""
    return next((name.removesuffix(suffix) for suffix in SUFFIXES if name.endswith(suffix)), f"{name}.unpacked")


@contextmanager
def exclusive(directory: Path) -> Iterator[None]:
    """Let one process at a time download and unpack into `directory`; the next waits."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / ".lock").open("w")
    except OSError as error:
        raise Trouble(f"{directory}: cannot be written: {error}: set ds_dataset_path to where it can") from error
    with lock as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{directory}: waiting for another training that fills it", file=sys.stderr, flush=True)
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive to the new directory `target`, which is there whole or not at all.

    An interrupted call is begun anew by the next. Permissions, owners and times are not taken over; links are left out.
    Raises Trouble for a damaged archive, a path or a link that leaves it, a device, an absurd size, and a full disk.
    """
    beside = target.with_name(f"{target.name}{PARTIAL}")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        with (
            archive.open("rb") as stream,
            _bar(stream, archive) as watched,
            # "r|*" takes a file that was cut short for a whole one
            tarfile.open(fileobj=watched, mode="r:*", tarinfo=_Header) as tar,
        ):
            _extract(tar, archive, beside)
            while tar.fileobj.read(1 << 20):  # to the end, where the checksum is
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
    return Damaged(f"{archive}: is damaged: {reason}: remove it to have it fetched again")


def _bar(stream: BinaryIO, archive: Path) -> Any:
    """The stream, with a progress bar of what is read from it where somebody looks."""
    total = archive.stat().st_size
    return tqdm.wrapattr(
        stream, "read", total=total, desc=archive.name, unit="B", leave=False, disable=not sys.stderr.isatty()
    )


def _extract(tar: tarfile.TarFile, archive: Path, directory: Path) -> None:
    room = min(archive.stat().st_size * MOST_GROWTH + ALLOWANCE, shutil.disk_usage(directory).free)
    for member in _members(tar):
        tar.members = []  # type: ignore[attr-defined]  # it would keep them all: a million of a large corpus
        path = _place(member, archive, directory)
        if path is None:
            continue
        room -= member.size
        if room < 0:
            raise Trouble(
                f"{archive}: {member.name} ({member.size:,} bytes) is more than the disk has room for, or than an "
                f"archive of this size should hold: free space, or see what it is"
            )
        if member.isdir():
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        content = tar.extractfile(member)
        if content:  # always, of a file
            with content, path.open("xb") as stream:
                shutil.copyfileobj(content, stream, 1 << 20)


def _members(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Every member. Raises ReadError where tarfile lets a ValueError through: for the damaged map of a sparse file."""
    while True:
        try:
            member = tar.next()
        except ValueError as error:
            raise tarfile.ReadError(f"a header is damaged: {error}") from error
        if member is None:
            return
        yield member


def _place(member: tarfile.TarInfo, archive: Path, directory: Path) -> Path | None:
    """Where a member goes; None for a link, which no corpus needs. Raises Trouble for what leaves the directory."""
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
    """Whether a relative path gets above where it begins."""
    depth = 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
