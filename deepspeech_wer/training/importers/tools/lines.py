"""Lines of a table, which end with a line feed, or with a carriage return that a row follows.

str.splitlines also ends them at characters that may stand in a transcript, and would cut it in silence.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from ....errors import Trouble
from ....files import open_file
from ...csv_rows import END_OF_FILE, MARK, refuse_utf_16


def numbered_lines(table: Path, row_end: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) of each line that is not empty; csv_rows.NO_TEXT finds bytes that are not UTF-8.

    `row_end` matches a carriage return between two rows, which would be one transcript without it. Any other one is
    white space of a transcript.
    Raises Trouble for a file that cannot be read, for UTF-16 or UTF-32, and for the line ends of old Macintoshes.
    """
    try:
        with open_file(table, sys.maxsize) as stream:
            refuse_utf_16(table, stream.read(4))
            stream.seek(0)
            for number, raw in enumerate(stream, 1):
                line = raw.decode("utf-8", "surrogateescape").removesuffix("\n").removesuffix("\r")
                if number == 1 and "\r" in line and not raw.endswith(b"\n"):
                    mend = f"sed 's/\\r/\\n/g' {table.name} >NEW"
                    raise Trouble(f"{table}: its lines end with carriage returns: expected line feeds: {mend}")
                for row in re.split(row_end, line):
                    unmarked = row.removeprefix(MARK)
                    if unmarked.replace(END_OF_FILE, "").strip():
                        yield number, unmarked
    except OSError as error:
        raise Trouble(f"{table}: cannot be read: {error.strerror}") from error
