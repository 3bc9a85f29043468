"""Files that survive crashes, and trees that a job has locked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_wer import files


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
    if os.geteuid() == 0:  # root is held up by no permission: give that up
        if shutil.which("setpriv") is None:
            pytest.skip("giving up root's rights takes util-linux's setpriv")
        as_anybody = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    code = f"from pathlib import Path; from deepspeech_wer import files; print(files.remove_tree(Path({str(tree)!r})))"
    done = subprocess.run([*as_anybody, sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert not tree.exists()
    assert outside.stat().st_mode & 0o777 == 0o500


def test_a_file_is_replaced_whole_with_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write_atomically(path, b"one", mode=0o600)
    files.write_atomically(path, b"two", mode=0o640)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o640)
    assert list(tmp_path.iterdir()) == [path]
