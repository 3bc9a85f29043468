"""The cache directory, and the messages if it cannot be created."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from xdg import BaseDirectory

from deepspeech_wer.configuration import settings
from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.xdg_directories import cache_directory


def test_the_directory_is_created(sealed: Path) -> None:
    assert cache_directory() == f"{sealed}/.cache/deepspeech_wer"
    assert Path(cache_directory()).is_dir()


def test_another_tick_may_create_it_first(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look = BaseDirectory.os.path.isdir

    def be_late(path: str) -> bool:
        found = look(path)
        Path(path).mkdir(parents=True, exist_ok=True)  # as another tick does between pyxdg's check and its makedirs
        return found

    monkeypatch.setattr(BaseDirectory.os.path, "isdir", be_late)
    assert cache_directory() == f"{sealed}/.cache/deepspeech_wer"


def test_a_directory_that_cannot_be_created_is_reported_in_one_line(sealed: Path) -> None:
    (sealed / ".cache").touch()
    with pytest.raises(
        Trouble, match=r"cannot create .*: (Not a directory|File exists): .*move it away, or set XDG_CACHE_HOME"
    ):
        cache_directory()


def test_a_directory_that_each_process_finds_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseDirectory, "xdg_cache_home", "/proc/self/cwd")
    with pytest.raises(Trouble, match="/proc/self/cwd: each process finds another one below /proc: set XDG_CACHE_HOME"):
        cache_directory()


def test_without_a_home_nothing_is_written_to_the_working_directory(
    sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BaseDirectory.os.path, "expanduser", lambda text: text)  # as for a user without a passwd entry
    importlib.reload(BaseDirectory)
    with pytest.raises(Trouble, match="set HOME or XDG_CACHE_HOME"):
        cache_directory()
    with pytest.raises(UsageTrouble, match="ds_dataroot: not set: expected it, XDG_DATA_HOME or HOME"):
        settings.load({})
    assert list(sealed.iterdir()) == []
