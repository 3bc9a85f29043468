"""The host keys on record, from known_hosts files as OpenSSH reads them (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

pysftp takes the first key of the first line, does not know `[host]:port`, and refuses a file for one unreadable line.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable, Iterator
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer.errors import Trouble

SYSTEM_WIDE = (Path("/etc/ssh/ssh_known_hosts"), Path("/etc/ssh/ssh_known_hosts2"))


class HostKey(NamedTuple):
    """A key on record for the host that was looked up."""

    kind: str  # ssh-ed25519, ecdsa-sha2-nistp256, ssh-rsa, ...
    blob: bytes
    marker: str = ""  # or @revoked, or @cert-authority: then it is no key of the host's own


def name_of(host: str, port: int) -> str:
    """A server's name in known_hosts: `host`, or `[host]:port` except for port 22; lower case, as it is hashed."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def lookup(host: str, port: int, files: Iterable[Path | None]) -> list[HostKey]:
    """All keys on record for a server. Those of the bare name count only where its `[host]:port` has none, as in ssh.

    Missing files count as empty. Unreadable lines are skipped, and files too, as for ssh; raises Trouble that names
    such a file if no key is found in the others.
    """
    lines, unread, found = list[str](), "", list[HostKey]()
    for file in filter(None, files):
        try:
            lines += file.read_bytes().decode("utf-8", "replace").split("\n") if file.is_file() else []
        except OSError as error:
            unread = unread or f"{file}: cannot be read: {error.strerror}"
    for name in dict.fromkeys((name_of(host, port), host.lower())):
        if all(key.marker for key in found):
            found += [key for line in lines for key in _key(line, name)]
    if unread and all(key.marker for key in found):
        raise Trouble(f"{host} port {port}: unknown host, and {unread}: give this user access to it")
    return found


def allows(keys: Iterable[HostKey], blob: bytes) -> bool:
    """Whether this key is on record and not revoked."""
    markers = {key.marker for key in keys if key.blob == blob}
    return "" in markers and "@revoked" not in markers


def _key(line: str, name: str) -> Iterator[HostKey]:
    fields = line.split()
    marker = fields.pop(0) if fields and fields[0] in ("@revoked", "@cert-authority") else ""
    if len(fields) < 3 or fields[0].startswith(("#", "@")) or not _names(fields[0], name):
        return
    with suppress(ValueError):  # not in base64
        yield HostKey(fields[1], base64.b64decode(fields[2], validate=True), marker)


def _names(patterns: str, name: str) -> bool:
    """Whether a line's first field matches: it is hashed (|1|salt|hash), or patterns with *, ? and ! to exclude."""
    if patterns.startswith("|1|"):
        with suppress(ValueError):
            salt, digest = (base64.b64decode(part, validate=True) for part in patterns[3:].split("|"))
            return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)
        return False
    escaped = patterns.lower().replace("[", "[[]")  # fnmatch takes the brackets of [host]:port for a character class
    matching = [pattern for pattern in escaped.split(",") if fnmatchcase(name, pattern.removeprefix("!"))]
    return bool(matching) and not any(pattern.startswith("!") for pattern in matching)
