"""The URL of the tracked repository: checked, taken apart, and what follows from it for people and for web pages.

docs: git-clone(1), "GIT URLS". All are pure, except that local paths are resolved and looked up.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

from deepspeech_wer.configuration.setting_types import path
from deepspeech_wer.variables import CONFIDENTIAL, Unquoted, without_password

_AUTHORITY = re.compile(r"([\w.~%-]+|\[[0-9A-Fa-f:.%]+\])(:[0-9]*)?")  # host and port
_SECRET_PARAMETER = re.compile(rf"[?&;#][^=/]*(?:{CONFIDENTIAL})[^=/]*=.", re.IGNORECASE)
_UNREPLACED = re.compile(r"(^|:)\$([A-Z_]+|\{\w+\})$")  # a whole user or password
_PORTS = {"http": ":80", "https": ":443", "ssh": ":22", "git": ":9418"}  # that a URL need not name
_LOCAL = ("/", "./", "../", "~")


def git_url(text: str) -> str:
    """Parse a URL that git can fetch from. Refuses options and remote helpers that run commands (`ext::`)."""
    if text.startswith("-") or not text.isprintable() or re.match(r"[A-Za-z0-9+.-]+::", text):
        raise ValueError("a git URL or a local path")
    if text.startswith(_LOCAL):
        return str(path(text))
    if "://" in text:
        scheme, login, place = split_login(text)
        if _UNREPLACED.search(login or ""):
            raise Unquoted("a git URL with the password itself: a crontab replaces no variable (write %24 for a $)")
        if login is None and is_web(scheme) and not _AUTHORITY.fullmatch(re.split(r"[/?#]", place, maxsplit=1)[0]):
            raise ValueError("a git URL with a host, whose port, if any, is a number")
        if _SECRET_PARAMETER.search(place):
            raise ValueError("a git URL with its password or token before the host: https://USER:PASSWORD@HOST/PATH")
        if is_web(scheme) and "#" in place:
            raise Unquoted("a git URL without a # in it: write %23 for one in a path")
        if scheme == "file://" and "@" in place.partition("/")[0]:
            raise Unquoted("a file:// URL without a user: nobody asks for one")
        if ":" in (login or "") and not is_web(scheme):
            raise ValueError("a git URL whose password, if any, is for https; ssh takes a key")
        return text
    if re.search(r":.*@", text) and not os.path.lexists(text):  # a login without its scheme; no host:path of ssh's
        raise ValueError("a git URL that starts with https:// if it has a password; ssh takes a key")
    return text if _is_remote(text) else str(path(text))


def split_login(url: str) -> tuple[str, str | None, str]:
    """`https://ada:secret@host/path` -> "https://", "ada:secret" or None, "host/path".

    A login may hold any character as it is, as long as there is one way to read the URL. Raises ValueError, which
    quotes nothing.
    """
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*://)(.*)", url, re.DOTALL)
    if not match:
        raise ValueError("a git URL or a local path")
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file://" or "@" not in rest:
        return scheme, None, rest
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    beyond = rest.count("@", len(authority))
    is_login = "@" not in authority and not _AUTHORITY.fullmatch(authority)
    if not beyond or (beyond == 1 and is_login):
        login, _, place = rest.rpartition("@")
        if _AUTHORITY.fullmatch(re.split(r"[/?#]", place, maxsplit=1)[0]):
            return scheme, login, place
    raise ValueError("a git URL in whose user, password and path / ? # @ are written as %2F %3F %23 %40")


def password_in(url: str) -> str:
    """Return the password or token of a URL; "" if it has none, or if it cannot be read."""
    try:
        login = split_login(url)[1] or ""
    except ValueError:
        return ""
    user, _, password = login.partition(":")
    return password or user


def is_web(scheme: str) -> bool:
    """Whether git takes a password for URLs of this scheme."""
    return scheme in ("http://", "https://", "ftp://", "ftps://")


def repository_name(url: str) -> str:
    """Return a repository's name for people: ACCOUNT/PROJECT for a remote URL, the last component for a local path."""
    place = re.sub(r"^\w+://[^/]*", "", without_password(url))  # without host and port
    parts = [part for part in re.split(r"[/:]", place.rstrip("/").removesuffix("/.git").removesuffix(".git")) if part]
    return "/".join(parts[-2:]) if _is_remote(url) and not url.startswith("file:") else (parts or ["/"])[-1]


