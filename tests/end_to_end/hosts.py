"""Four kinds of web host on loopback, all with umask 077. Each session is a separate process, which tests can kill.

sshd      OpenSSH with its sftp-server
chroot    OpenSSH with internal-sftp and ChrootDirectory, as most web hosts have it (root only)
proftpd   mod_sftp
asyncssh  see other_server.py
"""

from __future__ import annotations

import contextlib
import getpass
import grp
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deepspeech_wer.configuration.settings import Website
from tests.end_to_end.sshd import HOST, descendants, free_port, generate_key, require, running_sshd, wait_for_port

KINDS = ("sshd", "chroot", "proftpd", "asyncssh")
SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
PROFTPD = "/usr/sbin/proftpd"
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class WebHost:
    """A running server; `website` is a web root on it, which is `root` on this machine."""

    kind: str
    website: Website
    root: Path
    pid: int  # the listening process; the sessions are its children
    host_keys: tuple[Path, ...]
    authorized: Path  # append a key here to authorize it
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def fresh(self) -> WebHost:
        """The same server with an empty web root whose name has a space and non-ASCII characters."""
        name = f"web root ü {next(self.numbers)}"
        root = self.root.with_name(name)
        root.mkdir()
        server_root = self.website.server_root.rpartition("/")[0] + f"/{name}"
        return replace(self, root=root, website=replace(self.website, server_root=server_root))

    def authorize(self, key: Path) -> Website:
        """Authorize that key too."""
        public = [require("ssh-keygen", "openssh-client"), "-e", "-f", f"{key}.pub"]
        with self.authorized.open("ab") as stream:
            if self.kind == "proftpd":  # reads keys in the format of RFC 4716
                stream.write(subprocess.run(public, check=True, capture_output=True).stdout)
            else:
                stream.write(Path(f"{key}.pub").read_bytes())
        return replace(self.website, privkey=key)

    def public_keys(self) -> dict[str, str]:
        """The server's host keys, kind -> key, in the format of known_hosts."""
        fields = [key.with_suffix(".pub").read_text().split() for key in self.host_keys]
        return {kind: f"{kind} {key}" for kind, key, *_ in fields}

    def knowing(self, lines: str) -> Website:
        """The website with other known_hosts lines."""
        assert self.website.known_hosts
        file = self.root.with_name(f"known_hosts {next(self.numbers)}")
        file.write_text(lines)
        return replace(self.website, known_hosts=file)

    def also_at(self, port: int) -> Website:
        """The same web root behind another port of this machine."""
        lines = [f"[{HOST}]:{port} {key}\n" for key in self.public_keys().values()]
        return replace(self.knowing("".join(lines)), server_port=port)

    def kill_sessions(self) -> int:
        """Kill every process that serves a connection with SIGKILL. Returns how many there were."""
        victims = descendants(self.pid)
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        return len(victims)

    def wait_for_sessions_to_end(self) -> None:
        """Wait until the sessions of clients that left have ended: until then they may still be writing."""
        deadline = time.monotonic() + 30
        while descendants(self.pid) and time.monotonic() < deadline:
            time.sleep(0.005)


@contextlib.contextmanager
def running(kind: str, directory: Path) -> Iterator[WebHost]:
    """Run a server of that kind until the block ends. Skips if it is not installed or needs root."""
    start = {"sshd": _sshd, "chroot": _chroot, "proftpd": _proftpd, "asyncssh": _asyncssh}[kind]
    with start(directory) as host:
        try:
            yield host
        finally:
            host.kill_sessions()


@contextlib.contextmanager
def _sshd(directory: Path) -> Iterator[WebHost]:
    require(SFTP_SERVER, "openssh-sftp-server")
    rsa = _key(directory, "rsa")
    # That user's shell starts it; the shell's own start-up files must not matter here.
    options = (f"Subsystem sftp {SFTP_SERVER} -u 0077", f"HostKey {rsa}", f"SetEnv HOME={directory}")
    with running_sshd(directory / "server", options=options, sftp=False) as server:
        authorized = server.key.parent / "authorized_keys"
        yield WebHost("sshd", server.website, server.root, server.process.pid, (server.host_key, rsa), authorized)


