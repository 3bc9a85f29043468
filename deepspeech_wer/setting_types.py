"""One setting's text -> its value. Each raises ValueError with what was expected instead; pure but for file modes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from deepspeech_wer.variables import without_password as without_password

_SHA = re.compile(r"[0-9a-f]{7,64}")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|$)|(^|/)\.|^-|^/|/$|\.$|^@$")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]+")
_AUTHORITY = re.compile(r"([\w.~%-]+|\[[0-9A-Fa-f:.%]+\])(:[0-9]*)?")  # host and port
_LOCAL = ("/", "./", "../", "~")


def one_of(*choices: str) -> Callable[[str], str]:
    """A check for one of some words."""

    def check(text: str) -> str:
        if text not in choices:
            raise ValueError(" or ".join(choices))
        return text

    return check


def whole(least: int, most: int) -> Callable[[str], int]:
    """A check for a whole number within bounds."""

    def check(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return check


def seconds(text: str) -> float:
    """A positive number of seconds; ten years at most."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0 < float(text) <= 3.2e8:
        raise ValueError("a positive number of seconds")
    return float(text)


def path(text: str) -> Path:
    """A path, made absolute. Cron expands nothing in an assignment: a `$` there would become a directory's name."""
    if "$" in text or "\0" in text:
        raise ValueError("a path without $ (a crontab expands no variables: write it out)")
    try:
        return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 - without following symbolic links
    except FileNotFoundError:
        raise ValueError("a whole path, since the working directory is gone") from None


def readable_file(text: str) -> Path:
    """An existing file that this user may read."""
    file = path(text)
    if not file.is_file():
        raise ValueError("a file, found none")
    if not os.access(file, os.R_OK):
        raise ValueError("a file that this user may read")
    return file


def private_key(text: str) -> Path:
    """A private key file that nobody else may read."""
    file = readable_file(text)
    mode = file.stat().st_mode & 0o777
    if mode & 0o077:
        raise ValueError(f"a private key that others cannot read, found mode {mode:04o} (chmod 600 {file})")
    return file


def script(text: str) -> str:
    """The job: a path, absolute or relative to the checkout, no command line."""
    if "\0" in text or "\n" in text:
        raise ValueError("the path of a script")
    return os.path.expanduser(text)  # noqa: PTH111 - a leading ./ must stay


def word(text: str) -> str:
    """Printable text of one line."""
    if not text.isprintable() or text.strip() != text:
        raise ValueError("printable text without line breaks or blanks around it")
    return text


def host(text: str) -> str:
    """A host name or address; upper case is the same host."""
    if not _HOST.fullmatch(text):
        raise ValueError("a host name or address (the port has a variable of its own)")
    return text.lower()


def web_url(text: str) -> str:
    """An http or https address."""
    if not re.fullmatch(r"https?://[^\s/?#@]+([/?#]\S*)?", text):
        raise ValueError("an address that starts with http:// or https:// and has no password in it")
    return text


def github_name(text: str) -> str:
    """Half of ACCOUNT/PROJECT."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise ValueError("a name of letters, digits, dots, dashes and underscores")
    return text


def git_url(text: str) -> str:
    """A URL that git can fetch from; never an option, never a helper that runs commands (`ext::`)."""
    if text.startswith("-") or not text.isprintable() or re.match(r"[A-Za-z0-9+.-]+::", text):
        raise ValueError("a git URL or a local path")
    if text.startswith(_LOCAL):
        return str(path(text))
    if "://" in text:
        scheme, login, _ = split_login(text)
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


def is_web(scheme: str) -> bool:
    """Whether git takes a password for URLs of this scheme."""
    return scheme in ("http://", "https://", "ftp://", "ftps://")


def git_ref(text: str) -> str:
    """A branch, short or whole, by the rules of git check-ref-format."""
    if _REF_FORBIDDEN.search(text):
        raise ValueError("the name of a branch")
    return text


def shas(text: str) -> tuple[str, ...]:
    """Commit names, parted by commas."""
    found = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if not found or not all(_SHA.fullmatch(sha) for sha in found):
        raise ValueError("commit names of 7 to 64 hex digits, parted by commas")
    return found


def modes(text: str) -> tuple[int, int]:
    """`0644/0755`: modes of files and directories."""
    match = re.fullmatch(r"0?([0-7]{3})/0?([0-7]{3})", text)
    if not match:
        raise ValueError("two octal modes, files/directories, such as 0644/0755")
    return int(match[1], 8), int(match[2], 8)


def repository_name(url: str) -> str:
    """What people call it: ACCOUNT/PROJECT on a forge, the last part elsewhere."""
    place = re.sub(r"^\w+://[^/]*", "", without_password(url))  # without host and port
    parts = [part for part in re.split(r"[/:]", place.rstrip("/").removesuffix("/.git").removesuffix(".git")) if part]
    return "/".join(parts[-2:]) if _is_remote(url) and not url.startswith("file:") else parts[-1]


def repository_page(url: str) -> str | None:
    """The web page of a repository on GitHub or GitLab, where /commit/SHA shows a commit."""
    match = re.fullmatch(
        r"(?:https?://|(?:ssh://)?git@)((?:github|gitlab)\.[a-z.]+)[/:]([\w.-]+(?:/[\w.-]+)+)",
        without_password(url).rstrip("/").removesuffix(".git"),
    )
    return f"https://{match[1]}/{match[2]}" if match else None


def _is_remote(url: str) -> bool:
    return "://" in url or bool(re.match(r"[^/]+:", url))
