"""Stores runs in the archive, completely or not at all: copied to a temporary directory, flushed to disk, renamed."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

from deepspeech_wer import archive, archive_record, files, hyper, job_contract
from deepspeech_wer.files import PARTIAL, make_private, remove_tree, rename_durably, sync_tree, write_atomically
from deepspeech_wer.records import Circumstances, Merge, Outcome, Run

COMPANIONS = {
    job_contract.UTTERANCES: 256 << 20,
    job_contract.HISTORY: 16 << 20,
    job_contract.GPU_USAGE: 64 << 20,
}  # maximum bytes
LOGS = {
    job_contract.OUT_LOG: 1 << 30,
    job_contract.ERR_LOG: 1 << 30,
    job_contract.GPU_USAGE: 64 << 20,
}  # the tracker's file wins over the job's

log = logging.getLogger(__name__)


def store(runs: Path, name: str, merge: Merge, outcome: Outcome, under: Circumstances) -> Run:
    """Archive one run. When this returns, a crash can no longer lose the result.

    `name` must be unused. Raises OSError and leaves nothing behind.
    """
    return _store(runs, name, archive_record.serialise(merge, outcome, under), partial(_copy_all, outcome))


def take(runs: Path, name: str, run: Run, who: str, at: str) -> Run:
    """Archive the record of a failed run once more, as a result: a person has looked at it. The failed run stays.

    Raises Trouble if the run has no valid record; OSError, and leaves nothing behind.
    """
    archive_record.read_hyper(run.directory)
    outcome = Outcome("done", None, "", run.attempt, run.started_at, run.finished_at, run.directory, run.directory)
    under = Circumstances(
        run.machine,
        run.processor,
        number=run.number,
        variables=run.variables,
        rerun_of=run.rerun_of,
        seed=run.seed,
        calibrates=run.calibrates,
    )
    recorded = archive_record.raw(run.directory / archive_record.RUN)
    more = {
        "changed": recorded.get("changed"),  # whom an event blames, and for what
        "taken": {"of": run.id, "failure": run.failure, "by": who, "at": at},
    }
    record = archive_record.serialise(run.merge, outcome, under, more)
    return _store(runs, name, record, partial(_copy_archived, run.directory))


def adopt(
    runs: Path, name: str, merge: Merge, outcome: Outcome, under: Circumstances, text: bytes, source: str | None
) -> Run:
    """Archive a record from outside: `text` is its hyper.json, `source` where it was found.

    None for `source`: it is a run of this tracker, whose archive was lost.

    Raises OSError, and leaves nothing behind.
    """
    record = archive_record.serialise(merge, outcome, under, {"imported": source} if source else None)
    return _store(runs, name, record, lambda target: write_atomically(target / job_contract.HYPER, text, mode=0o600))


def _store(runs: Path, name: str, record: bytes, fill: Callable[[Path], None]) -> Run:
    make_private(runs)
    temporary = runs / f".{name}{PARTIAL}"
    remove_tree(temporary)
    try:
        temporary.mkdir(mode=0o700)
        fill(temporary)
        write_atomically(temporary / archive_record.RUN, record, mode=0o600)
        sync_tree(temporary)
        if (runs / name).is_symlink():  # put there by the job
            (runs / name).unlink()
        rename_durably(temporary, runs / name)
        archive.forget_names(runs)
    finally:
        remove_tree(temporary)
    return archive_record.read(runs / name)


def _copy_all(outcome: Outcome, target: Path) -> None:
    _copy_from(outcome.logs, outcome.logs.parent, LOGS, target)
    if outcome.files is not None:
        wanted = {job_contract.HYPER: hyper.MAX_BYTES, **COMPANIONS}
        within = outcome.logs.parent if outcome.files.is_relative_to(outcome.logs) else outcome.files.parent
        _copy_from(outcome.files, within, wanted, target)


def _copy_archived(source: Path, target: Path) -> None:
    """Copy the files of an archived run. The site may hold hard links to them."""
    for name in (job_contract.HYPER, *LOGS, *COMPANIONS):
        if (source / name).is_file() and not (source / name).is_symlink() and not (target / name).exists():
            shutil.copyfile(source / name, target / name)
            (target / name).chmod(0o600)


def _copy_from(source: Path, within: Path, wanted: dict[str, int], target: Path) -> None:
    """Copy files that `target` does not have yet. Follows no link below `within`."""
    try:
        directory = files.open_within(within, source)
    except OSError as error:
        log.warning("%s: %s; nothing in it is archived", source, error.strerror)
        return
    try:
        for name, max_bytes in wanted.items():
            if not (target / name).exists():
                _copy_regular(directory, target / name, max_bytes=max_bytes)
    finally:
        os.close(directory)


def _copy_regular(directory: int, target: Path, *, max_bytes: int) -> None:
    """Copy the file of the same name in `directory` if it is a regular file of at most `max_bytes`.

    Neither symbolic nor hard links are taken, and pipes are not read: a job could make them, so that foreign files are
    published.
    """
    try:
        descriptor = os.open(target.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=directory)
    except FileNotFoundError:
        return
    except OSError as error:
        reason = "a symbolic link" if error.errno == errno.ELOOP else error.strerror
        log.warning("%s: %s; not archived", target.name, reason)
        return
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
        os.close(descriptor)  # of a directory no stream can be made
        log.warning("%s: expected a regular file of at most %d bytes; not archived", target.name, max_bytes)
        return
    with os.fdopen(descriptor, "rb") as stream:
        if status.st_nlink > 1:
            log.warning("%s: a hard link to another file, which may be foreign; not archived", target.name)
            return
        with target.open("xb") as copy:
            target.chmod(0o600)
            shutil.copyfileobj(stream, copy)
