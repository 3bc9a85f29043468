"""What `status` tells: one record of plain values, printed as JSON or as lines. Reads only; takes no lock."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from deepspeech_wer import (
    archive,
    archive_record,
    backlog,
    backlog_inputs,
    clock,
    decision_files,
    files,
    hyper,
    job_contract,
    journal,
    update_site,
)
from deepspeech_wer.archive_order import moment
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.dashboard import hyper_js
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import progress
from deepspeech_wer.jobs.runner import Whereabouts
from deepspeech_wer.jobs.runners import Runners
from deepspeech_wer.judging import standing
from deepspeech_wer.machine import lock
from deepspeech_wer.merge_run import unfinished
from deepspeech_wer.merge_run.unfinished import Unfinished
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.repository import history

VERSION = 1
QUEUED, RESULTS, FAILURES, TAIL_LINES = 10, 5, 1000, 10
_TAIL_BYTES = 64 << 10
_COMPARED = 5  # earlier runs whose times say how long one takes
_UNTOLD = {"number", "processor", "variables", "calibrates", "reverts"}  # of what the page has of a run

Record = dict[str, Any]


def gather(settings: Settings) -> Record:
    """Return the whole record. None: there is no such thing, or it is unknown. docs/commands.md describes the keys."""
    places = settings.places
    begun = _begun(settings)
    record: Record = {
        "version": VERSION,
        "at": clock.utc_now(),
        "tracked": {
            "repository": settings.repository.name,
            "branch": settings.repository.ref,
            "instance": settings.instance or None,
        },
        "tick": _tick(places),
        "jobs": _jobs(places, begun),
        "held": archive.names(places.held),
        "last_sha1": backlog_inputs.read_last(places),
        "queue": _queue(settings, begun),
        "requests": [{"kind": kind, **one._asdict()} for kind, one in _requests(places)],
        "runs": {"count": len(archive.names(places.runs)), "directory": str(places.runs)},
        "results": _results(settings),
        "last_failure": _last_failure(places),
        "site": _site(settings),
        "last_error": _event(journal.last(places.cache, journal.ERROR)),
    }
    record["next"] = _next(record, settings)
    return record


def run_record(run: Run) -> Record:
    """Return what is told of a run by `runs`, `show` and `status`."""
    told = hyper_js.tracker_record(run)
    record = {"run": told.pop("id"), **told, "test_wer": hyper.test_wer(run.hyper)}
    return {name: value for name, value in record.items() if name not in _UNTOLD}


def newest(runs: Path) -> Run:
    """Return the run that is the newest in the order of the archive. There must be one. Raises Trouble."""
    names = archive.names(runs)
    is_ahead = names[-1][:15] > clock.stamp(clock.COMPACT)  # the clock was wrong: an earlier release noted no era
    last = [name for name in names if is_ahead or moment(name) == moment(names[-1])]
    listed = [archive_record.read(runs / name)._replace(hyper=None) for name in last]
    return archive_record.read(archive.in_order(listed)[-1].directory)


def _tick(places: Places) -> Record | None:
    holder, entry = lock.holder(str(places.lock)), journal.read(places.cache)
    if not holder and not entry:
        return None
    return {
        "is_running": holder is not None,  # if not, it was killed
        "pid": holder[0] if holder else None,
        "host": holder[1] if holder else None,
        "since": holder[2] if holder else None,
        "merge": entry and {"sha": entry.sha, "subject": entry.subject, "attempt": entry.attempt},
        "phase": entry and entry.phase,
        "phase_since": entry and entry.since,
    }


def _begun(settings: Settings) -> list[tuple[Unfinished, Whereabouts]]:
    """The running jobs, those that wait in a cluster, and one that a killed tick left running."""
    runner = Runners(settings.cluster)
    found = ((left, runner.whereabouts(left.work)) for left in unfinished.find(settings.places, is_looking=True))
    return [(left, where) for left, where in found if where is not None]


def _jobs(places: Places, begun: Sequence[tuple[Unfinished, Whereabouts]]) -> list[Record]:
    found = []
    for left, where in begun:
        made = progress.read(left.work)
        by_epochs = made.ends_at is not None
        found.append(
            {
                "run": left.work.run,
                "sha": left.order.merge.sha,
                "subject": left.order.merge.subject,
                "attempt": left.order.attempt,
                "pid": where.pid,
                "cluster_job": where.job,
                "node": where.node,
                "state": where.state,
                "why": where.reason or None,
                "since": where.since,
                **made._asdict(),
                "ends_at": made.ends_at or (_end_by_earlier_runs(places, where.since) if where.is_running else None),
                "ends_at_by": "epochs" if by_epochs else "earlier runs",
            }
        )
    for job in found:
        if job["ends_at"] is None:
            job["ends_at_by"] = None
    return found


def _end_by_earlier_runs(places: Places, since: str) -> str | None:
    """When the job ends if it takes as long as the last good runs did."""
    good = (run for run in archive.recent(places.runs) if run.status == "done" and not run.imported)
    with suppress(ValueError, OverflowError):
        took = [_seconds(run) for run in islice(good, _COMPARED)]
        if took:
            return clock.stamp(clock.UTC, datetime.fromisoformat(since).timestamp() + median(took))
    return None


def _seconds(run: Run) -> float:
    return (datetime.fromisoformat(run.finished_at) - datetime.fromisoformat(run.started_at)).total_seconds()


def _queue(settings: Settings, begun: Sequence[tuple[Unfinished, Whereabouts]]) -> Record:
    """What is due as of the last fetch. The job that runs is not in it."""
    places = settings.places
    failed = backlog_inputs.alike(places)
    stopped = None
    if len(failed) >= settings.job.stop_after_alike:
        stopped = f"the last {len(failed)} runs failed alike ({failed[-1].failure or ''}); `retry` runs them again"
    try:
        due, waiting = backlog_inputs.queue(settings, QUEUED + settings.cluster.parallel_runs)
        running = {left.order.merge.sha[:12] for left, _ in begun} | archive.commits(places.held)
        merges = [(one, history.merge(places.mirror, one.sha)) for one in due if one.sha[:12] not in running]
        waiting -= len(running & {one.sha[:12] for one in due if one.why in (backlog.NEW, backlog.FIRST)})
    except Trouble as trouble:
        return {"waiting": None, "due": [], "stopped": stopped, "trouble": str(trouble)}
    listed = [
        {"sha": one.sha, "subject": merge.subject, "why": one.why, "reason": one.reason, "seed": one.seed}
        for one, merge in merges
    ]
    return {"waiting": waiting, "due": listed, "stopped": stopped, "trouble": None}


def _requests(places: Places) -> Iterator[tuple[str, Decision]]:
    for wanted in decision_files.retries(places.requests):
        yield "retry", wanted
    for wanted in decision_files.accepted(places.requests):
        yield "accept", wanted
    for wanted in decision_files.skipped(places.requests):
        yield "skip", wanted
    for request in decision_files.calibrations(places.requests):
        why = f"{request.runs} seed{'' if request.runs == 1 else 's'}, to measure the noise"
        yield "calibrate", Decision(request.sha, request.who, why, request.at)


def _results(settings: Settings) -> list[Record]:
    """The last merges' own runs with their verdicts, newest first."""
    record = standing.load(settings.places, settings.retraining)
    verdicts = {one["run"]: one for one in record["verdicts"]} if record else {}
    found = []
    for run in _last_own(settings.places.runs):
        verdict = verdicts.get(run.id, {})
        told = {
            "verdict": verdict.get("verdict"),
            "effect_pp": verdict.get("effect_pp"),
            "reason": verdict.get("reason"),
        }
        found.append({**run_record(run), **told})
    return found


