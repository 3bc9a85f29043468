"""How git reaches the remote: without secrets on command lines and without prompts.

A URL appears on the command lines of git and its helpers, which every user of the machine can read. So the user and
password of an http URL are removed from it, and a credential helper supplies them to that host only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from deepspeech_wer.configuration import git_urls
from deepspeech_wer.errors import Trouble

_USER, _PASSWORD = "ds_wer_git_user", "ds_wer_git_password"
_HELPER = f'!f() {{ test "$1" = get && printf "username=%s\\npassword=%s\\n" "${_USER}" "${_PASSWORD}"; }}; f'
_BY_SSH = re.compile(r"(\w+\+)?ssh(\+\w+)?://|[^/:]+:(?!//)")
_OPENSSH = re.compile(r"(\S*/)?ssh(\s|$)")


@dataclass(frozen=True)
class Access:
    """What git needs to reach a remote."""

    url: str  # without secrets
    options: tuple[str, ...] = ()  # of git itself, before the subcommand
    environment: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, str] = field(default_factory=dict)  # settings of git's that no command line may show
    last_resort: tuple[
        str, ...
    ] = ()  # options for where nobody else knows a password: the user is a token, and has none
    secrets: tuple[str, ...] = ()  # what a remote may repeat, and a message must not


def access_to(url: str) -> Access:
    """The remote at a URL. Raises Trouble: its user or password cannot be given to git."""
    if "://" not in url:
        return Access(url)
    try:
        scheme, login, place = git_urls.split_login(url)
    except ValueError as expected:
        raise Trouble(f"the URL of the repository: expected {expected}") from None
    if login is None or not git_urls.is_web(scheme):
        return Access(url)
    user, _, password = (unquote(part, errors="surrogateescape") for part in login.partition(":"))
    if re.search(r"[\0-\x1f\x7f]", user + password):  # a line break would end its line in git's protocol with helpers
        raise Trouble(f"{scheme}{place}: expected a user and password of printable characters before the @")
    host = re.split(r"[/?#]", place, maxsplit=1)[0]
    key = f"credential.{scheme}{host}"
    secrets = tuple({text for text in (password or user, quote(password or user, safe="")) if len(text) > 2})
    helper = ("-c", f"{key}.helper={_HELPER}")
    if ":" in login:
        return Access(
            url=f"{scheme}{place}",
            options=("-c", f"{key}.helper=", *helper),
            environment={_USER: user, _PASSWORD: password},
            secrets=secrets,
        )
    return Access(
        url=f"{scheme}{place}",
        environment={_USER: user, _PASSWORD: ""},
        config={f"{key}.username": user},
        secrets=secrets,
        last_resort=helper,
    )


def is_by_ssh(url: str) -> bool:
    """Return whether git reaches a URL over ssh: ssh://host/path or host:path."""
    return bool(_BY_SSH.match(url))


def without_questions(ssh: str, *, has_askpass: bool = False) -> str:
    """Add options to a command that calls OpenSSH, so that it never prompts. Any other command is returned unchanged.

    With `has_askpass`, ssh asks the user's program for a password, once. It must not ask whether to trust a new host:
    it repeats that question until the answer is yes or no.
    """
    if not _OPENSSH.match(ssh):
        return ssh
    options = ("NumberOfPasswordPrompts=1", "StrictHostKeyChecking=yes") if has_askpass else ("BatchMode=yes",)
    return " ".join((ssh, *(f"-o {option}" for option in options)))
