"""A connection of pysftp's, with its faults mended: keys, host keys, time-outs, algorithms.

Importing this loads paramiko (a quarter of a second, 25 MB), so it is imported where a connection is made.
Sources: RFC 4253 (transport), RFC 4252 (authentication), ssh(1).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from deepspeech_wer import files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.settings import Website
from deepspeech_wer.sftp import dial, known_hosts
from deepspeech_wer.sftp.dial import Dropped, Line, reason
from deepspeech_wer.sftp.libraries import paramiko, pysftp
from deepspeech_wer.sftp.pipeline import Lost
from deepspeech_wer.sftp.transport import Transport

# Preferred first; AEAD ciphers cost one pass over the data. What is not named here is off: CBC, 3DES, SHA-1, MD5.
_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)
_DIGESTS = ("hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com", "hmac-sha2-256", "hmac-sha2-512")
_RSA = ("rsa-sha2-512", "rsa-sha2-256")  # signatures of an ssh-rsa key; the SHA-1 one is called ssh-rsa itself
_KEEPALIVE_S = 10
_NO_KEY = "ds_website_privkey: not set, and no ssh agent holds a key (under cron there is none): set it to a key file"


@contextmanager
def connected(website: Website, call: Future[Line] | None, *, timeout_s: float) -> Iterator[Connection]:
    """A connection whose server is the one on record and which has let us in.

    Without a `call` that was made before, this is a second try: it takes none of the short cuts that know the server.
    Raises Dropped where waiting may help, else Trouble with the cure.
    """
    logger = logging.getLogger("paramiko")  # prints tracebacks of its thread, and keys at its finest level
    logger.addHandler(logging.NullHandler())
    logger.setLevel(logging.CRITICAL)
    with nullcontext(call) if call else dial.called(website, timeout_s) as line:
        connection = Connection(website, timeout_s, line, careful=call is None)
        try:
            yield connection
        finally:
            connection.close()


class Connection(pysftp.Connection):  # type: ignore[misc]
    """One SSH connection, checked and authenticated when the constructor returns."""

    def __init__(self, website: Website, timeout_s: float, call: Future[Line], *, careful: bool) -> None:
        self._website = website
        self._timeout_s = timeout_s
        self._call = call
        self._careful = careful
        self._known = known_hosts.lookup(website.server_fqdn, website.server_port, _known_hosts_files(website))
        # for pysftp's __del__, should its __init__ not get far enough to set them
        self._transport: Any = None
        self._sftp_live, self._cnopts = False, _options()
        if not any(not key.revoked for key in self._known):
            raise Trouble(_unknown_host(website))
        agent: Any = paramiko.Agent() if website.privkey is None else None
        keys = [_private_key(website.privkey, website.privkey_passphrase)] if website.privkey else agent.get_keys()
        try:
            if not keys:
                raise Trouble(_NO_KEY)
            super().__init__(
                website.server_fqdn, username=website.username, port=website.server_port, cnopts=self._cnopts
            )
            self._check_host_key()
            self._authenticate(keys)
        except paramiko.IncompatiblePeer as error:
            self.close()
            raise Trouble(f"{where(website)}: the server offers weak algorithms only: {reason(error)}") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            self.close()
            raise Dropped(f"{where(website)}: the connection failed: {reason(error)}") from error
        except BaseException:
            self.close()
            raise
        finally:
            if agent:
                agent.close()

    @property
    def is_openssh(self) -> bool:
        """Whether the server is one whose ways are known."""
        return bool(self._transport.is_openssh)

    @property
    def is_alive(self) -> bool:
        """Whether the connection still stands; then whatever failed was said no to."""
        return bool(self._transport.is_active())

    def open_sftp(self) -> Any:
        """A channel on which the server has been asked for SFTP. With OpenSSH it may still say no: then it ends."""
        try:
            return self._transport.open_sftp()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Lost(reason(error)) from error

    def _start_transport(self, *_: object) -> None:
        """Of pysftp's: called by its __init__. Its own way waits 135 s for a host that does not answer."""
        transport = self._transport = Transport(self._call.result(), self._timeout_s, careful=self._careful)
        transport.set_keepalive(_KEEPALIVE_S)
        options = transport.get_security_options()
        options.ciphers = [name for name in _CIPHERS if name in options.ciphers]
        options.digests = [name for name in _DIGESTS if name in options.digests]
        options.key_types = _ordered(options.key_types, self._known)

    def _set_authentication(self, *_: object) -> None:
        """Of pysftp's: nothing yet, for we authenticate only to a server whose key has been checked."""

    def _check_host_key(self) -> None:
        key = self._transport.get_remote_server_key()
        if not known_hosts.allows(self._known, key.asbytes()):
            raise Trouble(_wrong_key(self._website, key.get_name(), self._known, key.asbytes()))

    def _authenticate(self, keys: Sequence[Any]) -> None:
        for refused, key in enumerate(keys):
            try:
                if not self._transport.auth_publickey(self._website.username, key, only=len(keys) == 1):
                    return
            except paramiko.BadAuthenticationType as error:
                raise Trouble(
                    f"{where(self._website)}: the server accepts no public keys, only {', '.join(error.allowed_types)}"
                ) from error
            except paramiko.AuthenticationException as error:
                if refused and not self._transport.is_active():
                    raise Trouble(
                        f"{where(self._website)}: the server hung up after {refused} of the {len(keys)} keys of the "
                        "ssh agent: set ds_website_privkey to the right one"
                    ) from error
                if not self._transport.is_active() or "timeout" in str(error):
                    raise Dropped(f"{where(self._website)}: the connection was lost while logging in") from error
                continue
            raise Trouble(f"{where(self._website)}: the server wants more than a public key: allow that user one")
        tried = str(self._website.privkey or f"the {len(keys)} keys of the ssh agent")
        raise Trouble(
            f"{where(self._website)}: the server refuses {tried}: "
            "add the public key to that user's ~/.ssh/authorized_keys on the server, or correct ds_website_username"
        )


