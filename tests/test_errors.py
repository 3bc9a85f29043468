"""What a wrapped error is told as."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspeech_wer.errors import innermost, with_cure


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


@pytest.mark.parametrize("name", ["link", "link/below/it"])
def test_a_link_to_a_disk_that_is_not_mounted_is_told_as_that(tmp_path: Path, name: str) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    with pytest.raises(OSError) as caught:
        (tmp_path / name).mkdir()
    named = "" if name == "link" else f"{tmp_path}/link is "
    cure = "mount its disk, or mend the link"
    assert with_cure(caught.value) == f"{named}a link to {tmp_path}/disk, which is not there: {cure}"
    (tmp_path / "disk").mkdir()
    with pytest.raises(OSError) as caught:
        (tmp_path / name).mkdir()
    assert "link to" not in with_cure(caught.value)
