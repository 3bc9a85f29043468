"""Converts the text of a setting into its value. Each function raises ValueError("what was expected").

All are pure, except that paths are resolved and key files are looked at.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from deepspeech_wer.records import PUBLIC_KEY
from deepspeech_wer.variables import Unquoted
from deepspeech_wer.xdg_directories import INSTANCE, is_instance

_SHA = re.compile(r"[0-9a-f]{7,64}")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|$)|(^|/)\.|^-|^/|/$|\.$|^@$")
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:.]+")
_OURS_OF_SBATCH = {
    *("--array", "--chdir", "--dependency", "--error", "--export", "--export-file", "--input", "--job-name"),
    *("--no-requeue", "--open-mode", "--output", "--parsable", "--requeue", "--signal", "--test-only"),
    *("--uid", "--wait", "--wrap"),
}
_COMMAND = re.compile(r"(?:\S*/)?(?:(?:ba|da|z|k)?sh|env|exec|make|nice|perl|poetry|python[\d.]*|srun|sudo|uv|conda)\s")


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a check that accepts only the given words."""

    def check(text: str) -> str:
        if text not in choices:
            raise ValueError(" or ".join(choices))
        return text

    return check


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a check for an integer from `least` to `most`."""

    def check(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(f"a whole number from {least} to {most}")
        return int(text)

    return check


def seconds(text: str) -> float:
    """Parse a positive number of seconds, at most ten years."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or not 0 < float(text) <= 3.2e8:
        raise ValueError("a positive number of seconds")
    return float(text)


def size(text: str) -> int:
    """Parse bytes, with K, M, G or T for powers of 1024; at least 64 MB, less than any interpreter needs."""
    match = re.fullmatch(r"([0-9]{1,15})([KMGT]?)(i?B)?", text, re.IGNORECASE)
    found = int(match[1]) << 10 * " KMGT".index(match[2].upper() or " ") if match else 0
    if not 1 << 26 <= found < 1 << 60:
        raise ValueError("a number of bytes such as 8G, at least 64M")
    return found


def directories(text: str) -> tuple[Path, ...]:
    """Parse paths of directories separated by colons."""
    return tuple(directory(part) for part in text.split(":") if part)


def share(text: str) -> float:
    """Parse a fraction from 0 to 1."""
    if not re.fullmatch(r"[0-9]*\.?[0-9]+", text) or float(text) > 1:
        raise ValueError("a fraction from 0 to 1, such as .3")
    return float(text)


def switch(text: str) -> bool:
    """Parse 1 (on) or 0 (off)."""
    if text not in ("0", "1"):
        raise ValueError("1 or 0")
    return text == "1"


def path(text: str) -> Path:
    """Parse a path and make it absolute. `$` is refused: crontab(5) expands no variables, so it would stay literal."""
    if "$" in text or "\0" in text:
        raise ValueError("a path without $ (a crontab expands no variables: write it out)")
    try:
        return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111 - does not follow symbolic links
    except FileNotFoundError:
        raise ValueError("an absolute path, since the working directory no longer exists") from None


def directory(text: str) -> Path:
    """Parse the path of a directory, which need not exist yet."""
    found = path(text)
    if any(found.is_relative_to(place) for place in ("/proc", "/dev/fd")):
        raise ValueError("a directory outside /proc, where each process finds another one")
    return found


def readable_file(text: str) -> Path:
    """Parse the path of a file that exists and that this user can read."""
    file = path(text)
    try:
        is_file = file.is_file()
    except OSError as error:  # whose message quotes the text, and that may be a pasted key
        raise ValueError(f"a file that this user can reach, found none: {error.strerror}") from None
    if not is_file:
        raise ValueError("a file, found none")
    if not os.access(file, os.R_OK):
        raise ValueError("a file that this user can read")
    return file


def private_key(text: str) -> Path:
    """Parse the path of a private key file. As for ssh, nobody else may read one that belongs to this user."""
    if "PRIVATE KEY-" in text:
        raise ValueError("the path of a private key file, found a key (write it to a file, and chmod 600 that)")
    file = readable_file(text)
    with file.open("rb") as stream:
        start = stream.read(100_000)
    if start.startswith(PUBLIC_KEY) and b" PRIVATE KEY-" not in start:  # others may read it
        private = file.with_suffix("") if file.suffix == ".pub" else "usually its name without .pub"
        raise ValueError(f"a private key, found a public one (give its private half: {private})")
    status = file.stat()
    mode = status.st_mode & 0o777
    if mode & 0o077 and status.st_uid == os.getuid():
        raise ValueError(f"a private key that others cannot read, found mode {mode:04o} (chmod 600 {file})")
    return file


def script(text: str) -> str:
    """Parse the path of the job: absolute or relative to the checkout, without arguments."""
    if "\0" in text or "\n" in text:
        raise ValueError("the path of a script")
    if _COMMAND.match(text) or re.search(r" --?\w", text):
        raise ValueError("the path of a script alone: what runs it belongs into its #! line, and arguments into it")
    return os.path.expanduser(text)  # noqa: PTH111 - a leading ./ must stay


