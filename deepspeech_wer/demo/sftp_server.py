"""The demo's web host: an SFTP server on loopback. It gives the owner of one key access to one directory."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh

from deepspeech_wer.demo.place import Place
from deepspeech_wer.files import write_atomically

HOST = "127.0.0.1"
USER = "demo"
KIND = "ssh-ed25519"


@contextmanager
def running(place: Place) -> Iterator[dict[str, str]]:
    """Serve `place.web` until the block ends. Yields the ds_website_* variables for this server."""
    host_key, user_key = _key(place.keys / "host_key"), _key(place.keys / "user_key")
    known_hosts = place.keys / "known_hosts"
    with _served(place.web, host_key, user_key, _port_of(known_hosts)) as port:
        line = f"[{HOST}]:{port} {host_key.export_public_key().decode()}"
        write_atomically(known_hosts, line.encode())
        yield {
            "ds_website_username": USER,
            "ds_website_privkey": str(place.keys / "user_key"),
            "ds_website_server_fqdn": HOST,
            "ds_website_server_port": str(port),
            "ds_website_server_root": "/",
            "ds_website_known_hosts": str(known_hosts),
        }


@contextmanager
def _served(root: Path, host_key: asyncssh.SSHKey, user_key: asyncssh.SSHKey, port: int) -> Iterator[int]:
    """Serve in a thread of its own, at the port if it is free. Yields the port."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="sftp server", daemon=True)
        thread.start()
        try:
            listening = asyncio.run_coroutine_threadsafe(_listen(root, host_key, user_key, port), loop)
            acceptor = listening.result()
            try:
                yield acceptor.get_port()
            finally:
                loop.call_soon_threadsafe(acceptor.close)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


async def _listen(root: Path, host_key: asyncssh.SSHKey, user_key: asyncssh.SSHKey, port: int) -> asyncssh.SSHAcceptor:
    class Host(asyncssh.SFTPServer):
        """Everything below one directory, nothing above it."""

        def __init__(self, channel: asyncssh.SSHServerChannel[bytes]) -> None:
            super().__init__(channel, chroot=str(root).encode())

    allowed = asyncssh.import_authorized_keys(user_key.export_public_key().decode())

    async def listen(at: int) -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            HOST, at, server_host_keys=[host_key], authorized_client_keys=allowed, sftp_factory=Host
        )

    try:
        return await listen(port)
    except OSError:  # the port is taken
        return await listen(0)


def _key(path: Path) -> asyncssh.SSHKey:
    """The private key in a file, which is made if it is missing."""
    if not path.exists():
        key = asyncssh.generate_private_key(KIND, comment="demo of deepspeech_wer")
        write_atomically(path, key.export_private_key(), mode=0o600)
    return asyncssh.read_private_key(path)


def _port_of(known_hosts: Path) -> int:
    """The port of the last call, or 0 for any. On another port the whole site would be published again."""
    try:
        found = re.match(r"\[[^]]*\]:(\d+) ", known_hosts.read_text())
    except FileNotFoundError:
        return 0
    return int(found[1]) if found else 0
