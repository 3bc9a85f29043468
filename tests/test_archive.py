"""The archive: a run is stored completely or not at all, and unreadable never looks empty."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive, archive_record, archive_store, derived, files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import work as works
from deepspeech_wer.records import Circumstances, Merge, Outcome, Run
from tests.dashboard.test_kept import archive as records
from tests.invented_runs import years

MERGE = Merge("c0ffee" * 6 + "abcd", 7, "bring in <b>", "Ada", "2026-01-02T03:04:05Z", ("1" * 40, "2" * 40))
HYPER = b'{"context":{"time_started":"2026-01-02T03:04:05.5"},\n "parameters":{"x":1},"results":{"test_wer":0.25}}\n'


def store(runs: Path, merge: Merge, outcome: Outcome, *, machine: str, base: str | None = None) -> Run:
    name = works.name(outcome.started_at, merge.sha, archive.newest(runs), ())
    return archive_store.store(runs, name, merge, outcome, Circumstances(machine, base=base))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "data" / "runs"


@pytest.fixture
def outcome(tmp_path: Path) -> Outcome:
    made = tmp_path / "made"
    made.mkdir()
    (made / "hyper.json").write_bytes(HYPER)
    (made / "out.log").write_text("hello\n")
    start, end = "2026-01-02T03:04:05Z", "2026-01-02T03:05:05Z"
    return Outcome("done", None, "", 1, start, end, files=made, logs=made)


def test_a_stored_run_is_read_back_unchanged(runs: Path, outcome: Outcome) -> None:
    run = store(runs, MERGE, outcome, machine="trainer")
    assert run.id == "20260102-030405-c0ffeec0ffee"
    assert (run.merge, run.status, run.attempt, run.machine) == (MERGE, "done", 1, "trainer")
    assert run.hyper is not None
    assert run.hyper["results"]["test_wer"] == 0.25
    assert (run.directory / "hyper.json").read_bytes() == HYPER
    assert (run.directory / "out.log").read_text() == "hello\n"
    assert archive.load(runs) == [run]
    assert archive.commits(runs) == {"c0ffeec0ffee"}


def test_what_is_written_is_private(runs: Path, outcome: Outcome) -> None:
    run = store(runs, MERGE, outcome, machine="trainer")
    assert {path.stat().st_mode & 0o777 for path in run.directory.iterdir()} == {0o600}
    assert run.directory.stat().st_mode & 0o777 == 0o700


def test_the_same_merge_twice_in_a_second_keeps_both(runs: Path, outcome: Outcome) -> None:
    first = store(runs, MERGE, outcome, machine="m")
    second = store(runs, MERGE, outcome, machine="m")
    assert [run.id for run in archive.load(runs)] == [first.id, second.id]
    assert archive.find(runs, "c0ffee") == second


@pytest.mark.parametrize("digits", ["0f", "f0", "0f0", "f0f00f"])
def test_of_runs_that_start_in_one_second_the_last_is_the_newest(runs: Path, outcome: Outcome, digits: str) -> None:
    stored = [store(runs, MERGE._replace(sha=digit * 40), outcome, machine="m").id for digit in digits]
    assert archive.names(runs) == stored
    assert [run.id for run in archive.recent(runs)] == stored[::-1]
    assert [one.run for one in archive.ended(runs)] == stored[::-1]


@pytest.mark.parametrize("age_s", [0, 0.2])
def test_a_change_by_hand_is_seen_at_once(runs: Path, outcome: Outcome, age_s: float) -> None:
    """The names are kept within a process as long as the directory's time says that they are the same."""
    first = store(runs, MERGE, outcome, machine="m")
    time.sleep(age_s)
    assert archive.names(runs) == [first.id]
    archive.names(runs).clear()
    second = store(runs, MERGE, outcome, machine="m")
    assert archive.names(runs) == [first.id, second.id]
    time.sleep(age_s)
    assert archive.names(runs) == [first.id, second.id]
    first.directory.rename(runs.parent / "aside")
    assert archive.names(runs) == [second.id]
    second.directory.rename(runs.parent / "elsewhere")
    second.directory.symlink_to(runs.parent / "elsewhere")
    assert archive.names(runs) == []
    second.directory.unlink()
    runs.rmdir()
    assert archive.names(runs) == []


