"""Commands that only show something: run --dry-run, status, settings, runs, show."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence

from deepspeech_wer import archive, backlog_inputs, hyper, job_contract
from deepspeech_wer.commands import status_record, verdicts
from deepspeech_wer.commands.locked import cache_locked
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import env_file
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.errors import Trouble
from deepspeech_wer.judging import kept_scores, standing
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.repository import history
from deepspeech_wer.verdicts import told


def dry_run(names: Sequence[str]) -> int:
    """Print how many merges are due, and the next one; `names` are asked for by hand."""
    current = every_setting.load()
    names = names or current.force_sha
    with cache_locked(current.places, current.repository):
        plan = backlog_inputs.find(current, names)
    if plan.next is None:
        say(f"nothing is due, though {plan.waiting} wait: see `status`" if plan.waiting else "nothing is due")
        return 0
    merge = history.merge(current.places.mirror, plan.next.sha)
    say(f"{len(names) or max(plan.waiting, 1)} due; next: {merge.sha[:12]} {merge.subject}")
    return 0


def status(options: argparse.Namespace) -> int:
    """Print what is running, what ran last, and what runs next."""
    current = every_setting.load()
    record = status_record.gather(current)
    if options.json:
        return _print_json(record)
    calibrated = verdicts.calibrated(standing.calibrations(current.places, current.retraining))[-1:]
    before = (*status_record.lines(record), *verdicts.wanted(current.places))
    for line in (*before, *_newest(current), *calibrated, *status_record.later_lines(record)):
        say(line)
    return 0


def settings(options: argparse.Namespace) -> int:
    """Print every variable, its effective value and its origin."""
    rows = every_setting.describe(origins=env_file.origins())
    if options.json:
        _print_json([{"name": name, "value": value, "origin": origin} for name, value, origin in rows])
    else:
        for name, value, origin in rows:
            say(f"{name:<32} {value:<32} ({origin})")
    every_setting.load()
    return 0


def runs(options: argparse.Namespace) -> int:
    """List the archived runs, in the order of the history."""
    lines, records, listed = {}, {}, []
    for run in archive.each(every_setting.load().places.runs):
        lines[run.id], records[run.id] = _line(run), status_record.run_record(run)
        listed.append(run._replace(hyper=None))  # it may take 10 MB
    ordered = archive.in_order(listed)
    if options.json:
        return _print_json([records[run.id] for run in ordered])
    for run in ordered:
        say(lines[run.id])
    if not ordered:
        say("no run is archived yet")
    return 0


def show(options: argparse.Namespace) -> int:
    """Print one run in full."""
    places = every_setting.load().places
    run = archive.find(places.runs, options.run)
    if options.json:
        more = {"parents": run.merge.parents, "variables": run.variables, "directory": str(run.directory)}
        return _print_json({**status_record.run_record(run), **more, "hyper": run.hyper})
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
        **_measured(places, run),
    }
    if run.rerun_of:
        seed = "under other variables" if run.seed is None else f"with seed {run.seed}"
        rows["repeats"] = f"{run.rerun_of} {seed}{', to measure the noise' if run.calibrates else ''}"
    for half in ("results", "parameters", "context"):
        flat = hyper.flatten((run.hyper or {}).get(half, {}))
        rows |= {
            f"{half}.{name}": value if isinstance(value, str) else json.dumps(value) for name, value in flat.items()
        }
    for name, value in rows.items():
        say(f"{name:<36} {value}")
    return 0


def _measured(places: Places, run: Run) -> dict[str, str]:
    """Return what the run's utterances say, by label."""
    if run.hyper is None or not (run.directory / job_contract.UTTERANCES).exists():
        return {}
    measures = kept_scores.known(places, [run])
    try:
        known = kept_scores.sets_of(measures, run)
    except Trouble as trouble:
        return {"utterances": str(trouble)}
    rows = {f"utterances.{name}": told.figures(one.figures) for name, one in known.items()}
    record = measures.record(run.id) or {}
    if record.get("differs"):
        rows["utterances.differ"] = "; ".join(record["differs"])
    if record.get("against"):
        rows["utterances.against"] = record["against"]["sentence"]
    return rows


def _print_json(record: object) -> int:
    """Print a record for programs. It is ASCII, whatever it quotes: no terminal is misled by it."""
    print(json.dumps(record, indent=1))
    return 0


def _line(run: Run) -> str:
    result = f"failed: {run.failure}" if run.hyper is None else f"{hyper.shown(hyper.test_wer(run.hyper)):>8}"
    return f"{run.merge.ordinal:>5}  {run.id}  {result:<24} {run.merge.subject[:60]}"


def _newest(current: Settings) -> Iterator[str]:
    if archive.names(current.places.runs):
        try:
            yield f"newest: {_line(status_record.newest(current.places.runs))}"
        except Trouble as trouble:
            yield f"newest: cannot be read: {trouble}"
