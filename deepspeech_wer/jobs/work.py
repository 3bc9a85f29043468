"""A run's work directory, from the moment it is begun until it is archived: data/work/<run>/.

order.json        what to run; written first
checkout.json     which directory below ds_clone_path is this run's checkout
lock              held by the supervisor as long as it lives
job.json          the job's process, once it is started
cancel.json       who asked for the job to be cancelled
out.log  err.log  the job's output
gpu-usage.csv     where there is a GPU
supervisor.log    what the supervisor has to say
logs/  tmp/       the job's own
outcome.json      how the job ended; written last
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from deepspeech_wer import contract, files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import RUN_ID, Merge

VERSION = 1
UNREADABLE = ".unreadable"  # the suffix of what was set aside

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """The paths in one work directory."""

    path: Path

    @property
    def run(self) -> str:
        """The run's id, which it keeps in the archive."""
        return self.path.name

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def checkout(self) -> Path:
        """The mark of this run's checkout."""
        return self.path / "checkout.json"

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
        return self.path / contract.OUT_LOG

    @property
    def err_log(self) -> Path:
        return self.path / contract.ERR_LOG

    @property
    def supervisor_log(self) -> Path:
        return self.path / "supervisor.log"


@dataclass(frozen=True)
class Order:
    """What a supervisor is to run, and within which bounds."""

    merge: Merge
    base: str | None  # everything up to here is archived once this run is; None for a commit asked for by hand
    number: int  # its place in the archive, see `order`
    attempt: int  # 1 for the first
    interruptions: int  # how often the job of this merge was cut off without a new checkpoint
    progress: int  # changes whenever a checkpoint is written
    script: str  # absolute, or relative to the checkout
    checkout: str
    checkpoints: str
    gpu_usage: str | None  # the file for samples of the GPUs
    timeout_s: float | None
    grace_s: float
    token: str  # in the environment of the job and of all that it starts


def name(stamp: str, sha: str, taken: Sequence[Path]) -> str:
    """A run's id from its start (ISO 8601) and commit that is in none of the directories `taken`."""
    wanted = found = f"{datetime.fromisoformat(stamp):%Y%m%d-%H%M%S}-{sha[:12]}"
    number = 2
    while any((directory / found).exists() for directory in taken):  # twice in a second, or a clock set back
        found = f"{wanted}-{number}"
        number += 1
    return found


def begun(directory: Path) -> list[Work]:
    """The runs that are begun and not archived, oldest first."""
    try:
        return sorted(
            (Work(path) for path in directory.iterdir() if RUN_ID.fullmatch(path.name)), key=lambda work: work.run
        )
    except FileNotFoundError:
        return []
    except OSError as error:  # never taken for "nothing left"
        raise Trouble(f"{directory}: {error.strerror}: move what stands there away, or let this user in") from None


def write_order(work: Work, order: Order) -> None:
    """Raises OSError."""
    write(work.path / "order.json", asdict(order))


def read_order(work: Work) -> Order | None:
    """What is to be run; None where that cannot be read, which is told, and the directory set aside."""
    try:
        record = read(work.path / "order.json")
        merge = record["merge"]
        return Order(**{**record, "merge": Merge(**{**merge, "parents": tuple(merge["parents"])})})
    except FileNotFoundError:
        files.remove_tree(work.path)  # the tick was killed before it wrote the order: nothing was begun
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        set_aside(work.path, error)
        return None


def write_cancel(work: Work, who: str, at: str) -> None:
    """Note who cancelled the job, before it is asked to end. Raises OSError."""
    write(work.path / "cancel.json", {"who": who, "at": at})


def read_cancel(work: Work) -> str | None:
    """Who cancelled the job; None where nobody did."""
    try:
        return str(read(work.path / "cancel.json")["who"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError) as error:
        return f"somebody (cancel.json cannot be read: {error})"


def write_starting(work: Work) -> None:
    """Note that the job is about to be started. Raises OSError."""
    write(work.path / "job.json", {"pid": None, "started": None})


def was_started(work: Work) -> bool:
    """Whether the job may have been started: a job can kill its supervisor before that has noted its process."""
    return (work.path / "job.json").exists()


def write_job(work: Work, pid: int, started: str) -> None:
    """Note the job's process. Raises OSError."""
    write(work.path / "job.json", {"pid": pid, "started": started})


def read_job(work: Work) -> tuple[int, str] | None:
    """(pid, start time as `processes.start_time` gives it) of the job; None where nobody noted it."""
    try:
        record = read(work.path / "job.json")
        return int(record["pid"]), str(record["started"])
    except (OSError, ValueError, KeyError, TypeError):  # its token in the environment finds it too
        return None


def write(path: Path, record: dict[str, Any]) -> None:
    """Replace a file by a record as JSON. Raises OSError."""
    text = json.dumps({"version": VERSION, **record}, ensure_ascii=False)
    files.write_atomically(path, text.encode("utf-8", "replace"), mode=0o600)


def read(path: Path) -> dict[str, Any]:
    """A record that `write` wrote. Raises OSError; ValueError: it is no such record."""
    record = json.loads(path.read_bytes())
    if not isinstance(record, dict) or record.pop("version", None) != VERSION:
        raise ValueError(f"expected a record of version {VERSION}")
    return record


def set_aside(path: Path, reason: Exception) -> None:
    """Tell of a file or directory that cannot be read, and rename it: unreadable is never taken for empty."""
    aside = path.with_name(path.name + UNREADABLE)
    files.remove_tree(aside)
    try:
        path.rename(aside)
    except OSError as error:
        raise Trouble(f"{path}: cannot be read ({reason}) nor moved aside ({error.strerror}): move it away") from None
    log.warning("%s cannot be read (%s); kept as %s", path, reason, aside.name)
