"""Tests for deepspeech_wer.text."""

from __future__ import annotations

import os
import unicodedata

import pytest

from deepspeech_wer.text import plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("feature/x", "feature/x"),
        ("Zo\u00eb \u5f20\u4f1f \u0645\u0631\u064a\u0645 \U0001f600 \u2014 caf\u00e9", None),
        ("red \x1b[31mred\x1b[0m", r"red \x1b[31mred\x1b[0m"),
        ("title \x1b]0;owned\x07", r"title \x1b]0;owned\x07"),
        ("C1: \x9b31m", r"C1: \x9b31m"),
        ("two\nlines\r\nand\ttabs\x7f", r"two\nlines\r\nand\ttabs\x7f"),
        ("next line \x85 and \u2028 and \u2029", r"next line \x85 and \u2028 and \u2029"),
        ("bidi \u202etxt.exe\u202c \u2066x\u2069 \u200f\u061c", r"bidi \u202etxt.exe\u202c \u2066x\u2069 \u200f\u061c"),
        ("unseen \u200b\u00ad\ufeff\u2060", r"unseen \u200b\xad\ufeff\u2060"),
        ("fillers \u3164\u115f\u1160\uffa0\u2800", r"fillers \u3164\u115f\u1160\uffa0\u2800"),
        ("tags \U000e0041", r"tags \U000e0041"),
        ("spaces \u00a0\u3000", r"spaces \xa0\u3000"),
        (os.fsdecode(b"file \xff\x80"), r"file \xff\x80"),
        ("\ud800", r"\ud800"),
        ("", ""),
    ],
)
def test_what_is_not_plainly_visible_is_escaped(text: str, shown: str | None) -> None:
    assert plain(text) == (text if shown is None else shown)


def test_no_character_moves_a_cursor_or_turns_the_writing() -> None:
    for code in range(0x110000):
        shown = plain(chr(code))
        assert shown.isprintable()
        assert all(unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in shown), hex(code)


def test_what_is_plain_stays_so() -> None:
    once = plain("a\x1b\u202e\\x1b b")
    assert plain(once) == once
