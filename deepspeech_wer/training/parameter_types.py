"""One parameter's text -> its value. Each check raises ValueError with what was expected instead."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

OFF, FLOAT16, BFLOAT16 = "off", "float16", "bfloat16"
HALVES = (FLOAT16, BFLOAT16)
TRUE, FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")


def number(kind: type[float], least: float, most: float) -> Callable[[str], float]:
    """A check for a number of this kind, int or float, within bounds; `most` may be infinite."""

    def check(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most or math.isinf(value):
            name = "a whole number" if kind is int else "a number"
            bounds = f"{least:g} or more" if math.isinf(most) else f"{least:g} to {most:g}"
            raise ValueError(f"{name}, {bounds}")
        return value

    return check


def span(kind: type[float], least: float, most: float) -> Callable[[str], str]:
    """A check for a number of this kind, or a range of two, LOW:HIGH. The value is the same text without spaces."""
    one = number(kind, least, most)

    def check(text: str) -> str:
        try:
            found = [one(part.strip()) for part in text.split(":")]
        except ValueError as error:
            raise ValueError(f"{error}, or two of them, LOW:HIGH") from None
        if len(found) > 2 or found != sorted(found):
            raise ValueError("a number, or two, LOW:HIGH, the lower one first")
        return ":".join(f"{value:g}" for value in found)

    return check


def ends(text: str) -> tuple[float, float]:
    """Return the two ends of a range that `span` has checked."""
    low, _, high = text.partition(":")
    return float(low), float(high or low)


def one_of(*choices: str) -> Callable[[str], str]:
    """A check for one of some words."""

    def check(text: str) -> str:
        if text not in choices:
            raise ValueError("one of " + ", ".join(choice or "(empty)" for choice in choices))
        return text

    return check


def some_of(*choices: str) -> Callable[[str], str]:
    """A check for any of some words, separated by commas. The value is the same list without spaces."""

    def check(text: str) -> str:
        names = [name.strip() for name in text.split(",") if name.strip()]
        if not set(names) <= set(choices):
            raise ValueError(f"some of {', '.join(choices)}, separated by commas")
        return ",".join(names)

    return check


def names(most: int, *reserved: str) -> Callable[[str], str]:
    """A check for up to `most` names of sets, separated by commas. The value is the same list without spaces."""

    def check(text: str) -> str:
        found = [name.strip() for name in text.split(",") if name.strip()]
        is_plain = all(re.fullmatch(r"[\w.+-]{1,100}", name) and name.strip(".") for name in found)
        if not is_plain or len(found) > len(set(found)) or len(found) > most or set(found) & set(reserved):
            raise ValueError(
                f"up to {most} names, separated by commas, of letters, digits and -_.+, each once, none of them "
                f"{', '.join(reserved)}"
            )
        return ",".join(found)

    return check


def switch(text: str) -> bool:
    """On or off."""
    if text.lower() not in TRUE + FALSE:
        raise ValueError("1 or 0")
    return text.lower() in TRUE


def precision(text: str) -> str:
    """Off, or a type of 16 bits. On alone is float16, as it was in DeepSpeech 0.9."""
    if text in HALVES:
        return text
    if text.lower() not in TRUE + FALSE:
        raise ValueError(f"0, 1, {' or '.join(HALVES)}")
    return FLOAT16 if text.lower() in TRUE else OFF


def path(text: str) -> Path:
    """A path, made absolute."""
    return Path(os.path.expanduser(text)).absolute()  # noqa: PTH111 - Path's raises for a user that does not exist


def unless_empty(check: Callable[[str], Value], unset: Value) -> Callable[[str], Value]:
    """The same check, except that empty text means `unset`."""
    return lambda text: check(text) if text else unset
