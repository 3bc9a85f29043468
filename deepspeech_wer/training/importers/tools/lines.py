"""Lines of a table, which end with a line feed and with nothing else.

str.splitlines also ends them at characters that may stand in a transcript, and would cut it in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ....errors import Trouble
from ...csv_rows import END_OF_FILE


def numbered_lines(table: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) of each line that is not empty. Bytes that are not UTF-8 become U+FFFD.

    Raises Trouble for a file that cannot be read.
    """
    try:
        with table.open("rb") as stream:
            for number, raw in enumerate(stream, 1):
                line = raw.decode("utf-8", "replace").removesuffix("\n").removesuffix("\r")
                if number == 1:
                    line = line.removeprefix("\ufeff")  # a byte order mark, which some editors write
                if line.replace(END_OF_FILE, "").strip():
                    yield number, line
    except OSError as error:
        raise Trouble(f"{table}: cannot be read: {error.strerror}") from error
