"""Isolates every test: its own home, git identity, language and time zone. The real home is never touched."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from xdg import BaseDirectory

from deepspeech_wer.machine import signals

# A shell's background jobs ignore SIGINT, and what nohup starts SIGHUP. So would the processes that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("patient", deadline=None)  # no test fails because the machine is slow
settings.load_profile("patient")

KEPT = ("PATH", "LD_LIBRARY_PATH", "CI", "TMPDIR", "PYTHONHASHSEED", "TF_NUM_INTRAOP_THREADS")


@pytest.fixture(autouse=True)
def sealed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Set an empty home and nothing else of the caller's environment. Returns the home's path."""
    home = tmp_path_factory.mktemp("home")
    for name in list(os.environ):
        if name not in KEPT and not name.startswith(("PYTEST_", "COV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("TZ", "Pacific/Chatham")  # +12:45: a local time mistaken for UTC is always noticed
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    importlib.reload(BaseDirectory)  # it reads the environment at import time
    monkeypatch.chdir(home)
    handlers = {number: signal.getsignal(number) for number in signals.ENDING}
    yield home
    for number, handler in handlers.items():  # a tick in this process catches them
        signal.signal(number, handler)
    importlib.reload(BaseDirectory)


class Repository:
    """A git repository to track, made with real git."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "user.name", "Ada")
        self.git("config", "user.email", "ada@example.com")

    def git(self, *arguments: str) -> str:
        """Run git in it and return its output."""
        done = subprocess.run(["git", "-C", str(self.path), *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def write(self, files: dict[str, str]) -> None:
        """Write files. Those below bin/ are executable."""
        for name, text in files.items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o755 if name.startswith("bin/") else 0o644)

    def commit(self, subject: str, files: dict[str, str] | None = None) -> str:
        """Commit on the current branch and return the SHA."""
        self.write(files or {})
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")

    def merge(self, subject: str, files: dict[str, str] | None = None) -> str:
        """Merge a side branch of one commit with a merge commit and return its SHA."""
        branch = self.git("branch", "--show-current")
        self.git("checkout", "--quiet", "-b", "side")
        self.commit(f"{subject} (work)", files)
        self.git("checkout", "--quiet", branch)
        self.git("merge", "--quiet", "--no-ff", "--message", subject, "side")
        self.git("branch", "--quiet", "--delete", "side")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """An empty repository on the branch main."""
    return Repository(tmp_path / "tracked")
