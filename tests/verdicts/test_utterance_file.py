"""Reading utterances.json, whatever a job wrote into it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_wer import archive_store, job_contract
from deepspeech_wer.errors import Trouble
from deepspeech_wer.verdicts import utterance_file
from deepspeech_wer.verdicts.utterance_file import Utterance, digest, parse

COLUMNS = ["id", "speaker", "seconds", "reference", "hypothesis"]
GOOD = ["a", "ann", 1.5, "one two", "one"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def text(*rows: Any, **more: Any) -> bytes:
    return json.dumps({"version": 1, "set": "test", "columns": COLUMNS, "rows": rows, **more}).encode()


def test_columns_are_found_by_name() -> None:
    found = parse(text(["one", "x", "a", "spam"], columns=["hypothesis", "more", "id", "reference"]))

    assert found.sets == {"test": [Utterance("a", None, None, "spam", "one")]}
    assert found.remark is None


def test_a_column_tells_the_sets_apart() -> None:
    columns = ["set", "id", "reference", "hypothesis"]

    found = parse(text(["clean", "a", "x", "x"], ["other", "a", "y", "z"], [None, "b", "y", "z"], columns=columns))

    assert {name: [one.id for one in rows] for name, rows in found.sets.items()} == {
        "clean": ["a"],
        "other": ["a"],
        "test": ["b"],
    }


def test_a_missing_hypothesis_is_not_an_empty_one() -> None:
    found = parse(text(["a", None, None, "x", None], ["b", None, None, "x", ""]))

    assert [one.hypothesis for one in found.sets["test"]] == [None, ""]
    assert found.remark is None


@pytest.mark.parametrize(
    ("row", "named"),
    [
        (None, "row 2: expected a list, found null"),
        ({"id": "b"}, "row 2: expected a list, found an object"),
        ([], "row 2: expected an id, found null"),
        (["", "ann", 1, "x", "x"], 'row 2: expected an id, found ""'),
        ([True, "ann", 1, "x", "x"], "row 2: expected an id, found true"),
        (["b", "ann", 1, None, "x"], "row 2: expected a reference, found null"),
        (["b", "ann", 1, 7, "x"], "row 2: expected a reference, found 7"),
    ],
)
def test_an_unusable_row_is_left_out_and_named(row: Any, named: str) -> None:
    found = parse(text(GOOD, row))

    assert [one.id for one in found.sets["test"]] == ["a"]
    assert (found.left_out, found.odd) == (1, 0)
    assert found.remark == f"1 rows left out, 0 odd: {named}"


@pytest.mark.parametrize(
    ("row", "kept", "named"),
    [
        (["b", "ann", 1, "x", 7], Utterance("b", "ann", 1, "x", None), "hypothesis: expected text or null, found 7"),
        (["b", [1], 1, "x", "x"], Utterance("b", None, 1, "x", "x"), "speaker: expected a name or null, found a list"),
        (["b", "", -1, "x", "x"], Utterance("b", None, None, "x", "x"), "seconds: expected a length or null, found -1"),
        (["b", "ann", 1, "x"], Utterance("b", "ann", 1, "x", None), "expected 5 cells, found 4"),
        (["b", 3, 1, "x", "y", 9], Utterance("b", "3", 1, "x", "y"), "expected 5 cells, found 6"),
        (["a", "ann", 1, "x", "y"], Utterance("a (2)", "ann", 1, "x", "y"), 'the id "a" occurs again'),
        ([7, "ann", 1, "x", "y"], Utterance("7", "ann", 1, "x", "y"), None),
    ],
)
def test_an_odd_row_is_used_as_far_as_it_can_be(row: Any, kept: Utterance, named: str | None) -> None:
    found = parse(text(GOOD, row))

    assert found.sets["test"][1] == kept
    assert found.remark == (f"0 rows left out, 1 odd: row 2: {named}" if named else None)


def test_many_faults_make_one_short_line() -> None:
    found = parse(text(GOOD, *[["x" * 10_000, None, None, 5, "\n"]] * 1_000))

    assert found.left_out == 1_000
    assert len(found.remark or "") < 300
    assert "\n" not in (found.remark or "")


def test_repeated_ids_stay_apart_in_a_time_that_grows_with_their_number() -> None:
    found = parse(text(*[GOOD] * 20_000, ["a (2)", None, None, "x", "y"]))

    ids = [one.id for one in found.sets["test"]]
    assert len(set(ids)) == len(ids) == 20_001
    assert found.odd == 20_000


def test_there_is_a_limit_to_the_sets() -> None:
    rows = [[str(number), "a", "x", "x"] for number in range(1_000)]

    found = parse(text(*rows, columns=["set", "id", "reference", "hypothesis"]))

    assert (len(found.sets), found.left_out) == (50, 950)


def test_half_a_surrogate_pair_can_be_encoded() -> None:
    found = parse(text(["\ud800", "\ud800", 1, "\ud800", "\ud800"]))

    assert found.sets["test"] == [Utterance("?", "?", 1, "?", "?")]
    assert digest(found.sets)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not JSON: line 1, column 1"),
        (text(GOOD)[:-9], "not JSON"),
        (b"\xff", "not UTF-8: byte 0xff at offset 0"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"1" * 5_000 + b"]", "a number has too many digits"),
        (b"[]", "expected a JSON object"),
        (text(GOOD, version=2), "expected version 1, found 2"),
        (text(GOOD, columns="id"), "columns: expected a list of names"),
        (text(GOOD, columns=["id", [1]]), "columns: expected a list of names"),
        (text(GOOD, columns=["id", "reference"]), "columns: expected id, reference, hypothesis once each"),
        (text(GOOD, columns=[*COLUMNS, "id"]), "columns: expected id, reference, hypothesis once each"),
        (text(GOOD, rows={}), "rows: expected a list, found an object"),
        (text(GOOD, set=[]), "set: expected the test set's name, found a list"),
        (text(), "found none in 0 rows: no rows"),
        (text(3), "found none in 1 rows: row 1: expected a list, found 3"),
    ],
)
def test_a_damaged_file_is_one_line_of_trouble(data: bytes, message: str) -> None:
    with pytest.raises(Trouble) as caught:
        parse(data)

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.lists(JSON | st.lists(JSON, min_size=5, max_size=5), max_size=5), JSON, JSON)
@settings(deadline=None)
def test_no_content_is_a_traceback(rows: list[Any], columns: Any, name: Any) -> None:
    for record in (text(*rows), text(*rows, columns=columns), text(*rows, set=name), json.dumps(rows).encode()):
        try:
            found = parse(record)
        except Trouble as trouble:
            assert "\n" not in str(trouble)
        else:
            assert found.left_out + sum(map(len, found.sets.values())) == len(rows)


def test_the_digest_knows_what_was_heard_and_not_the_order() -> None:
    one, other = GOOD, ["b", None, None, "x", "y"]
    first = digest(parse(text(one, other)).sets)

    assert digest(parse(text(other, one)).sets) == first
    assert digest(parse(text(one, ["b", "eve", 3, "x", "y"])).sets) == first
    assert digest(parse(text(one, other, set="b")).sets) != first
    assert digest(parse(text(one, [*other[:4], "z"])).sets) != first
    assert digest(parse(text(one, [*other[:4], None])).sets) != digest(parse(text(one, [*other[:4], ""])).sets)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "utterances.json"
    path.write_bytes(b"\xef\xbb\xbf" + text(GOOD))

    found = utterance_file.read(path)

    assert found is not None
    assert found.sets == {"test": [Utterance("a", "ann", 1.5, "one two", "one")]}


def test_no_file_is_not_a_damaged_file(tmp_path: Path) -> None:
    assert utterance_file.read(tmp_path / "utterances.json") is None


@pytest.mark.parametrize("kind", ["link", "pipe", "directory", "large", "damaged"])
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "utterances.json"
    if kind == "link":
        (tmp_path / "other").write_bytes(text(GOOD))
        path.symlink_to("other")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as stream:
            stream.truncate(utterance_file.MAX_BYTES + 1)
    else:
        path.write_bytes(text(GOOD)[:30])

    with pytest.raises(Trouble) as caught:
        utterance_file.read(path)

    assert str(caught.value).startswith(f"{path}: ")


def test_whatever_the_archive_keeps_can_be_read() -> None:
    assert archive_store.COMPANIONS[job_contract.UTTERANCES] == utterance_file.MAX_BYTES


@pytest.mark.parametrize("data", [b"[" + b"[]," * 1_000_001 + b"[]]", b"[" + b"1," * 5_000_001 + b"1]"])
def test_a_file_that_would_take_much_more_memory_than_its_size_is_not_parsed(data: bytes) -> None:
    with pytest.raises(Trouble, match="expected at most 1000000 lists and 5000000 values, found"):
        utterance_file.parse(data)
