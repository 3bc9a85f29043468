"""Files that survive crashes, and trees without permissions."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_wer import archive_store, files
from deepspeech_wer.records import Circumstances, Merge, Outcome


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("pipe", "a pipe"),
        ("socket", "a socket or a device"),
        ("device", "a device"),
        ("large", "one of 67108865"),
    ],
)
def test_only_a_file_of_sensible_size_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, found: str
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    place = Path("place")
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("place")
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        place.touch()
        os.truncate(place, files.SMALL + 1)
    with pytest.raises(IsADirectoryError, match=f"expected a file of at most 67108864 bytes, found {found}"):
        files.read(place)


def test_a_locked_tree_is_removed_as_an_ordinary_user(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    tree = tmp_path / "tree"
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "b" / "c").touch()
    (tree / "link").symlink_to(outside)
    for directory in (tree / "a" / "b", tree / "a", tree):
        directory.chmod(0)
    as_anybody = []
    if os.geteuid() == 0:  # root ignores permissions, so drop that capability
        if shutil.which("setpriv") is None:
            pytest.skip("dropping root's capabilities takes setpriv: install Debian's package util-linux")
        as_anybody = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    code = f"from pathlib import Path; from deepspeech_wer import files; print(files.remove_tree(Path({str(tree)!r})))"
    done = subprocess.run([*as_anybody, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert not tree.exists()
    assert outside.stat().st_mode & 0o777 == 0o500


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record each flush and each rename, in order."""
    calls: list[str] = []
    fsync = os.fsync

    def flushing(descriptor: int) -> None:
        calls.append(f"flush {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def renaming(path: Path, target: Path) -> Path:
        calls.append(f"rename to {target.name}")
        os.rename(path, target)  # noqa: PTH104 - Path.rename is patched
        return target

    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(Path, "replace", renaming)
    monkeypatch.setattr(Path, "rename", renaming)
    return calls


def test_a_file_is_flushed_then_renamed_then_its_directory_flushed(tmp_path: Path, seen: list[str]) -> None:
    files.write_atomically(tmp_path / "file", b"x")
    assert seen == [f"flush .file.{os.getpid()}.partial", "rename to file", f"flush {tmp_path.name}"]


def test_a_run_is_flushed_before_it_is_renamed(tmp_path: Path, seen: list[str]) -> None:
    made = tmp_path / "made"
    made.mkdir()
    for name in ("hyper.json", "out.log", "err.log"):
        (made / name).write_text('{"context":{"time_started":"2026-01-01T00:00:00"},"results":{"test_wer":0.5}}')
    moment = "2026-01-01T00:00:00Z"
    merge = Merge("a" * 40, 1, "s", "A", moment, ())
    outcome = Outcome("done", None, "", 1, moment, moment, files=made, logs=made)
    run = archive_store.store(tmp_path / "runs", f"20260101-000000-{'a' * 12}", merge, outcome, Circumstances("m"))
    *before, renamed, last = seen
    assert (renamed, last) == (f"rename to {run.id}", "flush runs")
    flushed = {"hyper.json", "out.log", "err.log", "run.json", f".{run.id}.partial"}
    assert {f"flush {name}" for name in flushed} <= set(before)


def test_a_file_is_replaced_atomically_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomically(path, b"one", mode=0o600)
    files.write_atomically(path, b"two", mode=0o640)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)
    assert list(tmp_path.iterdir()) == [path]


def nest(top: Path, depth: int, name: str = "d") -> None:
    """Make nested directories, deeper than any path may be long."""
    top.mkdir(exist_ok=True)
    here = os.open(top, os.O_PATH)
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_PATH, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)


