"""The work directory of a run that is not archived yet: data/work/<run>/.

order.json        what to run; written first
checkout.json     names this run's checkout below ds_clone_path
lock              held by the supervisor while it lives
job.json          the job's process; written when the job starts
cancel.json       who cancelled the job
out.log  err.log  the job's output
gpu-usage.csv     if there is a GPU
supervisor.log    the log of the supervisor
logs/  tmp/       ds_logs_dir and TMPDIR of the job
outcome.json      how the job ended; written last
kept/             the record of an earlier attempt that failed after it had written one
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import files, job_contract, versions
from deepspeech_wer.archive_order import started
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.records import RUN_ID, Changed, Guards, Merge, as_json

VERSION = 1
OUTCOME = "outcome.json"
UNREADABLE = ".unreadable"  # suffix of damaged files that were renamed

log = logging.getLogger(__name__)


class Work(NamedTuple):
    """The paths in one work directory."""

    path: Path

    @property
    def run(self) -> str:
        """The run's id, the same as in the archive."""
        return self.path.name

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def checkout(self) -> Path:
        """The mark of this run's checkout, see repository/checkout.py."""
        return self.path / "checkout.json"

    @property
    def kept(self) -> Path:
        """What an earlier attempt, which failed, had written as its result."""
        return self.path / "kept"

    @property
    def logs(self) -> Path:
        """ds_logs_dir of the job."""
        return self.path / "logs"

    @property
    def tmp(self) -> Path:
        """TMPDIR of the job."""
        return self.path / "tmp"

    @property
    def out_log(self) -> Path:
        return self.path / job_contract.OUT_LOG

    @property
    def err_log(self) -> Path:
        return self.path / job_contract.ERR_LOG

    @property
    def supervisor_log(self) -> Path:
        return self.path / "supervisor.log"

    @property
    def ticket(self) -> Path:
        """What a cluster was asked to run; there is none if the job was started on this machine."""
        return self.path / "ticket.json"


class Order(NamedTuple):
    """What a supervisor has to run, and its limits."""

    merge: Merge
    base: str | None  # once this run is archived, every merge up to here is; None for a commit requested by hand
    number: int  # its place in the archive, see `order`
    attempt: int  # 1 for the first
    interruptions: int  # how often the job of this merge was interrupted without a new checkpoint
    progress: int  # changes whenever a checkpoint is written
    script: str  # absolute, or relative to the checkout
    checkout: str
    checkpoints: str
    gpu_usage: str | None  # the file for GPU samples
    timeout_s: float | None
    grace_s: float
    token: str  # in the environment of the job and of everything that it starts
    variables: Mapping[str, str] | None = None  # the next four: see records.Circumstances
    rerun_of: str | None = None
    seed: int | None = None
    changed: Changed | None = None
    calibrates: bool = False
    guards: Guards = Guards()
    links: Sequence[str] | None = None  # the places that were links before the job started; None: nobody looked


class Job(NamedTuple):
    """How the processes of a job are found if its supervisor is killed, besides the token in their environment."""

    pid: int | None = None  # of its first process; None if it has not started
    started: str = ""  # as of `processes.start_time`
    since: str = ""  # the supervisor's own start: no process of the job is older
    group: str | None = None  # the directory of its cgroup
    limit: int | None = None  # a limit that all of them have, and no other process, see limit.py


def name(stamp: str, sha: str, newest: str, begun: Iterable[Path]) -> str:
    """Make a run's id from its start (ISO 8601) and its commit.

    `archive_order.started` sorts it above the newest archived one and all in the directories `begun`, even if the clock
    was set back. Raises Trouble if they cannot be listed.
    """
    wanted = f"{datetime.fromisoformat(stamp):%Y%m%d-%H%M%S}-{sha[:12]}"
    names = {newest, *(name for directory in begun for name in _ids(directory))}
    era, newest = max(map(started, names))
    era += wanted <= newest[:28]  # also where both start in one second: seconds do not order them
    return wanted if era == 1 else f"{wanted}-{era}"


