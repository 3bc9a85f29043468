"""Checks the documentation against the code."""

from __future__ import annotations

import argparse
import re
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer import job_contract
from deepspeech_wer.commands import parser as commands
from deepspeech_wer.configuration import misspelt, settings
from deepspeech_wer.jobs import outcome
from deepspeech_wer.training import parameters
from deepspeech_wer.training.transcribe import __main__ as transcribe
from deepspeech_wer.variables import Variable

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text("utf-8")
VARIABLES = (ROOT / "docs" / "variables.md").read_text("utf-8")
JOB = (ROOT / "docs" / "job.md").read_text("utf-8")
DEVELOPMENT = (ROOT / "docs" / "development.md").read_text("utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)


def row(name: str, default: str | None, meaning: str) -> str:
    return f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |"


def without_code(text: str) -> str:
    """Remove fenced and indented code blocks from a document."""
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """Return the fragments that GitHub makes from a document's headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(document.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("variable", settings.VARIABLES, ids=lambda variable: variable.name)
def test_the_variables_page_lists_every_variable_of_the_tracker(variable: Variable) -> None:
    assert row(variable.name, variable.default, variable.meaning) in VARIABLES.splitlines()


def test_the_readme_lists_variables_as_the_variables_page_does() -> None:
    rows = re.findall(r"^\| `ds_\w+` .*\|$", README, re.MULTILINE)
    assert rows
    assert set(rows) <= set(VARIABLES.splitlines())


@pytest.mark.parametrize("entry", parameters.table(), ids=lambda entry: entry[0])
def test_the_job_page_lists_every_variable_of_the_training(entry: tuple[str, str, str]) -> None:
    assert row(*entry) in JOB.splitlines()


@each_document
def test_every_variable_in_the_documents_exists(document: Path) -> None:
    known = {variable.name for variable in settings.VARIABLES} | {name for name, _, _ in parameters.table()}
    known |= {value for value in vars(job_contract).values() if isinstance(value, str)}
    known |= misspelt.GONE.keys()
    known |= {"ds_training_iters", "ds_exec_clone"}  # a legacy name, a path
    known |= {"ds_", "ds_webhook_", "ds_website_"}  # prefixes
    assert set(re.findall(r"\bds_\w*", document.read_text("utf-8"))) <= known


def test_every_command_and_option_is_documented() -> None:
    parser = commands.parser()
    subs = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    listed = re.findall(r"^\| `.*` \|.*$", COMMANDS, re.MULTILINE)
    in_readme = README[README.index("| command |") : README.index("| exit code |")]
    aliases = {"merge"}
    for name, sub in subs.choices.items():
        line = next(line for line in listed if re.search(rf"`{name}\b", line))
        assert name in aliases or re.search(rf"`{name}\b", in_readme)
        for option in sub._actions:
            if option.option_strings and option.dest != "help":
                assert option.option_strings[-1] in line
    for option in parser._actions:
        if option.option_strings and option.dest != "help":
            assert f"`{option.option_strings[-1]}`" in README


def test_every_command_in_the_readme_exists() -> None:
    subs = next(action for action in commands.parser()._actions if isinstance(action, argparse._SubParsersAction))
    table = README[README.index("| command |") : README.index("| exit code |")]
    for cell in re.findall(r"^\| (`.*?) \|", table + COMMANDS, re.MULTILINE):
        for name in re.findall(r"`(\w[\w-]*)", cell):
            assert name in subs.choices


def test_the_tree_lists_every_room_and_no_other() -> None:
    start = DEVELOPMENT.index("    deepspeech_wer/\n")
    listed = DEVELOPMENT[start : DEVELOPMENT.index("\n    tests/", start)]
    package = ROOT / "deepspeech_wer"
    rooms = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    rooms |= {f"{path.parent.relative_to(package).as_posix()}/" for path in package.glob("*/__init__.py")}
    rooms |= {f"{path.parent.relative_to(package).as_posix()}/" for path in package.glob("training/*/__init__.py")}
    rooms |= {"website/", "schemas/", "systemd/"}
    named = set(re.findall(r"\b\w+\.py\b", listed)) | set(re.findall(r"^ {6}(\w[\w/]*/)", listed, re.MULTILINE))
    assert named == rooms


@pytest.mark.parametrize("path", re.findall(r"`((?:\w+/)+\w+\.py|\w+\.py)`", DEVELOPMENT))
def test_the_walks_lead_through_modules_that_exist(path: str) -> None:
    assert any((root / path).exists() for root in (ROOT, ROOT / "deepspeech_wer"))


def test_the_job_page_lists_every_option_of_the_transcriber() -> None:
    for option in transcribe.parser()._actions:
        if option.option_strings and option.dest != "help":
            assert f"| `{option.option_strings[-1]}{'`' if option.nargs == 0 else ' '}" in JOB


def test_the_job_page_lists_every_importer() -> None:
    for name in parameters.IMPORTERS:
        assert re.search(rf"^\| `{name}` \| \w", JOB, re.MULTILINE), name


def test_the_job_page_lists_every_class_of_failure() -> None:
    for name in (*outcome.NEVER_RETRIED, "exit N", "signal N", "timeout", "no-hyper", "out-of-memory", "interrupted"):
        assert re.search(rf"^\| .*`{name}`.* \|", JOB, re.MULTILINE), name


def test_the_job_page_holds_every_name_of_the_contract() -> None:
    for name, value in vars(job_contract).items():
        if name.isupper() and isinstance(value, str):
            assert value in JOB, name
        if name.startswith("EXIT_"):
            assert re.search(rf"^\| {value} \|", JOB, re.MULTILINE), name


@each_document
def test_every_link_leads_to_a_file_or_a_heading(document: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(document.read_text("utf-8"))):
        if re.match(r"https?:", link):
            continue
        name, _, fragment = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not fragment or fragment in anchors(target), link


@each_document
def test_every_file_and_module_that_a_document_names_exists(document: Path) -> None:
    text = document.read_text("utf-8")
    for name in re.findall(r"(?<![\w./-])(?:\./)?((?:bin|docs|tests|deepspeech_wer)/[\w./-]*\w)", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"-m ((?:deepspeech_wer|tests)\.[\w.]*\w)", text):
        module = ROOT.joinpath(*name.split("."))
        assert module.with_suffix(".py").exists() or (module / "__main__.py").exists(), name


@each_document
def test_every_test_that_a_document_names_exists(document: Path) -> None:
    for file, name in re.findall(r"`(test_\w+\.py)::(\w+)`", document.read_text("utf-8")):
        (path,) = ROOT.joinpath("tests").rglob(file)
        assert re.search(rf"^(?:class|def) {name}\b", path.read_text("utf-8"), re.MULTILINE), f"{file}::{name}"


def test_the_readme_is_short() -> None:
    assert len(README.split()) <= 2500


def test_the_crontab_line_is_that_of_the_example() -> None:
    lines = re.findall(r"^\s*(\*/5 .*)$", README, re.MULTILINE)
    assert lines
    assert lines[0] in (ROOT / "crontab.example").read_text("utf-8").splitlines()


@pytest.mark.parametrize(("code", "is_mailed"), [(0, False), (1, False), (4, True)])
def test_the_crontabs_line_for_mail_prints_the_log_on_exit_code_4(tmp_path: Path, code: int, is_mailed: bool) -> None:
    line = (ROOT / "crontab.example").read_text("utf-8").splitlines()[-1]
    command = line.removeprefix("#*/5 * * * * ")
    assert command.startswith("python -P -m deepspeech_wer")
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho regression: ... >&2\nexit {code}\n")
    python.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == ("regression: ...\n" if is_mailed else "")
    assert (tmp_path / ".deepspeech_wer.log").read_text() == "regression: ...\n"
