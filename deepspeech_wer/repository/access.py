"""How git reaches the remote: without secrets on command lines and without prompts.

A URL appears on the command lines of git and its helpers, which every user of the machine can read. So the user and
password of an http URL are removed from it, and a credential helper supplies them to that host only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from deepspeech_wer.errors import Trouble

_USER, _PASSWORD = "ds_wer_git_user", "ds_wer_git_password"
_HELPER = f'!f() {{ test "$1" = get && printf "username=%s\\npassword=%s\\n" "${_USER}" "${_PASSWORD}"; }}; f'
_WITH_USER = re.compile(r"((?:https?|ftps?)://)([^/@\s]+)@([^/\s]+)(.*)", re.DOTALL)
_BY_SSH = re.compile(r"(\w+\+)?ssh(\+\w+)?://|[^/:]+:(?!//)")
_OPENSSH = re.compile(r"(\S*/)?ssh(\s|$)")


@dataclass(frozen=True)
class Access:
    """What git needs to reach a remote."""

    url: str  # without secrets
    options: tuple[str, ...] = ()  # of git itself, before the subcommand
    environment: Mapping[str, str] = field(default_factory=dict)


def access_to(url: str) -> Access:
    """Return the access to a URL. Raises Trouble if its user or password cannot be passed to git."""
    found = _WITH_USER.fullmatch(url)
    if not found:
        return Access(url)
    scheme, login, host, path = found.groups()
    user, _, password = (unquote(part) for part in login.partition(":"))
    if not (user + password).isprintable():  # gitcredentials(7): the protocol has one value per line
        raise Trouble(f"{scheme}{host}{path}: expected a user and password of printable characters before the @")
    key = f"credential.{scheme}{host}"
    return Access(
        url=f"{scheme}{host}{path}",
        options=("-c", f"{key}.helper=", "-c", f"{key}.helper={_HELPER}"),
        environment={_USER: user, _PASSWORD: password},
    )


def is_by_ssh(url: str) -> bool:
    """Return whether git reaches a URL over ssh: ssh://host/path or host:path."""
    return bool(_BY_SSH.match(url))


def without_questions(ssh: str) -> str:
    """Add BatchMode to a command that calls OpenSSH. Any other command is returned unchanged."""
    return f"{ssh} -o BatchMode=yes" if _OPENSSH.match(ssh) else ssh
