"""The kept lines change nothing but the time that a build takes."""

from __future__ import annotations

import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import archive as archived
from deepspeech_wer import archive_record
from deepspeech_wer.dashboard import build, kept, kept_month
from deepspeech_wer.records import Run, as_json
from tests import invented_runs
from tests.invented_runs import PROJECT, done, failed, years

HOSTILE = "</script>\u2028 é \U0001f600 \ud83d"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An archive of all kinds of runs."""
    root = tmp_path / "runs"
    odd = done(33, 0.25, subject=HOSTILE, beam=True, width=1, rate=1.0, limit=2**60, data_set={"name": HOSTILE})
    assert odd.hyper
    odd.hyper["results"] |= {"signature": {"set": "<b>"}, "more": [1.5, None]}
    odd.hyper["context"]["time_started"] = "2030-01-01T01:00:00+02:00"
    archive(
        [
            *years(30),
            failed(31),
            done(32, None),
            odd,
            done(34, 0.2)._replace(id="by-hand"),
            failed(36)._replace(id="0-by hand"),
        ],
        root,
    )
    return root


def archive(runs: list[Run], root: Path) -> None:
    for run in invented_runs.archive(runs, root):
        fields = {key: value for key, value in as_json(run).items() if key not in ("id", "root", "hyper")}
        (run.directory / "run.json").write_text(json.dumps({"version": 1, "base": None, **fields}))


def site_with(root: Path, cache: Path) -> dict[str, bytes]:
    loaded = kept.load(root, cache)
    site = cache.with_name("site")
    build(
        loaded.runs, site, project=PROJECT, line=loaded.line, whole=loaded.whole, files=loaded.files, mark=loaded.mark
    )
    return content(site)


def site_without(root: Path, site: Path) -> dict[str, bytes]:
    shutil.rmtree(site, ignore_errors=True)
    build(archived.load(root), site, project=PROJECT)
    return content(site)


def content(site: Path) -> dict[str, bytes]:
    return {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}


def edit(hyper: Path, **results: Any) -> None:
    record = json.loads(hyper.read_text())
    record["results"] |= results
    hyper.write_text(json.dumps(record))


def read_by(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the name of each run that is read."""
    names: list[str] = []
    real = archive_record.read

    def read(directory: Path) -> Run:
        names.append(directory.name)
        return real(directory)

    monkeypatch.setattr(archive_record, "read", read)
    return names


def test_the_site_is_the_same_to_the_byte_with_new_and_old_lines(root: Path, tmp_path: Path) -> None:
    plain = site_without(root, tmp_path / "plain")
    assert site_with(root, tmp_path / "kept") == plain
    assert site_with(root, tmp_path / "kept") == plain
    shutil.rmtree(tmp_path / "site")
    assert site_with(root, tmp_path / "kept") == plain


