"""The command check-job: runs the job of a checkout once, as the tracker does, and judges what it wrote.

It uses the tracker's own supervisor, in a temporary directory: archive, queue and web host see nothing of it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer import clock, files, hyper, job_contract
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import environment
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import JobLimits
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE, TROUBLE
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.local import Local
from deepspeech_wer.jobs.output import Follower
from deepspeech_wer.jobs.runner import attend
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import signals
from deepspeech_wer.records import Merge, Outcome
from deepspeech_wer.repository import git
from deepspeech_wer.verdicts import utterance_file, utterance_scores

RIGHT, WRONG, MISSING, OPTIONAL = "right", "wrong", "missing", "optional"
_NONE = "0" * 40
_LEFT_BEHIND = re.compile(r"ended (\d+) process(es)? that the job left behind")


class Finding(NamedTuple):
    """One line of the report."""

    level: str
    subject: str
    text: str


def run(options: argparse.Namespace) -> int:
    """Run the job of a directory once and report. Returns TROUBLE if something is wrong or missing."""
    job = every_setting.load().job
    environment.forget_secrets()
    place = Path(os.path.realpath(options.directory))
    if not place.is_dir():
        raise Trouble(f"{place}: expected the directory of a checkout, found none")
    signals.catch()
    top = Path(tempfile.mkdtemp(prefix="check-job-"))
    work, order = _prepare(top, place, job)
    changed = _changed(place) if order.merge.sha != _NONE else []
    say(f"running {order.script} in {place}, as the tracker does", flush=True)
    outcome = _run(work, order)
    signals.check()
    faults = 0
    for finding in _judge(work, order, outcome, changed):
        say(f"{finding.level:<8}  {finding.subject:<15}  {finding.text}")
        faults += finding.level in (WRONG, MISSING)
    if faults:
        say(f"what the job left is in {work.path}; remove {top} when you have looked at it")
        return TROUBLE
    files.remove_tree(top)
    say("the tracker can run this job")
    return DONE


def _prepare(top: Path, place: Path, job: JobLimits) -> tuple[Work, Order]:
    """Lay out a data root with one run in it."""
    sha, subject = _commit(place)
    work = Work(top / "data" / "work" / works.name(clock.utc_now(), sha, "", ()))
    checkpoints = top / "data" / "checkpoints" / sha
    order = Order(
        merge=Merge(sha, 1, subject, "", clock.utc_now(), ()),
        base=None,
        number=0,
        attempt=1,
        interruptions=0,
        progress=0,
        script=job.script,
        checkout=str(place),
        checkpoints=str(checkpoints),
        gpu_usage=None,
        timeout_s=job.timeout_s,
        grace_s=job.grace_s,
        token=os.urandom(16).hex(),
        guards=job.guards,
        links=[],
    )
    for directory in (work.path, work.logs, work.tmp, checkpoints):
        files.make_private(directory)
    works.write_order(work, order)
    return work, order


def _commit(place: Path) -> tuple[str, str]:
    """The commit that is checked out; zeros where the directory is no repository."""
    try:
        sha, _, subject = git.run_git(place, "log", "-1", "--format=%H %s").partition(" ")
    except git.GitError:
        return _NONE, ""
    return sha, subject


def _changed(place: Path) -> list[str]:
    """The files that a clone of the commit would not have, or would have otherwise."""
    return [line[3:] for line in git.run_git(place, "status", "--porcelain", "--ignored", ".").splitlines()]


def _run(work: Work, order: Order) -> Outcome | None:
    followers = [Follower(path) for path in (work.out_log, work.err_log)]
    runner = Local()

    def echo() -> None:
        for follower in followers:
            for line in follower.lines():
                say(f"  | {line}", flush=True)

    runner.submit(work, environment.job_environment())
    attend(runner, work, meanwhile=echo)
    runner.clear(work, order)
    return outcomes.read(work)


def _judge(work: Work, order: Order, outcome: Outcome | None, changed: Sequence[str]) -> Iterator[Finding]:
    if outcome is None:
        yield Finding(WRONG, "job", f"its supervisor was killed: see {work.supervisor_log}")
        return
    if outcome.failure == "no-hyper":
        yield Finding(RIGHT, "job", f"{order.script} exited with 0")
        where = f"${job_contract.LOGS_DIR}/ANYTHING/{job_contract.HYPER}"
        yield Finding(MISSING, job_contract.HYPER, f"expected {where}, found none: the job's last act is to write it")
        return
    if outcome.failure == outcomes.BAD_HYPER:
        yield Finding(WRONG, job_contract.HYPER, f"{outcome.detail}; `schema hyper` prints what is expected")
        return
    if outcome.failure:
        yield Finding(WRONG, "job", f"{outcome.failure}: {outcome.detail}")
        return
    yield Finding(RIGHT, "job", f"{order.script} exited with 0, from {outcome.started_at} to {outcome.finished_at}")
    if outcome.files is None:  # of a job that is done there always are files
        return
    record = hyper.parse(files.read(outcome.files / job_contract.HYPER))
    yield from _of_hyper(record, order)
    yield from _of_utterances(outcome.files, record)
    yield _of_history(outcome.files)
    yield from _of_the_rest(work, order, changed)


def _of_hyper(record: dict[str, Any], order: Order) -> Iterator[Finding]:
    rate = hyper.test_wer(record)
    yield Finding(RIGHT, job_contract.HYPER, f"valid; test WER {hyper.shown(rate)}")
    if rate is None:
        yield Finding(
            MISSING, "test_wer", "results.test_wer is null: such a run cannot be judged, and the page has no point"
        )
    elif rate > hyper.DOUBTFUL:
        yield Finding(WRONG, "test_wer", f"{rate:g}: expected a fraction of words, 0.12 for 12 %")
    given = record["context"].get("git_hash")
    if given is not None and given != order.merge.sha:
        yield Finding(
            WRONG, "git_hash", f"context.git_hash: expected ${job_contract.SHA}, {order.merge.sha}, found {given}"
        )
    if not record["parameters"]:
        yield Finding(OPTIONAL, "parameters", "empty: the page cannot show what a merge changed")
    gives = {
        "test_errors": "substitutions, deletions, insertions, words: the noise of a small test set is known by them",
        "signature": "test set, normaliser, decoder: results of another test set are then not compared",
        "duration": "seconds",
    }
    for name, what in gives.items():
        if name not in record["results"]:
            yield Finding(OPTIONAL, name, f"results.{name} is not there: {what}")


def _of_utterances(directory: Path, record: dict[str, Any]) -> Iterator[Finding]:
    try:
        found = utterance_file.read(directory / job_contract.UTTERANCES)
        if found is None:
            what = "not there: without it nobody sees which utterances a merge changed"
            yield Finding(OPTIONAL, job_contract.UTTERANCES, what)
            return
        _, sets = utterance_scores.summarise(found)
    except Trouble as trouble:
        yield Finding(WRONG, job_contract.UTTERANCES, str(trouble))
        return
    counts = ", ".join(f"{name}: {len(rows)}" for name, rows in found.sets.items())
    yield Finding(RIGHT, job_contract.UTTERANCES, f"utterances of {counts}")
    if found.remark:
        yield Finding(WRONG, job_contract.UTTERANCES, found.remark)
    for scored in sets.values():
        differs = utterance_scores.differs_from_job(scored.score, record)
        if differs:
            yield Finding(WRONG, job_contract.UTTERANCES, differs)


def _of_history(directory: Path) -> Finding:
    path = directory / job_contract.HISTORY
    if not path.exists():
        return Finding(OPTIONAL, job_contract.HISTORY, "not there: the page draws the epochs of jobs that write it")
    try:
        epochs = json.loads(files.read(path))["epochs"]
        if not epochs or not all(type(one["epoch"]) is int for one in epochs):
            raise ValueError("epochs: expected a list of objects with an epoch, a whole number")
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        return Finding(WRONG, job_contract.HISTORY, f"{error}; `schema history` prints what is expected")
    return Finding(RIGHT, job_contract.HISTORY, f"{len(epochs)} epochs")


def _of_the_rest(work: Work, order: Order, changed: Sequence[str]) -> Iterator[Finding]:
    if any(Path(order.checkpoints).iterdir()):
        yield Finding(RIGHT, "checkpoint", f"it wrote into the directory of {job_contract.CHECKPOINT_OPTION}")
    else:
        what = f"nothing is in the directory of {job_contract.CHECKPOINT_OPTION}: a job that is cut off starts again"
        yield Finding(OPTIONAL, "checkpoint", what)
    match = _LEFT_BEHIND.search(files.read(work.supervisor_log).decode("utf-8", "replace"))
    if match:
        yield Finding(
            OPTIONAL, "processes", f"the job left {match[1]} behind, which were ended; it should wait for them"
        )
    if changed:
        names = ", ".join(changed[:3])
        what = f"{len(changed)} files are not as committed ({names}): the tracker runs a clean clone without them"
        yield Finding(OPTIONAL, "checkout", what)
