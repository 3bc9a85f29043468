"""An account on an SFTP server."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


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