@contextlib.contextmanager
def _chroot(directory: Path) -> Iterator[WebHost]:
    if os.geteuid() != 0:
        pytest.skip("chroot needs root")
    rsa = _key(directory, "rsa")
    # Not below /tmp: sshd requires that nobody else can write to any directory of the path.
    with (
        tempfile.TemporaryDirectory(dir="/run") as outside,
        running_sshd(Path(outside), options=(f"HostKey {rsa}",), chroot=True, umask=0o077) as server,
    ):
        authorized = server.key.parent / "authorized_keys"
        yield WebHost("chroot", server.website, server.root, server.process.pid, (server.host_key, rsa), authorized)


@contextlib.contextmanager
def _proftpd(directory: Path) -> Iterator[WebHost]:
    require(PROFTPD, "proftpd-core proftpd-mod-crypto")
    keys = (_key(directory, "ed25519"), _key(directory, "rsa"))
    key, port, top = generate_key(directory / "id", "ed25519"), free_port(), directory / "top"
    root = top / "web root"
    root.mkdir(parents=True)
    jailed = os.geteuid() == 0
    files = {
        "authorized": "",
        "passwd": f"web:*:{os.getuid()}:{os.getgid()}::{top}:/bin/sh\n",
        "group": f"web:*:{os.getgid()}:\n",
    }
    for name, text in files.items():
        (directory / name).touch(mode=0o600)
        (directory / name).write_text(text)
    config = directory / "proftpd.conf"
    config.write_text(
        "\n".join(
            [
                *("ServerType standalone", f"DefaultAddress {HOST}", f"Port {port}", "UseIPv6 off"),
                *("UseReverseDNS off", "WtmpLog off", "TransferLog none", "DelayEngine off"),
                *(f"User {getpass.getuser()}", f"Group {grp.getgrgid(os.getgid()).gr_name}"),
                *("RootLogin on", "RequireValidShell off", "Umask 077 077", "AllowOverwrite on"),
                f"ScoreboardFile {directory}/scoreboard",
                f"PidFile {directory}/pid",
                f"SystemLog {directory}/proftpd.log",
                *("ModulePath /usr/lib/proftpd", "LoadModule mod_sftp.c"),
                "AuthOrder mod_auth_file.c",
                f"AuthUserFile {directory}/passwd",
                f"AuthGroupFile {directory}/group",
                *(["DefaultRoot ~"] if jailed else []),
                *("SFTPEngine on", f"SFTPLog {directory}/sftp.log", "SFTPAuthMethods publickey"),
                f"SFTPAuthorizedUserKeys file:{directory}/authorized",
                *(f"SFTPHostKey {host_key}" for host_key in keys),
                "",
            ]
        )
    )
    command = [PROFTPD, "--nodaemon", "--quiet", "--config", config]
    with (directory / "out").open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:
        try:
            wait_for_port(port, process)
            server_root = "/web root" if jailed else str(root)
            website = Website("web", HOST, port, key, None, directory / "known_hosts", server_root, (0o644, 0o755))
            host = WebHost("proftpd", website, root, process.pid, keys, directory / "authorized")
            host.authorize(key)
            yield replace(host, website=host.also_at(port))
        finally:
            process.terminate()


@contextlib.contextmanager
def _asyncssh(directory: Path) -> Iterator[WebHost]:
    keys = (_key(directory, "ed25519"), _key(directory, "rsa"))
    key, port, root = generate_key(directory / "id", "ed25519"), free_port(), directory / "top" / "web root"
    root.mkdir(parents=True)
    authorized = directory / "authorized"
    authorized.write_bytes(key.with_suffix(".pub").read_bytes())
    command = [sys.executable, "-m", "tests.end_to_end.other_server", str(port), root.parent, authorized, *keys]
    with subprocess.Popen(command, cwd=REPOSITORY) as process:
        try:
            wait_for_port(port, process)
            website = Website("web", HOST, port, key, None, directory / "known_hosts", "/web root", (0o644, 0o755))
            host = WebHost("asyncssh", website, root, process.pid, keys, authorized)
            yield replace(host, website=host.also_at(port))
        finally:
            process.terminate()


def _key(directory: Path, kind: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return generate_key(directory / f"host_{kind}", kind)
