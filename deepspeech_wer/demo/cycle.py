"""The demo from first to last: each step said, done by the real tick, and not done twice."""

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
    raise Trouble(
        f"the demo needs what it lacks here ({error}): run bin/demo, or pip install the extra [demo]"
    ) from None

PORTS_TRIED = 20
TICK = (sys.executable, "-P", "-m", "deepspeech_wer")
GRACE_S = 20.0  # for a tick to end its job, which saves a checkpoint
POLL_S = 0.2
WEEK_S = 604_800.0
FINE = (0, 4)  # of a tick: 4 is done, but a merge failed, as one of the sample's does


def run(directory: str, *, port: int, serve: bool) -> int:
    """Bring the demo in `directory` up to date; with `serve`, show its page until Ctrl-C. The exit code."""
    place = Place(Path(directory).resolve())
    signals.catch()
    with _only_one(place):
        _say(f"everything lies in {place.root}; removing that removes the demo")
        place.make()
        with sftp_server.running(place) as website:
            _say(
                f"an SFTP server for user {sftp_server.USER} at {sftp_server.HOST}:{website['ds_website_server_port']}"
            )
            _work(place, {**place.environment(), **website})
        _check_published(place)
        _print_table(_runs(place))
    if not serve:
        _say(f"the published page: {place.web / 'index.htm'} (without --no-serve it is served over http)")
        return 0
    _say(f"to see a merge of your own: make it in {place.sample}, and call again")
    _serve(place, port)
    return 0


def _work(place: Place, environment: Mapping[str, str]) -> None:
    """The sample's history, and a tick for each time somebody would have waited for cron."""
    before = len(_runs(place))
    _end_left_tick(place)
    if sample.grow(place, 1):
        _say(f"a sample repository with one merge: {place.sample}")
    if not _is_baseline_known(place):
        _say("a tick, as cron would start it: speaks the synthetic speech, then trains the first merge")
        _tick(environment)
        _check_baseline(place)
    if made := sample.grow(place, len(sample.STEPS)):
        _say(f"{_counted(made, 'more merge')} there; one of the sample's breaks its job")
        _say("a tick: trains one after another, and publishes after each")
    _tick(environment)
    new = len(_runs(place)) - before
    _say(f"{_counted(new, 'merge')} run" if new else "nothing new: every merge was run before, and is published")


def _tick(environment: Mapping[str, str]) -> None:
    """One tick, in a session of its own: only we end it, and once, so that its job can save a checkpoint."""
    process = subprocess.Popen(TICK, env=dict(environment), stdin=subprocess.DEVNULL, start_new_session=True)
    while process.poll() is None:
        if signals.count():
            process.terminate()
            process.wait()
        signals.wait(POLL_S)
    signals.check()
    if process.returncode not in FINE:
        raise Trouble(f"the tick ended with exit code {process.returncode}, see above; the next call resumes")


def _end_left_tick(place: Place) -> None:
    """A killed demo may have left a tick, which would go on training out of sight."""
    holder = lock.holder(str(place.cache / "lock"))
    if holder:
        _say(f"the last call left its tick at work (process {holder[0]}): ending it, to go on from its checkpoint")
        processes.end([holder[0]], grace_s=GRACE_S)


def _is_baseline_known(place: Place) -> bool:
    return any(run.merge.subject == sample.STEPS[0].subject for run in _runs(place))


def _check_baseline(place: Place) -> None:
    """Where not even the first merge can be trained, the reason is this machine."""
    for run in _runs(place):
        if run.hyper is None:
            raise Trouble(
                f"the first merge could not be trained: {run.detail} (all of it: {run.directory}/err.log): "
                f"mend that, remove {place.root}, and call again"
            )


def _check_published(place: Place) -> None:
    """Whether the web root holds what was built."""
    built, published = (root / "js" / "hyper.js" for root in (place.data / "site", place.web))
    if not published.exists() or published.read_bytes() != built.read_bytes():
        raise Trouble(f"{place.web}: is not up to date, see above; the next call publishes again")


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
        _say(f"the published page: http://127.0.0.1:{web.server_port}/index.htm (Ctrl-C ends it)")
        threading.Thread(target=web.serve_forever, daemon=True).start()
        while not signals.count():
            signals.wait(WEEK_S)
        web.shutdown()
        _say("ended; another call goes on from here")


def _bound(place: Place, port: int) -> ThreadingHTTPServer:
    """A web server at the port, or at the next one that is free."""
    for candidate in range(port, port + PORTS_TRIED):
        try:
            return preview(str(place.web), candidate)
        except Trouble:
            _say(f"port {candidate} is busy: trying the next one")
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
        raise Trouble(f"{place.root}: another demo is at work there (process {holder[0] if holder else 'unknown'})")
    try:
        yield
    finally:
        os.close(descriptor)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _say(text: str) -> None:
    print(f"==> {text}", flush=True)
