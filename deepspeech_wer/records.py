"""Small records that the modules exchange.

They are NamedTuples: a frozen dataclass takes four times as long to define, and a tick loads a hundred.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

RUN_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{12}(-\d+)?")  # start by the clock, commit, era
# What the public half of a key begins with, in the formats of ssh-keygen and openssl.
PUBLIC_KEY = (b"ssh-", b"ecdsa-", b"sk-", b"---- BEGIN SSH2 PUB", b"-----BEGIN PUBLIC", b"-----BEGIN RSA PUBLIC")


class Merge(NamedTuple):
    """One merge on the tracked branch."""

    sha: str  # full: 40 (SHA-1) or 64 (SHA-256) hex digits
    ordinal: int  # place in the first-parent history, 1 for the root commit; shown, and not sorted by
    subject: str
    author: str
    committed_at: str  # ISO 8601, UTC
    parents: tuple[str, ...]
    reverts: tuple[str, ...] = ()  # commits that it takes back, as its messages say, in as many digits as they give
    request: str | None = None  # "#12", a pull request, or "!12", a merge request of GitLab


class Owner(NamedTuple):
    """A tracker, as the web root that it publishes into knows it."""

    id: str  # random, kept with the archive; "" if it has none yet
    name: str  # one line for people: repository, machine, directory


class Checkout(NamedTuple):
    """The files of a merge in a working directory."""

    path: Path
    merge: Merge


class Outcome(NamedTuple):
    """How a job ended, before it is archived."""

    status: str  # "done" or "failed"
    failure: str | None  # None if done, else a class of jobs/outcome.py
    detail: str  # one line for people; "" if done
    attempt: int  # 1 for the first try
    started_at: str  # ISO 8601, UTC
    finished_at: str
    files: Path | None  # directory with hyper.json and its companions, as the job left it
    logs: Path  # directory with out.log and err.log


class Changed(NamedTuple):
    """What a merge changed against its first parent, and what lies between them."""

    files: tuple[tuple[str, int | None, int | None], ...] = ()  # path, lines added and removed; None: binary
    files_count: int = 0  # `files` has those with the most lines
    passed: tuple[str, ...] = ()  # tracked commits just before it that had not run, oldest first


class Guards(NamedTuple):
    """What holds jobs back. All of it is off by default."""

    nice: int = 0  # added to the scheduling priority, 19 at most
    memory_bytes: int | None = None  # of all processes of a job together
    cpus: int | None = None  # how many processors a job may use
    is_sandboxed: bool = False  # by bubblewrap, see jobs/sandbox.py; the next three are of use only then
    has_network: bool = False
    writable: tuple[str, ...] = ()  # directories, besides those of the contract
    hidden: tuple[str, ...] = ()  # files of the tracker that hold secrets


class Circumstances(NamedTuple):
    """Under what a run took place, as run.json records it. What an earlier release did not record is None."""

    machine: str  # host name
    processor: str | None = None  # model and kernel: another one rounds differently, so a result may differ
    base: str | None = None  # every merge up to this commit is archived, counting this run; None: says nothing
    number: int = 0  # place in the archive, see `archive_order`; 0 if it was archived before there were numbers
    variables: Mapping[str, str] | None = None  # the ds_* variables that the operator gave to the job
    rerun_of: str | None = None  # the run that this one repeats with another seed
    seed: int | None = None  # ds_random_seed, where the tracker chose it
    changed: Changed | None = None  # of a merge's own run
    calibrates: bool = False  # `calibrate` asked for it, to measure the noise


class Run(NamedTuple):
    """One archived run: the tracker's record (run.json) and the job's (hyper.json)."""

    id: str  # <YYYYmmdd-HHMMSS>-<sha12>[-<era>], the directory's name, see `archive_order`
    root: Path  # the directory of all runs
    merge: Merge
    status: str  # "done" or "failed"
    failure: str | None
    detail: str
    attempt: int
    started_at: str
    finished_at: str
    machine: str
    hyper: dict[str, Any] | None  # checked by hyper.parse; None if the run failed
    number: int = 0  # its place in the archive, see `archive_order`; 0 if it was archived before there were numbers
    processor: str | None = None  # this and what follows: see Circumstances
    variables: Mapping[str, str] | None = None
    rerun_of: str | None = None
    seed: int | None = None
    calibrates: bool = False
    imported: str | None = None  # where an earlier tracker's record was found

    @property
    def directory(self) -> Path:
        """Where the run's files are."""
        return self.root / self.id


def as_json(value: Any) -> Any:
    """Return a record, and all records in it, as JSON holds them: an object with the names of its fields."""
    if isinstance(value, dict):
        return {key: as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        names = getattr(value, "_fields", None)
        parts = [as_json(one) for one in value]
        return dict(zip(names, parts, strict=True)) if names else parts
    return value
