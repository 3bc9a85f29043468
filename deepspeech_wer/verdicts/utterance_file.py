"""utterances.json: what was said in each recording of the test sets, and what the model heard.

    {"version": 1, "set": "test", "columns": ["id", "speaker", "seconds", "reference", "hypothesis"], "rows": [...]}

The job writes it, so nothing in it is trusted. Columns are found by their name; `speaker`, `seconds` and `set` may be
absent. A row that is odd in one place is kept as far as it can be used, and a row without an id or a reference is left
out. Both are counted and the first ones named.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer.errors import Trouble

VERSION = 1
MAX_BYTES = 256 << 20  # as much as the archive keeps
MAX_LISTS, MAX_VALUES = 1_000_000, 5_000_000  # of a file: a few bytes of JSON can take hundreds in memory
MAX_SETS = 50
NEEDED = ("id", "reference", "hypothesis")
_MOST_NAMED = 3


class Utterance(NamedTuple):
    """One recording. The texts are as the job wrote them."""

    id: str  # unique within its set
    speaker: str | None  # None if unknown
    seconds: float | None
    reference: str
    hypothesis: str | None  # None if the job gave none, which is scored as empty


class Utterances(NamedTuple):
    """The usable part of a file, and what was wrong with the rest."""

    sets: Mapping[str, Sequence[Utterance]]  # name -> in the order of the file; not empty
    left_out: int = 0  # rows that could not be used
    odd: int = 0  # rows used without a cell that could not be, or under another id
    named: tuple[str, ...] = ()  # the first faults: "row 7: ..."

    @property
    def remark(self) -> str | None:
        """One line about rows left out or odd; None if there are none."""
        if not self.left_out + self.odd:
            return None
        counted = f"{self.left_out} rows left out, {self.odd} odd"
        return f"{counted}: {'; '.join(self.named)}"


def read(path: Path) -> Utterances | None:
    """Read a run's utterances.json; None if there is none. Raises Trouble if it cannot be read or used."""
    try:
        with open(path, "rb", opener=_open) as stream:
            status = os.fstat(stream.fileno())
            usable = stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES
            data = stream.read(MAX_BYTES) if usable else None
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Trouble(f"{path}: cannot be read: {error.strerror}") from None
    if data is None:
        raise Trouble(f"{path}: expected a regular file of at most {MAX_BYTES} bytes, found {status.st_size} bytes")
    try:
        return parse(data)
    except Trouble as trouble:
        raise Trouble(f"{path}: {trouble}: mend the job that writes it") from None


def _open(path: str, flags: int) -> int:
    """Open without following a link or waiting for a pipe: a job could have made either."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def parse(data: bytes) -> Utterances:
    """Return the utterances in the text of a file. Raises Trouble, one line without the file's name."""
    rows, columns, name = _table(data)
    reader = _Reader(columns, name)
    for number, row in enumerate(rows, 1):
        reader.add(number, row)
        rows[number - 1] = None  # a hundred thousand rows take as much memory as all the rest
    if not reader.sets:
        found = "; ".join(reader.named) if rows else "no rows"
        raise Trouble(f"expected utterances, found none in {len(rows)} rows: {found}")
    return Utterances(reader.sets, reader.left_out, reader.odd, tuple(reader.named))


def digest(sets: Mapping[str, Iterable[Utterance]]) -> str:
    """Return a SHA-256 of what was heard, whatever the order of sets and rows: if it is equal, so are the results."""
    return _sha256([name, one.id, one.hypothesis] for name in sorted(sets) for one in in_order(sets[name]))


def reference_digest(utterances: Iterable[Utterance]) -> str:
    """Return a SHA-256 of a test set: its ids and references, whatever their order."""
    return _sha256([one.id, one.reference] for one in in_order(utterances))


def in_order(utterances: Iterable[Utterance]) -> list[Utterance]:
    """Sort by id: the order in which runs are compared."""
    return sorted(utterances, key=lambda one: one.id)


def _sha256(rows: Iterator[list[str | None]] | Iterable[list[str | None]]) -> str:
    hashed = hashlib.sha256()
    encode = json.JSONEncoder().encode  # a frame that no text can break out of
    for row in rows:
        hashed.update(encode(row).encode() + b"\n")
    return hashed.hexdigest()


def _table(data: bytes) -> tuple[list[Any], list[str], str]:
    """Return the rows, the names of their columns, and the name of the test set."""
    record = _decode(data)
    if not isinstance(record, dict):
        raise Trouble("expected a JSON object with columns and rows")
    version, columns, rows, name = (record.get(key) for key in ("version", "columns", "rows", "set"))
    if version not in (None, VERSION):
        raise Trouble(f"expected version {VERSION}, found {_quote(version)}")
    if not isinstance(columns, list) or not all(isinstance(one, str) for one in columns):
        raise Trouble(f"columns: expected a list of names, found {_quote(columns)}")
    missing = [one for one in NEEDED if columns.count(one) != 1]
    if missing or len(set(columns)) != len(columns):
        raise Trouble(f"columns: expected {', '.join(NEEDED)} once each, found {_quote(', '.join(columns))}")
    if not isinstance(rows, list):
        raise Trouble(f"rows: expected a list, found {_quote(rows)}")
    if name is not None and not _is_name(name):
        raise Trouble(f"set: expected the test set's name, found {_quote(name)}")
    return rows, columns, _valid(name) if name else "test"


