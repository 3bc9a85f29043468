"""Every path below the cache and the data root, and whether locks hold where they lie (proc_mounts(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

MOUNTS = Path("/proc/self/mounts")  # /proc/mounts leads there, and is hidden from a service with ProcSubset=pid
_REMOTE = r"nfs\d?|cifs|smb\w*|9p|afs|ceph|lustre|glusterfs|beegfs|gpfs|fuse\.(sshfs|glusterfs|ceph\S*|s3fs)"


@dataclass(frozen=True)
class Places:
    """Where the tracker keeps what. The cache may be deleted at any time; the data root holds the results."""

    cache: Path
    data: Path

    @property
    def lock(self) -> Path:
        """Held by the running tick."""
        return self.cache / "lock"

    @property
    def last_sha1(self) -> Path:
        """The commit up to which everything is archived."""
        return self.cache / "last_sha1"

    @property
    def checkpoint_request(self) -> Path:
        """Written by a person, used once: names a checkpoint directory for the next run to start from."""
        return self.cache / "checkpoint_file"

    @property
    def mirror(self) -> Path:
        """The bare mirror of the tracked branch."""
        return self.cache / "repository.git"

    @property
    def shown(self) -> Path:
        """A digest of what the site and the web host show."""
        return self.cache / "shown"

    @property
    def runs(self) -> Path:
        """One directory for each archived run."""
        return self.data / "runs"

    @property
    def work(self) -> Path:
        """One directory for each run that is not archived yet."""
        return self.data / "work"

    @property
    def checkpoints(self) -> Path:
        """One directory for each commit in training, named by its SHA."""
        return self.data / "checkpoints"

    @property
    def site(self) -> Path:
        """The built website."""
        return self.data / "site"


def filesystem(path: Path, mounts: str) -> str:
    """The type of the file system that holds a path, read from the text of /proc/mounts."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found = line.split(" ")[:3]
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
        if (
            path.is_relative_to(place) and len(place) >= longest
        ):  # a later mount at the same place hides the earlier one
            kind, longest = found, len(place)
    return kind


def doubt_of_locks(directory: Path) -> str | None:
    """Why locks in a directory may not hold between hosts, in one line with its cure; None where they do, or where
    nobody can tell.
    """
    try:
        mounts = MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    kind = filesystem(directory.resolve(), mounts)
    if not re.fullmatch(_REMOTE, kind):
        return None
    cure = "locks may not hold there, and two ticks may run at once: set XDG_CACHE_HOME to a local directory"
    return f"{directory} is on {kind}: {cure}"
