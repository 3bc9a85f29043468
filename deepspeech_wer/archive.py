"""The archived runs: one directory each. They are the only record; everything else is derived from them.

    runs/<YYYYmmdd-HHMMSS>-<sha12>/    with a number at the end where another run started in that second or later
        run.json     the tracker's record
        hyper.json   byte for byte what the job wrote
        out.log  err.log  utterances.json  history.json  gpu-usage.csv     if they exist

A run is written to a temporary directory, flushed to disk and renamed, so it is archived completely or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import archive_order, derived, files, hyper, job_contract, versions
from deepspeech_wer.archive_order import Placed, started
from deepspeech_wer.backlog import Ended
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import PARTIAL, make_private, remove_tree, rename_durably, sync_tree, write_atomically
from deepspeech_wer.records import Circumstances, Merge, Outcome, Run

VERSION = 1
_USUAL_NAME = 28  # characters: YYYYmmdd-HHMMSS-<sha12>
RUN = "run.json"
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

_SECOND_NS = 10**9
_PLACED_UNKEPT = 50  # so many run.json are read again rather than all of what is kept is written

log = logging.getLogger(__name__)


def store(runs: Path, name: str, merge: Merge, outcome: Outcome, under: Circumstances) -> Run:
    """Archive one run. When this returns, a crash can no longer lose the result.

    `name` must be unused. Raises OSError and leaves nothing behind.
    """
    return _store(runs, name, _serialise(merge, outcome, under), partial(_copy_all, outcome))


def take(runs: Path, name: str, run: Run, who: str, at: str) -> Run:
    """Archive the record of a failed run once more, as a result: a person has looked at it. The failed run stays.

    Raises Trouble if the run has no valid record; OSError, and leaves nothing behind.
    """
    _read_hyper(run.directory)
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
    taken = {"of": run.id, "failure": run.failure, "by": who, "at": at}
    changed = _read_record(run.directory / RUN).get("changed")  # whom an event blames, and for what
    record = _serialise(run.merge, outcome, under, {"changed": changed, "taken": taken})
    return _store(runs, name, record, partial(_copy_archived, run.directory))


def adopt(
    runs: Path, name: str, merge: Merge, outcome: Outcome, under: Circumstances, text: bytes, source: str | None
) -> Run:
    """Archive a record from outside: `text` is its hyper.json, `source` where it was found.

    None for `source`: it is a run of this tracker, whose archive was lost.

    Raises OSError, and leaves nothing behind.
    """
    record = _serialise(merge, outcome, under, {"imported": source} if source else None)
    return _store(runs, name, record, lambda target: write_atomically(target / job_contract.HYPER, text, mode=0o600))


def _store(runs: Path, name: str, record: bytes, fill: Callable[[Path], None]) -> Run:
    make_private(runs)
    temporary = runs / f".{name}{PARTIAL}"
    remove_tree(temporary)
    try:
        temporary.mkdir(mode=0o700)
        fill(temporary)
        write_atomically(temporary / RUN, record, mode=0o600)
        sync_tree(temporary)
        if (runs / name).is_symlink():  # put there by the job
            (runs / name).unlink()
        rename_durably(temporary, runs / name)
        _listed.pop(runs, None)
    finally:
        remove_tree(temporary)
    return read(runs / name)


def names(runs: Path) -> list[str]:
    """Return the names of the archived runs in the order in which they started. Raises Trouble if it cannot list them.

    Links are left out: a job could make one, so that a foreign directory is published.
    """
    try:
        status = runs.stat()
        known = _listed.get(runs)
        if known and known.state == _state(status):
            return known.names.copy()
        now = time.time_ns()
        found = _names(runs)
    except FileNotFoundError:
        return []
    except OSError as error:  # an unreadable archive must not look empty
        raise Trouble(f"{runs}: {error.strerror}: run this as a user who can read the directory") from None
    _listed.pop(runs, None)
    if _is_settled(status.st_ctime_ns, now):
        _listed[runs] = _Listed(_state(status), found)
    return found.copy()


class _Listed(NamedTuple):
    """The names in a directory, and by what a change of them is seen."""

    state: tuple[int, int, int]
    names: list[str]


_listed: dict[Path, _Listed] = {}  # a tick asks for the names a dozen times


def _names(runs: Path) -> list[str]:
    with os.scandir(runs) as entries:
        found = [entry.name for entry in entries if entry.name[0] != "." and entry.is_dir(follow_symlinks=False)]
    found.sort()
    if max(map(len, found), default=0) > _USUAL_NAME:  # rarely do any have an era
        found.sort(key=lambda name: 1 if len(name) <= _USUAL_NAME else started(name)[0])
    return found


def _state(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_ctime_ns  # unlike its mtime, nobody can set it


def _is_settled(changed_ns: int, now_ns: int) -> bool:
    """Return whether a later change of a directory must show in its time, which counts in steps of 10 ms or a second.

    So git looks at files that are as new as its index.
    """
    step_ns = _SECOND_NS if changed_ns % _SECOND_NS == 0 else _SECOND_NS // 20
    return now_ns - changed_ns > 2 * step_ns


def newest(runs: Path) -> str:
    """Return the name of the run that started last; "" if there is none. Raises Trouble."""
    return next(reversed(names(runs)), "")


def commits(runs: Path) -> set[str]:
    """Return the first 12 digits of every archived commit, taken from the names without opening a file."""
    return {name[16:28] for name in names(runs)}


def bases(runs: Path) -> set[str]:
    """Return the bases that the runs recorded. A lost last_sha1 is restored from them."""
    found: set[str] = set()
    for name in names(runs):
        with suppress(Trouble, KeyError, TypeError):  # building the site reports the unreadable run
            record = _read_record(runs / name / RUN)
            base = record["base"] if "base" in record else record["merge"]["sha"]
            if isinstance(base, str):
                found.add(base)
    return found


def ended(runs: Path) -> Iterator[Ended]:
    """How the merges' own runs ended, newest first. The page's build names the unreadable ones."""
    for name in reversed(names(runs)):
        with suppress(Trouble, KeyError):
            record = _read_record(runs / name / RUN)
            if record.get("rerun_of") is None:
                yield Ended(name, record["failure"], str(record["started_at"]))


def load(runs: Path) -> list[Run]:
    """Return every readable run, in the order of their starts. An unreadable run is logged and left unchanged."""
    return list(each(runs))


def each(runs: Path) -> Iterator[Run]:
    """Yield the same one by one: records may have 10 MB each."""
    with suppress(OSError):  # told by `names`
        for link in (entry.name for entry in os.scandir(runs) if entry.is_symlink()):
            log.warning("skipping a run: %s is a link: move the run itself there", runs / link)
    for name in names(runs):
        try:
            yield read(runs / name)
        except Trouble as trouble:
            log.warning("skipping a run: %s", trouble)


def in_order(runs: Iterable[Run]) -> list[Run]:
    """Sort runs by their place in the archive, and the runs of one merge by their start."""
    listed = list(runs)
    if all(run.number for run in listed):  # the usual case, in a fraction of the time
        return sorted(listed, key=lambda run: (run.number, run.merge.ordinal, started(run.id)))
    keys = order_keys(listed)
    return sorted(listed, key=lambda run: keys[run.id])


def order_keys(runs: Iterable[Run]) -> dict[str, archive_order.Key]:
    """Return what `in_order` sorts by; its first element is the place of the merge."""
    return archive_order.keys(_placed(run) for run in runs)


def placed(runs: Path, kept: Path) -> list[Placed]:
    """What decides the places of all archived runs. One that cannot be read is left out: the page's build names it.

    `kept` is a file of what was read before: only new and changed run.json are read. It may be deleted at any time.
    """
    known = {row[0]: row for row in _rows(derived.read(kept, f"{VERSION}"))}
    found: list[list[Any]] = []
    listed, read = names(runs), 0
    descriptor = os.open(runs, os.O_RDONLY | os.O_DIRECTORY) if listed else -1
    try:
        for name in listed:
            row = known.get(name)
            with suppress(OSError, Trouble, KeyError, TypeError, ValueError):
                status = os.stat(f"{name}/{RUN}", dir_fd=descriptor)
                if row is None or row[1:3] != [status.st_size, status.st_mtime_ns]:
                    read += 1
                    row = [name, status.st_size, status.st_mtime_ns, *_read_placed(runs / name)]
                found.append(row)
    finally:
        if listed:
            os.close(descriptor)
    if read >= _PLACED_UNKEPT or len(found) < len(known):
        derived.write(kept, f"{VERSION}", found)
    return [Placed(row[0], *row[3:]) for row in found]


def _rows(value: Any) -> list[list[Any]]:
    return [row for row in value if len(row) == 3 + len(Placed._fields) - 1] if isinstance(value, list) else []


def _read_placed(directory: Path) -> tuple[str, int, int, str, str]:
    """Return the fields of Placed that follow the id. Raises Trouble, KeyError, TypeError or ValueError."""
    record = _read_record(directory / RUN)
    merge = record["merge"]
    sha, times = merge["sha"], (str(record["started_at"]), str(merge["committed_at"]))
    if not isinstance(sha, str):
        raise TypeError(sha)
    return sha, _number(record), int(merge["ordinal"]), *times


def find(runs: Path, name: str) -> Run:
    """Return the run called `name`, or the newest run of the commit whose SHA starts with `name`.

    Raises Trouble if there is none, or if several commits match.
    """
    listed = names(runs)
    matching = [found for found in listed if found == name] or [
        found for found in listed if found[16:].startswith(name[:12])
    ]
    if not name or not matching:
        raise Trouble(f"no run {name!r} in {runs}: list them with `runs`")
    candidates = sorted({found[16:28] for found in matching})
    if len(candidates) > 1:
        listed_commits = ", ".join(candidates[:3])
        raise Trouble(f"{name!r} matches {len(candidates)} commits ({listed_commits}, ...): give more digits")
    own = (run for run in map(read, (runs / found for found in reversed(matching))) if run.rerun_of is None)
    return next(own, None) or read(runs / matching[-1])


def read(directory: Path) -> Run:
    """Read one archived run.

    Raises Trouble that names the file if it is missing, damaged or written by a newer version.
    """
    record = _read_record(directory / RUN)
    try:
        fields = _fields(record, _RUN_FIELDS)
        of_merge = _fields(record["merge"], _MERGE_FIELDS)
        merge = Merge(
            **{**of_merge, "parents": tuple(map(str, of_merge["parents"]))},
            reverts=tuple(map(str, record["merge"].get("reverts", ()))),
        )
    except (KeyError, TypeError) as error:
        raise Trouble(f"{directory / RUN}: expected a run record, found one without {error}") from None
    found = _read_hyper(directory) if fields["status"] == "done" else None
    return Run(
        id=directory.name,
        directory=directory,
        merge=merge,
        hyper=found,
        number=_number(record),
        **fields,
        **_later_fields(record),
    )


def blame(directory: Path) -> dict[str, Any]:
    """Return what run.json says of the merge's changes; {} where it cannot be read, as the page's build tells."""
    with suppress(Trouble):
        record = _read_record(directory / RUN)
        merge, changed = record.get("merge"), record.get("changed")
        told = {**changed} if isinstance(changed, dict) else {}
        if isinstance(merge, dict):
            told |= {"parents": merge.get("parents"), "request": merge.get("request")}
        return told
    return {}


def result_digest(run: Run) -> str:
    """Return a digest of what a training gave: equal ones are the same draw. "" if too little is known to say so.

    It is taken of utterances.json, else of the three WERs if they have digits enough not to be equal by chance.
    """
    path = run.directory / job_contract.UTTERANCES
    if run.hyper is None:
        return ""
    try:
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
    except OSError as error:
        log.warning("%s: %s", path, error.strerror)
        return ""
    rates = [hyper.wer(run.hyper, name) for name in hyper.WERS]
    if rates[0] is None or (rates[1:] == [None, None] and len(repr(rates[0])) < 8):
        return ""
    return hashlib.sha256(repr(rates).encode()).hexdigest()[:32]


def recent(runs: Path) -> Iterator[Run]:
    """Yield the readable runs, newest first."""
    for name in reversed(names(runs)):
        with suppress(Trouble):  # building the site reports the unreadable run
            yield read(runs / name)


def between(runs: Path, since: datetime, until: datetime) -> Iterator[Run]:
    """Yield the readable runs that started within a time by the clock, which may have been wrong at any of them."""
    first, last = (f"{moment.astimezone(UTC):%Y%m%d-%H%M%S}" for moment in (since, until))
    for name in names(runs):
        if first <= name[:15] <= last:
            with suppress(Trouble):
                yield read(runs / name)


def of_commit(runs: Path, sha: str) -> Iterator[Run]:
    """Yield the readable runs of a commit, oldest first."""
    for name in names(runs):
        if name[16:28] == sha[:12]:
            with suppress(Trouble):
                yield read(runs / name)


def holds(runs: Path, name: str) -> bool:
    """Return whether a run is archived."""
    return (runs / name).is_dir() and not (runs / name).is_symlink()


def _placed(run: Run) -> Placed:
    merge = run.merge
    return Placed(run.id, merge.sha, run.number, merge.ordinal, run.started_at, merge.committed_at)


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


def _serialise(merge: Merge, outcome: Outcome, under: Circumstances, more: Mapping[str, Any] | None = None) -> bytes:
    record: dict[str, Any] = {
        "version": VERSION,
        "merge": asdict(merge),
        "status": outcome.status,
        "failure": outcome.failure,
        "detail": outcome.detail,
        "attempt": outcome.attempt,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        **asdict(under),
        **(more or {}),
    }
    return json.dumps(record, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _fields(record: dict[str, Any], wanted: dict[str, Callable[[Any], bool]]) -> dict[str, Any]:
    """Return the wanted fields of a record. Raises KeyError or TypeError that names a missing or invalid field."""
    for key, is_usable in wanted.items():
        if not is_usable(record[key]):
            raise TypeError(f"a valid {key!r}: {str(record[key])[:40]!r}")
    return {key: record[key] for key in wanted}


def _number(record: dict[str, Any]) -> int:
    """Return the run's number; 0 if it was archived before there were numbers."""
    number = record.get("number")
    return number if type(number) is int else 0


