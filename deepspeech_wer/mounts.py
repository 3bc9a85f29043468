"""On which file system a path lies (proc_mounts(5)), and whether locks hold there."""

from __future__ import annotations

import re
from pathlib import Path

MOUNTS = Path("/proc/mounts")
_REMOTE = r"nfs\d?|cifs|smb\w*|9p|afs|ceph|lustre|glusterfs|beegfs|gpfs|fuse\.(sshfs|glusterfs|ceph\S*|s3fs)"


def filesystem(path: Path, mounts: str) -> str:
    """The type of the file system on which a path lies, from what stands in /proc/mounts."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found = line.split(" ")[:3]
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
        if path.is_relative_to(place) and len(place) >= longest:  # of two at one place the later hides the earlier
            kind, longest = found, len(place)
    return kind


def doubt_of_locks(directory: Path) -> str | None:
    """Why locks in a directory may not hold between hosts, in a line with its cure; None where they do."""
    kind = filesystem(directory.resolve(), MOUNTS.read_text("utf-8", "surrogateescape"))
    if not re.fullmatch(_REMOTE, kind):
        return None
    cure = "locks may not hold there, and ticks run beside each other: set XDG_CACHE_HOME to a local directory"
    return f"{directory} is on {kind}: {cure}"