def _last_own(runs: Path) -> list[Run]:
    """The last runs that are no re-trainings, newest first; of those that began in one second, the last in history."""
    found: list[Run] = []
    for run in archive.recent(runs):
        if len(found) >= RESULTS and moment(run.id) != moment(found[-1].id):
            break
        if run.rerun_of is None:
            found.append(run)
    places = archive.order_keys(found)
    found.sort(key=lambda run: (moment(run.id), places[run.id]), reverse=True)
    return found[:RESULTS]


def _last_failure(places: Places) -> Record | None:
    name = next((one.run for one in islice(archive.ended(places.runs), FAILURES) if one.failure is not None), None)
    if name is None:
        return None
    with suppress(Trouble):
        run = archive_record.read(places.runs / name)
        log = _tail(run.directory / job_contract.ERR_LOG) or _tail(run.directory / job_contract.OUT_LOG)
        return {**run_record(run), "log": log, "directory": str(run.directory)}
    return None


def _tail(path: Path) -> list[str]:
    with suppress(OSError), files.open_regular(path) as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
        return stream.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    return []


def _site(settings: Settings) -> Record:
    site, website, cache = settings.places.site, settings.website, settings.places.cache
    is_built = (site / "index.htm").exists()
    place = update_site.place(website) if website else None
    published, dry = (journal.last(cache, name) for name in (journal.PUBLISHED, journal.DRY_RUN))
    return {
        "directory": str(site),
        "is_built": is_built,
        "is_up_to_date": is_built and not update_site.is_behind(settings),
        "is_published": bool(published and published.what == place) or (bool(place) and settings.places.shown.exists()),
        "place": place,
        "published_at": published.at if published and published.what == place else None,
        "dry_run_at": dry.at if dry and dry.what == place else None,
    }


