"""An account on an SFTP server, and its private keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko  # type: ignore[import-untyped]

from deepspeech_wer.errors import Trouble


@dataclass(frozen=True)
class Account:
    """Where to connect, as whom, and with which key."""

    host: str
    port: int
    username: str
    privkey: Path | None  # None: an ssh agent holds the key
    privkey_passphrase: str | None = field(repr=False)
    known_hosts: Path | None  # read before the user's and the system's own
    prefix: str = ""  # messages name a field by its setting: this, then the field's name

    def __str__(self) -> str:
        return f"{self.username}@{self.host} port {self.port}"


@contextmanager
def private_keys(account: Account) -> Iterator[Sequence[Any]]:
    """The key in the account's file, or else all keys of the ssh agent, which sign until the block ends.

    Raises Trouble.
    """
    if account.privkey is not None:
        yield [_read_key(account.privkey, account.privkey_passphrase, f"{account.prefix}privkey")]
        return
    with closing(paramiko.Agent()) as agent:
        keys = agent.get_keys()
        if not keys:
            raise Trouble(
                f"{account.prefix}privkey: not set, and no ssh agent holds a key (under cron there is none): "
                "set it to a key file"
            )
        yield keys


def _read_key(file: Path, passphrase: str | None, setting: str) -> Any:
    """Raises Trouble that names the file and what is wrong with it, but nothing of its content."""
    try:
        start = file.read_bytes()[:20]
    except OSError as error:
        raise Trouble(f"{setting}: {file}: cannot be read: {error.strerror}") from error
    if start.startswith((b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUB")):
        raise Trouble(f"{setting}: {file}: is a public key: give the private one, usually the name without .pub")
    encrypted = False
    for attempt in dict.fromkeys((None, passphrase)):  # a key without a passphrase is fine even where one is set
        try:
            # by position: paramiko 5.0 renamed the second argument
            return paramiko.PKey.from_path(file, attempt.encode() if attempt is not None else None)
        except (paramiko.PasswordRequiredException, TypeError):
            encrypted = True
        except (paramiko.SSHException, ValueError):
            encrypted = attempt is not None
    if encrypted and passphrase is None:
        raise Trouble(f"{setting}: {file}: has a passphrase: set {setting}_passphrase, or use an agent")
    if encrypted:
        raise Trouble(f"{setting}: {file}: {setting}_passphrase does not open it")
    raise Trouble(
        f"{setting}: {file}: is no private key that can be used: expected ed25519, ECDSA or RSA, "
        "as made by ssh-keygen -t ed25519"
    )
