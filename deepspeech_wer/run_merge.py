"""One merge: checked out, its job run, its run archived; and the same finished where a killed tick left it."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from deepspeech_wer import archive, environment, files, journal
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import gpu, local
from deepspeech_wer.records import Checkout, Merge, Outcome, Run
from deepspeech_wer.repository import checkout as checkouts
from deepspeech_wer.setting_types import without_password
from deepspeech_wer.settings import Settings

MAX_INTERRUPTIONS = 10  # a merge over which so many ticks died is given up

log = logging.getLogger(__name__)


def run_merge(
    settings: Settings, merge: Merge, lock: int, job_line: Callable[[str], None] | None, *, base: str | None
) -> Run:
    """Run a merge's job until it is done or given up, and archive that: from then on the result cannot be lost.

    `job_line` gets each line of the job's output; `base` goes into the archive with the run. Raises Trouble for what is
    no fault of the job: no room, a foreign directory at ds_clone_path.
    """
    entry = _begin(settings, merge, base)
    if entry.interruptions > MAX_INTERRUPTIONS:
        return _archive(settings, entry, _given_up(settings, entry))
    try:
        return _try(settings, entry, lock, job_line)
    except (Trouble, OSError, SystemExit, KeyboardInterrupt):
        with suppress(OSError):
            journal.enter(settings.cache, journal.STOPPED)
        raise


def _try(settings: Settings, entry: journal.Entry, lock: int, job_line: Callable[[str], None] | None) -> Run:
    while True:
        outcome = _attempt(settings, entry, lock, job_line)
        if _is_final(settings, outcome):
            return _archive(settings, entry, outcome)
        log.warning(
            "%s: attempt %d of %d: %s: %s",
            title(entry.merge),
            entry.attempt,
            settings.job_attempts,
            outcome.failure,
            outcome.detail,
        )
        entry = replace(entry, attempt=entry.attempt + 1)


def recover(settings: Settings) -> Run | None:
    """Finish or undo what a killed tick left: its job ended, a finished result archived, half-made things removed.

    The run that was archived so, if any. What was not finished stands in the journal still, and goes on from its
    checkpoint when the tick comes to it.
    """
    entry = journal.read(settings.cache)
    run = None
    if entry:
        log.warning("the last tick was cut off at %s (%s); going on from there", title(entry.merge), entry.phase)
        local.end_leftovers(entry.token, grace_s=3.0)
        files.let_in(settings.data, settings.data / "work", settings.runs, settings.site, settings.data / "checkpoints")
        outcome = _left_outcome(settings, entry)
        if outcome and _is_final(settings, outcome) and not archive.holds(settings.runs, entry.merge, outcome):
            run = _archive(settings, entry, outcome)
            journal.clear(settings.cache)
        elif outcome and archive.holds(settings.runs, entry.merge, outcome):
            _tidy(settings, entry.merge)
            journal.clear(settings.cache)
        elif outcome:  # that attempt is over, and is not made again
            journal.write(settings.cache, replace(entry, attempt=outcome.attempt + 1))
        for place in (settings.runs, settings.site):
            files.remove_partial(place)
    for left in settings.cache.glob(f".*{files.PARTIAL}"):
        left.unlink()
    checkouts.wipe(settings.cache, settings.clone_path)
    return run


def remove_checkpoints(settings: Settings, is_needed: Callable[[str], bool]) -> None:
    """Remove the checkpoints of commits, named by SHA, that are never gone on with: of a branch that was rewritten."""
    for path in (settings.data / "checkpoints").glob("*"):
        if not is_needed(path.name):
            log.info("removing the checkpoint of %s, which is no longer due", path.name[:12])
            files.remove_tree(path)


def title(merge: Merge) -> str:
    """How a merge is called in the log."""
    return f'{merge.sha[:12]} "{merge.subject[:60]}"'


def _begin(settings: Settings, merge: Merge, base: str | None) -> journal.Entry:
    """A new entry in the journal; where the last tick died over the same merge, its count of attempts goes on."""
    before = journal.read(settings.cache)
    same = before if before and before.merge.sha == merge.sha else None
    progress = _progress(settings, merge)
    cut_off = same is not None and same.phase == "job" and same.progress == progress
    entry = journal.Entry(
        phase="checkout",
        merge=merge,
        attempt=same.attempt if same else 1,
        interruptions=(same.interruptions + cut_off) if same and same.progress == progress else 0,
        progress=progress,
        token=os.urandom(16).hex(),
        since=_now(),
        base=base,
    )
    journal.write(settings.cache, entry)
    return entry


def _progress(settings: Settings, merge: Merge) -> int:
    """Changes when a checkpoint is written: a training that gets on is not given up, however often it is cut off."""
    path = _checkpoint_path(settings, merge)
    with suppress(OSError):
        return sum(file.lstat().st_mtime_ns for file in path.rglob("*"))  # the newest alone would hide a clock set back
    return 0


def _attempt(settings: Settings, entry: journal.Entry, lock: int, job_line: Callable[[str], None] | None) -> Outcome:
    """One try, in a clean checkout of its own."""
    _enter(settings, entry, "checkout")
    mirror = settings.cache / "repository.git"
    origin = without_password(settings.repo_url)
    try:
        with checkouts.checked_out(mirror, entry.merge, settings.clone_path, origin=origin) as checkout:
            outcome = _run_job(settings, entry, checkout, lock, job_line)
            _enter(settings, entry, "wipe")
    except checkouts.CannotCheckOut as trouble:
        work = _fresh_work(settings)
        return Outcome("failed", "no-checkout", str(trouble), entry.attempt, entry.since, _now(), files=None, logs=work)
    return outcome


def _run_job(
    settings: Settings, entry: journal.Entry, checkout: Checkout, lock: int, job_line: Callable[[str], None] | None
) -> Outcome:
    work = _fresh_work(settings)
    what = local.Job(
        script=settings.wer_automation,
        environment=environment.job_environment(),
        work=work,
        checkpoints=_checkpoints(settings, entry.merge),
        timeout_s=settings.job_timeout_s,
        grace_s=settings.job_grace_s,
        token=entry.token,
        lock=lock,
        gpu_usage=gpu.place(work, entry.merge.sha, csv=settings.gpu_usage_csv, root=settings.gpu_usage_root),
    )
    _enter(settings, entry, "job")
    outcome = local.run(what, checkout, attempt=entry.attempt, echo=job_line)
    files.let_in(settings.cache, settings.runs, settings.site, settings.data / "checkpoints")
    if outcome.files is None:
        files.remove_tree(what.work / "logs")
        if files.is_full(what.checkpoints):  # filled by the job itself, nothing would ever run here again
            files.remove_tree(what.checkpoints)
    try:
        journal.save_outcome(what.work, outcome)
    except OSError as error:
        log.warning("cannot write below %s: %s", settings.data, error.strerror)  # it only matters after a crash
    return outcome


def _archive(settings: Settings, entry: journal.Entry, outcome: Outcome) -> Run:
    _make_room(settings, entry.merge, outcome)
    _enter(settings, entry, "archive")
    try:
        run = archive.store(settings.runs, entry.merge, outcome, machine=os.uname().nodename, base=entry.base)
    except OSError as error:
        raise Trouble(
            f"cannot archive the run of {entry.merge.sha[:12]} below {settings.runs}: {error.strerror}; "
            "its result is kept, the next call tries again"
        ) from None
    _enter(settings, entry, "advance")
    _tidy(settings, entry.merge)
    log.log(logging.INFO if run.status == "done" else logging.ERROR, "%s: %s", title(run.merge), _result(run))
    return run


def _make_room(settings: Settings, merge: Merge, outcome: Outcome) -> None:
    """Remove all that the archive does not take: a job may have filled the disk with it. No link is followed."""
    files.remove_tree(_checkpoint_path(settings, merge))
    files.remove_tree(outcome.logs / "tmp")
    kept = {outcome.files / name for name in (archive.HYPER, *archive.COMPANIONS)} if outcome.files else set()
    logs = outcome.logs / "logs"
    if logs.is_symlink():
        logs.unlink()
    for path in (*logs.glob("*"), *(outcome.files.glob("*") if outcome.files else ())):
        if path not in kept and path != outcome.files:
            files.remove_tree(path)


def _tidy(settings: Settings, merge: Merge) -> None:
    """Remove what an archived run no longer needs; last what tells a recovery that it is archived."""
    files.remove_tree(_checkpoint_path(settings, merge))
    files.remove_tree(settings.data / "work")


def _left_outcome(settings: Settings, entry: journal.Entry) -> Outcome | None:
    """How the job of a killed tick ended, as far as that can be known.

    Where the tick died before its job, nobody knows the exit code: then a whole hyper.json, a job's last act, counts.
    """
    work = settings.data / "work"
    outcome = journal.read_outcome(work)
    if outcome is None and entry.phase == "job":
        failure, _, found = local.judge(work / "logs")
        if failure is None:
            return Outcome("done", None, "", entry.attempt, entry.since, _now(), files=found, logs=work)
    return outcome


def _is_final(settings: Settings, outcome: Outcome) -> bool:
    return (
        outcome.status == "done" or outcome.failure in local.NEVER_RETRIED or outcome.attempt >= settings.job_attempts
    )


def _given_up(settings: Settings, entry: journal.Entry) -> Outcome:
    detail = f"{entry.interruptions} ticks were killed while it was in work"
    work = _fresh_work(settings)
    return Outcome("failed", "interrupted", detail, entry.attempt, entry.since, _now(), files=None, logs=work)


def _fresh_work(settings: Settings) -> Path:
    work = settings.data / "work"
    if not files.remove_tree(work):  # what lies there would be taken for this job's results
        raise Trouble(
            f"cannot clear {work}: an earlier job left files there that this user may not remove "
            "(from a container, as root?): remove it by hand"
        )
    try:
        files.make_private(work)
    except OSError as error:
        raise Trouble(f"cannot make {work}: {error.strerror}") from None
    return work


def _checkpoints(settings: Settings, merge: Merge) -> Path:
    """The merge's checkpoint directory; filled once from the one that <cache>/checkpoint_file names."""
    path = _checkpoint_path(settings, merge)
    if path.is_symlink() or path.is_file():
        path.unlink()  # put there by a job
    request = settings.cache / "checkpoint_file"
    if not path.exists() and request.is_file():
        source = Path(request.read_text("utf-8", "replace").strip())
        if not source.is_absolute() or not source.is_dir() or settings.data.is_relative_to(source):
            raise Trouble(f"{request}: expected the whole path of a checkpoint directory, found {str(source)!r}")
        _copy(source, path)
        request.unlink()
    return path


def _copy(source: Path, target: Path) -> None:
    beside = target.with_name(f".{target.name}{files.PARTIAL}")
    files.remove_tree(beside)
    try:
        shutil.copytree(source, beside)
    except (OSError, shutil.Error) as error:
        files.remove_tree(beside)
        raise Trouble(f"cannot copy the checkpoint {source}: {error}") from None
    beside.rename(target)


def _checkpoint_path(settings: Settings, merge: Merge) -> Path:
    return settings.data / "checkpoints" / merge.sha


def _enter(settings: Settings, entry: journal.Entry, phase: str) -> None:
    try:
        journal.write(settings.cache, replace(entry, phase=phase))
    except OSError as error:
        raise Trouble(f"cannot write below {settings.cache}: {error.strerror}; the next call goes on") from None


def _result(run: Run) -> str:
    if run.hyper is None:
        tries = f" after {run.attempt} attempts" if run.attempt > 1 else ""
        return f"failed{tries}: {run.failure}: {run.detail} (log: {run.directory}/err.log)"
    wer = run.hyper["results"]["test_wer"]
    return "done, test WER not measured" if wer is None else f"done, test WER {100 * wer:.2f} %"


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
