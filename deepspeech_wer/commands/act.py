"""Commands that change what runs: run, cancel and demo, and the tick that cron starts."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from deepspeech_wer import (
    archive,
    archive_store,
    automation,
    backlog_inputs,
    clock,
    decision_files,
    files,
    hyper,
    identity,
    job_contract,
    journal,
    kept_log,
    xdg_directories,
)
from deepspeech_wer.commands import progress
from deepspeech_wer.commands.locked import cache_locked
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import env_file, environment
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.errors import Stopped, Trouble, with_cure
from deepspeech_wer.exit_codes import DONE, FAILED
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.runners import Runners
from deepspeech_wer.machine import host, lock, signals
from deepspeech_wer.merge_run import unfinished
from deepspeech_wer.merge_run.bench import title
from deepspeech_wer.places import Places
from deepspeech_wer.repository import history, mirror

if TYPE_CHECKING:
    import argparse  # an idle tick has no options

log = logging.getLogger(__name__)


def tick(descriptor: int, asked: Sequence[str] = ()) -> int:
    """Run one tick and return its exit code. The caller holds the lock. Raises Trouble, Stopped."""
    environment.forget_git_variables()
    current = every_setting.load()
    environment.forget_secrets()
    signals.catch()
    files.set_pipes_aside(current.places.of_files)
    watcher = automation.Watcher(job_line=progress.job_line(), upload=progress.upload_bar())
    with kept_log.kept(current.places.log):
        try:
            succeeded = automation.tick(current, descriptor, watcher=watcher, asked=asked or current.force_sha)
        except Trouble as trouble:
            journal.happened(current.places.cache, journal.ERROR, str(trouble))
            kept_log.keep(str(trouble))
            raise
        except Stopped as stopped:
            kept_log.keep(f"ended by {stopped}; the next call resumes")
            raise
    journal.went_well(current.places.cache, published=False)
    return DONE if succeeded else FAILED


def run(options: argparse.Namespace) -> int:
    """Run one tick by hand, for the commits of --sha if there are any."""
    if options.dry_run:
        from deepspeech_wer.commands.inspect import dry_run  # no tick needs it

        return dry_run(options.sha)
    descriptor = lock.acquire(f"{xdg_directories.cache_directory(env_file.instance())}/lock")
    if descriptor is None:
        return _queue_for_the_running_tick(options.sha)
    try:
        return tick(descriptor, options.sha)
    finally:
        lock.release(descriptor)


def _queue_for_the_running_tick(names: Sequence[str]) -> int:
    """Another tick is at work: note for it which commits to run."""
    current = every_setting.load()
    places = current.places
    identity.check(places, current.repository)
    holder = lock.holder(str(places.lock))
    log.info("a tick is already at work%s: see `status`", f" (process {holder[0]} since {holder[2]})" if holder else "")
    for sha in _without_running(current, [history.look_up(places.mirror, name) for name in names]):
        _request(places, Decision(sha, host.user(), "asked for while a tick was at work", clock.utc_now()))
        log.info("%s: noted; it runs once the running job has ended", sha[:12])
    return DONE


def _without_running(current: Settings, shas: Sequence[str]) -> list[str]:
    """Leave out the commits whose job is running, and say so: the end of that job would fulfil the request."""
    runner = Runners(current.cluster)
    begun = [left for left in unfinished.find(current.places, is_looking=True) if left.order.merge.sha in shas]
    running = {left.order.merge.sha for left in begun if left.order.rerun_of is None and runner.is_alive(left.work)}
    for sha in running:
        log.info("%s: its job is running already: `cancel` ends it", sha[:12])
    return [sha for sha in shas if sha not in running]


def _request(places: Places, wanted: Decision) -> None:
    try:
        decision_files.ask_retry(places.requests, wanted)
    except OSError as error:
        raise Trouble(f"cannot write below {places.requests}: {with_cure(error)}") from None


def cancel(options: argparse.Namespace) -> int:
    """Ask the supervisors to end the running jobs, or those of the commits named.

    The current or the next tick archives the runs as cancelled.
    """
    current = every_setting.load()
    places, runner = current.places, Runners(current.cluster)
    identity.check(places, current.repository)
    running = [left for left in unfinished.find(places, is_looking=True) if runner.is_alive(left.work)]
    if not running:
        raise Trouble("no job is running, so there is nothing to cancel: see `status`")
    names = tuple(options.sha) or ("",)
    for name in names:
        if not any(left.order.merge.sha.startswith(name) for left in running):
            raise Trouble(f"no job of {name} is running: see `status`")
    for left in running:
        if not left.order.merge.sha.startswith(names):
            continue
        try:
            works.write_cancel(left.work, f"{host.user()} on {os.uname().nodename}", clock.utc_now())
        except OSError as error:
            raise Trouble(f"cannot write below {left.work.path}: {with_cure(error)}") from None
        runner.ask_to_end(left.work)
        say(f"{title(left.order.merge)}: cancelled; the job has {left.order.grace_s:g} s to save its checkpoint")
    return DONE


def retry(options: argparse.Namespace) -> int:
    """Run commits again that were written off; without a commit, those whose alike failures stopped the queue."""
    current = every_setting.load()
    places = current.places
    identity.check(places, current.repository)
    if options.judge:
        return _judge(current, options.sha)
    shas = _unskip(places, options.sha)
    if shas:
        say(f"no longer skipped, and run by the next tick: {', '.join(sha[:12] for sha in shas)}")
        options.sha = [name for name in options.sha if not any(sha.startswith(name) for sha in shas)]
        if not options.sha:
            return DONE
    shas = [archive.find(places.runs, name).merge.sha for name in options.sha]
    if not shas:
        shas = [archive.find(places.runs, ended.sha).merge.sha for ended in backlog_inputs.alike(places)]
    if not shas:
        raise Trouble("nothing to retry: the last run did not fail; name a commit to run it again")
    shas = _without_running(current, shas)
    if not shas:
        return DONE
    try:
        decision_files.retry_all(places.requests, shas, host.user(), archive.newest(places.runs))
    except OSError as error:
        raise Trouble(f"cannot write below {places.requests}: {with_cure(error)}") from None
    say(f"to be run again by the next tick: {', '.join(sha[:12] for sha in shas)}")
    return DONE


def _unskip(places: Places, names: Sequence[str]) -> list[str]:
    """Have the skipped ones among the commits run after all, and return them."""
    skipped = {one.sha for one in decision_files.skipped(places.requests)}
    shas = [sha for name in names if name for sha in skipped if sha.startswith(name)]
    for sha in shas:
        _request(places, Decision(sha, host.user(), "skipped before", clock.utc_now()))
        decision_files.end_skip(places.requests, sha)
    return shas


def skip(options: argparse.Namespace) -> int:
    """Note that a merge is not to be trained."""
    current = every_setting.load()
    places = current.places
    identity.check(places, current.repository)
    sha = _commit(current, options.sha)
    runner = Runners(current.cluster)
    if any(
        left.order.merge.sha == sha and runner.is_alive(left.work) for left in unfinished.find(places, is_looking=True)
    ):
        raise Trouble(f"{sha[:12]}: its job is running: `cancel` ends it")
    if sha[:12] in archive.commits(places.runs):
        raise Trouble(f"{sha[:12]} has run already: `show {sha[:12]}`; results are never removed")
    merge = history.merge(places.mirror, sha)
    try:
        decision_files.skip(places.requests, Decision(sha, host.user(), options.why, clock.utc_now()))
    except OSError as error:
        raise Trouble(f"cannot write below {places.requests}: {with_cure(error)}") from None
    say(f"{title(merge)}: skipped; `retry {sha[:12]}` runs it after all")
    return DONE


def _commit(current: Settings, name: str) -> str:
    """Return the SHA of a commit of the repository, fetched if it is new. Raises Trouble."""
    places, repository = current.places, current.repository
    if places.mirror.exists():
        with suppress(Trouble):
            return history.look_up(places.mirror, name)
    with cache_locked(places, repository):
        if mirror.update(places.mirror, repository.url, repository.ref) is None:
            raise Trouble(f"{repository.name}: the repository has no commits yet")
        (merge,) = history.resolve(places.mirror, [name])
    return merge.sha


def _judge(current: Settings, names: Sequence[str]) -> int:
    """Take the records that failed runs left as their results. A tick may be at work: nothing that it uses changes."""
    places = current.places
    if not names:
        raise Trouble("retry --judge: name the commit whose result is to be taken, after a look at its run (`show`)")
    found = [archive.find(places.runs, name) for name in names]
    for run in found:
        if run.status == "done":
            raise Trouble(f"{title(run.merge)}: the run {run.id} has its result already")
        if not (run.directory / job_contract.HYPER).exists():
            raise Trouble(f"{title(run.merge)}: the run {run.id} left no hyper.json: `retry` runs it again")
    for run in found:
        name = works.name(clock.utc_now(), run.merge.sha, archive.newest(places.runs), places.begun)
        try:
            taken = archive_store.take(places.runs, name, run, host.user(), clock.utc_now())
            decision_files.end_retry(places.requests, run.merge.sha)
        except OSError as error:
            raise Trouble(f"cannot archive below {places.runs}: {with_cure(error)}") from None
        rate = hyper.shown(hyper.test_wer(taken.hyper))
        say(f"{title(run.merge)}: taken as {taken.id}, test WER {rate}; {run.id} stays; the next tick publishes it")
    return DONE


def demo(options: argparse.Namespace) -> int:
    """Run the whole cycle on this machine."""
    from deepspeech_wer.demo import cycle  # needs the [demo] extra

    return cycle.run(options.directory, port=options.port, serve=not options.no_serve)
