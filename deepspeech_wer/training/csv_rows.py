"""Rows of a CSV table. What csv would lose silently is left out, such as the rest of a transcript after a comma."""

from __future__ import annotations

import csv
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path, PurePath
from typing import NamedTuple

from ..errors import Trouble
from ..files import open_file
from .corpus import Misshapen

Row = dict[str, str]
# surrogateescape makes the middle ones of bytes that are not UTF-8, and other programs the last one
NO_TEXT = re.compile("[\0\udc80-\udcff\ufffd]")
NO_UTF_8 = "holds bytes that are not UTF-8, or what somebody's program made of them: expected UTF-8"
FOUND = 200  # characters of a wrong header that are told
MOST_OF_HEADER = 1 << 20  # characters; a file without a line end is none
MOST_LINES = 50  # of one row: a quote that is open for longer was never closed
END_OF_FILE = "\x1a"  # DOS wrote it
MARK = "\ufeff"  # of the byte order, which some editors write: inside a table that several were joined to, too
RECORDINGS = {".aif", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".raw", ".sph", ".wav", ".webm"}


class Faulty(NamedTuple):
    """What csv cannot read."""

    why: str
    line: str  # the first
    delimiter: str

    def pieces(self) -> list[str]:
        return [piece.strip('" \r\n') for piece in self.line.split(self.delimiter)]


def read_rows(table: Path, required: Sequence[str], named: str | None = None) -> Iterator[tuple[int, Row] | Misshapen]:
    """Yield (number of its first line, row) for each row of a UTF-8 table with a header.

    The columns required are those of the recording's name, if it has one, and of its transcript. `named` is that of the
    name if the table need not have it. Columns may be in capitals, and stand between semicolons or tabs. Blanks after
    commas are skipped if the header has some. A row of another shape is yielded as Misshapen. Raises Trouble for a file
    that cannot be read, and for a missing or duplicate column.
    """
    try:
        # Bytes that are not UTF-8 spoil their row alone.
        with TextIOWrapper(open_file(table, sys.maxsize), "utf-8-sig", "surrogateescape", "") as stream:
            refuse_utf_16(table, bytes(stream.buffer.read(4)))
            stream.seek(0)
            first = stream.readline(MOST_OF_HEADER)
            if len(first) == MOST_OF_HEADER:
                raise Trouble(
                    f"{table}: expected a header in its first line, found none in {MOST_OF_HEADER} characters"
                )
            delimiter = _delimiter(first.removeprefix(MARK), required)
            stream.seek(0)
            records = _records((line.removeprefix(MARK) for line in stream), delimiter)
            _, header = next(records, (1, []))
            if isinstance(header, Faulty) or not all(name.isprintable() for name in map(str.strip, header)):
                raise Trouble(f"{table}: cannot be read as a UTF-8 CSV table: its header is {first[:FOUND]!r}")
            names = _plain(header)
            _check(table, names, required)
            required = (named, *required) if named in names else required
            name = names.index(required[0]) if len(required) > 1 else 0
            before = ""  # name of the recording in the row before
            blanks: list[Misshapen] = []  # rows of nothing: at the end of a table a spreadsheet leaves some
            for line, fields in records:
                pieces = fields.pieces() if isinstance(fields, Faulty) else fields
                if len(names) > 1 and not "".join(pieces).replace(END_OF_FILE, "").strip():
                    if len(pieces) > 1:
                        blanks.append(Misshapen(f"{table}:{line}", "a row of nothing"))
                    continue  # an editor left a line of blanks, and no transcript lacks it
                yield from blanks
                blanks.clear()
                if fields == header:
                    yield Misshapen(f"{table}:{line}", "the header once more: expected it once, at the top")
                elif why := _fault(fields, len(names), delimiter):
                    is_part = not names_recording(pieces, before)
                    yield misshapen(f"{table}:{line}", why, names, required, is_part=is_part)
                else:
                    before = pieces[name]
                    yield line, dict(zip(names, pieces, strict=True))
    except OSError as error:
        raise Trouble(f"{table}: cannot be read as a UTF-8 CSV table: {error}") from error


def misshapen(where: str, why: str, names: Sequence[str], required: Sequence[str], *, is_part: bool) -> Misshapen:
    """Return the Misshapen of a row; `is_part`: of a transcript that a line break has cut.

    The other part may have all its columns, and looks whole: it is the one with the recording's name. If no column
    names recordings, nothing tells such a part from a row that lacks columns, but that the transcript is the last one.
    """
    text = names.index(required[-1])
    if len(required) == 1:
        return Misshapen(where, why, continues=is_part and 0 < text == len(names) - 1)
    name_follows = names.index(required[0]) > text
    return Misshapen(where, why, continues=is_part and not name_follows, begins=is_part and name_follows)


