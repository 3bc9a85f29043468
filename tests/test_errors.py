"""What a wrapped error is told as."""

from __future__ import annotations

import pytest

from deepspeech_wer.errors import innermost


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused"),
        (
            caused(ValueError("outer"), caused(OSError("middle"), OSError(5, "Input/output\nerror"))),
            "Input/output error",
        ),
        (caused(ValueError("Error reading banner"), EOFError()), "Error reading banner"),
        (caused(ValueError("outer"), TimeoutError()), "timed out"),
        (EOFError(), "EOFError"),
        (ValueError("x" * 1000), "x" * 200),
    ],
)
def test_innermost(error: Exception, text: str) -> None:
    assert innermost(error) == text
