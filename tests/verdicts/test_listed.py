"""Verdicts that are parsed as they are looked at are what they are when all are parsed at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepspeech_wer.verdicts import listed
from deepspeech_wer.verdicts.listed import LinesOfFile, Listed

ALL = [{"sha": f"{number:040x}", "reason": 'a, "b"],[ \u2028', "p": number / 7} for number in range(25)]
LINES = [json.dumps(one, separators=(",", ":")).encode() for one in ALL]


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listed, "_TOGETHER", 10)


@pytest.mark.parametrize("is_in_file", [False, True])
@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 20, 25])
def test_they_are_the_same(count: int, is_in_file: bool, tmp_path: Path) -> None:
    path = tmp_path / "verdicts"
    path.write_bytes(b"head" + b",\n".join(LINES[:count]) + b"tail")
    found = Listed(LinesOfFile(path, 4, map(len, LINES[:count])) if is_in_file else LINES[:count])
    assert (len(found), list(found), list(reversed(found))) == (count, ALL[:count], ALL[:count][::-1])
    assert [found[place] for place in range(-count, count)] == ALL[:count] * 2
    assert (found[3:-2], found[::-4], bool(found)) == (ALL[:count][3:-2], ALL[:count][::-4], count > 0)


def test_lines_of_a_file_that_is_gone_raise(tmp_path: Path) -> None:
    found = LinesOfFile(tmp_path / "gone", 0, map(len, LINES))
    assert len(found) == len(LINES)
    with pytest.raises(OSError, match="gone"):
        _ = found[3]


def test_only_those_that_are_looked_at_are_parsed() -> None:
    found = Listed([*LINES[:24], b'{"sha":'])
    assert found[23] == ALL[23]
    with pytest.raises(ValueError, match="Expecting"):
        list(found)
    with pytest.raises(IndexError):
        _ = found[25]
