"""Reads and checks hyper.json, the record of one training that a job writes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

from deepspeech_wer.errors import Trouble

Scalar = str | int | float | bool | None

MAX_BYTES = 10_000_000  # records of 2016 take 1 kB
MAX_DEPTH = 32
MAX_COUNT = 10**9  # words of a test set
MAX_NAME = 100  # characters of the name of one
MAX_WER = 10**6  # a larger one is no rate, and its percentage may fit no double
DOUBTFUL = 2  # a WER above this is more likely a percentage
WERS = ("test_wer", "last_validation_wer", "last_train_wer")


class HyperError(Trouble):
    """An invalid hyper.json. The caller adds the file's name to the message."""


def parse(text: bytes) -> dict[str, Any]:
    """Parse and check hyper.json. The record keeps unknown keys. Raises HyperError with a one-line message.

    What is optional is filled in, as {} or null: the page of 2017 expects it in every record.
    """
    record = _decode(text)
    _check_depth(record)
    if not isinstance(record, dict):
        raise HyperError(f"expected a JSON object, found {_kind(record)}")
    for key in ("context", "results"):
        _require_object(record, key)
    _require_object({"parameters": {}, **record}, "parameters")
    _check_wers(record["results"])
    time_started(record)
    record.setdefault("parameters", {})
    for name in WERS:
        record["results"].setdefault(name, None)
    return record


def time_started(hyper: dict[str, Any]) -> str:
    """Return context.time_started in UTC, in the format of 2016 without a zone: `2016-11-16T10:00:00.123456`.

    Raises HyperError if the time is missing or is not ISO 8601.
    """
    context = hyper["context"]
    if "time_started" not in context:
        raise HyperError("context.time_started is missing, expected an ISO 8601 time")
    return _utc(context["time_started"])


def wer(hyper: dict[str, Any], name: str) -> float | None:
    """Return one of WERS as a fraction of the reference words; None if not measured."""
    value = hyper["results"].get(name)
    return None if value is None else abs(float(value))  # -0.0 is 0


def test_wer(hyper: dict[str, Any] | None) -> float | None:
    """Return the test WER as a fraction; None if there is no record or it was not measured."""
    return None if hyper is None else wer(hyper, "test_wer")


def error_counts(hyper: dict[str, Any] | None) -> tuple[int, int] | None:
    """Return the (errors, reference words) of the test set; None where the job does not say, or says nonsense."""
    return _counts(hyper and hyper["results"].get("test_errors"))


class Figures(NamedTuple):
    """What a job says of one test set."""

    rate: float | None  # WER, as a fraction
    errors: int | None = None
    words: int | None = None  # of the references
    signature: Any = None  # test set, normaliser, decoder


def test_sets(hyper: dict[str, Any] | None) -> dict[str, Figures]:
    """Return the figures of the test sets beside the main one (`results.tests`), by name. What is odd is left out."""
    listed = hyper["results"].get("tests") if hyper else None
    if not isinstance(listed, dict):
        return {}
    return {name: figures for name, one in listed.items() if 0 < len(name) <= MAX_NAME and (figures := _figures(one))}


def _figures(told: Any) -> Figures | None:
    if not isinstance(told, dict):
        return None
    rate = told.get("wer", told.get("test_wer"))
    if not _is_wer(rate):
        return None
    errors, words = told.get("errors"), told.get("words")
    if not _is_count(errors) or not _is_count(words):
        errors, words = _counts(errors) or (None, None)
    return Figures(float(rate or 0), errors, words, told.get("signature"))


def _counts(told: Any) -> tuple[int, int] | None:
    if not isinstance(told, dict):
        return None
    found: list[Any] = [told.get(name) for name in ("substitutions", "deletions", "insertions", "words")]
    return (sum(found[:3]), found[3]) if all(map(_is_count, found)) else None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_COUNT


def shown(rate: float | None) -> str:
    """Format a fraction for people: "36.00 %", or "not measured"."""
    return "not measured" if rate is None else f"{100 * rate:.2f} %"


def flat_parameters(hyper: dict[str, Any]) -> dict[str, Scalar]:
    """Return the parameters as a flat record: nested names as `data_set.name`, lists as JSON text."""
    return flatten(hyper.get("parameters", {}))


