"""The shipped JSON Schemas accept what the tracker accepts, and refuse what it refuses."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_wer import cli, exit_codes, hyper
from deepspeech_wer.commands import schema
from deepspeech_wer.errors import Trouble
from deepspeech_wer.verdicts import utterance_file

VALIDATORS = {name: jsonschema.Draft202012Validator(json.loads(schema.text(name))) for name in schema.NAMES}
HYPER: dict[str, Any] = {
    "context": {"time_started": "2016-11-16T10:00:00.123456", "git_hash": "abc"},
    "parameters": {"n": 1, "data_set": {"name": "ted"}},
    "results": {"duration": 3600, "last_train_wer": 0.12, "last_validation_wer": None, "test_wer": 0.36},
    "more": [1],
}
VALUES: list[Any] = [None, True, 0, 0.5, -1, -0.1, 10**400, "x", "", [], {}, "2016-11-16"]
TIMES = [
    "2016-11-16T10:00:00",
    "2016-11-16 10:00:00.5+02:00",
    "2016-11-16T10:00Z",
    "2016-13-16T10:00:00",
    "2016-11-16T24:00:00",
    "2016-11-16T10:60:00",
    "0000-11-16T10:00:00",
    "2016-11-16",
    "2016-11-16T10:00:00+25:00",
    "16.11.2016 10:00",
    "now",
]


def accepts(record: Any) -> bool:
    try:
        hyper.parse(json.dumps(record).encode())
    except hyper.HyperError:
        return False
    return True


def without(*path: str) -> Any:
    record = copy.deepcopy(HYPER)
    place = record
    for name in path[:-1]:
        place = place[name]
    del place[path[-1]]
    return record


def changed(value: Any, *path: str) -> Any:
    record = copy.deepcopy(HYPER)
    place = record
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return record


PATHS = [
    ("context",),
    ("parameters",),
    ("results",),
    ("more",),
    ("context", "time_started"),
    ("context", "git_hash"),
    ("results", "test_wer"),
    ("results", "last_train_wer"),
    ("results", "last_validation_wer"),
    ("results", "duration"),
]


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_hyper_of_every_kind_is_accepted_by_both_or_by_none(path: tuple[str, ...]) -> None:
    records = [without(*path), *(changed(value, *path) for value in VALUES)]
    found = [(accepts(record), VALIDATORS["hyper"].is_valid(record)) for record in records]
    assert [one for one, _ in found] == [other for _, other in found]
    assert {one for one, _ in found} <= {True, False}


@pytest.mark.parametrize("text", TIMES)
def test_times_are_accepted_by_both_or_by_none(text: str) -> None:
    record = changed(text, "context", "time_started")
    assert accepts(record) == VALIDATORS["hyper"].is_valid(record)


@pytest.mark.parametrize("record", VALUES)
def test_what_is_no_record_is_refused_by_both(record: Any) -> None:
    assert not accepts(record)
    assert not VALIDATORS["hyper"].is_valid(record)


@given(st.datetimes(), st.none() | st.floats(0, 1e6))
def test_what_a_job_would_write_is_accepted_by_both(time: Any, rate: float | None) -> None:
    record = changed(rate, "results", "test_wer")
    record["context"]["time_started"] = time.isoformat()
    assert accepts(record)
    assert VALIDATORS["hyper"].is_valid(record)


TABLE: dict[str, Any] = {
    "version": 1,
    "set": "test",
    "columns": ["id", "speaker", "seconds", "reference", "hypothesis"],
    "rows": [["a", None, 1.5, "x", "y"]],
}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"version": None},
        {"version": 2},
        {"set": None},
        {"set": 3},
        {"columns": ["id", "reference", "hypothesis"], "rows": [["a", "x", None]]},
        {"columns": ["id", "reference"]},
        {"columns": ["id", "id", "reference", "hypothesis"]},
        {"columns": "id"},
        {"columns": [1, "id", "reference", "hypothesis"]},
        {"rows": []},
        {"rows": [1]},
        {"rows": {}},
    ],
)
def test_utterances_are_accepted_by_both_or_by_none(change: dict[str, Any]) -> None:
    record = {**TABLE, **change}
    try:
        utterance_file.parse(json.dumps(record).encode())
        is_read = True
    except Trouble:
        is_read = False
    assert is_read == VALIDATORS["utterances"].is_valid(record)


@pytest.mark.parametrize(
    ("record", "is_valid"),
    [
        ({"version": 1, "epochs": [{"epoch": 1, "train_loss": 2.5, "validation_loss": None, "more": "x"}]}, True),
        ({"epochs": [{"epoch": 1}]}, True),
        ({"epochs": []}, False),
        ({"epochs": [{"train_loss": 1}]}, False),
        ({"epochs": [{"epoch": "1"}]}, False),
        ({"epochs": [{"epoch": 1, "train_loss": "low"}]}, False),
        ([], False),
    ],
)
def test_history(record: Any, is_valid: bool) -> None:
    assert VALIDATORS["history"].is_valid(record) == is_valid


@pytest.mark.parametrize("name", schema.NAMES)
def test_the_command_prints_a_valid_schema(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["schema", name]) == 0
    printed = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(printed)
    assert printed["title"] == f"{name}.json"


def test_an_unknown_name_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["schema", "x"])
    assert left.value.code == exit_codes.USAGE
    assert "hyper" in capsys.readouterr().err
