"""Where to log in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class Account:
    """An account on an SFTP server. Messages name a field by its setting: the prefix, then the field's name."""

    username: str
    server_fqdn: str
    server_port: int
    privkey: Path | None  # None: an ssh agent holds it
    privkey_passphrase: str | None = field(repr=False)
    known_hosts: Path | None  # in addition to ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
    prefix: ClassVar[str] = ""

    def __str__(self) -> str:
        return f"{self.username}@{self.server_fqdn} port {self.server_port}"
