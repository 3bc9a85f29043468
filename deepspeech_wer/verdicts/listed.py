"""The verdicts as verdicts.json lists them, a line each, which are parsed when they are looked at.

Ten thousand of them take 13 MB as dictionaries, and longer to parse than to judge.
"""

from __future__ import annotations

import json
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple, overload

from deepspeech_wer.files import open_file

_TOGETHER = 100  # lines that are parsed at once
_BETWEEN = b",\n"


class Heads(NamedTuple):
    """Commit and state of each verdict, in the order of history."""

    shas: list[str]
    states: list[str]


def heads(verdicts: Iterable[Mapping[str, Any]]) -> Heads:
    """Return the commits and states of verdicts."""
    found = Heads([], [])
    for verdict in verdicts:
        found.shas.append(verdict["sha"])
        found.states.append(sys.intern(verdict["verdict"]))
    return found


class Listed(Sequence[dict[str, Any]]):
    """Verdicts, in the order of history. Each look at one makes it anew: nobody should change it."""

    def __init__(self, lines: Sequence[bytes]) -> None:
        """`lines` are JSON, without the commas between them. Damaged ones raise ValueError when they are looked at."""
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for start in range(0, len(self._lines), _TOGETHER):
            yield from _parsed(self._lines[start : start + _TOGETHER])

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, place: slice) -> list[dict[str, Any]]: ...

    def __getitem__(self, place: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return _parsed(self._lines[place]) if isinstance(place, slice) else _parsed([self._lines[place]])[0]


class LinesOfFile(Sequence[bytes]):
    """Lines of a file, with a comma and a line break between them. They are read when they are looked at."""

    def __init__(self, path: Path, start: int, sizes: Iterable[int]) -> None:
        """`start` is where the first line begins; `sizes` are those of the lines, in bytes."""
        self._path, self._start = path, start
        self._ends = array("q", accumulate(size + len(_BETWEEN) for size in sizes))

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, place: int) -> bytes: ...

    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...

    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        """Raises OSError if the file is gone."""
        if not isinstance(place, slice):
            at = range(len(self))[place]
            return self[at : at + 1][0]
        start, stop, step = place.indices(len(self))
        if step != 1:
            return [self[at] for at in range(start, stop, step)]
        if start >= stop:
            return []
        begin = self._ends[start - 1] if start else 0
        with open_file(self._path) as stream:
            stream.seek(self._start + begin)
            return stream.read(self._ends[stop - 1] - len(_BETWEEN) - begin).split(_BETWEEN)


def pieces(lines: Sequence[bytes]) -> Iterator[bytes]:
    """Yield the text of lines with a comma and a line break between them; as a whole, it would be in memory twice."""
    for start in range(0, len(lines), _TOGETHER):
        yield (_BETWEEN if start else b"") + _BETWEEN.join(lines[start : start + _TOGETHER])


def _parsed(lines: Sequence[bytes]) -> list[dict[str, Any]]:
    return list(json.loads(b"[%s]" % b",".join(lines)))
