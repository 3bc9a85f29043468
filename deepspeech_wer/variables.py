"""The description of an environment variable, of the tracker or of the job. Imports nothing of this package."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

MASK = "********"
CONFIDENTIAL = (
    "pass|token|secret|key|credential|auth(?!or)|jwt|sig(?:nature)?(?==)"  # in the name of a parameter of a URL
)

_SECRET_NAME = re.compile("PASS|TOKEN|SECRET|KEY|CREDENTIAL|_PWD|_AUTH|WEBHOOK", re.IGNORECASE)
_SCHEME = r"((?!file:)\b[A-Za-z][\w+.-]*://)"
_URL = re.compile(rf"\s*{_SCHEME}", re.IGNORECASE)
_LOGIN_OF_URL = re.compile(rf"{_SCHEME}(.*)@", re.IGNORECASE | re.DOTALL)
_QUOTED_LOGIN = re.compile(rf"(?<=['\"]){_SCHEME}([^\n]*)@(?=[^@\n]*['\"])", re.IGNORECASE)
_LOGIN = re.compile(rf"{_SCHEME}([^\s'\"]*)@", re.IGNORECASE)
_LOGIN_WITHOUT_SCHEME = re.compile(r"^[^/\s:]+:(?=[^\s/]).*@|(?<![^\s'\"(=/])[^/\s:'\"]+:(?!//)\S*@", re.DOTALL)
_NO_PORT = re.compile(r"(://[^/?#:@\s'\"\[\]]+):(?!\d*(?:[/?#\s'\"]|$))[^/?#\s'\"]*")  # a login that lost its @host
_PARAMETER = re.compile(rf"([?&;#][\w.-]*(?:{CONFIDENTIAL})[\w.-]*=)[^&;#\s'\"]+", re.IGNORECASE)


class Unquoted(ValueError):
    """What was expected, where the text may be a secret."""


class Variable(NamedTuple):
    """One environment variable: how to check it, and its text in the documentation."""

    name: str
    default: str | None
    check: Callable[[str], Any]  # text -> value; raises ValueError("what was expected")
    meaning: str
    secret: bool = False  # never printed, never given to a job


def read(variable: Variable, text: str | None, faults: list[str], *, separator: str = ": ") -> Any:
    """Convert `text` into the variable's value; None stays None.

    For invalid text, append "NAME: 'TEXT': expected WHAT" to `faults` and return None: the caller reports the faults of
    all variables at once. `separator` goes between name and text; the job's messages say NAME='TEXT'.
    """
    if text is None:
        return None
    try:
        return variable.check(text)
    except ValueError as expected:
        shown = MASK if variable.secret or isinstance(expected, Unquoted) else quoted(text)
        faults.append(f"{variable.name}{separator}{shown}: expected {expected}")
        return None


def quoted(text: str) -> str:
    """Quote text for a message: control characters escaped, passwords removed, length limited."""
    shown = without_password(text)
    return repr(shown if len(shown) <= 100 else shown[:97] + "...")


def is_named_like_a_secret(name: str) -> bool:
    """Whether the name of an environment variable says that its value is secret."""
    return bool(_SECRET_NAME.search(name))


def without_password(text: str) -> str:
    """A URL without its password or token, whatever characters they are of; or a message that may quote such a URL.

    In a URL all up to the last @ goes, for nobody foresees where a password with a / in it ends; of ssh's login the
    user stays. What stands for a port and is no number may be a password, too.
    """
    if _URL.match(text):
        return _without_more(_LOGIN_OF_URL.sub(_kept, text))
    text = _QUOTED_LOGIN.sub(_kept, _without_more(text))
    text = _LOGIN.sub(_kept, text)
    return _LOGIN_WITHOUT_SCHEME.sub("", text)


def _without_more(text: str) -> str:
    return _PARAMETER.sub(rf"\1{MASK}", _NO_PORT.sub(r"\1", text) if "@" not in text else text)


def _kept(login: re.Match[str]) -> str:
    scheme, user = login.groups()
    is_user = "ssh" in scheme.lower() and re.fullmatch(r"[\w.-]+", user)
    return f"{scheme}{user}@" if is_user else scheme