def changed_parameters(before: dict[str, Any] | None, after: dict[str, Any] | None) -> list[str]:
    """Return "name old -> new" of each parameter that differs. Paths are left out: they differ by machine and run."""
    if before is None or after is None:
        return []
    old, new = flat_parameters(before), flat_parameters(after)
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    told = [(name, _value(old.get(name)), _value(new.get(name))) for name in names]
    return [f"{name} {was} -> {now}" for name, was, now in told if "/" not in was + now]


def _value(value: Scalar) -> str:
    return "unset" if value is None else str(value)[:40]


def flatten(record: dict[str, Any]) -> dict[str, Scalar]:
    """Flatten a nested record. The names of all levels are joined by dots, lists become JSON text."""
    return dict(_flatten(record, ""))


def _flatten(record: dict[str, Any], prefix: str) -> Iterator[tuple[str, Scalar]]:
    for name, value in record.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            yield prefix + name, json.dumps(value, ensure_ascii=False)
        else:
            yield prefix + name, value


def _decode(text: bytes) -> Any:
    if len(text) > MAX_BYTES:
        raise HyperError(f"too large: {len(text)} bytes, expected at most {MAX_BYTES}")
    try:
        # Windows editors prepend a byte order mark, which json.loads refuses; "utf-8-sig" drops it.
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise HyperError(f"not UTF-8: byte 0x{text[error.start]:02x} at offset {error.start}") from None
    if not decoded.strip():
        raise HyperError("empty, expected a JSON object")
    try:
        return json.loads(
            decoded, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_duplicates
        )
    except json.JSONDecodeError as error:
        raise HyperError(_explain(error)) from None
    except RecursionError:
        raise HyperError(f"nested too deeply, expected at most {MAX_DEPTH} levels") from None
    except ValueError:  # sys.set_int_max_str_digits
        raise HyperError("a number has too many digits, expected one that fits a double") from None


def _explain(error: json.JSONDecodeError) -> str:
    if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated string"):
        return f"truncated: it ends in the middle, after {len(error.doc)} characters"
    return f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}"


def _refuse_constant(name: str) -> NoReturn:
    raise HyperError(f"{name} is not JSON, expected a number or null")


def _finite(digits: str) -> float:
    value = float(digits)
    if abs(value) > sys.float_info.max:  # `1e999` is valid JSON, but Python reads it as infinity
        raise HyperError(f"{digits[:20]} is too large for a double, expected a finite number")
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise HyperError(f"the key {_quote(key)} occurs twice in one object")
        record[key] = value
    return record


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return
    raise HyperError(f"nested too deeply, expected at most {MAX_DEPTH} levels")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _require_object(record: dict[str, Any], key: str) -> None:
    if key not in record:
        raise HyperError(f"{key} is missing, expected an object")
    if not isinstance(record[key], dict):
        raise HyperError(f"{key}: expected an object, found {_kind(record[key])}")


def _check_wers(results: dict[str, Any]) -> None:
    if "test_wer" not in results:
        raise HyperError("results.test_wer is missing, expected a number, or null if not measured")
    for name in WERS:
        value = results.get(name)
        if value is not None and not _is_wer(value):
            raise HyperError(f"results.{name}: expected a number from 0 to {MAX_WER}, or null, found {_quote(value)}")


def _is_wer(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_WER  # bool is an int


def _utc(text: Any) -> str:
    expected = "expected an ISO 8601 time such as 2016-11-16T10:00:00"
    if not isinstance(text, str) or text[10:11] not in ("T", " "):
        raise HyperError(f"context.time_started: {expected}, found {_quote(text)}")
    try:
        time = datetime.fromisoformat(text)
        return (time.astimezone(UTC) if time.tzinfo else time).replace(tzinfo=None).isoformat()
    except (ValueError, OverflowError):
        raise HyperError(f"context.time_started: {expected}, found {_quote(text)}") from None


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _quote(value: Any) -> str:
    """Format any value from the file as one short line."""
    try:
        text = json.dumps(value)
    except ValueError:  # sys.set_int_max_str_digits
        text = "a huge number"
    return text if len(text) <= 60 else f"{text[:57]}..."
