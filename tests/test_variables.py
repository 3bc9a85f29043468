"""Reading one variable."""

from __future__ import annotations

import pytest

from deepspeech_wer.variables import MASK, Variable, quoted, read, without_password


def whole(text: str) -> int:
    if not text.isdigit():
        raise ValueError("a whole number")
    return int(text)


PLAIN = Variable("ds_epochs", "3", whole, "passes over the training set")
SECRET = Variable("ds_token", None, whole, "a token", secret=True)


def test_a_text_becomes_a_value_and_no_text_none() -> None:
    faults: list[str] = []

    assert read(PLAIN, "7", faults) == 7
    assert read(PLAIN, None, faults) is None
    assert faults == []


def test_faults_name_variable_value_and_what_was_expected() -> None:
    faults: list[str] = []

    assert read(PLAIN, "many", faults) is None
    assert read(PLAIN, "many", faults, separator="=") is None

    assert faults == ["ds_epochs: 'many': expected a whole number", "ds_epochs='many': expected a whole number"]


def test_a_secret_is_never_shown() -> None:
    faults: list[str] = []

    read(SECRET, "hush", faults)

    assert faults == [f"ds_token: {MASK}: expected a whole number"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", r"'a\nb'"),
        ("https://ada:hush@host/x", "'https://host/x'"),
        ("x" * 200, f"'{'x' * 97}...'"),
    ],
)
def test_a_quoted_value_is_short_printable_and_without_passwords(text: str, shown: str) -> None:
    assert quoted(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://ada:hu/sh@host/x", "https://host/x"),
        ("https://ada:hu sh#?@host/x", "https://host/x"),
        ("HTTPS://h@us@host/x", "HTTPS://host/x"),
        ("ada:hu/s h@host/x", "host/x"),
        ("/somewhere/https/ada:hush@host/x", "/somewhere/https/host/x"),
        ("https://ada:hush", "https://ada"),
        ("https://ada:1hush/x", "https://ada/x"),
        ("https://host:22/x", "https://host:22/x"),
        ("fatal: unable to access 'https://ada:hush/': gone", "fatal: unable to access 'https://ada/': gone"),
        ("moved to https://host/x#access_token=hush", "moved to https://host/x#access_token=********"),
        ("https://host/x?a=1&access_token=hush&b=2", "https://host/x?a=1&access_token=********&b=2"),
        ("https://host/x?sv=2022&sig=hush&b=2", "https://host/x?sv=2022&sig=********&b=2"),
        ("https://host/x?author=ada&design=2", "https://host/x?author=ada&design=2"),
        ("POST https://host/x?jwt=hush: refused", "POST https://host/x?jwt=******** refused"),
        ("see http://host/x?key=hush, or else", "see http://host/x?key=******** or else"),
        ("ssh://git@host/x", "ssh://git@host/x"),
        ("ssh://git:hush@host/x", "ssh://host/x"),
        ("git@host:x/y", "git@host:x/y"),
        ("file:///srv/a@b", "file:///srv/a@b"),
        (
            "fatal: unable to access 'https://ada:hu s/h@host/x/': gone",
            "fatal: unable to access 'https://host/x/': gone",
        ),
        ("fatal: 'https://ada:hu'sh@host/x' is gone", "fatal: 'https://host/x' is gone"),
        ("error: ada:hush@host:x is gone", "error: host:x is gone"),
        ("remote: see https://host/x, or write to ada@host", "remote: see https://host/x, or write to ada@host"),
        ("ada@host: Permission denied (publickey).", "ada@host: Permission denied (publickey)."),
    ],
)
def test_passwords_go_whatever_they_are_of_and_the_rest_stays(text: str, shown: str) -> None:
    assert without_password(text) == shown