def _event(event: journal.Event | None) -> Record | None:
    return {"at": event.at, "what": event.what, "over_at": event.over_at} if event else None


def _next(record: Record, settings: Settings) -> str:
    """What the tracker does next, in a sentence."""
    tick, queue = record["tick"], record["queue"]
    who = "the running tick" if tick and tick["is_running"] else "the next tick"
    steps: list[str] = []
    for job in record["jobs"]:
        steps.append(f"waits for the job of {job['sha'][:12]} and archives its run")
    if tick and tick["is_running"] and not steps and tick["merge"]:
        steps.append(f"goes on with {tick['merge']['sha'][:12]} ({tick['phase']})")
    if queue["due"]:
        steps.append(_training(queue["due"][0]))
    elif queue["stopped"] and queue["waiting"]:
        steps.append("trains nothing until `retry`: the queue is stopped")
    elif not steps and record["site"]["is_built"] and not record["site"]["is_up_to_date"]:
        steps.append("publishes the page" if settings.website else "builds the page")
    if queue["trouble"]:
        steps.append("fetches the repository again")
    return f"{who} {', then '.join(steps)}" if steps else f"{who} looks for new merges; none was there at the last look"


def _training(due: Record) -> str:
    why = due["reason"] or {backlog.NEW: "a new merge", backlog.FIRST: "the first run"}.get(due["why"], due["why"])
    return f'trains {due["sha"][:12]} "{due["subject"][:60]}" ({why})'


def lines(record: Record) -> Sequence[str]:
    """Return the record as lines for people."""
    tick, tracked = record["tick"], record["tracked"]
    found = []
    if tick and tick["is_running"]:
        found.append(f"a tick is running: process {tick['pid']} on {tick['host']} since {tick['since']}")
    else:
        found.append("no tick is running")
    if tick and tick["merge"]:
        merge = tick["merge"]
        at = f"{tick['phase']} since {tick['phase_since']}, attempt {merge['attempt']}"
        found.append(f"current merge: {merge['sha'][:12]} {merge['subject']} ({at})")
    found += [_job_line(job) for job in record["jobs"]]
    found += [f"done, until earlier merges are: {name}" for name in record["held"]]
    found += _queue_lines(record["queue"])
    for one in record["requests"]:
        if one["kind"] == "calibrate":  # `verdicts` tells how far that is
            continue
        what = {"retry": "to be run again", "accept": "accepted", "skip": "skipped"}[one["kind"]]
        why = "" if one["kind"] == "retry" else f": {one['why']}"
        found.append(f"{what}: {one['sha'][:12]}, asked for by {one['who']} at {one['at']}{why}")
    instance = f", instance {tracked['instance']}" if tracked["instance"] else ""
    found.append(f"tracked: {tracked['repository']}, {tracked['branch'] or 'its HEAD'}{instance}")
    found.append(f"last_sha1: {record['last_sha1'] or 'none yet'}")
    found.append(f"runs: {record['runs']['count']} in {record['runs']['directory']}")
    return found


