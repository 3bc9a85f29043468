"""What stands beside an event: who and what may have done it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, archive_record
from deepspeech_wer.configuration import settings
from deepspeech_wer.judging import standing
from deepspeech_wer.judging.blame import Blame
from deepspeech_wer.records import Run
from tests.conftest import Repository
from tests.test_automation import JOB, tick
from tests.test_automation import tracked as tracked  # the fixture
from tests.test_judging import run

GITHUB, GITLAB = "https://github.com/ada/speech", "https://gitlab.example.org/ada/speech"


def sha(number: int) -> str:
    return f"{number:012x}" + "e" * 28


def stored(tmp_path: Path, number: int, rate: float | None = 0.2, **told: Any) -> Run:
    """A run of the merge `number` on disk, whose run.json says what is `told`."""
    made = run(number, rate, sha=sha(number))
    directory = tmp_path / made.id
    directory.mkdir()
    merge = {"parents": told.pop("parents", [sha(number - 1)]), "request": told.pop("request", None)}
    (directory / "run.json").write_text(json.dumps({"version": 1, "merge": merge, "changed": told}))
    return made._replace(root=tmp_path)


def event(*culprits: int, gaps: tuple[tuple[int, int], ...] = (), state: str = "open") -> dict[str, Any]:
    shares = [[sha(number), 0.2] for number in culprits]
    listed = [{"after": sha(one), "before": sha(two), "merges": two - one - 1, "chance": 0.1} for one, two in gaps]
    return {"start": sha(culprits[-1]), "culprits": shares, "gaps": listed, "state": state}


def test_the_record_of_a_culprit(tmp_path: Path) -> None:
    before, bad = stored(tmp_path, 1), stored(tmp_path, 2, files=[["model.py", 3, 1]], files_count=1, request="#7")
    assert before.hyper
    assert bad.hyper
    before.hyper["parameters"] = {"dropout_rate": 0.05, "path": "/home/a", "lr": {"peak": 1}}
    bad.hyper["parameters"] = {"dropout_rate": 0.3, "path": "/home/b", "lr": {"peak": 2}}
    found = event(2)
    Blame([before, bad], GITHUB).add([found])
    (guilty,) = found["blame"]
    assert guilty == {
        "sha": sha(2),
        "run": bad.id,
        "author": "Ada",
        "subject": "merge 2",
        "committed_at": bad.merge.committed_at,
        "chance": 0.2,
        "url": f"{GITHUB}/commit/{sha(2)}",
        "request": "#7",
        "request_url": f"{GITHUB}/pull/7",
        "parameters": ["dropout_rate 0.05 -> 0.3", "lr.peak 1 -> 2"],
        "files": [["model.py", 3, 1]],
        "files_count": 1,
    }
    assert found["range_url"] == f"{GITHUB}/compare/{sha(1)}...{sha(2)}"


@pytest.mark.parametrize(
    ("page", "request_", "commit", "request_url"),
    [
        (GITLAB, "!12", "/-/commit/", "/-/merge_requests/12"),
        ("https://git.example.org/a/b", "!12", "/-/commit/", "/-/merge_requests/12"),
        (GITLAB, None, "/-/commit/", None),
        ("https://git.example.org/a/b/", "#3", "/commit/", "/pull/3"),
        ("https://git.example.org/a/b", "x", "/commit/", None),
    ],
)
def test_links_are_those_of_the_host(
    tmp_path: Path, page: str, request_: str | None, commit: str, request_url: str | None
) -> None:
    found = event(2)
    Blame([stored(tmp_path, 1), stored(tmp_path, 2, request=request_)], page).add([found])
    (guilty,) = found["blame"]
    assert guilty["url"] == f"{page.rstrip('/')}{commit}{sha(2)}"
    assert guilty["request_url"] == (request_url and page.rstrip("/") + request_url)


@pytest.mark.parametrize(
    ("subject", "request_"),
    [("Merge pull request #41 from ada/x", "#41"), ("Faster (#9)", "#9"), ("Merge branch 'x'", None)],
)
def test_runs_of_earlier_releases_have_their_subject(tmp_path: Path, subject: str, request_: str | None) -> None:
    old = stored(tmp_path, 2)
    (old.directory / "run.json").write_text('{"version": 1, "merge": {"sha": "x"}}')
    found = event(2)
    Blame([old._replace(merge=old.merge._replace(subject=subject))], None).add([found])
    (guilty,) = found["blame"]
    assert (guilty["request"], guilty["url"], guilty["files"], found["range_url"]) == (request_, None, [], None)


def test_commits_that_never_ran_are_named_as_far_as_they_are_still_in_the_gap(tmp_path: Path) -> None:
    runs = [stored(tmp_path, 1), stored(tmp_path, 4), stored(tmp_path, 7, passed=[sha(n) for n in range(2, 7)])]
    found = event(7, gaps=((4, 7),))
    Blame(runs, GITHUB).add([found])
    assert found["culprits"] == [[sha(7), 0.2], [sha(5), 0.1], [sha(6), 0.1]]
    assert [(one["sha"], one["run"]) for one in found["blame"]] == [
        (sha(7), runs[-1].id),
        (sha(5), None),
        (sha(6), None),
    ]
    assert found["range_url"] == f"{GITHUB}/compare/{sha(4)}...{sha(7)}"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"version": 1, "merge": 7, "changed": 7}', '{"version": 1}'])
def test_a_record_that_cannot_be_read_costs_its_part_alone(tmp_path: Path, text: str) -> None:
    bad = stored(tmp_path, 2)
    (bad.directory / "run.json").write_text(text)
    found = event(2, 9, gaps=((1, 2), (8, 9)))
    Blame([bad], GITHUB).add([found, event(2, state="dismissed")])
    assert [one["author"] for one in found["blame"]] == ["Ada"]


def test_the_tracker_records_what_a_merge_changed(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_repo_url", f"file://{tracked.path}")
    for number in range(4):
        tracked.merge(f"good {number}", {"wer": f"wer=0.31{number}\n"})
        assert tick() in (0, 4)  # 4: a merge made it worse
    job = JOB.replace('"n":1', '"n":2')
    files = {f"src/{number:02}.py": "x\n" * number for number in range(1, 30)}
    bad = tracked.merge(
        "Merge pull request #7 from ada/bad", {"wer": "wer=0.9\n", "bin/run-wer-automation.sh": job, **files}
    )
    assert tick() in (0, 4)  # 4: a merge made it worse
    for number in range(3):
        tracked.merge(f"after {number}", {"wer": f"wer=0.90{number + 1}\n"})
        assert tick() in (0, 4)  # 4: a merge made it worse
    current = settings.load()
    record = standing.load(current.places, current.retraining)
    assert record
    (event,) = (one for one in record["events"] if one["state"] == "open")
    (guilty,) = (one for one in event["blame"] if one["sha"] == bad)
    assert (event["start"], guilty["author"], guilty["request"]) == (bad, "Ada", "#7")
    assert guilty["parameters"] == ["n 1 -> 2"]
    assert (len(guilty["files"]), guilty["files_count"]) == (20, 31)
    assert guilty["files"][0] == ["src/29.py", 29, 0]


def test_a_run_names_the_commits_that_it_passed_over(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_backlog", "newest")
    assert tick() in (0, 4)  # 4: a merge made it worse
    shas = [tracked.merge(f"new {number}", {"wer": f"wer=0.{number + 1}\n"}) for number in range(5)]
    assert tick() in (0, 4)  # 4: a merge made it worse
    runs = settings.load().places.runs
    passed = {one.merge.sha: archive_record.blame(one.directory)["passed"] for one in archive.load(runs)}
    assert passed[shas[4]] == shas[:4]
    assert passed[shas[2]] == shas[:2]
    assert passed[shas[3]] == []