def without_recording(where: str, why: str, fields: Row, required: Sequence[str]) -> Misshapen:
    """Return the Misshapen of a row that names none: perhaps a part of a transcript with the commas of a row."""
    is_row = fields.get("wav_filesize", "").strip().isdecimal() or not any(fields.values())
    return misshapen(where, why, list(fields), required, is_part=not is_row)


def names_recording(fields: Iterable[str], another: str = "") -> bool:
    """Whether a field looks like the name of a recording, by its suffix: a usual one, or that of `another` name."""
    suffixes = RECORDINGS | {PurePath(another).suffix.lower()} - {""}
    return any(PurePath(field).suffix.lower() in suffixes for field in fields)


def _fault(fields: list[str] | Faulty, columns: int, delimiter: str) -> str | None:
    if isinstance(fields, Faulty):
        return f"cannot be read as a CSV row: {fields.why}"
    if len(fields) != columns:
        mark = "a comma" if delimiter == "," else repr(delimiter)
        return f"{len(fields)} fields, {columns} in the header: quote a transcript that contains {mark}"
    return NO_UTF_8 if NO_TEXT.search("".join(fields)) else None


def refuse_utf_16(table: Path, head: bytes) -> None:
    """Raise Trouble if the first four bytes of a table, which begins with ASCII, are those of UTF-16 or UTF-32."""
    marked = head.startswith((b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff"))
    if marked or 0 in head[:2]:
        order = "" if marked else "LE" if head[0] else "BE"
        kind = f"UTF-{32 if bytes(2) in head else 16}{order}"
        raise Trouble(
            f"{table}: is {kind}: expected UTF-8: convert it with: iconv -f {kind} -t UTF-8 {table.name} >NEW"
        )


def _delimiter(header: str, required: Sequence[str]) -> str:
    """Return what stands between the columns: the comma, unless another sign makes the columns that are required."""
    for delimiter in ",;\t":
        names = _fields([header], delimiter)
        if isinstance(names, list) and set(required) <= set(_plain(names)):
            return delimiter
    return ","


def _plain(names: Sequence[str]) -> list[str]:
    """Return the names of columns in small letters, where that makes none of another."""
    small = [name.strip().lower() for name in names]
    return [low if small.count(low) == 1 else name for low, name in zip(small, names, strict=True)]


def _records(lines: Iterator[str], delimiter: str) -> Iterator[tuple[int, list[str] | Faulty]]:
    """Yield (number of its first line, fields or what is wrong) for each row that is not empty, the header first.

    After a faulty row the next line begins a new one: a quote that is never closed does not swallow the rows after it.
    """
    waiting: deque[str] = deque()
    number = 0
    fields_of: Callable[[Sequence[str]], list[str] | str | None] = partial(_fields, delimiter=delimiter)

    def next_line() -> str | None:
        return waiting.popleft() if waiting else next(lines, None)

    def is_row(line: str) -> bool:
        alone = fields_of([line])
        return isinstance(alone, list) and len(alone) > 1 and names_recording(alone)

    while (line := next_line()) is not None:
        number += 1
        parts = [line]
        while (fields := fields_of(parts)) is None and len(parts) < MOST_LINES and (more := next_line()) is not None:
            parts.append(more)
        if isinstance(fields, list) and any(is_row(line) for field in fields for line in field.split("\n")[1:]):
            fields = None  # a table that quotes nothing: the quote of another row closed it
        if number == 1 and isinstance(fields, list) and any(field[:1] == " " for field in fields[1:]):
            fields_of = partial(_fields, delimiter=delimiter, skip_blanks=True)
            fields = fields_of(parts)
        if isinstance(fields, list):
            if fields:
                yield number, fields
            number += len(parts) - 1
        else:
            yield number, Faulty(fields or "a quote is never closed", line, delimiter)
            waiting.extendleft(reversed(parts[1:]))


def _fields(lines: Sequence[str], delimiter: str, *, skip_blanks: bool = False) -> list[str] | str | None:
    """Return the fields of a row, or what is wrong with it; None: a quote is still open at the end of its lines."""
    try:
        rows = list(csv.reader(lines, strict=True, delimiter=delimiter, skipinitialspace=skip_blanks))
    except csv.Error as error:
        return None if "unexpected end of data" in str(error) else str(error)
    return rows[0] if len(rows) == 1 else "its lines are several rows"


def _check(table: Path, names: Sequence[str], required: Sequence[str]) -> None:
    missing = [column for column in required if column not in names]
    if missing:
        expected = f"expected {','.join(required)}, found {','.join(names)[:FOUND] or 'no header'}"
        raise Trouble(f"{table}: no column {', '.join(missing)}: {expected}")
    twice = sorted({name for name in names if name and list(names).count(name) > 1})
    if twice:
        raise Trouble(f"{table}: column {', '.join(twice)} occurs twice: expected it once")
