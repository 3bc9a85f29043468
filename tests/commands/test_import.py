"""Results of earlier trackers: hyper.js and hyper.json of 2016-2018, as people have them."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, cli, exit_codes, hyper, import_records
from deepspeech_wer.configuration import settings
from deepspeech_wer.records import Run
from tests.conftest import Repository
from tests.test_automation import tick
from tests.test_automation import tracked as tracked  # the fixture


def record(day: int, sha: str = "", *, wer: object = 0.3, **results: object) -> dict[str, Any]:
    """Return a record as the notebook of 2016 wrote it: naive time, all WERs, nothing about errors."""
    return {
        "context": {"time_started": f"2016-11-{day:02d}T10:00:00.123456", "git_hash": sha, "git_branch": "master"},
        "parameters": {"learning_rate": 0.001, "training_iters": 50, "n_hidden_1": 494, "data_set": {"name": "ted"}},
        "results": {
            "duration": 3600.5,
            "last_train_wer": 0.1,
            "last_validation_wer": 0.35,
            "test_wer": wer,
            **results,
        },
    }


def js(*records: dict[str, Any]) -> str:
    return f"window.ALL_THE_DATA = [{','.join(json.dumps(one) for one in records)}];\n"


def imported(path: Path, text: str, *, code: int = exit_codes.DONE) -> list[Run]:
    """Write a file, import it, and return the archive in its order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    assert cli.main(["import", str(path)]) == code
    return ordered()


def ordered() -> list[Run]:
    return archive.in_order(archive.load(settings.load().places.runs))


def test_old_results_stand_before_the_trackers_own(tracked: Repository, tmp_path: Path) -> None:
    old = [tracked.merge(f"old {number}") for number in range(3)]
    tick()
    shuffled = [record(3, old[1]), record(9, old[0]), record(5)]  # the history counts, not the clock
    runs = imported(tmp_path / "hyper.js", js(*shuffled))
    assert [run.merge.sha for run in runs if run.merge.sha in old] == [old[0], old[1], old[2]]
    assert runs[-1].imported is None
    assert [run.merge.subject for run in runs[:-1]].count("commit not recorded") == 1
    assert {run.merge.subject for run in runs} >= {"old 0", "old 1", "old 2"}
    assert len({run.number for run in runs}) == 4
    before = [run.id for run in runs]
    assert cli.main(["import", str(tmp_path / "hyper.js")]) == exit_codes.DONE
    assert [run.id for run in ordered()] == before
    newer = tracked.merge("newer")
    assert tick() == 0
    assert ordered()[-1].merge.sha == newer


@pytest.mark.usefixtures("tracked")
def test_commits_without_a_repository_stand_by_their_time(tmp_path: Path) -> None:
    shas = ["abc1234", "f" * 40, "", "0123456789ab"]
    runs = imported(tmp_path / "hyper.js", js(*(record(9 - number, sha) for number, sha in enumerate(shas))))
    assert [run.started_at[:10] for run in runs] == [f"2016-11-{day:02d}" for day in (6, 7, 8, 9)]
    assert [run.finished_at[11:] for run in runs] == ["11:00:00Z"] * 4
    again = imported(tmp_path / "more.js", js(record(1, "e" * 40), record(20, "d" * 40)))
    assert [run.started_at[8:10] for run in again] == ["01", "06", "07", "08", "09", "20"]
    tick()
    assert ordered()[-1].merge.subject == "root"


@pytest.mark.usefixtures("tracked")
def test_what_was_never_measured_is_no_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counted = record(4, wer=0.0)
    counted["results"]["test_errors"] = {"substitutions": 0, "deletions": 0, "insertions": 0, "words": 9}
    records = [record(1, wer=0.0), record(2, wer=0), record(3, wer=math.nan, last_train_wer=0.0), counted]
    records.append(record(5, wer=math.inf))
    records.append(record(6))
    del records[-1]["results"]["test_wer"]
    runs = imported(tmp_path / "hyper.js", js(*records))
    assert [hyper.test_wer(run.hyper) for run in runs] == [None, None, None, 0.0, None, None]
    assert runs[2].hyper is not None
    assert hyper.wer(runs[2].hyper, "last_train_wer") is None
    assert "not measured" in capsys.readouterr().out
    assert cli.main(["build"]) == 0


