"""A second SFTP implementation on loopback, asyncssh's. It can be configured to lack what some web hosts lack."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import signal
import socket
import sys
import threading
import typing
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncssh
import asyncssh.sftp

from deepspeech_wer.configuration.settings import Website
from tests.end_to_end.sshd import HOST, generate_key

EXTENSIONS = frozenset({b"posix-rename@openssh.com", b"hardlink@openssh.com", b"limits@openssh.com"})


class Host(asyncssh.SFTPServer):
    """A web host that serves one directory and nothing above it."""

    def __init__(self, channel: asyncssh.SSHServerChannel) -> None:
        super().__init__(channel, chroot=str(self.root).encode())

    root: Path

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        """asyncssh reports a write that a full disk cut short as complete, which no client could detect."""
        written: int = super().write(file_obj, offset, data)
        if written < len(data):
            raise asyncssh.SFTPFailure("short write")
        return written


class WithoutTimes(Host):
    """Sets modes but not times, and refuses requests for both."""

    def setstat(self, path: bytes, attrs: asyncssh.SFTPAttrs, *, follow_symlinks: bool = True) -> None:
        if attrs.mtime is not None:
            raise asyncssh.SFTPOpUnsupported("no times here")
        super().setstat(path, attrs, follow_symlinks=follow_symlinks)

    def fsetstat(self, file_obj: object, attrs: asyncssh.SFTPAttrs) -> None:
        if attrs.mtime is not None:
            raise asyncssh.SFTPOpUnsupported("no times here")
        super().fsetstat(file_obj, attrs)


class WithoutModes(Host):
    """Refuses every change of attributes, like some managed hosts."""

    def setstat(self, *_: object, **__: object) -> None:
        raise asyncssh.SFTPPermissionDenied("not here")

    def fsetstat(self, *_: object) -> None:
        raise asyncssh.SFTPPermissionDenied("not here")


class ReadOnly(Host):
    """Read-only."""

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        if pflags & 0x02:
            raise asyncssh.SFTPPermissionDenied("read only")
        return super().open(path, pflags, attrs)

    def mkdir(self, *_: object) -> None:
        raise asyncssh.SFTPPermissionDenied("read only")


class Quota(Host):
    """Accepts a limited number of bytes."""

    left = 10**6

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        Quota.left -= len(data)
        if Quota.left < 0:
            raise asyncssh.SFTPFailure("quota exceeded")
        written: int = super().write(file_obj, offset, data)
        return written


class Haunted(Host):
    """Never gives the name of a file free that was being written when a connection was lost, nor shows such a file."""

    cut = False
    taken: typing.ClassVar[set[bytes]] = set()

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        if pflags & 0x20 and b"partial" in path:  # exclusive
            if path in Haunted.taken:
                raise asyncssh.SFTPFailure("File already exists")
            Haunted.taken.add(path)
        return super().open(path, pflags, attrs)

    def write(self, file_obj: object, offset: int, data: bytes) -> int:
        written: int = super().write(file_obj, offset, data)
        if Haunted.cut and b"version" in data:
            self.channel.get_connection().abort()
            for file in self.root.rglob("*.partial"):
                file.unlink()
        return written


class HidingDotFiles(Host):
    """Lists no names that begin with a dot."""

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        async for name in super().scandir(path):
            if not name.filename.strip(b".") or not name.filename.startswith(b"."):
                yield name


@contextlib.contextmanager
def running_host(
    directory: Path, kind: type[Host] = Host, *, without: frozenset[bytes] = frozenset()
) -> Iterator[tuple[Website, Path]]:
    """Serve until the block ends. Yields the Website, whose root is "/", and that root's path on this machine."""
    directory.mkdir(parents=True, exist_ok=True)
    key, host_key = generate_key(directory / "id", "ed25519"), generate_key(directory / "host_key", "ed25519")
    root = directory / "root"
    root.mkdir()
    served = type("Served", (kind,), {"root": root})
    known_extensions = asyncssh.sftp.SFTPServerHandler._extensions
    asyncssh.sftp.SFTPServerHandler._extensions = [pair for pair in known_extensions if pair[0] not in without]
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(
        asyncssh.listen(
            HOST,
            0,
            server_host_keys=[str(host_key)],
            authorized_client_keys=str(key.with_suffix(".pub")),
            sftp_factory=served,
        )
    )
    port = server.sockets[0].getsockname()[1]
    known_hosts = directory / "known_hosts"
    known_hosts.write_text(f"[{HOST}]:{port} {host_key.with_suffix('.pub').read_text()}")
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def close() -> None:
        server.close()
        await server.wait_closed()
        for _ in range(500):  # connections end when the server notices that the clients have left
            if len(asyncio.all_tasks()) == 1:
                break
            await asyncio.sleep(0.01)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0.02)

    try:
        yield Website(getpass.getuser(), HOST, port, key, None, known_hosts, "/", (0o644, 0o755)), root
    finally:
        asyncio.run_coroutine_threadsafe(close(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        asyncssh.sftp.SFTPServerHandler._extensions = known_extensions


def _serve(port: int, root: str, authorized: str, files: list[str]) -> None:
    """Start a process per connection, like sshd. Killing one cuts only that connection."""
    host_keys = [asyncssh.read_private_key(file) for file in files]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    os.umask(0o077)
    with socket.create_server((HOST, port)) as listener:
        while True:
            connection, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                asyncio.run(_session(connection, root, authorized, host_keys))
                os._exit(0)
            connection.close()


async def _session(connection: socket.socket, root: str, authorized: str, host_keys: list[asyncssh.SSHKey]) -> None:
    served = type("Served", (Host,), {"root": Path(root)})
    with contextlib.suppress(asyncssh.Error, OSError):  # clients that disconnect in the middle
        session = await asyncssh.run_server(
            connection, server_host_keys=host_keys, authorized_client_keys=authorized, sftp_factory=served
        )
        await session.wait_closed()


if __name__ == "__main__":  # PORT ROOT AUTHORIZED_KEYS HOST_KEY...
    _serve(int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:])
