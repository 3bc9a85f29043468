"""The demo's steps. Each is announced, done by a real tick, and skipped if it is done already."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deepspeech_wer import archive, hyper
from deepspeech_wer.dashboard.preview import preview
from deepspeech_wer.demo import sample
from deepspeech_wer.demo.place import Place
from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import lock, processes, signals
from deepspeech_wer.records import Run

try:
    from deepspeech_wer.demo import sftp_server
except ImportError as error:
    raise Trouble(f"the demo lacks a library ({error}): run bin/demo, or install the extra [demo] with pip") from None

PORTS_TRIED = 20
TICK = (sys.executable, "-P", "-m", "deepspeech_wer")
GRACE_S = 20.0  # for a tick to end its job, which then saves a checkpoint
POLL_S = 0.2
WEEK_S = 604_800.0
FINE = (0, 4)  # exit codes of a tick; 4 is expected: a merge of the sample fails, and one is worse


def run(directory: str, *, port: int, serve: bool) -> int:
    """Bring the demo in `directory` up to date and return the exit code. `serve` shows its page until Ctrl-C."""
    place = Place(Path(os.path.realpath(directory)))
    signals.catch()
    with _only_one(place):
        _say(f"all files of the demo are in {place.root}; delete that directory to remove it")
        place.make()
        with sftp_server.running(place) as website:
            address = f"{sftp_server.HOST}:{website['ds_website_server_port']}"
            _say(f"started an SFTP server for user {sftp_server.USER} at {address}")
            _work(place, {**place.environment(), **website})
        _check_published(place)
        _print_table(_runs(place), _verdicts(place.environment()))
    if not serve:
        _say(f"the published page: {place.web / 'index.htm'} (to serve it over http, omit --no-serve)")
        return 0
    _say(f"to track a merge of your own, make one in {place.sample} and run the demo again")
    _serve(place, port)
    return 0


def _work(place: Place, environment: Mapping[str, str]) -> None:
    """Make the sample's history day by day, and run a tick where cron would have."""
    before = len(_runs(place))
    _end_left_tick(place)
    for number, day in enumerate(sample.DAYS, start=1):
        sample.grow(place, day.steps)
        trained = {run.merge.subject for run in _runs(place)}
        is_new = any(step.subject not in trained for step in day.steps)
        if is_new:
            _say(f"day {number}: {day.news}")
        if is_new or number == len(sample.DAYS):  # the last tick also takes what a user merged
            _tick(environment)
        if number == 1:
            _check_baseline(place)
    new = len(_runs(place)) - before
    _say(f"trained {_counted(new, 'time')}" if new else "nothing new: every merge is trained and published")


def _tick(environment: Mapping[str, str]) -> None:
    """Run a tick in its own session, so that Ctrl-C reaches it once, through us, and its job can save a checkpoint."""
    process = subprocess.Popen(TICK, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        if signals.count():
            process.terminate()
            process.wait()
        signals.wait(POLL_S)
    signals.check()
    if process.returncode not in FINE:
        raise Trouble(f"the tick failed with exit code {process.returncode}, see above; to resume, run the demo again")


def _end_left_tick(place: Place) -> None:
    """End the tick that a killed demo may have left: it would train on unnoticed."""
    holder = lock.holder(str(place.cache / "lock"))
    if holder:
        _say(f"ending the tick that the last call left (process {holder[0]}), to resume from its checkpoint")
        processes.end([holder[0]], grace_s=GRACE_S)


def _check_baseline(place: Place) -> None:
    """Raise Trouble if the first merge failed: it is not broken, so this machine is at fault."""
    for run in _runs(place):
        if run.hyper is None and run.merge.subject == sample.BASELINE.subject:
            raise Trouble(
                f"the first merge failed: {run.detail} (log: {run.directory}/err.log): "
                f"fix the cause, delete {place.root}, and run the demo again"
            )


def _check_published(place: Place) -> None:
    """Raise Trouble unless the web root holds the site that was built."""
    built, published = (root / "js" / "hyper.js" for root in (place.data / "site", place.web))
    if not published.exists() or published.read_bytes() != built.read_bytes():
        raise Trouble(f"{place.web}: not up to date, see above; to publish again, run the demo again")


def _runs(place: Place) -> list[Run]:
    return archive.in_order(archive.load(place.data / "runs"))


def _print_table(runs: list[Run], verdicts: Mapping[str, Mapping[str, Any]]) -> None:
    """Print each merge with its verdict; re-trainings are counted, not listed."""
    print(f"\n    {'commit':<12}  {'WER':>7}  {'verdict':<14}  merge")
    for run in (run for run in runs if run.rerun_of is None):
        wer, verdict = hyper.test_wer(run.hyper), verdicts.get(run.id, {})
        rate = "failed" if wer is None else f"{100 * wer:.1f} %"
        reason = verdict.get("reason", "") if run.hyper else run.detail
        print(f"    {run.merge.sha[:12]}  {rate:>7}  {verdict.get('verdict', ''):<14}  {run.merge.subject}")
        print(f"    {'':<12}  {'':>7}  {'':<14}  ({reason})")
    print(flush=True)


def _verdicts(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the verdicts by run id, as `deepspeech-wer verdicts` tells them."""
    command = (*TICK, "verdicts", "--json")
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        raise Trouble(f"{done.stderr.strip()} (deepspeech-wer verdicts); to try again, run the demo again")
    return {verdict["run"]: verdict for verdict in json.loads(done.stdout)}


def _serve(place: Place, port: int) -> None:
    """Show the web root until Ctrl-C."""
    with _bound(place, port) as web:
        _say(f"the published page: http://127.0.0.1:{web.server_port}/index.htm (stop with Ctrl-C)")
        threading.Thread(target=web.serve_forever, daemon=True).start()
        while not signals.count():
            signals.wait(WEEK_S)
        web.shutdown()
        _say("stopped; to resume, run the demo again")


def _bound(place: Place, port: int) -> ThreadingHTTPServer:
    """Bind a web server to `port` or to the next free one."""
    for candidate in range(port, port + PORTS_TRIED):
        try:
            return preview(str(place.web), candidate)
        except Trouble:
            _say(f"port {candidate} is in use; trying the next one")
    return preview(str(place.web), 0)


@contextmanager
def _only_one(place: Place) -> Iterator[None]:
    try:
        place.root.mkdir(parents=True, exist_ok=True)
        descriptor = lock.acquire(str(place.lock))
    except OSError as error:
        raise Trouble(f"{place.root}: {error.strerror}: choose another with --directory") from None
    if descriptor is None:
        holder = lock.holder(str(place.lock))
        raise Trouble(
            f"{place.root}: another demo is running there (process {holder[0] if holder else 'unknown'}): "
            "wait for it, or choose another with --directory"
        )
    try:
        yield
    finally:
        os.close(descriptor)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _say(text: str) -> None:
    print(f"==> {text}", flush=True)
