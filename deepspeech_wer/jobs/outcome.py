"""How a job ended: its results judged, its exit code put into a class, and both kept in work/<run>/outcome.json.

The classes: no-script, no-checkout, exit N, signal N, timeout, no-hyper, bad-hyper, out-of-memory, diverged, cancelled,
interrupted.
"""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass
from pathlib import Path

from deepspeech_wer import contract, files, hyper
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Work
from deepspeech_wer.records import Outcome

NEVER_RETRIED = ("no-script", "no-checkout", "bad-hyper", "diverged", "cancelled")  # a second attempt would end alike
INTERRUPTED = "interrupted"  # ended from outside, no fault of the job: it is resumed
MACHINE = "machine"  # the job could not be started here, no fault of the merge: the next tick tries again

_NAME = "outcome.json"
_RESERVE = "outcome.reserve"
_RESERVE_BYTES = 16 << 10


@dataclass(frozen=True)
class Verdict:
    """A class of failure, None where the job is done; a line for people; the directory with hyper.json, if any."""

    failure: str | None
    detail: str
    files: Path | None = None


def judge(logs: Path) -> Verdict:
    """What a job left below ds_logs_dir: the newest hyper.json counts. No symbolic link is followed."""
    found = _candidates(logs)
    if not found:
        return Verdict("no-hyper", "the job ended well but wrote no hyper.json below ds_logs_dir (no link is followed)")
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    try:
        with newest.open("rb") as stream:
            hyper.parse(stream.read(hyper.MAX_BYTES + 1))
    except hyper.HyperError as error:
        return Verdict("bad-hyper", f"{newest.name}: {error}", newest.parent)
    except OSError as error:
        return Verdict("bad-hyper", f"{newest.name}: {error.strerror}", newest.parent)
    return Verdict(None, "", newest.parent)


def classify(code: int, last_words: str, *, out_of_memory: bool) -> Verdict | None:
    """The class of an exit code as `subprocess` gives it (-9 for SIGKILL); None for 0."""
    if code == 0:
        return None
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and out_of_memory:
        return Verdict("out-of-memory", "the kernel ended the job for want of memory")
    if code == contract.EXIT_DIVERGED and last_words.startswith(contract.DIVERGED):
        return Verdict("diverged", last_words)
    if code < 0:
        cause = f"ended by {signal.strsignal(-code) or 'a signal'}"
        return Verdict(f"signal {-code}", f"{cause}; last words: {last_words}" if last_words else cause)
    return Verdict(f"exit {code}", last_words or "it said nothing on stderr")


def reserve(work: Work) -> None:
    """Set room aside, so that an outcome can be written although the job fills the disk. Raises OSError."""
    files.write_atomically(work.path / _RESERVE, b"?" * _RESERVE_BYTES, mode=0o600)


def write(work: Work, outcome: Outcome) -> None:
    """Note how the job ended. Raises OSError."""
    record = {**asdict(outcome), "files": str(outcome.files) if outcome.files else None, "logs": str(outcome.logs)}
    (work.path / _RESERVE).unlink(missing_ok=True)
    works.write(work.path / _NAME, record)


def read(work: Work) -> Outcome | None:
    """How the job ended; None where nothing tells. An unreadable record is told and set aside."""
    path = work.path / _NAME
    try:
        record = works.read(path)
        directory = Path(record["files"]) if record["files"] else None
        return Outcome(**{**record, "files": directory, "logs": Path(record["logs"])})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        works.set_aside(path, error)
        return None


def _candidates(logs: Path) -> list[Path]:
    try:
        if logs.is_symlink():
            return []
        logs.chmod(0o700)  # a job may have taken that away
        places = [logs, *(place for place in sorted(logs.iterdir()) if not place.is_symlink())]
        paths = [place / contract.HYPER for place in places]
        return [path for path in paths if path.is_file() and not path.is_symlink()]
    except OSError:
        return []
