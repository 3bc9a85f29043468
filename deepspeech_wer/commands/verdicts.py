"""Commands about verdicts: verdicts, accept."""

from __future__ import annotations

import argparse
import getpass
import json
from typing import Any

from deepspeech_wer import archive, clock, decisions, judging
from deepspeech_wer import settings as every_setting
from deepspeech_wer.commands.progress import say
from deepspeech_wer.dashboard import kept
from deepspeech_wer.decisions import Decision
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE
from deepspeech_wer.settings import Settings

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


def verdicts(options: argparse.Namespace) -> int:
    """Print what each merge did to the WER, in the order of history."""
    record = _record(every_setting.load())
    if options.json:
        print(json.dumps([{name: verdict[name] for name in FIELDS} for verdict in record["verdicts"]], indent=1))
        return DONE
    for verdict in record["verdicts"]:
        say(f"{verdict['sha'][:12]}  {verdict['verdict']:<15} {_effect(verdict):>9}  {verdict['reason']}")
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
    return DONE


def accept(options: argparse.Namespace) -> int:
    """Note that a merge's worse result is accepted: its level is the new one."""
    places = every_setting.load().places
    run = archive.find(places.runs, options.sha)
    try:
        decisions.accept(places.requests, Decision(run.merge.sha, getpass.getuser(), options.why, clock.utc_now()))
    except OSError as error:
        raise Trouble(f"cannot write below {places.requests}: {error.strerror}") from None
    say(f"accepted: {run.merge.sha[:12]}; the next tick shows it")
    return DONE


def _effect(verdict: dict[str, Any]) -> str:
    return "" if verdict["effect_pp"] is None else f"{verdict['effect_pp']:+.2f} pp"


def _record(current: Settings) -> dict[str, Any]:
    """Return the verdicts of the present archive."""
    places, wanted = current.places, current.retraining
    record = judging.load(places, wanted)
    if record is None:
        loaded = kept.load(places.runs, places.kept, current.logs)
        record = judging.make(places, loaded.runs, loaded.results, wanted)
    return record