def test_bases_are_read_from_the_runs(runs: Path, outcome: Outcome) -> None:
    store(runs, MERGE, outcome, machine="m", base="1" * 40)
    store(runs, MERGE._replace(sha="f" * 40), outcome, machine="m")  # by hand
    before = store(runs, MERGE._replace(sha="e" * 40), outcome, machine="m")
    broken = store(runs, MERGE._replace(sha="d" * 40), outcome, machine="m", base="d" * 40)
    record = json.loads((before.directory / "run.json").read_text())
    del record["base"]  # the first runs had none
    (before.directory / "run.json").write_text(json.dumps(record))
    (broken.directory / "run.json").write_text("{")
    assert archive.bases(runs) == {"1" * 40, "e" * 40}
    for number, text in enumerate(("", "[]", '{"version":1}', '{"version":1,"merge":5}', '{"version":1,"base":[]}')):
        (runs / f"broken{number}").mkdir()
        (runs / f"broken{number}" / "run.json").write_text(text)
    assert archive.bases(runs) == {"1" * 40, "e" * 40}
    assert len(archive.load(runs)) == 3


def test_a_failed_run_needs_no_hyper(runs: Path, outcome: Outcome, tmp_path: Path) -> None:
    failed = outcome._replace(status="failed", failure="exit 3", detail="it broke", files=None, logs=tmp_path)
    run = store(runs, MERGE, failed, machine="m")
    assert (run.failure, run.detail, run.hyper) == ("exit 3", "it broke", None)


def test_neither_links_nor_pipes_are_archived(runs: Path, outcome: Outcome, tmp_path: Path) -> None:
    assert outcome.files
    secret = tmp_path / "secret"
    secret.write_text("key")
    (outcome.files / "history.json").symlink_to(secret)
    os.mkfifo(outcome.files / "utterances.json")
    run = store(runs, MERGE, outcome, machine="m")
    assert sorted(path.name for path in run.directory.iterdir()) == ["hyper.json", "out.log", "run.json"]


def test_a_crash_while_storing_leaves_no_run(runs: Path, outcome: Outcome, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archive_store, "sync_tree", full)
    with pytest.raises(OSError, match="No space"):
        store(runs, MERGE, outcome, machine="m")
    assert list(runs.iterdir()) == []
    (runs / ".20260102-030405-c0ffeec0ffee.partial").mkdir()
    assert archive.names(runs) == []
    files.remove_partial(runs)
    assert list(runs.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("run.json", "", "expected JSON"),
        ("run.json", '{"version": 2}', "written by a newer deepspeech_wer"),
        ("run.json", '{"version": 0}', "expected version 1, found 0"),
        ("run.json", "[]", "expected version 1"),
        ("run.json", '{"version": 1}', "without 'status'"),
        ("hyper.json", "{", "hyper.json"),
        ("hyper.json", None, "No such file"),
    ],
)
def test_an_unreadable_run_is_reported_and_skipped(
    runs: Path, outcome: Outcome, caplog: pytest.LogCaptureFixture, file: str, text: str | None, complaint: str
) -> None:
    broken = store(runs, MERGE, outcome, machine="m")
    whole = store(runs, MERGE._replace(sha="f" * 40), outcome, machine="m")
    (broken.directory / file).unlink()
    if text is not None:
        (broken.directory / file).write_text(text)
    assert archive.load(runs) == [whole]
    assert complaint in caplog.text
    assert str(broken.directory / file) in caplog.text
    assert archive.commits(runs) == {"c0ffeec0ffee", "f" * 12}  # so it is not run again