def unfinished(directory: Path) -> list[Work]:
    """Return the runs that were begun but not archived, oldest first. Raises Trouble if they cannot be listed."""
    return [Work(directory / name) for name in sorted(_ids(directory), key=started)]


def _ids(directory: Path) -> list[str]:
    """Return the runs in a directory. Raises Trouble."""
    try:
        with os.scandir(directory) as entries:
            return [entry.name for entry in entries if RUN_ID.fullmatch(entry.name) and not entry.is_symlink()]
    except FileNotFoundError:
        return []
    except OSError as error:  # an unreadable directory must not look empty
        raise Trouble(f"{directory}: {with_cure(error)}") from None


def links(work: Work, checkpoints: Path) -> list[str]:
    """Return which of the data root's directories are links, for example to another disk."""
    return [str(place) for place in _places(work, checkpoints) if place.is_symlink()]


def remove_planted(work: Work, order: Order) -> None:
    """Remove the links that the job put in the place of the data root's directories, and remake its work directory.

    Through them, foreign files would be published, overwritten or removed.
    """
    for place in _places(work, Path(order.checkpoints)):
        if order.links is not None and str(place) not in order.links and place.is_symlink():
            log.warning("removing %s: the job replaced the directory by a link to %s", place, place.readlink())
            place.unlink()
    with suppress(OSError):  # shows when something is written there
        files.make_private(work.path)


def _places(work: Work, checkpoints: Path) -> list[Path]:
    """Return what a job may replace, parents first."""
    data = work.path.parent.parent
    names = ("runs", "runs/.held", "site", "site/js", "site/runs", "requests", "log")
    return [work.path.parent, *(data / name for name in names), checkpoints.parent, work.path, checkpoints]


def make(work: Work, order: Order) -> None:
    """Make the work directory with its order in it: whoever lists it finds both. Raises OSError, and leaves nothing."""
    beside = _beside(work)
    files.remove_tree(beside)
    try:
        files.make_private(beside)
        write_order(Work(beside), order)
        files.rename_durably(beside, work.path)
    except OSError:
        files.remove_tree(beside)
        raise


def remove(work: Work) -> Path | None:
    """Remove a work directory. Return what cannot be removed; None if nothing is left.

    It is renamed first: a half removed one, without its order, would look like one that somebody else made.
    """
    beside = _beside(work)
    files.remove_tree(beside)
    try:
        work.path.rename(beside)
    except FileNotFoundError:
        return None
    except OSError:
        beside = work.path
    return None if files.remove_tree(beside) else beside


def _beside(work: Work) -> Path:
    """Return where a work directory is made and removed."""
    return work.path.with_name(f".{work.run}{files.PARTIAL}")


def write_order(work: Work, order: Order) -> None:
    """Write the order. Raises OSError."""
    write(work.path / "order.json", as_json(order))


def take_back(work: Work, order: Order) -> None:
    """Undo what the job did to the files that only the tracker writes: its order as it was, no outcome, nothing half.

    Call this once its processes have ended, and before its outcome is written.
    """
    put = [left for left in (work.path / OUTCOME, *files.partial_in(work.path)) if os.path.lexists(left)]
    if put:
        more = f" and {len(put) - 1} more files" if len(put) > 1 else ""
        log.warning("removing %s%s: the job put it there", put[0], more)
    for left in put:
        files.remove_tree(left)
    place = work.path / "order.json"
    with suppress(OSError):  # a full disk: nothing reads it but what comes after a kill
        if place.is_symlink() or not place.is_file() or files.read(place) != _encoded(as_json(order)):
            log.warning("writing %s again: the job changed it", place)
            write_order(work, order)