def slurm_word(text: str) -> str:
    """Check a value of an sbatch option."""
    if not re.fullmatch(r"[\w.,:=+@-]+", text) or text.startswith("-"):
        raise ValueError("a word as sbatch takes it")
    return text


def slurm_time(text: str) -> str:
    """Check a time limit: minutes, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS (sbatch(1), --time)."""
    if not re.fullmatch(r"\d+(:\d\d?){0,2}|\d+-\d+(:\d\d?){0,2}", text) or not re.search("[1-9]", text):
        raise ValueError("a time limit as sbatch takes it, such as 90 (minutes) or 1-12:00:00")
    return text


def slurm_options(text: str) -> tuple[str, ...]:
    """Split options of sbatch as a shell would. Those on which the tracker relies are refused."""
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        words = ("",)
    if not all(re.fullmatch(r"--[a-z][a-z-]*(=.*)?", word, re.DOTALL) for word in words):
        raise ValueError("options of sbatch, each in one word: --NAME or --NAME=VALUE")
    ours = sorted({word.partition("=")[0] for word in words} & _OURS_OF_SBATCH)
    if ours:
        raise ValueError(f"options of sbatch without {', '.join(ours)}, which the tracker sets")
    return words


def word(text: str) -> str:
    """Accept one line of printable text."""
    if not text.isprintable() or text.strip() != text:
        raise ValueError("one line of printable text without spaces at either end")
    return text


def token(text: str) -> str:
    """Accept a token. What a shell would make one of stays literal in a crontab, and so do quotes in a container."""
    if re.search(r"[\s$`'\"{}()]", word(text)):
        raise ValueError("the token itself, without quotes, and no variable or command that only a shell replaces")
    return text


def user(text: str) -> str:
    """Accept a user of the web host."""
    if re.match("[^@]*:", text):  # a bastion may take root@target:SSH:user
        raise Unquoted("a user without a password, since the tracker logs in with a key")
    return word(text)


def web_root(text: str) -> str:
    """Accept a path on the web host. SFTP knows no ~: a relative path begins at the login directory."""
    if text.startswith("$"):
        raise ValueError("a path without $ (the web host expands no variables: write it out)")
    if "://" in text or re.match("[^/]+@[^/]*:", text):
        raise ValueError("the path alone: user, host and port have variables of their own")
    return re.sub("^~(/+|$)", "", word(text)) or "."


def host(text: str) -> str:
    """Parse a host name or address, and convert it to lower case."""
    if not _HOST.fullmatch(text):
        raise ValueError("a host name or address (set the port in ds_website_server_port)")
    return text.lower()


def recordings(text: str) -> str:
    """Accept an http or https address, or a path beside the page; {id} in it stands for an utterance."""
    is_safe = re.fullmatch(r"(https?://[A-Za-z0-9.-]+(:\d+)?/)?[A-Za-z0-9._~%+=&?/{}-]*", text)
    if not is_safe or re.search(r"[{}]", text.replace("{id}", "")) or text.startswith("//"):
        raise ValueError("an http or https address, or a path beside the page, such as audio/{id}.wav")
    return text


def web_url(text: str) -> str:
    """Accept an http or https URL without a password."""
    if not re.fullmatch(r"https?://[^\s/?#@]+([/?#]\S*)?", text):
        raise ValueError("an address that starts with http:// or https:// and has no password in it")
    return text


def signing_key(text: str) -> bytes:
    """Parse a secret for signatures: `whsec_` and base64 as in Standard Webhooks, else the bytes of the text itself."""
    if not text.startswith("whsec_"):
        return word(text).encode("utf-8", "surrogateescape")
    try:
        key = base64.b64decode(text.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not key:
        raise ValueError("whsec_ and base64, as from `echo whsec_$(openssl rand -base64 32)`")
    return key


def instance(text: str) -> str:
    """Accept the name of one of this user's trackers."""
    if not is_instance(text):
        raise ValueError(INSTANCE)
    return text


def github_name(text: str) -> str:
    """Accept one part of ACCOUNT/PROJECT."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise ValueError("a name of letters, digits, dots, dashes and underscores")
    return text


def git_ref(text: str) -> str:
    """Accept a branch name, short or full, by the rules of git-check-ref-format(1)."""
    if _REF_FORBIDDEN.search(text):
        raise ValueError("the name of a branch")
    return text


def shas(text: str) -> tuple[str, ...]:
    """Parse commit SHAs separated by commas."""
    found = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if not found or not all(_SHA.fullmatch(sha) for sha in found):
        raise ValueError("commit SHAs of 7 to 64 hex digits, separated by commas")
    return found


def modes(text: str) -> tuple[int, int]:
    """Parse `0644/0755` into the modes of files and of directories."""
    match = re.fullmatch(r"0?([0-7]{3})/0?([0-7]{3})", text)
    if not match:
        raise ValueError("two octal modes, files/directories, such as 0644/0755")
    return int(match[1], 8), int(match[2], 8)
