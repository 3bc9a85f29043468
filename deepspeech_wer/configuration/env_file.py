"""Variables from elsewhere than the environment: ds_env_file, and what a command adopts. Keeps where each came from.

A file of NAME=value lines, as systemd reads them (EnvironmentFile, systemd.exec(5)), or as a shell exports them. A busy
tick loads this module, so keep it light.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

from deepspeech_wer import xdg_directories
from deepspeech_wer.errors import Trouble, UsageTrouble

NAME, INSTANCE = "ds_env_file", "ds_instance"
MAX_BYTES = 1 << 20
_FEW = 10  # faults in one message
_KEYWORDS = (("export",), ("declare", "-x"), ("typeset", "-x"))  # `export -p` prints one of them, by the shell

_origins: dict[str, str] = {}


def fill() -> None:
    """Set what the file named by ds_env_file sets and the environment does not. An empty variable counts as not set.

    Raises Trouble if the file cannot be read, if others can write it, or if a line of it is none of the format.
    """
    named = path()
    if named:
        found = {name: value for name, value in read(named).items() if name != NAME}
        adopt({name: value for name, value in found.items() if value and not os.environ.get(name)}, named)


def path() -> str:
    """Return the absolute path that ds_env_file names; "" where it is not set."""
    text = os.environ.get(NAME, "")
    return os.path.abspath(os.path.expanduser(text)) if text else ""


def adopt(variables: Mapping[str, str], origin: str) -> None:
    """Set variables as if this process had been called with them; directories that XDG_* name count at once."""
    os.environ.update(variables)
    _origins.update(dict.fromkeys(variables, origin))
    if any(name.startswith(("XDG_", "HOME")) for name in variables):
        xdg_directories.read_again()


def instance() -> str:
    """Return ds_instance, "" if it is not set. Call `fill` first. Raises UsageTrouble."""
    text = os.environ.get(INSTANCE, "")
    if text and not xdg_directories.is_instance(text):
        raise UsageTrouble(f"{INSTANCE}: {text[:100]!r}: expected {xdg_directories.INSTANCE}")
    return text


def is_completing() -> bool:
    """Return whether a shell asks for the completion of a command line: then nothing may be run."""
    return "_ARGCOMPLETE" in os.environ


def origins() -> Mapping[str, str]:
    """Where the variables came from that are not this process's own: a file, or "crontab"."""
    return _origins


def read(path: str) -> dict[str, str]:
    """Return the variables of a file. Raises Trouble, which quotes no value."""
    try:
        data = _content(path)
    except OSError as error:
        if "\n" in path or "=" in path.partition("ds_")[2]:  # lines of such a file, which may hold a secret
            raise Trouble(f"{NAME}: expected the path of a file, found what should stand in it") from None
        raise Trouble(
            f"{NAME} {path}: cannot be read: {error.strerror}: correct {NAME}, or give this user access"
        ) from None
    found, faults = parse(os.fsdecode(data.removeprefix(b"\xef\xbb\xbf")))
    if faults:
        listed = "; ".join(f"line {number}: {what}" for number, what in faults[:_FEW])
        more = f"; and {len(faults) - _FEW} more" if len(faults) > _FEW else ""
        raise Trouble(f"{NAME} {path}: {listed}{more}: expected NAME=value, or # and a comment")
    return found


def _content(path: str) -> bytes:
    """Read a file that others cannot change. Raises OSError, Trouble."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe without a writer would hang us
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Trouble(f"{NAME} {path}: expected a regular file, found something else")
        if status.st_size > MAX_BYTES:
            raise Trouble(f"{NAME} {path}: expected at most {MAX_BYTES} bytes, found {status.st_size}")
        above = os.path.dirname(os.path.realpath(path))
        for place, state in ((path, status), (above, os.stat(above))):
            _check_owner(path, place, state)
        return stream.read(MAX_BYTES)


def _check_owner(path: str, place: str, status: os.stat_result) -> None:
    """Raise Trouble if somebody else could say what we run."""
    is_sticky_directory = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if status.st_mode & 0o022 and not is_sticky_directory:
        mode = stat.S_IMODE(status.st_mode)
        raise Trouble(f"{NAME} {path}: others can write {place} (mode {mode:04o}): chmod go-w {place}")
    if status.st_uid not in (0, os.geteuid()) and not is_sticky_directory:
        raise Trouble(f"{NAME} {path}: {place} belongs to another user (uid {status.st_uid}): chown it to this user")


def parse(text: str) -> tuple[dict[str, str], list[tuple[int, str]]]:
    """Return the variables, and the faults by their line numbers. Nothing is expanded.

    Quotes and backslashes are those of a shell, but a quote ends in its line. Blanks around = and in a value without
    quotes are accepted, as in a crontab. A # after a blank begins a comment.
    """
    found: dict[str, str] = {}
    faults = []
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), start=1)
    for number, line in lines:
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        while _is_continued(line):
            line = line[:-1] + next(lines, (0, ""))[1]
        before, equals, after = line.partition("=")
        name = _name(before) if equals else None
        value = _value(after)
        if name is None:
            faults.append((number, "no assignment"))
        elif value is None or "\0" in value:
            faults.append((number, f"{name}: a quote that does not end" if value is None else f"{name}: a NUL"))
        else:
            found[name] = value
    return found, faults


def _is_continued(line: str) -> bool:
    """Whether a line ends with a backslash that no other backslash escapes."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _name(text: str) -> str | None:
    words = text.split()
    for keyword in _KEYWORDS:
        if len(words) > len(keyword) and tuple(words[: len(keyword)]) == keyword:
            words = words[len(keyword) :]
    if len(words) != 1 or not words[0].isascii() or not words[0].isidentifier():
        return None
    return words[0]


def _value(text: str) -> str | None:
    """Return the value that a line holds after the equals sign; None if a quote does not end."""
    value, kept, quote = "", 0, ""  # kept: so much of the value is not the blanks at its end
    is_begun = False
    characters = iter(text)
    for here in characters:
        if not quote and here.isspace():
            value += here if is_begun else ""
        elif not quote and here == "#" and (len(value) > kept or (not is_begun and text[0].isspace())):
            break
        elif here == "\\" and quote != "'":
            after = next(characters, "")
            value += after if not quote or after in '\\"$`' else here + after
        elif here == quote or (not quote and here in "\"'"):
            quote = "" if quote else here
        else:
            value += here
        if quote or not here.isspace():
            is_begun, kept = True, len(value)
    return None if quote else value[:kept]