def read_order(work: Work, *, is_looking: bool = False) -> Order | None:
    """Read the order; None if there is none. If it is damaged, log that and rename the work directory.

    Where the caller `is_looking`, the directory stays as it is.
    """
    try:
        record = read(work.path / "order.json")
        merge = record["merge"]
        listed = {name: tuple(merge.get(name, ())) for name in ("parents", "reverts")}
        read_again = {"changed": _changed(record.get("changed")), "guards": _guards(record.get("guards", {}))}
        return Order(**{**record, "merge": Merge(**{**merge, **listed}), **read_again})
    except (OSError, ValueError, KeyError, TypeError) as error:
        if not is_looking:
            set_aside(work.path, error)
        return None


def _changed(record: Mapping[str, Any] | None) -> Changed | None:
    if record is None:
        return None
    files = tuple((path, added, removed) for path, added, removed in record["files"])
    return Changed(files, record["files_count"], tuple(record["passed"]))


def _guards(record: Mapping[str, Any]) -> Guards:
    listed = {name: tuple(record[name]) for name in ("writable", "hidden") if name in record}
    return Guards(**{**record, **listed})


def write_cancel(work: Work, who: str, at: str) -> None:
    """Record who cancelled the job. Call this before asking the supervisor to end. Raises OSError."""
    write(work.path / "cancel.json", {"who": who, "at": at})


def read_cancel(work: Work) -> str | None:
    """Return who cancelled the job; None if nobody did."""
    try:
        return str(read(work.path / "cancel.json")["who"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        return f"somebody (cancel.json cannot be read: {error})"


def write_job(work: Work, job: Job) -> None:
    """Record the job, before it starts and once its process is known. Raises OSError."""
    write(work.path / "job.json", job._asdict())


def was_started(work: Work) -> bool:
    """Return whether the job may have started: it can kill its supervisor before that records the job's process."""
    return (work.path / "job.json").exists()


def read_job(work: Work) -> Job | None:
    """Return the record of the job; None if there is none."""
    try:
        record = read(work.path / "job.json")
        pid, limit = record["pid"], record.get("limit")  # an earlier release recorded pid and start alone
        return Job(
            pid=int(pid) if pid else None,
            started=str(record["started"]),
            since=str(record.get("since", "")),
            group=str(record["group"]) if record.get("group") else None,
            limit=int(limit) if limit else None,
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError):  # the token also finds the job
        return None


def write_node(work: Work, machine: str, processor: str) -> None:
    """Record on which node of a cluster the job runs. Raises OSError."""
    write(work.path / "node.json", {"machine": machine, "processor": processor})


def read_node(work: Work) -> tuple[str, str] | None:
    """Return the (host name, processor) of the cluster's node that ran the job; None if none is recorded."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = read(work.path / "node.json")
        return str(record["machine"])[:200], str(record["processor"])[:500]
    return None


def write(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, atomically. Raises OSError."""
    if path.is_dir() and not path.is_symlink():  # put there by a job
        files.remove_tree(path)
    files.write_atomically(path, _encoded(record), mode=0o600)


def _encoded(record: dict[str, Any]) -> bytes:
    text = json.dumps({"version": VERSION, **record}, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace")  # as JSON writes a byte of a path that is no UTF-8


def read(path: Path) -> dict[str, Any]:
    """Read a record written by `write`. Raises OSError, or ValueError if it is not such a record.

    Raises Trouble if a newer release wrote it: then it is not set aside.
    """
    record = json.loads(files.read(path))
    versions.refuse_newer(path, record, VERSION)
    if not isinstance(record, dict) or record.pop("version", None) != VERSION:
        raise ValueError(f"expected a record of version {VERSION}")
    return record


def set_aside(path: Path, reason: Exception) -> None:
    """Rename a file or directory that cannot be read, and log that: it must not look as if it were missing.

    Raises Trouble if it cannot be renamed.
    """
    aside = path.with_name(path.name + UNREADABLE)
    files.remove_tree(aside)
    try:
        path.rename(aside)
    except OSError as error:
        raise Trouble(f"{path}: cannot be read ({reason}) or renamed ({error.strerror}): move it away") from None
    log.warning("%s cannot be read (%s); kept as %s", path, reason, aside.name)