def later_lines(record: Record) -> Sequence[str]:
    """Return the lines that follow the newest run."""
    found = [f"result: {_result_line(one)}" for one in record["results"]]
    failure = record["last_failure"]
    if failure:
        found.append(
            f"last failure: {failure['finished_at']}: {failure['sha'][:12]} {failure['subject'][:60]}: "
            f"{failure['failure']}: {failure['detail'][:200]}"
        )
        found += [f"  | {line}" for line in failure["log"]]
    found.append(f"site: {_site_line(record['site'])}")
    if record["last_error"]:
        found.append(f"last error: {_error_line(record['last_error'])}")
    found.append(f"next: {record['next']}")
    return found


def _error_line(error: Record) -> str:
    over = f" (resolved at {error['over_at']})" if error["over_at"] else ""
    return f"{error['at']}: {error['what']}{over}"


def _job_line(job: Record) -> str:
    what = f"process {job['pid']}" if job["cluster_job"] is None else _of_cluster(job)
    parts = [f"attempt {job['attempt']}: {what} since {job['since']}"]
    if job["epoch"] is not None:
        parts.append(f"epoch {job['epoch']}" + (f" of {job['epochs']}" if job["epochs"] else ""))
    for name in ("train_loss", "validation_loss"):
        if job[name] is not None:
            parts.append(f"{name.replace('_', ' ')} {job[name]:.4g}")
    if job["ends_at"]:
        parts.append(f"ends at about {job['ends_at']} (by its {job['ends_at_by']})".replace("its earlier", "earlier"))
    if job["epoch"] is None and job["last_line"]:
        parts.append(f"its last line: {job['last_line']}")
    return f"job: {job['sha'][:12]} {job['subject']}, {', '.join(parts)}"


def _of_cluster(job: Record) -> str:
    where = f" on {job['node']}" if job["node"] else ""
    why = f" ({job['why']})" if job["why"] else ""
    return f"Slurm's job {job['cluster_job']} {job['state']}{where}{why}"


def _queue_lines(queue: Record) -> list[str]:
    found = []
    if queue["stopped"]:
        found.append(f"the queue is stopped: {queue['stopped']}")
    for one in queue["due"]:
        why = f"{one['why']}: {one['reason']}" if one["reason"] else one["why"]
        found.append(f"due: {one['sha'][:12]} {one['subject'][:60]} ({why})")
    new = sum(one["why"] in (backlog.NEW, backlog.FIRST) for one in queue["due"])
    if queue["waiting"] and queue["waiting"] > new:
        found.append(f"due: {queue['waiting'] - new} more new merges")
    if queue["trouble"]:
        found.append(f"queue: {queue['trouble']}")
    return found


def _result_line(one: Record) -> str:
    rate = hyper.shown(one["test_wer"]) if one["status"] == "done" else f"failed: {one['failure']}"
    if one["verdict"] == "failed":
        return f"{one['sha'][:12]} {rate}: {one['subject'][:60]}"
    verdict = one["verdict"] or "not judged yet"
    effect = "" if one["effect_pp"] is None else f" {one['effect_pp']:+.2f} pp"
    return f"{one['sha'][:12]} {rate:>8}, {verdict}{effect}: {one['subject'][:60]}"


def _site_line(site: Record) -> str:
    if not site["is_built"]:
        return "none yet"
    freshness = "up to date" if site["is_up_to_date"] else "not up to date"
    if site["place"] is None:
        return f"{freshness}, not published, in {site['directory']}"
    if site["published_at"]:
        return f"{freshness}, published to {site['place']} at {site['published_at']}"
    if site["is_published"] and site["is_up_to_date"]:  # an earlier release noted no time
        return f"{freshness}, published to {site['place']}"
    if site["dry_run_at"]:
        return f"nothing published to {site['place']} yet, only a dry run at {site['dry_run_at']}"
    return f"nothing published to {site['place']} yet"
