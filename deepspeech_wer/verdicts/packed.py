"""States of a judgement as JSON, and back. Only the records named here are ever made from it."""

from __future__ import annotations

from collections import deque
from dataclasses import fields, is_dataclass
from typing import Any

from deepspeech_wer.verdicts.findings import Gap, Mark
from deepspeech_wer.verdicts.judge import Progress
from deepspeech_wer.verdicts.levels import Comparison, Group, Side, Step, Suspicion
from deepspeech_wer.verdicts.noise import Estimate
from deepspeech_wer.verdicts.series import Draw, Entry, Split
from deepspeech_wer.verdicts.walk import Walk
from deepspeech_wer.verdicts.window import DIFFERENCES, Window

RECORDS: tuple[type, ...] = (
    Comparison,
    Draw,
    Entry,
    Estimate,
    Gap,
    Group,
    Mark,
    Progress,
    Side,
    Split,
    Step,
    Suspicion,
    Walk,
    Window,
)
LEFT_OUT = {
    Walk: {"rules", "accepted", "source", "pending", "is_at_end", "earlier"},
    Window: {"_view"},
}  # the terms, and what follows


def _names(record: Any) -> list[str]:
    names = [field.name for field in fields(record)] if is_dataclass(record) else record._fields
    return [name for name in names if name not in LEFT_OUT.get(record, ())]


_NAMES = {record: _names(record) for record in RECORDS}
_RECORD = {record.__name__: record for record in RECORDS}


def pack(value: Any) -> Any:
    """Return a state as JSON holds it: scalars as they are, all else as a list that begins with its kind."""
    kind = type(value)
    if value is None or kind in (str, int, float, bool):
        return value
    if kind in _NAMES:
        return [kind.__name__, *(pack(getattr(value, name)) for name in _NAMES[kind])]
    if kind is dict:
        return ["dict", *([pack(key), pack(one)] for key, one in value.items())]
    if kind in (list, tuple, deque):
        return [kind.__name__, *map(pack, value)]
    if kind is set:
        return ["set", *map(pack, sorted(value))]
    raise TypeError(f"{kind.__name__} is not part of a state")


def unpack(value: Any) -> Any:
    """Return the state. Raises TypeError, ValueError or LookupError if the value is none."""
    if not isinstance(value, list):
        return value
    kind, *parts = value
    if kind in _RECORD:
        record = _RECORD[kind]
        return record(**dict(zip(_NAMES[record], map(unpack, parts), strict=True)))
    if kind == "dict":
        return {unpack(key): unpack(one) for key, one in parts}
    made = map(unpack, parts)
    if kind == "deque":
        return deque(made, maxlen=DIFFERENCES)
    return {"list": list, "tuple": tuple, "set": set}[kind](made)
