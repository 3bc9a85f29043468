"""A real OpenSSH server on loopback, as an ordinary process: `with running_sshd(tmp_path) as server: ...`"""

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deepspeech_wer.configuration.settings import Website
from tests.waiting import until

BINARY = Path("/usr/sbin/sshd")
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Sshd:
    """A running server, and what a client needs to use it."""

    host: str
    port: int
    user: str
    key: Path
    host_key: Path
    known_hosts: Path
    root: Path  # an empty directory to publish into; its path on the server is `website.server_root`
    log: Path
    process: subprocess.Popen[bytes]
    website: Website

    def environment(self) -> dict[str, str]:
        """The ds_website_* variables for this server."""
        return {
            "ds_website_username": self.user,
            "ds_website_privkey": str(self.key),
            "ds_website_server_fqdn": self.host,
            "ds_website_server_port": str(self.port),
            "ds_website_server_root": self.website.server_root,
            "ds_website_known_hosts": str(self.known_hosts),
        }

    def also_at(self, port: int) -> Website:
        """The same server behind another port of this machine, with its key known for that port too."""
        public = self.known_hosts.read_text().splitlines()[0].split(maxsplit=1)[1]
        with self.known_hosts.open("a") as stream:
            stream.write(f"[{self.host}]:{port} {public}\n")
        return replace(self.website, server_port=port)

    def sessions(self) -> list[int]:
        """The pids of its sessions. Killing one cuts that connection; the server keeps running."""
        return _children(self.process.pid)

    def wait_for_sessions_to_end(self) -> None:
        """Wait until the sessions of clients that left have ended: until then they may still be writing."""
        deadline = time.monotonic() + 30
        while self.sessions() and time.monotonic() < deadline:
            time.sleep(0.005)

    def kill_sessions(self) -> int:
        """Cut every connection, as a failing network would. Returns how many there were."""
        killed = 0
        for pid in self.sessions():
            for victim in [*descendants(pid), pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)
                    killed += 1
        return killed


@contextlib.contextmanager
def running_sshd(
    directory: Path,
    *,
    key_type: str = "ed25519",
    options: tuple[str, ...] = (),
    chroot: bool = False,
    umask: int = 0o022,
    sftp: bool = True,
) -> Iterator[Sshd]:
    """Run sshd below `directory` until the block ends. If it is not installed, skip the test; on CI, fail."""
    require(BINARY, "openssh-server")
    directory.mkdir(parents=True, exist_ok=True)
    _privilege_separation_directory()
    host_key, key = generate_key(directory / "host_key", "ed25519"), generate_key(directory / "id", key_type)
    (directory / "authorized_keys").write_bytes(key.with_suffix(".pub").read_bytes())
    jail = directory / "jail"
    root = (jail if chroot else directory) / "web root"
    root.mkdir(parents=True)
    log, port = directory / "sshd.log", free_port()
    config = directory / "sshd_config"
    config.write_text(
        "\n".join(
            [
                *options,  # before the others: sshd uses the first value of each option
                f"ListenAddress {HOST}:{port}",
                f"HostKey {host_key}",
                f"PidFile {directory / 'sshd.pid'}",
                f"AuthorizedKeysFile {directory / 'authorized_keys'}",
                "StrictModes no",
                "UsePAM no",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "LogLevel VERBOSE",
                "MaxStartups 100",
                *([f"Subsystem sftp internal-sftp -u {umask:04o}"] if sftp else []),
                *([f"ChrootDirectory {jail}", "ForceCommand internal-sftp"] if chroot else []),
            ]
        )
    )
    known_hosts = directory / "known_hosts"
    known_hosts.write_text(f"[{HOST}]:{port} {_public(host_key)}\n")
    with log.open("wb") as stream, subprocess.Popen([BINARY, "-D", "-e", "-f", config], stderr=stream) as process:
        server_root = "/web root" if chroot else str(root)
        website = Website(getpass.getuser(), HOST, port, key, None, known_hosts, server_root, (0o644, 0o755))
        server = Sshd(HOST, port, getpass.getuser(), key, host_key, known_hosts, root, log, process, website)
        try:
            wait_for_port(port, process)
            yield server
        finally:
            server.kill_sessions()
            process.terminate()


def with_website(server: Sshd, **changes: object) -> Website:
    """Return the server's Website with some fields changed."""
    return replace(server.website, **changes)  # type: ignore[arg-type]


def require(program: Path | str, package: str) -> str:
    """Return the program's path. If it is missing, skip the test; on CI, fail."""
    found = shutil.which(program)
    if found is None:
        problem = f"{program} is not installed (apt-get install {package})"
        pytest.fail(problem) if os.environ.get("CI") == "true" else pytest.skip(problem)
    return found


def generate_key(file: Path, key_type: str, passphrase: str = "", *options: str) -> Path:
    """Make a key pair with ssh-keygen. Returns the path of the private key."""
    command = [require("ssh-keygen", "openssh-client"), "-q", "-t", key_type, "-N", passphrase, "-C", "test", *options]
    subprocess.run([*command, "-f", str(file)], check=True, stdin=subprocess.DEVNULL)
    return file


@contextlib.contextmanager
def running_agent(path: Path) -> Iterator[Path]:
    """Run an ssh agent without keys until the block ends. Yields its socket."""
    command = [require("ssh-agent", "openssh-client"), "-D", "-a", str(path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            until(lambda: subprocess.run(["ssh-add", "-l"], env=_of(path), capture_output=True).returncode == 1)
            yield path
        finally:
            process.terminate()


def add(agent: Path, *keys: Path | str | None) -> None:
    """Give the agent these keys; options of ssh-add may stand among them."""
    subprocess.run(["ssh-add", "-q", *map(str, keys)], check=True, env=_of(agent), stderr=subprocess.DEVNULL)


def _of(agent: Path) -> dict[str, str]:
    return {**os.environ, "SSH_AUTH_SOCK": str(agent)}


def free_port() -> int:
    """Reserve a port on loopback: nobody listens on it, and the kernel gives it to no outgoing connection."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with contextlib.suppress(OSError), socket.socket() as listener:
            listener.bind((HOST, port))
            return port


def wait_for_port(port: int, process: subprocess.Popen[bytes] | None = None, timeout_s: float = 30) -> None:
    """Wait until something listens on a port."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            break
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"nothing listens on port {port}")


def _public(key: Path) -> str:
    return " ".join(key.with_suffix(".pub").read_text().split()[:2])


def _privilege_separation_directory() -> None:
    # sshd needs it when run as root; Debian's service creates it.
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)


def _children(pid: int) -> list[int]:
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the second where the process ends between open and read
        return []
    return [int(word) for word in text.split()]


def descendants(pid: int) -> list[int]:
    """Return the pids of all descendants of a process, parents first."""
    found = []
    for child in _children(pid):
        found += [child, *descendants(child)]
    return found