def _later_fields(record: dict[str, Any]) -> dict[str, Any]:
    """Return what earlier releases did not record; None where it is missing or of another kind."""
    kinds = {"processor": str, "variables": dict, "rerun_of": str, "seed": int, "imported": str}
    found: dict[str, Any] = {
        name: value if type(value := record.get(name)) is kind else None for name, kind in kinds.items()
    }
    return {**found, "calibrates": record.get("calibrates") is True}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) is int


def is_time(value: Any) -> bool:
    """Return whether a value is an ISO 8601 time."""
    try:
        return bool(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return False


_RUN_FIELDS: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: value in ("done", "failed"),
    "failure": lambda value: value is None or isinstance(value, str),
    "detail": _is_text,
    "attempt": _is_number,
    "started_at": is_time,
    "finished_at": is_time,
    "machine": _is_text,
}
_MERGE_FIELDS: dict[str, Callable[[Any], bool]] = {
    "sha": _is_text,
    "ordinal": _is_number,
    "subject": _is_text,
    "author": _is_text,
    "committed_at": is_time,
    "parents": lambda value: isinstance(value, list),
}


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Trouble(f"{path}: expected JSON, but cannot parse it ({error})") from None
    versions.refuse_newer(path, record, VERSION)
    version = record.get("version") if isinstance(record, dict) else None
    if version != VERSION:
        raise Trouble(f"{path}: expected version {VERSION}, found {version!r}")
    return dict(record)


def _read_hyper(directory: Path) -> dict[str, Any]:
    try:
        return hyper.parse((directory / job_contract.HYPER).read_bytes())
    except OSError as error:
        raise Trouble(f"{directory / job_contract.HYPER}: {error.strerror}") from None
    except hyper.HyperError as error:
        raise Trouble(f"{directory / job_contract.HYPER}: {error}") from None
