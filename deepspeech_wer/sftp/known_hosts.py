"""The host keys on record, from known_hosts files as OpenSSH reads them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

pysftp takes the first key of the first line, does not know `[host]:port`, and refuses a file for one unreadable line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

SYSTEM_WIDE = Path("/etc/ssh/ssh_known_hosts")


@dataclass(frozen=True)
class HostKey:
    """A key on record for the host that was looked up."""

    kind: str  # ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa, ...
    blob: bytes
    revoked: bool


def name_of(host: str, port: int) -> str:
    """A server's name in known_hosts: `host`, or `[host]:port` except for port 22; lower case, as it is hashed."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def lookup(host: str, port: int, files: Iterable[Path]) -> list[HostKey]:
    """All keys on record for a server, those of its `[host]:port` first, then those of the bare name.

    Missing files count as empty. Unreadable lines, and those of certificate authorities, are skipped.
    """
    lines = [line for file in files if file.is_file() for line in file.read_text("utf-8", "replace").splitlines()]
    names = dict.fromkeys((name_of(host, port), host.lower()))
    return [key for name in names for line in lines for key in _key(line, name)]


def allows(keys: Iterable[HostKey], blob: bytes) -> bool:
    """Whether this key is on record and not revoked."""
    same = [key for key in keys if key.blob == blob]
    return bool(same) and not any(key.revoked for key in same)


def _key(line: str, name: str) -> Iterator[HostKey]:
    fields = line.split()
    marker = fields.pop(0) if fields and fields[0].startswith("@") else None
    if len(fields) < 3 or fields[0].startswith("#") or marker not in (None, "@revoked") or not _names(fields[0], name):
        return
    try:
        yield HostKey(fields[1], base64.b64decode(fields[2], validate=True), marker == "@revoked")
    except binascii.Error:
        return


def _names(patterns: str, name: str) -> bool:
    """Whether a line's first field matches: it is hashed (|1|salt|hash), or patterns with *, ? and ! to exclude."""
    if patterns.startswith("|1|"):
        try:
            salt, digest = (base64.b64decode(part, validate=True) for part in patterns[3:].split("|"))
        except ValueError:
            return False
        return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
    matched = False
    for pattern in patterns.lower().split(","):
        # not fnmatch, where the brackets of [host]:port would be a character class
        parts = ({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern.removeprefix("!"))
        if re.fullmatch("".join(parts), name):
            if pattern.startswith("!"):
                return False
            matched = True
    return matched
