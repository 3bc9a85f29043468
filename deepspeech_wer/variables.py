"""The description of an environment variable, of the tracker or of the job. Imports nothing of this package."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MASK = "********"


@dataclass(frozen=True)
class Variable:
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
        shown = MASK if variable.secret else quoted(text)
        faults.append(f"{variable.name}{separator}{shown}: expected {expected}")
        return None


def quoted(text: str) -> str:
    """Quote text for a message: control characters escaped, passwords removed, length limited."""
    shown = without_password(text)
    return repr(shown if len(shown) <= 100 else shown[:97] + "...")


def without_password(text: str) -> str:
    """Return a URL without its user, password or token."""
    return re.sub(r"(\w+://)[^/\s]+@|[^/@\s]+:[^/\s]+@", r"\1", text)
