"""Rows of a CSV table. What csv would lose silently is left out, such as the rest of a transcript after a comma."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePath

from ..errors import Trouble
from .corpus import Misshapen

Row = dict[str, str]
NO_TEXT = re.compile("[\udc80-\udcff]")  # what surrogateescape makes of bytes that are not UTF-8
MOST_LINES = 50  # of one row: a quote that is open for longer was never closed


def read_rows(table: Path, required: Sequence[str]) -> Iterator[tuple[int, Row] | Misshapen]:
    """Yield (number of its first line, row) for each row of a UTF-8 table with a header.

    Blanks after commas are skipped if the header has some. A row of another shape is yielded as Misshapen. Raises
    Trouble for a file that cannot be read, and for a missing or duplicate column.
    """
    try:
        # Bytes that are not UTF-8 spoil their row alone.
        with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
            records = _records(stream)
            _, names = next(records, (1, []))
            if isinstance(names, str) or not all(name.isprintable() for name in names):
                raise Trouble(f"{table}: cannot be read as a UTF-8 CSV table: its header is {names!r}")
            _check(table, names, required)
            before = ""  # first field of the row before
            for line, fields in records:
                if isinstance(fields, str):
                    yield Misshapen(f"{table}:{line}", f"cannot be read as a CSV row: {fields}")
                elif len(fields) == 1 < len(names) and not fields[0].strip():
                    continue  # blanks: an editor left them, and no transcript lacks them
                elif len(fields) != len(names):
                    yield Misshapen(
                        f"{table}:{line}",
                        f"{len(fields)} fields, {len(names)} in the header: quote a transcript that contains a comma",
                        continues=len(fields) < len(names)
                        and names[-1] == required[-1]
                        and not _alike(fields[0], before),
                    )
                elif NO_TEXT.search("".join(fields)):
                    yield Misshapen(f"{table}:{line}", "expected UTF-8")
                else:
                    before = fields[0]
                    yield line, dict(zip(names, fields, strict=True))
    except OSError as error:
        raise Trouble(f"{table}: cannot be read as a UTF-8 CSV table: {error}") from error


def _records(lines: Iterator[str]) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (number of its first line, fields or what is wrong) for each row that is not empty, the header first.

    After a faulty row the next line begins a new one: a quote that is never closed does not swallow the rows after it.
    """
    waiting: deque[str] = deque()
    number = 0
    fields_of: Callable[[Sequence[str]], list[str] | str | None] = _fields

    def next_line() -> str | None:
        return waiting.popleft() if waiting else next(lines, None)

    while (line := next_line()) is not None:
        number += 1
        parts = [line]
        while (fields := fields_of(parts)) is None and len(parts) < MOST_LINES and (more := next_line()) is not None:
            parts.append(more)
        if isinstance(fields, list):
            if number == 1 and any(field[:1] == " " for field in fields[1:]):
                fields_of = partial(_fields, skip_blanks=True)
                fields = fields_of(parts)
            if fields:
                yield number, fields
            number += len(parts) - 1
        else:
            yield number, fields or "a quote is never closed"
            waiting.extendleft(reversed(parts[1:]))


def _fields(lines: Sequence[str], *, skip_blanks: bool = False) -> list[str] | str | None:
    """Return the fields of a row, or what is wrong with it; None: a quote is still open at the end of its lines."""
    try:
        rows = list(csv.reader(lines, strict=True, skipinitialspace=skip_blanks))
    except csv.Error as error:
        return None if "unexpected end of data" in str(error) else str(error)
    return rows[0] if len(rows) == 1 else "its lines are several rows"


def _alike(one: str, other: str) -> bool:
    """Whether two fields may be of one column: names of files of the same kind, for example."""
    return PurePath(one).suffix.lower() == PurePath(other).suffix.lower() != ""


def _check(table: Path, names: Sequence[str], required: Sequence[str]) -> None:
    missing = [column for column in required if column not in names]
    if missing:
        raise Trouble(f"{table}: no column {', '.join(missing)}: expected {','.join(required)}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise Trouble(f"{table}: column {', '.join(twice)} occurs twice: expected it once")