def test_only_new_runs_are_read(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site_with(root, tmp_path / "kept")
    new = done(35, 0.1)
    archive([new], root)
    read = read_by(monkeypatch)
    kept.load(root, tmp_path / "kept")
    assert read == [new.id]
    assert site_with(root, tmp_path / "kept") == site_without(root, tmp_path / "plain")


def test_an_edited_record_is_taken_up(root: Path, tmp_path: Path) -> None:
    before = site_with(root, tmp_path / "kept")
    name = next(name for name in archived.names(root) if (root / name / "hyper.json").exists())
    edit(root / name / "hyper.json", test_wer=0.123)
    after = site_with(root, tmp_path / "kept")
    assert after["js/hyper.js"] != before["js/hyper.js"]
    assert after == site_without(root, tmp_path / "plain")


def test_an_edit_of_the_same_size_is_taken_up(root: Path, tmp_path: Path) -> None:
    site_with(root, tmp_path / "kept")
    record = root / archived.names(root)[0] / "run.json"
    before = record.stat()
    record.write_text(record.read_text().replace("Reuben", "Robert"))
    os.utime(record, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert record.stat().st_size == before.st_size
    assert site_with(root, tmp_path / "kept") == site_without(root, tmp_path / "plain")


def test_a_removed_run_leaves_no_line(root: Path, tmp_path: Path) -> None:
    site_with(root, tmp_path / "kept")
    names = archived.names(root)
    month = names[0][:6]
    for name in names:
        if name.startswith(month):
            shutil.rmtree(root / name)
    assert site_with(root, tmp_path / "kept") == site_without(root, tmp_path / "plain")
    assert not (tmp_path / "kept" / month).exists()


@pytest.mark.parametrize("damage", ["empty", "binary", "cut", "one byte", "other code", "no record", "a directory"])
def test_damaged_lines_are_made_again(root: Path, tmp_path: Path, damage: str) -> None:
    plain = site_with(root, tmp_path / "kept")
    for path in (tmp_path / "kept").iterdir():
        good = path.read_bytes()
        path.write_bytes(damaged(good, damage))
        if damage == "a directory":
            path.unlink()
            path.mkdir()
    shutil.rmtree(tmp_path / "site")
    assert site_with(root, tmp_path / "kept") == plain


def damaged(good: bytes, damage: str) -> bytes:
    head, data = good.splitlines()
    version = head.split()[0]
    match damage:
        case "empty":
            return b""
        case "binary":
            return head + b"\n" + bytes(range(256)) * 9
        case "cut":
            return good[: len(good) * 2 // 3]
        case "one byte":
            return good.replace(b"Reuben", b"Robert")
        case "other code":
            return checked(b"00000000", data.replace(b"Reuben", b"Robert"))
        case "no record":
            return checked(version, b"[1]")
    return good


def put(record: dict[str, Any], name: str, value: Any) -> None:
    """Put a value into a column, or for all of it where all are alike."""
    if name in record["alike"]:
        record["alike"][name] = value
    else:
        record["columns"][name][-1] = value


def bad_place(record: dict[str, Any], name: str) -> None:
    if name in kept_month.SHARED:
        put(record, name, len(record["shared"]))
    else:
        record["shared"] = {}


def short(record: dict[str, Any], name: str) -> None:
    """Leave a column with one value, as one has in which all are alike."""
    record["columns"][name] = record["columns"].get(name, [record["alike"].get(name)])[:1]


SHAPES: dict[str, Callable[[dict[str, Any], str], Any]] = {
    "no column": lambda record, name: record["columns" if name in record["columns"] else "alike"].pop(name),
    "one more column": lambda record, name: record["alike"].update({f"{name}s": 1}),
    "a short column": short,
    "no list": lambda record, name: record["columns"].update({name: {"0": 1}}),
    "a bad place": bad_place,
}


@pytest.mark.parametrize("shape", SHAPES)
def test_columns_of_another_shape_are_made_again(root: Path, tmp_path: Path, shape: str) -> None:
    plain = site_with(root, tmp_path / "kept")
    path = next(one for one in sorted((tmp_path / "kept").iterdir()) if len(one.read_bytes()) > 5000)
    head, data = path.read_bytes().splitlines()
    whole = json.loads(data)
    assert whole["alike"]
    for name in (*whole["columns"], *whole["alike"]):
        record = json.loads(data)
        SHAPES[shape](record, name)
        path.write_bytes(checked(head.split()[0], json.dumps(record, separators=(",", ":")).encode()))
        month = kept_month.read(path, head.split()[0].decode())
        assert len(month) == 0, name
    assert site_with(root, tmp_path / "kept") == plain
    assert path.read_bytes().splitlines()[1] == data


def checked(version: bytes, data: bytes) -> bytes:
    """Return a file with a good checksum."""
    return b"%s %08x\n%s\n" % (version, zlib.crc32(data), data)


def test_deleted_lines_are_made_again(root: Path, tmp_path: Path) -> None:
    plain = site_with(root, tmp_path / "kept")
    shutil.rmtree(tmp_path / "kept")
    assert site_with(root, tmp_path / "kept") == plain
    assert (tmp_path / "kept").is_dir()


def test_a_place_that_cannot_be_written_costs_only_time(root: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("in the way")
    assert site_with(root, tmp_path / "kept") == site_without(root, tmp_path / "plain")


def test_an_archive_that_cannot_be_written_is_kept_elsewhere(root: Path, tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    site_with(root, tmp_path / "kept")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_an_unreadable_run_is_named_each_time(root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = next(name for name in archived.names(root) if (root / name / "hyper.json").exists())
    site_with(root, tmp_path / "kept")
    (root / name / "hyper.json").write_text("{")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert name not in {run.id for run in kept.load(root, tmp_path / "kept").runs}
        assert f"{name}/hyper.json" in caplog.text
    assert site_with(root, tmp_path / "kept") == site_without(root, tmp_path / "plain")


def test_a_run_that_breaks_during_the_build_is_left_out(root: Path, tmp_path: Path) -> None:
    loaded = kept.load(root, tmp_path / "kept")
    name = next(name for name in archived.names(root) if (root / name / "hyper.json").exists())
    (root / name / "hyper.json").write_text("{")
    build(
        loaded.runs,
        tmp_path / "site",
        project=PROJECT,
        line=loaded.line,
        whole=loaded.whole,
        files=loaded.files,
        mark=loaded.mark,
    )
    assert content(tmp_path / "site") == site_without(root, tmp_path / "plain")


def edited_in_place(root: Path, name: str) -> None:
    record = root / name / "run.json"
    record.write_text(record.read_text().replace('"machine": "', '"machine": "not '))


@pytest.mark.parametrize("newest", [0, 1])
def test_each_run_is_looked_at_within_a_few_builds(
    root: Path, tmp_path: Path, newest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_NEWEST", newest)
    monkeypatch.setattr(kept, "_TURNS", 3)
    monkeypatch.setattr(kept, "_month", lambda name: name[:8])  # few runs, on many days
    kept.load(root, tmp_path / "kept")
    names = archived.names(root)
    for name in names:
        edited_in_place(root, name)
    read = read_by(monkeypatch)
    kept.load(root, tmp_path / "kept")
    assert 0 < len(set(read)) < len(names)
    for _ in range(3):
        kept.load(root, tmp_path / "kept")
    assert sorted(read) == sorted(names)
    assert site_with(root, tmp_path / "kept") == site_without(root, tmp_path / "plain")


@pytest.mark.parametrize("name", ["run.json", "hyper.json", "a new file"])
def test_a_file_that_is_replaced_or_added_is_seen_at_once(
    root: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_NEWEST", 0)
    monkeypatch.setattr(kept, "_TURNS", 1000)
    kept.load(root, tmp_path / "kept")
    run = next(one for one in archived.names(root) if (root / one / "hyper.json").exists())
    beside = root / run / ".beside"
    beside.write_bytes((root / run / name).read_bytes() if (root / run / name).exists() else b"")
    beside.replace(root / run / name)
    read = read_by(monkeypatch)
    kept.load(root, tmp_path / "kept")
    assert run in read