@pytest.mark.parametrize(
    ("place", "key", "value"),
    [
        ("", "status", ["done"]),
        ("", "detail", 7),
        ("", "attempt", "1"),
        ("", "started_at", None),
        ("", "finished_at", "yesterday"),
        ("", "machine", {}),
        ("merge", "ordinal", None),
        ("merge", "ordinal", "7"),
        ("merge", "subject", 5),
        ("merge", "committed_at", 1_480_000_000),
        ("merge", "parents", "ab"),
    ],
)
def test_an_invalid_field_is_reported_and_its_run_skipped(
    runs: Path, outcome: Outcome, caplog: pytest.LogCaptureFixture, place: str, key: str, value: object
) -> None:
    broken = store(runs, MERGE, outcome, machine="m")
    whole = store(runs, MERGE._replace(sha="f" * 40), outcome, machine="m")
    record = json.loads((broken.directory / "run.json").read_text())
    (record[place] if place else record)[key] = value
    (broken.directory / "run.json").write_text(json.dumps(record))
    assert archive.load(runs) == [whole]
    assert f"found one without a valid {key!r}" in caplog.text


def test_an_ambiguous_prefix_is_refused(runs: Path, outcome: Outcome) -> None:
    first = store(runs, MERGE, outcome, machine="m")
    again = store(runs, MERGE, outcome._replace(started_at="2030-01-01T00:00:00Z"), machine="m")
    store(runs, MERGE._replace(sha="c1" * 20), outcome, machine="m")
    assert archive.find(runs, MERGE.sha[:4]) == again
    assert archive.find(runs, first.id) == first
    with pytest.raises(Trouble, match="'c' matches 2 commits"):
        archive.find(runs, "c")


def test_an_unknown_run_says_where_to_look(runs: Path) -> None:
    with pytest.raises(Trouble, match="no run 'nope'"):
        archive.find(runs, "nope")


def test_run_json_can_be_read_by_people(runs: Path, outcome: Outcome) -> None:
    run = store(runs, MERGE, outcome, machine="m")
    record = json.loads((run.directory / "run.json").read_text())
    assert record["version"] == 1
    assert record["merge"]["subject"] == "bring in <b>"


def test_a_clock_set_back_does_not_change_the_order(runs: Path, outcome: Outcome) -> None:
    first = store(runs, MERGE, outcome, machine="m")
    earlier = outcome._replace(started_at="2025-12-31T23:59:59Z", finished_at="2026-01-01T00:00:00Z")
    second = store(runs, MERGE._replace(sha="f" * 40, ordinal=8), earlier, machine="m")
    assert sorted(archive.load(runs), key=lambda run: run.merge.ordinal) == [first, second]


@pytest.mark.parametrize("name", ["utterances.json", "history.json", "gpu-usage.csv", "out.log", "err.log"])
@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_link_to_a_foreign_file_is_left_out_with_a_warning(
    runs: Path,
    outcome: Outcome,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    link: Callable[[Path, Path], None],
) -> None:
    assert outcome.files
    (tmp_path / "secret").write_text("key")
    (outcome.files / name).unlink(missing_ok=True)
    link(outcome.files / name, tmp_path / "secret")
    run = store(runs, MERGE, outcome, machine="m")
    assert not (run.directory / name).exists()
    assert f"{name}: a" in caplog.text
    assert caplog.text.count("not archived") >= 1


@pytest.mark.parametrize("name", ["utterances.json", "history.json", "gpu-usage.csv", "out.log", "err.log"])
@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
def test_what_is_no_file_is_left_out_with_a_warning(
    runs: Path, outcome: Outcome, caplog: pytest.LogCaptureFixture, name: str, make: Callable[[Path], None]
) -> None:
    assert outcome.files
    for place in (outcome.files, outcome.logs):
        (place / name).unlink(missing_ok=True)
    make(outcome.files / name if name not in archive_store.LOGS else outcome.logs / name)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    run = store(runs, MERGE, outcome, machine="m")
    assert not (run.directory / name).exists()
    assert f"{name}: expected a regular file" in caplog.text
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


