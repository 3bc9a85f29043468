"""What the README says is what the program does."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from deepspeech_wer import settings
from deepspeech_wer.commands import typed as commands
from deepspeech_wer.jobs import local
from deepspeech_wer.training import parameters

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def row(name: str, default: str | None, meaning: str) -> str:
    return f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |"


@pytest.mark.parametrize("variable", settings.VARIABLES, ids=lambda variable: variable.name)
def test_every_variable_of_the_tracker_stands_in_it(variable: settings.Variable) -> None:
    assert row(variable.name, variable.default, variable.meaning) in README


@pytest.mark.parametrize("entry", parameters.table(), ids=lambda entry: entry[0])
def test_every_variable_of_the_job_stands_in_it(entry: tuple[str, str, str]) -> None:
    assert row(*entry) in README


def test_every_importer_stands_in_it() -> None:
    choices = parameters.Parameters.__dataclass_fields__["importer"].metadata["choices"]
    for name in choices:
        assert re.search(rf"^\| `{name}` \| \w", README, re.MULTILINE), name


def test_no_variable_stands_in_it_that_is_not_there() -> None:
    known = {variable.name for variable in settings.VARIABLES} | {name for name, _, _ in parameters.table()}
    known |= {"ds_python", "ds_wer_attempt", "ds_exec_clone", "ds_website_", "ds_gpu_usage_", "ds_"}
    assert set(re.findall(r"\bds_\w*", README)) <= known


def test_every_command_and_option_stands_in_it() -> None:
    subs = next(action for action in commands.parser()._actions if isinstance(action, argparse._SubParsersAction))
    listed = "\n".join(re.findall(r"^\| `.*` \|.*$", README, re.MULTILINE))
    for name, sub in subs.choices.items():
        line = next(line for line in listed.splitlines() if re.search(rf"`{name}\b", line))
        for option in sub._actions:
            if option.option_strings and option.dest != "help":
                assert option.option_strings[-1] in line


def test_every_class_of_failure_stands_in_it() -> None:
    for name in (*local.NEVER_RETRIED, "exit N", "signal N", "timeout", "no-hyper", "out-of-memory", "interrupted"):
        assert f"`{name}`" in README


def test_its_files_and_pictures_are_there() -> None:
    for name in re.findall(r"\]\(([\w./-]+)\)", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"`((?:bin|tests|deepspeech_wer)/[\w./-]+)`", README):
        assert (ROOT / name.rstrip("/")).exists(), name


def test_the_crontab_line_is_that_of_the_example() -> None:
    lines = re.findall(r"^\s*(\*/5 .*)$", README, re.MULTILINE)
    assert lines
    assert lines[0] in (ROOT / "crontab.example").read_text("utf-8").splitlines()