def _decode(data: bytes) -> Any:
    lists, values = data.count(b"[") + data.count(b"{"), data.count(b",")
    if lists > MAX_LISTS or values > MAX_VALUES:
        most = f"at most {MAX_LISTS} lists and {MAX_VALUES} values"
        raise Trouble(f"expected {most}, found {lists} and {values}: write the test set's alone")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Trouble(f"not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}") from None
    except json.JSONDecodeError as error:
        raise Trouble(f"not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    except RecursionError:
        raise Trouble("nested too deeply") from None
    except ValueError:  # sys.set_int_max_str_digits
        raise Trouble("a number has too many digits") from None


class _Reader:
    """Collects rows into sets and counts what is wrong with them."""

    def __init__(self, columns: list[str], name: str) -> None:
        self.sets: dict[str, list[Utterance]] = {}
        self.left_out = self.odd = 0
        self.named: list[str] = []
        self._width, self._name = len(columns), name
        self._place = {column: place for place, column in enumerate(columns)}
        self._ids: dict[str, set[str]] = {}
        self._repeats: dict[str, int] = {}
        self._speakers: dict[str, str] = {}  # one object for each name

    def add(self, number: int, row: Any) -> None:
        faults: list[str] = []
        if isinstance(row, list):
            if len(row) != self._width:
                faults.append(f"expected {self._width} cells, found {len(row)}")
                row = [*row, *[None] * self._width]
            usable = self._utterance(row, faults)
        else:
            faults.append(f"expected a list, found {_quote(row)}")
            usable = False
        self.left_out += not usable
        self.odd += usable and bool(faults)
        if faults and len(self.named) < _MOST_NAMED:
            self.named.append(f"row {number}: {faults[0]}")

    def _utterance(self, row: list[Any], faults: list[str]) -> bool:
        """Add one utterance. Returns False if the row cannot be used; adds its faults in any case."""
        name, key, reference = self._set_of(row), self._key_of(row), row[self._place["reference"]]
        if name is None or key is None or not isinstance(reference, str):
            expected = "a test set's name" if name is None else "an id" if key is None else "a reference"
            column = "set" if name is None else "id" if key is None else "reference"
            faults.insert(0, f"expected {expected}, found {_quote(row[self._place[column]])}")
            return False
        hypothesis = row[self._place["hypothesis"]]
        if not isinstance(hypothesis, str | None):
            faults.append(f"hypothesis: expected text or null, found {_quote(hypothesis)}")
            hypothesis = None
        speaker, seconds = self._speaker_of(row, faults), self._seconds_of(row, faults)
        if name not in self.sets and len(self.sets) == MAX_SETS:
            faults.insert(0, f"expected at most {MAX_SETS} test sets, found {_quote(name)}")
            return False
        ids = self._ids.setdefault(name, set())
        if key in ids:
            faults.append(f"the id {_quote(key)} occurs again")
            key = self._unused(key, ids)
        ids.add(key)
        heard = None if hypothesis is None else _valid(hypothesis)
        self.sets.setdefault(name, []).append(Utterance(key, speaker, seconds, _valid(reference), heard))
        return True

    def _unused(self, key: str, ids: set[str]) -> str:
        """Return another id. Utterances of one id are told apart by their order, which the runs of one job share."""
        other = key
        while other in ids:
            self._repeats[key] = self._repeats.get(key, 1) + 1
            other = f"{key} ({self._repeats[key]})"
        return other

    def _set_of(self, row: list[Any]) -> str | None:
        value = row[self._place["set"]] if "set" in self._place else self._name
        value = self._name if value is None else value
        return _valid(value) if _is_name(value) else None

    def _key_of(self, row: list[Any]) -> str | None:
        value = row[self._place["id"]]
        if type(value) is int:
            return str(value)
        return _valid(value) if isinstance(value, str) and value else None

    def _speaker_of(self, row: list[Any], faults: list[str]) -> str | None:
        value = row[self._place["speaker"]] if "speaker" in self._place else None
        if type(value) is int:
            value = str(value)
        if not isinstance(value, str | None):
            faults.append(f"speaker: expected a name or null, found {_quote(value)}")
            return None
        return self._speakers.setdefault(value, _valid(value)) if value else None

    def _seconds_of(self, row: list[Any], faults: list[str]) -> float | None:
        value = row[self._place["seconds"]] if "seconds" in self._place else None
        if value is None:
            return None
        if type(value) not in (int, float) or not 0 <= value <= 1e9 or math.isnan(value):
            faults.append(f"seconds: expected a length or null, found {_quote(value)}")
            return None
        return float(value)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 200


def _valid(text: str) -> str:
    """Return text that can be encoded: JSON may hold half a surrogate pair."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _quote(value: Any) -> str:
    """Format any value of the file as a few words."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = json.dumps(value[:60] if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