@pytest.mark.parametrize("place", ["work/run", "work/run/logs", "work/run/logs/x"])
def test_nothing_is_archived_through_a_linked_directory(
    runs: Path, outcome: Outcome, tmp_path: Path, caplog: pytest.LogCaptureFixture, place: str
) -> None:
    foreign = tmp_path / "foreign"
    for below in ("", "x", "logs/x"):
        (foreign / below).mkdir(parents=True, exist_ok=True)
        (foreign / below / "err.log").write_text("key")
        (foreign / below / "history.json").write_text("key")
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).symlink_to(foreign)
    work = tmp_path / "work" / "run"
    failed = outcome._replace(status="failed", failure="exit 1", logs=work, files=work / "logs" / "x")
    run = store(runs, MERGE, failed, machine="m")
    assert [path.name for path in run.directory.iterdir()] == ["run.json"]
    assert "nothing in it is archived" in caplog.text


def test_a_linked_run_is_left_out_with_a_warning(
    runs: Path, outcome: Outcome, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = store(runs, MERGE, outcome, machine="m")
    run.directory.rename(tmp_path / "foreign")
    run.directory.symlink_to(tmp_path / "foreign")
    assert (archive.load(runs), archive.commits(runs), archive.holds(runs, run.id)) == ([], set(), False)
    assert f"{run.directory} is a link" in caplog.text
    assert archive_store.store(runs, run.id, MERGE, outcome, Circumstances("m")) == run
    assert not run.directory.is_symlink()
    assert (tmp_path / "foreign" / "run.json").exists()


@pytest.mark.parametrize(
    "damage",
    ["none", "deleted", "cut", "one byte", "another shape", "no columns", "uneven columns", "rows", "a directory"],
)
def test_places_are_the_same_with_what_was_kept(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only new and changed runs are read again."""
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    monkeypatch.setattr(archive, "_PLACED_UNKEPT", 1)
    records(years(20), runs)
    assert archive.placed(runs, kept) == archive.placed(runs, tmp_path / "other")
    good = kept.read_bytes()
    for path in sorted(runs.iterdir())[3:5]:
        shutil.rmtree(path)
    changed = sorted(runs.iterdir())[7] / "run.json"
    changed.write_text(changed.read_text().replace('"number": 0', '"number": 77'))
    records(years(22)[20:], runs)
    match damage:
        case "deleted":
            kept.unlink()
        case "cut":
            kept.write_bytes(good[: len(good) // 2])
        case "one byte":
            kept.write_bytes(good.replace(b"2023-03", b"2023-04"))
        case "another shape":
            derived.write(kept, archive._PLACED_VERSION, {"rows": 7})
        case "no columns":
            derived.write(kept, archive._PLACED_VERSION, [7] * 8)
        case "uneven columns":
            derived.write(kept, archive._PLACED_VERSION, [["a", "b"], *[["a"]] * 7])
        case "rows":  # as they were kept before
            head, _, data = good.partition(b"\n")
            derived.write(kept, head.split()[0].decode(), list(zip(*json.loads(data), strict=True)))
        case "a directory":
            kept.unlink()
            kept.mkdir()
    read = list[str]()
    real = archive_record.raw

    def noted(path: Path) -> dict[str, Any]:
        read.append(path.parent.name)
        return real(path)

    monkeypatch.setattr(archive_record, "raw", noted)
    found = archive.placed(runs, kept)
    expected = 3 if damage == "none" else 20
    assert len(read) == expected
    assert len(found) == 20
    assert found == archive.placed(runs, tmp_path / "third")
    assert next(one for one in found if one.id == changed.parent.name).number == 77


def test_places_of_an_unreadable_run_are_left_out_each_time(tmp_path: Path) -> None:
    runs, kept = tmp_path / "runs", tmp_path / "kept"
    records(years(60), runs)
    [first, *_] = archive.names(runs)
    assert len(archive.placed(runs, kept)) == 60
    (runs / first / "run.json").write_text("{")
    assert [len(archive.placed(runs, kept)) for _ in range(2)] == [59, 59]
