"""Files that survive crashes, and trees without permissions."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_wer import archive, files
from deepspeech_wer.records import Merge, Outcome


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
    run = archive.store(tmp_path / "runs", f"20260101-000000-{'a' * 12}", merge, outcome, machine="m")
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
