"""Commands about verdicts: verdicts, accept, calibrate."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from typing import Any

from deepspeech_wer import archive, clock, decision_files, identity
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.dashboard import kept
from deepspeech_wer.decision_files import Calibration, Decision
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.exit_codes import DONE
from deepspeech_wer.judging import calibrating, standing, verdict_file
from deepspeech_wer.machine import host
from deepspeech_wer.merge_run.bench import title
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run

FIELDS = (
    "sha",
    "run",
    "verdict",
    "effect_pp",
    "interval_pp",
    "sigma_pp",
    "sigma_df",
    "mde_pp",
    "p",
    "culprits",
    "retrained",
    "reason",
)
OF_SETS = ("test_set", "sets")  # where there are several test sets


def verdicts(options: argparse.Namespace) -> int:
    """Print what each merge did to the WER, in the order of history."""
    record = judged(every_setting.load())
    if options.json:
        print(
            json.dumps(
                [
                    {name: verdict[name] for name in (*FIELDS, *OF_SETS) if name in verdict}
                    for verdict in record["verdicts"]
                ],
                indent=1,
            )
        )
        return DONE
    for verdict in record["verdicts"]:
        say(f"{verdict['sha'][:12]}  {verdict['verdict']:<15} {_effect(verdict):>9}  {verdict['reason']}")
    if not record["verdicts"]:
        say("no merge is judged yet: the first tick that archives a run does that")
    for event in record["events"]:
        interval = "{:+.2f} to {:+.2f}".format(*event["interval_pp"])
        names = ", ".join(f"{sha[:12]} ({chance:.0%})" for sha, chance in event["culprits"])
        closed = f" by {event['closed_by'][:12]}" if event["closed_by"] else ""
        say(f"step {event['step_pp']:+.2f} pp (95 %: {interval}), {event['state']}{closed}: {names}")
    again = record["retraining"]
    if again:
        say(f"to be trained again: {again['sha'][:12]}: {again['reason']}")
    for note in record["notes"]:
        say(note)
    for line in calibrated(record["calibrations"]):
        say(line)
    return DONE


def accept(options: argparse.Namespace) -> int:
    """Note that a merge's worse result is accepted: its level is the new one."""
    current = every_setting.load()
    places = current.places
    identity.check(places, current.repository)
    run = archive.find(places.runs, options.sha)
    try:
        decision_files.accept(places.requests, Decision(run.merge.sha, host.user(), options.why, clock.utc_now()))
    except OSError as error:
        raise Trouble(f"cannot write below {places.requests}: {with_cure(error)}") from None
    say(f"accepted: {run.merge.sha[:12]}; the next tick shows it")
    return DONE


def calibrate(options: argparse.Namespace) -> int:
    """Ask for a commit to be trained with many seeds; show what that gave, or withdraw the request."""
    current = every_setting.load()
    places = current.places
    identity.check(places, current.repository)
    try:
        if options.stop:
            return _stop(places, options.sha)
        if not options.show:
            run = _good_run(places, options.sha) if options.sha else _newest_good_run(current)
            _ask(places, run, options.runs)
            return DONE
    except OSError as error:
        raise Trouble(f"cannot write below {places.requests}: {with_cure(error)}") from None
    lines = [*calibrated(judged(current)["calibrations"]), *wanted(places)]
    for line in lines or ["nothing is calibrated yet: `calibrate` asks for it"]:
        say(line)
    return DONE


def calibrated(calibrations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each calibration: what it measured, and why it is not in use if it is not."""
    lines = []
    in_use = [(one["signature"], one["variables"]) for one in calibrations if one["is_used"]]
    for one in calibrations:
        series = one["signature"], one["variables"]
        used = ""
        if not one["is_used"] and one["sd_pp"] is not None:
            why = (
                "a newer one is in use"
                if series in in_use
                else f"of another series: {series[0]}, variables {series[1]}"
            )
            used = f" ({why})"
        ignored = f"; the job ignores its seed: {one['repeated']} repeats a result" if one["repeated"] else ""
        lines.append(f"{one['sentence']}{ignored}{used}")
    return lines


def wanted(places: Places) -> list[str]:
    """Return a line for each request to calibrate."""
    requests = decision_files.calibrations(places.requests)
    return [f"to be calibrated: {calibrating.progress(places, request).sentence}" for request in requests]


def _ask(places: Places, run: Run, runs: int) -> None:
    """Note the request. One that is pending for the commit is replaced; a fulfilled one is added to."""
    sha = run.merge.sha
    pending = next((one for one in decision_files.calibrations(places.requests) if one.sha == sha), None)
    now = calibrating.progress(places, pending) if pending else None
    if pending and now and now.is_open:
        if pending.runs == runs:
            say(f"asked for already: {now.sentence}; {now.missing} to come, `calibrate --stop` withdraws it")
            return
        request = pending._replace(runs=runs)
    else:
        before, failed = calibrating.counted(list(archive.of_commit(places.runs, sha)))
        request = Calibration(sha, host.user(), clock.utc_now(), runs, before, failed)
    decision_files.calibrate(places.requests, request)
    missing = calibrating.progress(places, request).missing
    say(f"{title(run.merge)}: {missing} seeds to be trained by the next ticks, whenever nothing else is due")


def _stop(places: Places, name: str | None) -> int:
    """Withdraw the request for a commit, or all requests."""
    requests = decision_files.calibrations(places.requests)
    if name:
        requests = [one for one in requests if one.sha.startswith(name)]
    if not requests:
        raise Trouble(f"no calibration{f' of {name}' if name else ''} is asked for, so there is nothing to withdraw")
    for request in requests:
        say(f"withdrawn: {calibrating.progress(places, request).sentence}; what is trained stays")
        decision_files.end_calibration(places.requests, request.sha)
    return DONE


def _good_run(places: Places, name: str) -> Run:
    run = archive.find(places.runs, name)
    own = calibrating.own_run(list(archive.of_commit(places.runs, run.merge.sha)))
    if own is None:
        raise Trouble(
            f"{title(run.merge)}: no run of this tracker has a result, so it cannot be trained again: name one"
        )
    return own


def _newest_good_run(current: Settings) -> Run:
    places = current.places
    runs = kept.load(places.runs, places.kept, current.logs).runs
    found = next((run for run in reversed(runs.in_order().own) if calibrating.own_run([run])), None)
    if found is None:
        raise Trouble(f"no merge that this tracker trained has a result yet in {places.runs}: run a tick first")
    return found


def _effect(verdict: dict[str, Any]) -> str:
    return "" if verdict["effect_pp"] is None else f"{verdict['effect_pp']:+.2f} pp"


def judged(current: Settings) -> dict[str, Any]:
    """Return the verdicts of the present archive."""
    places, wanted = current.places, current.retraining
    record = standing.load(places, wanted)
    if record is None:
        loaded = kept.load(places.runs, places.kept, current.logs)
        record = verdict_file.make(places, loaded.runs, loaded.results, wanted, page=current.repository.page)
    return record
