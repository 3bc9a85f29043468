"""Commands that only show something: run --dry-run, status, settings, runs, show."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace

from deepspeech_wer import (
    archive,
    backlog_inputs,
    clock,
    decisions,
    env_file,
    hyper,
    journal,
    lock,
    run_merge,
    update_site,
)
from deepspeech_wer import settings as every_setting
from deepspeech_wer.archive_order import moment
from deepspeech_wer.commands.locked import cache_locked
from deepspeech_wer.commands.progress import say
from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import Run
from deepspeech_wer.repository import history
from deepspeech_wer.settings import Settings


def dry_run() -> int:
    """Print how many merges are due, and the next one."""
    current = every_setting.load()
    with cache_locked(current.places, current.repository):
        plan = backlog_inputs.find(current)
    if plan.next is None:
        say("nothing is due")
        return 0
    merge = history.merge(current.places.mirror, plan.next.sha)
    say(f"{max(plan.waiting, 1)} due; next: {merge.sha[:12]} {merge.subject}")
    return 0


def status(_: argparse.Namespace) -> int:
    """Print what is running, and what ran last."""
    current = every_setting.load()
    places = current.places
    holder = lock.holder(str(places.lock))
    say(f"a tick is running: process {holder[0]} on {holder[1]} since {holder[2]}" if holder else "no tick is running")
    entry = journal.read(places.cache)
    if entry:
        say(f"current merge: {entry.sha[:12]} {entry.subject} ({entry.phase}, attempt {entry.attempt})")
    for line in (*_jobs(current), *_requested(current)):
        say(line)
    say(f"tracked: {current.repository.name}, {current.repository.ref or 'its HEAD'}")
    say(f"last_sha1: {backlog_inputs.read_last(places) or 'none yet'}")
    names = archive.names(places.runs)
    say(f"runs: {len(names)} in {places.runs}")
    if names:
        say(f"newest: {_newest(current, names)}")
    say(f"site: {_site(current)}")
    error = journal.last(places.cache, journal.ERROR)
    if error:
        say(f"last error: {error.at}: {error.what}")
    return 0


def _requested(current: Settings) -> list[str]:
    """What people asked for, and whether the queue waits for them."""
    places = current.places
    lines = [
        f"to be run: {wanted.sha[:12]}, asked for by {wanted.who} at {wanted.at}"
        for wanted in decisions.retries(places.requests)
    ]
    failed = backlog_inputs.alike(places)
    if len(failed) >= current.job.stop_after_alike:
        why = f"the last {len(failed)} runs failed alike ({failed[-1].failure or ''})"
        lines.append(f"the queue is stopped: {why}; `retry` runs them again")
    return lines


def settings(_: argparse.Namespace) -> int:
    """Print every variable, its effective value and its origin."""
    for name, value, origin in every_setting.describe(origins=env_file.origins()):
        say(f"{name:<32} {value:<32} ({origin})")
    every_setting.load()
    return 0


def runs(_: argparse.Namespace) -> int:
    """List the archived runs, in the order of the history."""
    lines, listed = {}, []
    for run in archive.each(every_setting.load().places.runs):
        lines[run.id] = _line(run)
        listed.append(replace(run, hyper=None))  # it may take 10 MB
    for run in archive.in_order(listed):
        say(lines[run.id])
    return 0


def show(options: argparse.Namespace) -> int:
    """Print one run in full."""
    run = archive.find(every_setting.load().places.runs, options.run)
    rows = {
        "run": run.id,
        "merge": f"{run.merge.sha} (number {run.merge.ordinal})",
        "subject": run.merge.subject,
        "author": f"{run.merge.author}, {run.merge.committed_at}",
        "status": run.status if run.failure is None else f"{run.status}: {run.failure}: {run.detail}",
        "attempt": run.attempt,
        "time": f"{run.started_at} to {run.finished_at}",
        "machine": run.machine,
        "files": run.directory,
    }
    for half in ("results", "parameters", "context"):
        rows |= {f"{half}.{name}": value for name, value in (run.hyper or {}).get(half, {}).items()}
    for name, value in rows.items():
        say(f"{name:<36} {value}")
    return 0


def _jobs(current: Settings) -> list[str]:
    """Return a line per running job, including those that a killed tick left running."""
    lines = []
    for left in run_merge.unfinished(current.places):
        holder = lock.holder(str(left.work.lock))
        if holder:
            what = f"{left.order.merge.sha[:12]} {left.order.merge.subject}"
            lines.append(f"job: {what}, attempt {left.order.attempt}: process {holder[0]} since {holder[2]}")
    return lines


def _line(run: Run) -> str:
    result = f"failed: {run.failure}" if run.hyper is None else f"{hyper.shown(hyper.test_wer(run.hyper)):>8}"
    return f"{run.merge.ordinal:>5}  {run.id}  {result:<24} {run.merge.subject[:60]}"


def _newest(current: Settings, names: Sequence[str]) -> str:
    directory = current.places.runs
    is_ahead = names[-1][:15] > clock.stamp(clock.COMPACT)  # the clock was wrong: an earlier release noted no era
    last = [name for name in names if is_ahead or moment(name) == moment(names[-1])]
    try:
        listed = [replace(archive.read(directory / name), hyper=None) for name in last]
        return _line(archive.read(archive.in_order(listed)[-1].directory))
    except Trouble as trouble:
        return f"cannot be read: {trouble}"


def _site(current: Settings) -> str:
    site, website = current.places.site, current.website
    if not (site / "index.htm").exists():
        return "none yet"
    is_behind = update_site.is_behind(current)
    freshness = "not up to date" if is_behind else "up to date"
    if website is None:
        return f"{freshness}, not published, in {site}"
    place, cache = update_site.place(website), current.places.cache
    published, dry = (journal.last(cache, name) for name in (journal.PUBLISHED, journal.DRY_RUN))
    if published and published.what == place:
        return f"{freshness}, published to {place} at {published.at}"
    if not is_behind:  # an earlier release noted no time
        return f"{freshness}, published to {place}"
    if dry and dry.what == place:
        return f"nothing published to {place} yet, only a dry run at {dry.at}"
    return f"nothing published to {place} yet"
