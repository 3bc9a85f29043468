"""Every path below the cache and the data root, and whether locks are reliable there (proc_mounts(5))."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

BEAT = "js/now.js"  # of the site: what the tracker is doing, written between builds and between publishes
MOUNTS = Path("/proc/self/mounts")  # /proc/mounts leads there, and is hidden from a service with ProcSubset=pid
_REMOTE = r"nfs\d?|cifs|smb\w*|9p|afs|ceph|lustre|glusterfs|beegfs|gpfs|fuse\.(sshfs|glusterfs|ceph\S*|s3fs)"


class Places(NamedTuple):
    """Where the tracker keeps its files. The cache may be deleted at any time; the data root holds the results."""

    cache: Path
    data: Path

    @property
    def lock(self) -> Path:
        """Held by the running tick."""
        return self.cache / "lock"

    @property
    def of_files(self) -> tuple[Path, ...]:
        """The directories of the small files that each tick reads."""
        return self.cache, self.kept, self.data, self.requests, self.log

    @property
    def last_sha1(self) -> Path:
        """Holds the newest commit up to which every merge is archived."""
        return self.cache / "last_sha1"

    @property
    def checkpoint_request(self) -> Path:
        """Written by the user, used once: names a checkpoint directory from which the next run starts."""
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
    def heartbeat(self) -> Path:
        """When visitors were last told what goes on."""
        return self.cache / "heartbeat.json"

    @property
    def data_lock(self) -> Path:
        """Held by the running tick as well: another cache's tick may work on the same data root."""
        return self.data / "lock"

    @property
    def kept(self) -> Path:
        """What the site takes from each run, kept between builds."""
        return self.cache / "kept"

    @property
    def built(self) -> Path:
        """From what the site was built, and what it was then."""
        return self.cache / "built"

    @property
    def published(self) -> Path:
        """The large files that were published last, by their SHA-256."""
        return self.cache / "published"

    @property
    def placed(self) -> Path:
        """What decides the places of the archived runs, kept between ticks."""
        return self.cache / "placed"

    @property
    def retraining(self) -> Path:
        """What the verdicts want to have trained again: the part of verdicts.json that every tick reads."""
        return self.cache / "retraining.json"

    @property
    def remembered(self) -> Path:
        """What the last judging remembers, so that the next one looks at the newest runs alone."""
        return self.cache / "remembered"

    @property
    def runs(self) -> Path:
        """One directory per archived run."""
        return self.data / "runs"

    @property
    def held(self) -> Path:
        """Archived runs that show themselves once all earlier merges have run. On the disk of `runs`."""
        return self.runs / ".held"

    @property
    def owner(self) -> Path:
        """Holds this tracker's random id, by which a web root knows its publisher."""
        return self.data / "id"

    @property
    def work(self) -> Path:
        """One directory per run that is not archived yet."""
        return self.data / "work"

    @property
    def begun(self) -> tuple[Path, ...]:
        """Where runs are that are not archived yet, named by their ids."""
        return self.held, self.work

    @property
    def checkpoints(self) -> Path:
        """One directory per commit in training, named by its SHA."""
        return self.data / "checkpoints"

    @property
    def log(self) -> Path:
        """The tracker's own log, rotated."""
        return self.data / "log"

    @property
    def requests(self) -> Path:
        """What people decided: one file for each decision."""
        return self.data / "requests"

    @property
    def verdicts(self) -> Path:
        """What the archived runs say about each merge. Derived: it may be deleted."""
        return self.data / "verdicts.json"

    @property
    def measured(self) -> Path:
        """The tracker's own figures of the runs. Derived: it may be deleted, and takes long to make again."""
        return self.data / "measured"

    @property
    def unmeasured(self) -> Path:
        """There while runs wait to be scored."""
        return self.cache / "unmeasured"

    @property
    def site(self) -> Path:
        """The built website."""
        return self.data / "site"


def filesystem(path: Path, mounts: str) -> str:
    """Return the type of the file system that holds a path. `mounts` is the text of /proc/mounts."""
    kind, longest = "", -1
    for line in mounts.splitlines():
        _, point, found = line.split(" ")[:3]
        place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point)
        # ">=": a later mount at the same place hides the earlier one.
        if path.is_relative_to(place) and len(place) >= longest:
            kind, longest = found, len(place)
    return kind


def doubt_of_locks(directory: Path) -> str | None:
    """Return a one-line warning with its cure if locks in a directory may not work between hosts, else None."""
    try:
        mounts = MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return None
    kind = filesystem(directory.resolve(), mounts)
    if not re.fullmatch(_REMOTE, kind):
        return None
    cure = "set XDG_CACHE_HOME to a local directory"
    return f"{directory} is on {kind}: locks may not work there, so two ticks may run at once: {cure}"
