"""What a publish reports, and what its callers load before."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deepspeech_wer.publish.report import Report


@pytest.mark.parametrize("caller", ["update_site", "commands.site", "commands.check"])
def test_a_caller_loads_no_paramiko_before_it_publishes(caller: str) -> None:
    heavy = "{'paramiko', 'pysftp', 'requests', 'bs4'}"
    code = f"import sys, deepspeech_wer.{caller}; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (31_400, "31 KB"),
        (1_520, "1.5 KB"),
        (7_900_000, "7.9 MB"),
        (999_600, "1.0 MB"),
        (5_000_000_000, "5.0 GB"),
    ],
)
def test_summary(size: int, text: str) -> None:
    assert Report(("a",) * 4, 1200, (), size, 0.94).summary == f"4 of 1,204 files, {text}, 0.9 s"