def repository_page(url: str) -> str | None:
    """Return the web page of a repository on GitHub or GitLab, where /commit/SHA shows a commit; else None."""
    match = re.fullmatch(
        r"(?:https?://|(?:ssh://)?git@)((?:github|gitlab)\.[a-z.]+)[/:]([\w.-]+(?:/[\w.-]+)+)",
        without_password(url).rstrip("/").removesuffix(".git"),
    )
    return f"https://{match[1]}/{match[2]}" if match else None


def repository_place(url: str) -> tuple[str, str] | None:
    """Return ("https://host", "group/project") of a remote repository, whatever its host; None for a local path.

    http stays http. A port stays only where it is the web server's.
    """
    plain = without_password(url)
    match = re.fullmatch(r"(\w+)://(?:[^@/]*@)?(\[[^\]/]+\]|[^:/]+)(:\d+)?/(.+)", plain)
    if match:
        scheme, host, port, path = match.groups()
    else:
        match = re.fullmatch(r"(?:[^@/]+@)?(\[[^\]/]+\]|[^:/]+):(?!/?/)/?(.+)", plain)
        if not match or url.startswith(_LOCAL):
            return None
        scheme, port, (host, path) = "ssh", None, match.groups()
    if scheme == "file":
        return None
    web = f"{scheme}://{host}{port or ''}" if scheme in ("http", "https") else f"https://{host}"
    path = path.strip("/").removesuffix(".git").rstrip("/")
    return (web.lower(), path) if path else None


def spelled_alike(url: str) -> tuple[str, ...]:
    """Return what two URLs of one repository have in common, however they are spelled; other repositories differ in it.

    As git servers do, a host is taken in any case, and a path with or without `.git`. The user counts with ssh, whose
    relative paths begin at a home. GitHub and GitLab show one repository for all schemes and users.
    """
    plain = without_password(url)
    match = re.fullmatch(r"([a-z][a-z0-9+.-]*)://(.*)", plain, re.IGNORECASE | re.DOTALL)
    if not _is_remote(plain) or (match and match[1].lower() == "file"):
        return _spelled_locally(re.sub(r"^localhost(?=/)", "", unquote(match[2])) if match else plain)
    if match:
        scheme = match[1].lower()
        authority, slash, path = match[2].partition("/")
        path = slash + path if is_web(f"{scheme}://") else unquote(slash + path)
    else:
        scheme = "ssh"
        authority, path = [*re.split(r":(?![^\[]*\])", plain, maxsplit=1), ""][:2]  # not in [::1]
    user, _, host = authority.rpartition("@")
    host = host.lower().removesuffix(_PORTS.get(scheme, ":"))
    path = path.rstrip("/").removesuffix(".git").rstrip("/")
    if re.fullmatch(r"(github|gitlab)\.[a-z.]+", host):
        return host, path.strip("/")
    return scheme, user, host, path


def _spelled_locally(path: str) -> tuple[str, ...]:
    """As git looks for a repository on this machine: at the path, or at PATH.git."""
    place = os.path.abspath(path)  # noqa: PTH100 - does not follow symbolic links
    place = f"{place}.git" if not os.path.lexists(place) and os.path.lexists(f"{place}.git") else place
    return "file", place.removesuffix("/.git")


def _is_remote(url: str) -> bool:
    return "://" in url or bool(re.match(r"[^/]+:", url))