@pytest.mark.parametrize(
    ("depth", "name"), [(990, "d"), (5000, "d"), (1200, "x" * 200)], ids=["990", "5000", "long names"]
)
def test_a_deep_tree_is_flushed_and_removed(tmp_path: Path, depth: int, name: str) -> None:
    nest(tmp_path / "tree", depth, name)
    nest(tmp_path / "tree", 3, "beside")
    files.sync_tree(tmp_path / "tree")
    assert files.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_a_deep_tree_that_a_crash_left_is_removed(tmp_path: Path) -> None:
    nest(tmp_path / "runs", 1500, "kept")
    nest(tmp_path / "runs" / "kept" / "kept" / ".run.1.partial", 1500)
    (tmp_path / "foreign" / ".a.1.partial").mkdir(parents=True)
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "foreign")
    (tmp_path / "runs" / ".link.1.partial").symlink_to(tmp_path / "foreign")
    files.remove_partial(tmp_path / "runs")
    (tmp_path / "runs" / ".mine.partial").touch()
    files.remove_partial(tmp_path / "runs")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == [".mine.partial", "kept", "link"]
    assert [path.name for path in (tmp_path / "runs" / "kept" / "kept").iterdir()] == ["kept"]
    assert (tmp_path / "foreign" / ".a.1.partial").exists()
    files.remove_partial(tmp_path / "runs" / "link")
    files.remove_partial(tmp_path / "nothing" / "here")
    assert (tmp_path / "foreign" / ".a.1.partial").exists()
    assert files.remove_tree(tmp_path / "runs")


@pytest.mark.parametrize("place", [".", "a", "a/b", "a/b/c", "a/b/c/file"])
def test_a_link_in_the_place_of_a_directory_is_removed_itself(tmp_path: Path, place: str) -> None:
    foreign = tmp_path / "foreign"
    (foreign / "b" / "c").mkdir(parents=True)
    (foreign / "b" / "c" / "file").touch()
    before = sorted(foreign.rglob("*"))
    foreign.chmod(0o500)
    tree = tmp_path / "tree"
    (tree / place).parent.mkdir(parents=True, exist_ok=True)
    (tree / place).symlink_to(foreign)
    files.sync_tree(tree)
    assert files.remove_tree(tree)
    assert not os.path.lexists(tree)
    assert foreign.stat().st_mode & 0o777 == 0o500
    assert sorted(foreign.rglob("*")) == before


def test_a_link_that_replaces_a_directory_during_the_walk_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job's leftovers may race with the removal."""
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "file").touch()
    (tmp_path / "tree" / "a" / "b").mkdir(parents=True)
    unlink = os.unlink

    def replacing(name: str, *, dir_fd: int) -> None:
        if name == "b":
            monkeypatch.setattr(os, "unlink", unlink)
            (tmp_path / "tree" / "a" / "b").rename(tmp_path / "b")
            (tmp_path / "tree" / "a" / "b").symlink_to(tmp_path / "foreign")
            raise IsADirectoryError
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", replacing)
    assert not files.remove_tree(tmp_path / "tree")
    assert (tmp_path / "foreign" / "file").exists()
    assert files.remove_tree(tmp_path / "tree")


def test_a_directory_that_is_moved_during_the_walk_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "a").touch()
    (tmp_path / "tree" / "a" / "b" / "c").mkdir(parents=True)
    rmdir = os.rmdir

    def moving(name: str, *, dir_fd: int) -> None:
        if name == "c":
            (tmp_path / "tree" / "a" / "b").rename(tmp_path / "foreign" / "b")
        rmdir(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "rmdir", moving)
    assert not files.remove_tree(tmp_path / "tree")
    assert sorted(path.name for path in (tmp_path / "foreign").iterdir()) == ["a", "b"]


def test_other_kinds_of_files_are_removed_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree" / "pipe")
    (tmp_path / "tree" / "dangling").symlink_to("nowhere")
    (tmp_path / "tree" / os.fsdecode(b"\xff\n")).touch()
    files.sync_tree(tmp_path / "tree")
    assert files.remove_tree(tmp_path / "tree" / "pipe")
    assert files.remove_tree(tmp_path / "tree")
    assert files.remove_tree(tmp_path / "tree" / "gone")
    assert list(tmp_path.iterdir()) == []


def test_access_is_not_restored_through_a_link(tmp_path: Path) -> None:
    for name in ("foreign", "ours"):
        (tmp_path / name).mkdir(mode=0o500)
    (tmp_path / "link").symlink_to("foreign")
    files.restore_access(tmp_path / "link", tmp_path / "ours")
    assert (tmp_path / "foreign").stat().st_mode & 0o777 == 0o500
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o700
