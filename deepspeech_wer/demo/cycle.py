"""The demo's steps. Each is announced, done by a real tick, and skipped if it is done already."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path

from deepspeech_wer import archive, hyper, lock, processes, signals
from deepspeech_wer.dashboard.preview import preview
from deepspeech_wer.demo import sample
from deepspeech_wer.demo.place import Place
from deepspeech_wer.errors import Trouble
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
FINE = (0, 4)  # exit codes of a tick; 4 is expected: one merge of the sample fails


def run(directory: str, *, port: int, serve: bool) -> int:
    """Bring the demo in `directory` up to date and return the exit code. `serve` shows its page until Ctrl-C."""
    place = Place(Path(directory).resolve())
    signals.catch()
    with _only_one(place):
        _say(f"all files of the demo are in {place.root}; delete that directory to remove it")
        place.make()
        with sftp_server.running(place) as website:
            address = f"{sftp_server.HOST}:{website['ds_website_server_port']}"
            _say(f"started an SFTP server for user {sftp_server.USER} at {address}")
            _work(place, {**place.environment(), **website})
        _check_published(place)
        _print_table(_runs(place))
    if not serve:
        _say(f"the published page: {place.web / 'index.htm'} (to serve it over http, omit --no-serve)")
        return 0
    _say(f"to track a merge of your own, make one in {place.sample} and run the demo again")
    _serve(place, port)
    return 0


def _work(place: Place, environment: Mapping[str, str]) -> None:
    """Make the sample's history, and run a tick where cron would have."""
    before = len(_runs(place))
    _end_left_tick(place)
    if sample.grow(place, 1):
        _say(f"made a sample repository with one merge: {place.sample}")
    if not _is_baseline_known(place):
        _say("running a tick, as cron would: it synthesises the speech, then trains the first merge")
        _tick(environment)
        _check_baseline(place)
    if made := sample.grow(place, len(sample.STEPS)):
        _say(f"made {_counted(made, 'more merge')}; one merge of the sample breaks its job")
        _say("running a tick: it trains the merges one after another, and publishes after each")
    _tick(environment)
    new = len(_runs(place)) - before
    _say(f"trained {_counted(new, 'merge')}" if new else "nothing new: every merge is trained and published")


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


def _is_baseline_known(place: Place) -> bool:
    return any(run.merge.subject == sample.STEPS[0].subject for run in _runs(place))


def _check_baseline(place: Place) -> None:
    """Raise Trouble if the first merge failed: it is not broken, so this machine is at fault."""
    for run in _runs(place):
        if run.hyper is None:
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


def _print_table(runs: list[Run]) -> None:
    print(f"\n    {'commit':<12}  {'WER':>7}  {'change':>7}  merge")
    last = None
    for run in runs:
        wer = hyper.test_wer(run.hyper)
        change = "" if wer is None or last is None else f"{100 * (wer - last):+.1f}"
        rate = "failed" if wer is None else f"{100 * wer:.1f} %"
        reason = "" if run.hyper else f" ({run.detail})"
        print(f"    {run.merge.sha[:12]}  {rate:>7}  {change:>7}  {run.merge.subject}{reason}")
        last = last if wer is None else wer
    print(flush=True)


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
