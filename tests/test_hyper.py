"""Reading hyper.json: valid records are kept unchanged, invalid ones are refused in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_wer import hyper

RECORD: dict[str, Any] = {
    "context": {"time_started": "2016-11-16T10:00:00.123456", "git_hash": "a" * 40},
    "parameters": {"learning_rate": 0.001, "data_set": {"name": "ted", "sizes": [1, 2]}},
    "results": {"duration": 3600, "last_train_wer": 0.12, "last_validation_wer": 0.34, "test_wer": 0.36},
}


def changed(path: str, value: Any) -> bytes:
    record = json.loads(json.dumps(RECORD))
    *parents, key = path.split(".")
    target = record
    for parent in parents:
        target = target[parent]
    target[key] = value
    return json.dumps(record).encode()


def without(path: str) -> bytes:
    record = json.loads(json.dumps(RECORD))
    *parents, key = path.split(".")
    target = record
    for parent in parents:
        target = target[parent]
    del target[key]
    return json.dumps(record).encode()


def refusal(text: bytes) -> str:
    with pytest.raises(hyper.HyperError) as caught:
        hyper.parse(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 200
    return message


def test_a_record_of_2016_is_read() -> None:
    assert hyper.parse(json.dumps(RECORD).encode()) == RECORD


def test_extra_keys_and_markup_are_kept_as_data() -> None:
    record = hyper.parse(changed("results.<script>alert(1)</script>", "</script>\u2028"))
    assert record["results"]["<script>alert(1)</script>"] == "</script>\u2028"


def test_a_byte_order_mark_is_accepted() -> None:
    assert hyper.parse(b"\xef\xbb\xbf" + json.dumps(RECORD).encode()) == RECORD


@pytest.mark.parametrize("name", hyper.WERS)
@pytest.mark.parametrize("value", [None, 0, 0.0, 0.36, 1, 2.5])
def test_a_wer_is_a_number_of_at_least_0_or_null(name: str, value: float | None) -> None:
    record = hyper.parse(changed(f"results.{name}", value))
    assert hyper.wer(record, name) == value


def test_a_rate_is_shown_in_percent() -> None:
    record = hyper.parse(json.dumps(RECORD).encode())

    assert hyper.shown(hyper.test_wer(record)) == "36.00 %"
    assert hyper.shown(hyper.test_wer(None)) == "not measured"
    assert hyper.shown(1.0692307692307692) == "106.92 %"
    assert hyper.shown(hyper.test_wer(hyper.parse(changed("results.test_wer", -0.0)))) == "0.00 %"


@pytest.mark.parametrize("name", hyper.WERS)
@pytest.mark.parametrize("value", [True, False, "0.36", -0.1, [], {}, 10**400, -(10**400), 1.7e308, 1_000_001])
def test_any_other_wer_is_refused_by_name(name: str, value: object) -> None:
    assert f"results.{name}: expected a number from 0 to 1000000, or null, found" in refusal(
        changed(f"results.{name}", value)
    )


def test_what_the_page_of_2017_needs_is_filled_in() -> None:
    text = b'{"context": {"time_started": "2016-11-16T10:00:00"}, "results": {"test_wer": null}}'
    record = hyper.parse(text)
    assert record["parameters"] == {}
    assert record["results"] == {"test_wer": None, "last_validation_wer": None, "last_train_wer": None}


@pytest.mark.parametrize("name", ["last_validation_wer", "last_train_wer"])
def test_only_the_test_wer_is_required(name: str) -> None:
    assert hyper.wer(hyper.parse(without(f"results.{name}")), name) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty, expected a JSON object"),
        (b" \n", "empty, expected a JSON object"),
        (b"\xff{}", "not UTF-8: byte 0xff at offset 0"),
        (b"hello", "not JSON: line 1, column 1: Expecting value"),
        (b'{"context": {},\n "results": oops}', "not JSON: line 2, column 13: Expecting value"),
        (b"{} {}", "not JSON: line 1, column 4: Extra data"),
        (b"[]", "expected a JSON object, found a list"),
        (b"7", "expected a JSON object, found a number"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', 'the key "c" occurs twice in one object'),
        (b'{"a": NaN}', "NaN is not JSON, expected a number or null"),
        (b'{"a": -Infinity}', "-Infinity is not JSON, expected a number or null"),
        (b'{"a": 1e999}', "1e999 is too large for a double, expected a finite number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number has too many digits, expected one that fits a double"),
        (without("context"), "context is missing, expected an object"),
        (without("results"), "results is missing, expected an object"),
        (changed("results", []), "results: expected an object, found a list"),
        (changed("parameters", None), "parameters: expected an object, found null"),
        (
            without("results.test_wer"),
            "results.test_wer is missing, expected a number, or null if not measured",
        ),
        (without("context.time_started"), "context.time_started is missing, expected an ISO 8601 time"),
    ],
)
def test_each_fault_has_its_message(text: bytes, message: str) -> None:
    assert refusal(text) == message


@pytest.mark.parametrize("value", ["", "yesterday", "2016-11-16", 1479290400, None, "2016-13-16T10:00:00", "x" * 10**5])
def test_a_start_that_is_not_a_time_is_refused(value: object) -> None:
    assert "context.time_started: expected an ISO 8601 time such as" in refusal(changed("context.time_started", value))


def test_a_start_outside_the_calendar_is_refused() -> None:
    assert "time_started" in refusal(changed("context.time_started", "0001-01-01T00:00:00+05:00"))


@pytest.mark.parametrize(
    ("written", "utc"),
    [
        ("2016-11-16T10:00:00.123456", "2016-11-16T10:00:00.123456"),
        ("2016-11-16 10:00:00", "2016-11-16T10:00:00"),
        ("2016-11-16T10:00:00Z", "2016-11-16T10:00:00"),
        ("2016-11-16T01:30:00+02:00", "2016-11-15T23:30:00"),
    ],
)
def test_times_are_converted_to_utc(written: str, utc: str) -> None:
    assert hyper.time_started(hyper.parse(changed("context.time_started", written))) == utc


def test_a_truncated_file_is_reported_as_such_wherever_it_ends() -> None:
    text = json.dumps(RECORD).encode()
    for end in range(1, len(text)):
        message = refusal(text[:end])
        assert message.startswith(("truncated", "not JSON")), end
    assert refusal(text[: len(text) // 2]).startswith("truncated")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 50_000, b"[" * 100 + b"]" * 100])
def test_excessive_nesting_is_refused(text: bytes) -> None:
    assert refusal(text).startswith(("nested too deeply", "truncated"))


def test_an_oversized_file_is_refused_unread() -> None:
    assert refusal(b" " * 10_000_001) == "too large: 10000001 bytes, expected at most 10000000"


def test_nested_parameters_are_flattened_with_dots() -> None:
    assert hyper.flat_parameters(RECORD) == {
        "learning_rate": 0.001,
        "data_set.name": "ted",
        "data_set.sizes": "[1, 2]",
    }


def test_a_record_without_parameters_has_none() -> None:
    assert hyper.flat_parameters(hyper.parse(without("parameters"))) == {}


@given(st.binary(max_size=300))
def test_any_bytes_are_parsed_or_refused(text: bytes) -> None:
    with pytest.raises(hyper.HyperError):
        hyper.parse(text)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({"context": _json, "parameters": _json, "results": _json}))
def test_any_json_is_parsed_or_refused(record: dict[str, Any]) -> None:
    try:
        parsed = hyper.parse(json.dumps(record).encode())
    except hyper.HyperError:
        return
    json.dumps(parsed, allow_nan=False)
    hyper.flat_parameters(parsed)
