"""Judges how a job ended: its results and its exit code. The outcome is kept in work/<run>/outcome.json.

Failure classes: no-script, no-checkout, exit N, signal N, timeout, no-hyper, bad-hyper, out-of-memory, diverged,
cancelled, interrupted. docs/job.md explains them.
"""

from __future__ import annotations

import signal
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import files, hyper, job_contract
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Work
from deepspeech_wer.records import Outcome

NO_SCRIPT = "no-script"
NEVER_RETRIED = (NO_SCRIPT, "no-checkout", "bad-hyper", "diverged", "cancelled")  # a retry would end the same
BAD_HYPER = "bad-hyper"
INTERRUPTED = "interrupted"  # ended from outside, not the job's fault: it is resumed
MACHINE = "machine"  # the job could not be started here, not the merge's fault: the next tick tries again

_FOREIGN = ": of another user, such as root in a container? Let the job leave it readable for this user"
_NOT_FOUND = 127  # a shell's exit code
_RESERVE = "outcome.reserve"
_RESERVE_BYTES = 16 << 10


class Verdict(NamedTuple):
    """How a job ended."""

    failure: str | None  # a failure class; None if the job succeeded
    detail: str  # one line for people
    files: Path | None = None  # the directory with hyper.json


def judge(logs: Path) -> Verdict:
    """Judge the newest hyper.json below ds_logs_dir. Takes no link, neither symbolic nor hard."""
    try:
        found = _candidates(logs)
    except PermissionError as error:
        return Verdict("no-hyper", f"{logs.name}: {error.strerror}{_FOREIGN}")
    if not found:
        return Verdict(
            "no-hyper", "the job exited with 0 but wrote no hyper.json below ds_logs_dir (links are not followed)"
        )
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    try:
        with newest.open("rb") as stream:
            hyper.parse(stream.read(hyper.MAX_BYTES + 1))
    except hyper.HyperError as error:
        return Verdict("bad-hyper", f"{newest.name}: {error}", newest.parent)
    except OSError as error:
        cure = _FOREIGN if isinstance(error, PermissionError) else ""
        return Verdict("bad-hyper", f"{newest.name}: {error.strerror}{cure}", newest.parent)
    return Verdict(None, "", newest.parent)


def with_record(verdict: Verdict, logs: Path) -> Verdict:
    """Return the verdict on a job that failed, with the valid hyper.json that it wrote before, if there is one.

    It is no result until a person has looked at it (`retry --judge`).
    """
    if verdict.failure in (INTERRUPTED, MACHINE) or verdict.files is not None:
        return verdict
    found = judge(logs)
    return verdict if found.failure else verdict._replace(files=found.files)


def classify(code: int, last_words: str, *, out_of_memory: bool, most: str = "") -> Verdict | None:
    """Classify an exit code as `subprocess` reports it (-9 for SIGKILL). Returns None for 0.

    `most` is the job's limit of memory, for people, where the kernel keeps it. Then the kernel killed one of the job's
    own processes, whatever code the job made of that.
    """
    if code == 0:
        return None
    if most and out_of_memory:
        return Verdict("out-of-memory", f"it took more than ds_job_memory ({most}), so the kernel killed it")
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and out_of_memory:
        return Verdict("out-of-memory", "the kernel killed the job for lack of memory")
    if code == job_contract.EXIT_DIVERGED and last_words.startswith(job_contract.DIVERGED):
        return Verdict("diverged", last_words)
    if code == job_contract.EXIT_INTERRUPTED and last_words.startswith(job_contract.INTERRUPTED):
        return Verdict(INTERRUPTED, last_words)
    if code < 0:
        cause = f"ended by {signal.strsignal(-code) or 'a signal'}"
        return Verdict(f"signal {-code}", f"{cause}; last words: {last_words}" if last_words else cause)
    if code == _NOT_FOUND and last_words.endswith("not found"):
        last_words += ": is it installed, and on the PATH of the crontab?"
    return Verdict(f"exit {code}", last_words or "it wrote nothing to stderr")


def reserve(work: Work) -> None:
    """Reserve disk space, so that the outcome can be written even if the job fills the disk. Raises OSError."""
    files.write_atomically(work.path / _RESERVE, b"?" * _RESERVE_BYTES, mode=0o600)


def write(work: Work, outcome: Outcome) -> None:
    """Write the outcome. Raises OSError."""
    record = {**outcome._asdict(), "files": str(outcome.files) if outcome.files else None, "logs": str(outcome.logs)}
    (work.path / _RESERVE).unlink(missing_ok=True)
    works.write(work.path / works.OUTCOME, record)


def is_final(outcome: Outcome | None) -> bool:
    """Return whether an attempt has come to its end: one that was interrupted has not."""
    return outcome is not None and outcome.failure not in (INTERRUPTED, MACHINE)


def was_cut_off(outcome: Outcome) -> bool:
    """Return whether the job itself said that something outside of it interrupted it."""
    return outcome.failure == INTERRUPTED and outcome.detail.startswith(job_contract.INTERRUPTED)


def is_there(work: Work) -> bool:
    """Return whether there is an outcome. The directory is listed: NFS remembers that a file was missing."""
    try:
        return any(path.name == works.OUTCOME for path in work.path.iterdir())
    except OSError:
        return False


def forget(work: Work) -> None:
    """Remove the outcome of an attempt that is to begin once more. Raises OSError."""
    (work.path / works.OUTCOME).unlink(missing_ok=True)


def read(work: Work, *, is_looking: bool = False) -> Outcome | None:
    """Read the outcome; None if there is none. A damaged file is logged and renamed, unless the caller `is_looking`.

    So is what no supervisor wrote: a file that names other directories than the run's own, whose files would be
    published and the rest removed, or one of a newer release, which would have written the order too.
    """
    path = work.path / works.OUTCOME
    try:
        record = works.read(path)
        directory = Path(record["files"]) if record["files"] else None
        if directory not in (None, work.logs) and (directory.parent != work.logs or directory.name == ".."):
            raise ValueError(f"{directory} is not in this run's directory")
        if Path(record["logs"]) != work.path:
            raise ValueError(f"{record['logs']} is not this run's directory")
        return Outcome(**{**record, "files": directory, "logs": Path(record["logs"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, Trouble) as error:
        if not is_looking:
            works.set_aside(path, error)
        return None


def _candidates(logs: Path) -> list[Path]:
    found, hidden = list[Path](), None
    try:
        if logs.is_symlink():
            return []
        files.restore_access(logs)  # a job may have removed permissions
        for place in (logs, *(place for place in sorted(logs.iterdir()) if not place.is_symlink())):
            files.restore_access(place)
            path = place / job_contract.HYPER
            try:
                if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1:
                    found.append(path)
                    with suppress(PermissionError):  # of another user, such as root in a container; maybe readable
                        path.chmod(path.stat().st_mode | 0o600)
            except PermissionError as error:  # the result may be in another place
                hidden = error
    except PermissionError as error:
        hidden = error
    except OSError:
        return []
    if hidden and not found:
        raise hidden
    return found
