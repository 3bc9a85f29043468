"""bin/install, as far as it goes without a network: which .venv it takes, and when it makes one anew."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# A Python that says which version it has, and notes what it is asked to do.
FAKE = """#!/bin/sh
case "$*" in
    -V) echo "Python {version}";;
    *version_info*) exit {too_old};;
    *ensurepip*) ;;
    "-m venv --clear "*) echo made >>"{log}"; mkdir -p "$4/bin"; cp "$0" "$4/bin/python";;
    *"-m pip install"*) echo installed >>"{log}";;
    "-m pip --version") exit {no_pip};;
esac
"""


def fake(path: Path, log: Path, *, version: str, too_old: int = 0, no_pip: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FAKE.format(version=version, too_old=too_old, no_pip=no_pip, log=log))
    path.chmod(0o755)
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a path with blanks and letters beyond ASCII."""
    place = tmp_path / "müller & co" / "deep speech"
    (place / "bin").mkdir(parents=True)
    for name in ("bin/install", "pyproject.toml"):
        shutil.copy(ROOT / name, place / name)
    return place


def install(checkout: Path, python: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "bin" / "install", "demo"],
        env={"PATH": os.environ["PATH"], "PYTHON": str(python), "HOME": str(checkout)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_second_call_does_nothing(checkout: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    python = fake(tmp_path / "python", log, version="3.11.2")
    assert install(checkout, python).returncode == 0
    assert log.read_text().split() == ["made", "installed"]
    assert install(checkout, python).returncode == 0
    assert log.read_text().split() == ["made", "installed"]


@pytest.mark.parametrize(
    ("version", "too_old", "no_pip", "done"),
    [
        ("3.12.1", 0, 0, ["installed"]),  # another Python that will do
        ("3.10.13", 1, 0, ["made", "installed"]),
        ("3.11.2", 0, 1, ["made", "installed"]),
    ],
)
def test_a_venv_of_another_python_is_taken_if_it_will_do(
    checkout: Path, tmp_path: Path, version: str, too_old: int, no_pip: int, done: list[str]
) -> None:
    log = tmp_path / "log"
    fake(checkout / ".venv" / "bin" / "python", log, version=version, too_old=too_old, no_pip=no_pip)
    said = install(checkout, fake(tmp_path / "python", log, version="3.11.2"))
    assert said.returncode == 0, said.stderr
    assert log.read_text().split() == done
    assert (f".venv cannot be used (Python {version}): making it anew" in said.stderr) is ("made" in done)


def test_an_old_python_is_refused(checkout: Path, tmp_path: Path) -> None:
    said = install(checkout, fake(tmp_path / "python", tmp_path / "log", version="3.10.13", too_old=1))
    assert said.returncode == 1
    assert "expected Python 3.11 or newer, found Python 3.10.13: set PYTHON to one" in said.stderr
    assert not (checkout / ".venv").exists()