@pytest.mark.usefixtures("tracked")
def test_a_tree_is_archived_byte_for_byte_and_once(tmp_path: Path) -> None:
    text = json.dumps(record(1, "a" * 40), indent=3)
    for directory in ("one", "two/deep"):
        imported(tmp_path / "logs" / directory / "hyper.json", text)
    (tmp_path / "logs" / "hyper.js").write_text(js(record(1, "a" * 40), record(2, "b" * 40), record(2, "b" * 40)))
    assert cli.main(["import", str(tmp_path / "logs")]) == exit_codes.DONE
    first, second = ordered()
    assert (first.directory / "hyper.json").read_text() == text
    assert second.merge.sha == "b" * 40


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize(
    ("text", "readable", "told"),
    [
        (js(record(1), record(2))[:-40], 1, "not JSON"),
        (js(record(1))[:-3], 1, "does not end"),
        (f"window.ALL_THE_DATA = [\n{json.dumps(record(1))},\n{{broken,\n{json.dumps(record(2))}\n]", 2, "line 3"),
        (f"ALL_THE_DATA=[{json.dumps(record(1))},,17,{json.dumps(record(2))},]", 2, "expected a JSON object"),
        (js(record(1), {"context": {}, "parameters": {}, "results": {}}), 1, "time_started"),
        (js(record(1), record(2, wer="0.3"), record(3, wer=-1)), 1, "test_wer"),
        (f"window.ALL_THE_DATA = [{'[' * 100_000}", 0, "not JSON"),
        ("", 0, "empty"),
        ("\x00\xff", 0, "not JSON"),
    ],
)
def test_one_damaged_record_costs_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, readable: int, told: str
) -> None:
    assert len(imported(tmp_path / "hyper.js", text, code=exit_codes.TROUBLE)) == readable
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not imported: ")]
    assert lines
    assert all(str(tmp_path) in line and len(line) < 500 for line in lines)
    assert told in lines[0]


def test_a_lost_archive_comes_back_from_its_own_page(tracked: Repository, tmp_path: Path) -> None:
    tick()
    for wer in (0.4, 0.6):
        tracked.merge(f"to {wer}", {"wer": f"wer={wer}\n"})
        tick()
    places = settings.load().places
    before = ordered()
    page = tmp_path / "hyper.js"
    page.write_bytes((places.site / "js" / "hyper.js").read_bytes())
    places.runs.rename(tmp_path / "lost")
    (places.cache / "tracker.json").unlink()  # as the message about an archive that is gone says
    assert cli.main(["import", str(page)]) == exit_codes.DONE
    after = ordered()
    assert [(run.id, run.merge.sha, run.merge.ordinal, hyper.test_wer(run.hyper)) for run in after] == [
        (run.id, run.merge.sha, run.merge.ordinal, hyper.test_wer(run.hyper)) for run in before
    ]
    assert [run.variables for run in after] == [run.variables for run in before]


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", ["missing.js", "empty"])
def test_nothing_to_import_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "empty").mkdir()
    assert cli.main(["import", str(tmp_path / name)]) == exit_codes.TROUBLE
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / name) in line


@pytest.mark.usefixtures("tracked")
def test_an_old_import_is_never_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_retrain", "on")
    tick()
    shas = [f"{number:040x}" for number in range(1, 9)]
    wers = [0.2, 0.21, 0.2, 0.205, 0.2, 0.2, 0.9, 0.9]  # a step that would be investigated
    imported(
        tmp_path / "hyper.js",
        js(*(record(day, sha, wer=wer) for day, (sha, wer) in enumerate(zip(shas, wers, strict=True), 1))),
    )
    for _ in range(2):
        assert tick() == 0
    assert all(run.rerun_of is None for run in ordered())
    assert cli.main(["verdicts"]) == 0
    assert " suspect " not in capsys.readouterr().out


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("done", range(4))
def test_an_import_that_is_cut_off_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], done: int
) -> None:
    shas = ["", "f" * 40, "abc1234", "e" * 40]
    page = tmp_path / "hyper.js"
    page.write_text(js(*(record(9 - number, sha) for number, sha in enumerate(shas))))
    real, stored = import_records.store, []

    def full(runs: Path, placing: import_records.Placing) -> Run:
        if len(stored) == done:
            raise OSError(errno.ENOSPC, "No space left on device")
        stored.append(placing)
        return real(runs, placing)

    monkeypatch.setattr(import_records, "store", full)
    assert cli.main(["import", str(page)]) == exit_codes.TROUBLE
    (line,) = capsys.readouterr().err.splitlines()
    assert "No space left on device; what was archived stays: import again" in line
    assert len(ordered()) == done
    monkeypatch.setattr(import_records, "store", real)
    assert cli.main(["import", str(page)]) == exit_codes.DONE
    assert [run.started_at[:10] for run in ordered()] == [f"2016-11-{day:02d}" for day in (6, 7, 8, 9)]
