"""The demo's paths, and the environment that its ticks get."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from deepspeech_wer.configuration import environment

_KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "TMPDIR", "LD_LIBRARY_PATH")


class Place(NamedTuple):
    """The demo's directory and the paths in it."""

    root: Path

    @property
    def sample(self) -> Path:
        """The tracked repository, with its working tree."""
        return self.root / "sample"

    @property
    def web(self) -> Path:
        """The web root. The tick reaches it only over SFTP."""
        return self.root / "web"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def lock(self) -> Path:
        """Held while a demo runs in this directory."""
        return self.root / "lock"

    @property
    def cache(self) -> Path:
        """The tracker's cache: lock, last_sha1, mirror; and the speech."""
        return self.root / "cache" / "deepspeech_wer"

    @property
    def data(self) -> Path:
        """The tracker's data: runs, checkpoints, site."""
        return self.root / "data" / "deepspeech_wer"

    def make(self) -> None:
        for path in (self.keys, self.cache, self.data, self.home):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.web.mkdir(exist_ok=True)

    @property
    def home(self) -> Path:
        """HOME of everything that the demo starts: the user's own is neither read nor written."""
        return self.root / "home"

    def environment(self) -> dict[str, str]:
        """Return the environment of git and the ticks: without the caller's settings, all paths in this directory."""
        kept = {name: value for name, value in environment.job_environment().items() if name in _KEPT}
        return {
            **kept,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "ds_dataroot": str(self.root / "data"),
            "ds_clone_path": str(self.root / "clone"),
            "ds_repo_url": str(self.sample),
            "ds_github_ref": "main",
        }
