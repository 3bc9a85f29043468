"""A job tried once by the contract: what is right, wrong, missing, optional."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

import pytest

from deepspeech_wer import cli, exit_codes
from deepspeech_wer.configuration import settings
from tests.conftest import Repository


@pytest.fixture(autouse=True)
def no_leftovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command leaves to be looked at goes where the test's files go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


GOOD = """#!/bin/sh
mkdir -p "$ds_logs_dir/x"
echo working
touch "$2/weights"
{extra}
printf '%s' '{utterances}' > "$ds_logs_dir/x/utterances.json"
printf '%s' '{{"version": 1, "epochs": [{{"epoch": 1, "train_loss": 2.5}}]}}' > "$ds_logs_dir/x/history.json"
printf '{{"context":{{"time_started":"2026-01-01T00:00:00","git_hash":"%s"}},"parameters":{{"n":1}},"results":{{
"test_wer":{wer},"duration":3,"signature":{{}},
"test_errors":{{"substitutions":1,"deletions":0,"insertions":0,"words":4}}}}}}' \\
"$ds_wer_sha" > "$ds_logs_dir/x/hyper.json"
"""
UTTERANCES = json.dumps(
    {
        "version": 1,
        "columns": ["id", "reference", "hypothesis"],
        "rows": [["a", "one two", "one two"], ["b", "three four", "three five"]],
    }
)


def good(*, wer: str = "0.25", extra: str = "", utterances: str = UTTERANCES) -> str:
    return GOOD.format(wer=wer, extra=extra, utterances=utterances)


@pytest.mark.parametrize("command", ["check-job", "overview"])
def test_a_link_to_itself_is_no_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "link").symlink_to("link")
    monkeypatch.chdir(tmp_path)
    assert cli.main([command, str(tmp_path / "link")]) in (exit_codes.DONE, exit_codes.TROUBLE)
    assert f"{tmp_path}/link" in "".join(capsys.readouterr())


def report(capsys: pytest.CaptureFixture[str], place: Path, code: int = 0) -> dict[str, list[tuple[str, str]]]:
    """Return subject -> [(level, text)]."""
    capsys.readouterr()
    assert cli.main(["check-job", str(place)]) == code
    found: dict[str, list[tuple[str, str]]] = {}
    for line in capsys.readouterr().out.splitlines():
        match = re.fullmatch(r"(right|wrong|missing|optional) +(\S+) +(.*)", line)
        if match:
            found.setdefault(match[2], []).append((match[1], match[3]))
    return found


def level(found: dict[str, list[tuple[str, str]]], subject: str) -> list[str]:
    return [level for level, _ in found.get(subject, [])]


@pytest.fixture
def place(repository: Repository) -> Path:
    repository.commit("root", {"bin/run-wer-automation.sh": good(), "train.py": "x"})
    return repository.path


def test_a_job_that_keeps_the_contract_is_right_in_all(
    place: Path, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (sealed / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(sealed / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(sealed / "tmp"))
    found = report(capsys, place)
    assert {one for levels in found.values() for one, _ in levels} == {"right"}
    assert set(found) == {"job", "hyper.json", "utterances.json", "history.json", "checkpoint"}
    assert found["hyper.json"][0][1] == "valid; test WER 25.00 %"
    assert not any((sealed / "tmp").iterdir())
    assert not settings.load().places.runs.exists()
    assert not settings.load().places.work.exists()


def test_the_least_job_is_told_what_is_optional(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    least = """#!/bin/sh
echo '{"context":{"time_started":"2026-01-01T00:00:00"},"results":{"test_wer":0.5}}' >$ds_logs_dir/hyper.json
"""
    repository.commit("root", {"bin/run-wer-automation.sh": least})
    repository.write({"notes.txt": "not committed"})
    found = report(capsys, repository.path)
    optional = {subject for subject, levels in found.items() if ("optional" in {one for one, _ in levels})}
    assert optional == {
        "parameters",
        "test_errors",
        "signature",
        "duration",
        "utterances.json",
        "history.json",
        "checkpoint",
        "checkout",
    }
    assert "notes.txt" in found["checkout"][0][1]


@pytest.mark.parametrize(
    ("job", "subject", "expected"),
    [
        ("#!/bin/sh\n", "hyper.json", "missing"),
        ("#!/bin/sh\nexit 3\n", "job", "wrong"),
        ("#!/no/such/shell\n", "job", "wrong"),
        ("#!/bin/sh\necho '{}' >$ds_logs_dir/hyper.json\n", "hyper.json", "wrong"),
        (good(wer="25"), "test_wer", "wrong"),
        (good(wer="null"), "test_wer", "missing"),
        (good().replace('"$ds_wer_sha"', "abc"), "git_hash", "wrong"),
        (good(wer="0.5"), "utterances.json", "wrong"),
        (good(utterances="{"), "utterances.json", "wrong"),
        (good().replace('"epoch": 1,', ""), "history.json", "wrong"),
        (good(extra="sleep 300 &"), "processes", "optional"),
    ],
)
def test_each_fault_is_named(
    repository: Repository, capsys: pytest.CaptureFixture[str], job: str, subject: str, expected: str
) -> None:
    repository.commit("root", {"bin/run-wer-automation.sh": job})
    found = report(capsys, repository.path, code=exit_codes.DONE if expected == "optional" else exit_codes.TROUBLE)
    assert expected in level(found, subject), found


def test_the_job_is_started_as_the_tracker_starts_it(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_github_token", "hunter2")
    monkeypatch.setenv("ds_epochs", "3")
    spy = f'pwd >{tmp_path}/cwd; echo "$@" >{tmp_path}/arguments; env >{tmp_path}/environment'
    sha = repository.commit("root", {"bin/run-wer-automation.sh": good(extra=spy)})
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    report(capsys, repository.path)
    assert (tmp_path / "cwd").read_text().strip() == str(repository.path)
    option, directory = (tmp_path / "arguments").read_text().split()
    given = dict(line.partition("=")[::2] for line in (tmp_path / "environment").read_text().splitlines())
    assert (option, directory) == ("--checkpoint_dir", given["ds_checkpoint_dir"])
    assert (given["ds_wer_sha"], given["ds_wer_attempt"], given["ds_epochs"]) == (sha, "1", "3")
    assert "hunter2" not in (tmp_path / "environment").read_text()
    assert "GIT_DIR" not in given


def test_a_directory_without_git_works_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "job.sh").write_text(good())
    (tmp_path / "job.sh").chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "job.sh").rename(tmp_path / "bin" / "run-wer-automation.sh")
    assert "checkout" not in report(capsys, tmp_path)


def test_a_time_limit_holds(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_job_timeout", "1")
    repository.commit("root", {"bin/run-wer-automation.sh": "#!/bin/sh\nexec sleep 300\n"})
    found = report(capsys, repository.path, code=exit_codes.TROUBLE)
    assert "timeout: not done after 1 s (ds_job_timeout)" in found["job"][0][1]


def test_a_directory_that_is_none_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check-job", str(tmp_path / "none")]) == exit_codes.TROUBLE
    assert "expected the directory of a checkout, found none" in capsys.readouterr().err
