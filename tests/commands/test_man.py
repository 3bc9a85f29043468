"""The manual page and the completion, both made from the parser."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_wer import cli
from deepspeech_wer.commands import man
from deepspeech_wer.commands import parser as commands
from deepspeech_wer.configuration import settings

README = Path(__file__).parents[2] / "README.md"


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["man"]) == 0
    return capsys.readouterr().out


def test_the_page_has_every_command_option_and_variable(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys).replace(r"\-", "-")
    subs = next(one for one in commands.parser()._actions if isinstance(one, argparse._SubParsersAction))
    for name, sub in subs.choices.items():
        assert name == "merge" or f'.SS "{name}"' in text
        for option in sub._actions:
            assert option.dest == "help" or not option.option_strings or option.option_strings[-1] in text
    assert all(f".B {variable.name}\n" in text for variable in settings.VARIABLES)


def test_its_exit_codes_are_those_of_the_readme() -> None:
    readme = README.read_text("utf-8")
    assert all(f"\n| {code} | " in readme for code, _ in man.EXIT_CODES)


def test_no_text_is_taken_for_a_request_of_roff(capsys: pytest.CaptureFixture[str]) -> None:
    requests = {line.split()[0] for line in printed(capsys).splitlines() if line.startswith((".", "'"))}
    assert requests <= {".TH", ".SH", ".SS", ".PP", ".TP", ".B"}
    assert man._text(".B \\x \"a-b\" 'c'") == r"\&.B \ex \(dqa\-b\(dq 'c'"
    groff = shutil.which("groff")
    if groff:
        command = [groff, "-man", "-ww", "-Tutf8"]
        done = subprocess.run(command, input=printed(capsys), capture_output=True, text=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert "--keep N" in re.sub(".\x08", "", done.stdout).replace("‐", "-")  # bold is struck over


def completed(line: str, sealed: Path, **variables: str) -> list[str]:
    """Complete as a shell does: the program is called without arguments."""
    answer = sealed / "answer"
    env = {
        **os.environ,
        "_ARGCOMPLETE": "1",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
        "_ARGCOMPLETE_IFS": "\n",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        **variables,
    }
    command = [sys.executable, "-m", "deepspeech_wer"]
    assert subprocess.run(command, env=env, check=False, timeout=60, cwd=sealed).returncode == 0
    assert not (sealed / ".cache").exists()  # no tick was run
    return [word.strip() for word in answer.read_text().split("\n")] if answer.exists() else []


def test_commands_and_options_are_completed_and_nothing_is_run(sealed: Path) -> None:
    pytest.importorskip("argcomplete", reason="argcomplete is not installed: pip install '.[completion]'")
    assert completed("deepspeech-wer ret", sealed) == ["retry"]
    assert completed("deepspeech-wer prune --ke", sealed) == ["--keep"]
    assert set(completed("deepspeech-wer schema ", sealed)) >= {"hyper", "utterances", "history"}


def test_without_the_extra_nothing_is_run_either(sealed: Path) -> None:
    (sealed / "without").mkdir()
    (sealed / "without" / "argcomplete.py").write_text("raise ImportError")
    assert completed("deepspeech-wer ret", sealed, PYTHONPATH=str(sealed / "without")) == []
