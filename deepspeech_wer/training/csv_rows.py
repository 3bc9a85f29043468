"""Rows of a CSV table. What csv would lose silently is refused, such as the rest of a transcript after a comma."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import Trouble

Row = dict[str, str | None]  # None where a row has fewer fields than the header


def read_rows(table: Path, required: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Yield (number of its last line, row) for each row of a UTF-8 table with a header.

    Raises Trouble for a file that cannot be read, a missing or duplicate column, and a row with more fields than the
    header.
    """
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)  # else an unclosed quote swallows all rows after it
            names = reader.fieldnames or ()
            _check(table, names, required)
            for row in reader:
                more = row.pop(None, None)
                if more:
                    raise Trouble(
                        f"{table}:{reader.line_num}: {len(names) + len(more)} fields, {len(names)} in the header: "
                        "quote a transcript that contains a comma"
                    )
                yield reader.line_num, row
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Trouble(f"{table}: cannot be read as a UTF-8 CSV table: {error}") from error


def _check(table: Path, names: Sequence[str], required: Sequence[str]) -> None:
    missing = [column for column in required if column not in names]
    if missing:
        raise Trouble(f"{table}: no column {', '.join(missing)}: expected {','.join(required)}")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise Trouble(f"{table}: column {', '.join(twice)} occurs twice: expected it once")