def where(website: Website) -> str:
    """The server, for messages."""
    return f"{website.username}@{website.server_fqdn} port {website.server_port}"


def _options() -> SimpleNamespace:
    # pysftp's own class reads ~/.ssh/known_hosts on the way, and warns where it finds nothing
    return SimpleNamespace(log=False, compression=False, ciphers=None, hostkeys=None)


def _known_hosts_files(website: Website) -> list[Path]:
    own = [website.known_hosts] if website.known_hosts else []
    return [*own, files.home() / ".ssh" / "known_hosts", known_hosts.SYSTEM_WIDE]


def _ordered(offered: Sequence[str], known: Sequence[known_hosts.HostKey]) -> list[str]:
    """Algorithms for which a key is on record first: servers have several keys, and only those can be checked."""
    kinds = {key.kind for key in known if known_hosts.allows(known, key.blob)}
    first = [name for name in offered if name in kinds or (name in _RSA and "ssh-rsa" in kinds)]
    return first + [name for name in offered if name not in first]


def _private_key(file: Path, passphrase: str | None) -> Any:
    """Raises Trouble that names the file and what is wrong with it, and nothing of what is in it."""
    try:
        start = file.read_bytes()[:20]
    except OSError as error:
        raise Trouble(f"ds_website_privkey: {file}: cannot be read: {error.strerror}") from error
    if start.startswith((b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUB")):
        raise Trouble(
            f"ds_website_privkey: {file}: is a public key: give the private one, mostly the name without .pub"
        )
    for attempt in dict.fromkeys((None, passphrase)):  # a key without passphrase is fine where one is set
        try:
            return paramiko.PKey.from_path(file, attempt.encode() if attempt is not None else None)
        except (paramiko.PasswordRequiredException, TypeError):
            encrypted = True
        except (paramiko.SSHException, ValueError):
            encrypted = attempt is not None
    if encrypted and passphrase is None:
        raise Trouble(
            f"ds_website_privkey: {file}: has a passphrase: set ds_website_privkey_passphrase, or use an agent"
        )
    if encrypted:
        raise Trouble(f"ds_website_privkey: {file}: ds_website_privkey_passphrase does not open it")
    raise Trouble(
        f"ds_website_privkey: {file}: is no private key that can be used: expected ed25519, ECDSA or RSA, "
        "as made by ssh-keygen -t ed25519"
    )


def _unknown_host(website: Website) -> str:
    name = known_hosts.name_of(website.server_fqdn, website.server_port)
    return (
        f"{where(website)}: unknown host: no known_hosts file has a key of {name}. Add it, then compare it with the "
        f"server's own (ssh-keygen -lf): {_keyscan(website)}"
    )


def _wrong_key(website: Website, kind: str, known: Sequence[known_hosts.HostKey], blob: bytes) -> str:
    name = known_hosts.name_of(website.server_fqdn, website.server_port)
    if any(key.revoked and key.blob == blob for key in known):
        return f"{where(website)}: the server shows an {kind} key that known_hosts revokes: ask whoever runs the server"
    return (
        f"{where(website)}: the server shows an {kind} key that is none of those on record for {name}: somebody may be "
        f"in between. If whoever runs the server confirms a new key: ssh-keygen -R '{name}' && {_keyscan(website)}"
    )


def _keyscan(website: Website) -> str:
    return (
        f"ssh-keyscan -p {website.server_port} {website.server_fqdn} >> {website.known_hosts or '~/.ssh/known_hosts'}"
    )
