"""Run the job of one checkout, and say how it ended."""

from __future__ import annotations

import errno
import logging
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deepspeech_wer import hyper, processes
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import let_in, make_private
from deepspeech_wer.jobs import gpu
from deepspeech_wer.jobs.output import JobLog
from deepspeech_wer.records import Checkout, Outcome

HYPER_FOUND = "hyper.json"
DIVERGED = 65  # the exit code by which the training says that its loss is not finite
TOKEN = "ds_wer_run"  # noqa: S105 - stands in the environment of all that a job starts, by which it is found again
NEVER_RETRIED = ("no-script", "no-checkout", "bad-hyper", "diverged")  # the same again would end the same

_DRAIN_S = 2.0  # for the last output of a job that has ended; a daemon of its may hold the pipe for ever
_POLL_S = 0.5
_FORK_S = 0.1  # what was just forked has the token in its environment only once it runs

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What to run, and within which bounds."""

    script: str  # absolute, or relative to the checkout
    environment: Mapping[str, str]  # without our secrets
    work: Path  # the run's own directory: logs/ is the job's, out.log and err.log are ours
    checkpoints: Path
    timeout_s: float | None
    grace_s: float
    token: str
    lock: int | None  # the lock's descriptor; the job inherits it
    gpu_usage: Path | None = None  # file for samples of the GPUs


def run(job: Job, checkout: Checkout, *, attempt: int, echo: Callable[[str], None] | None = None) -> Outcome:
    """Run the job to its end, and end all that it leaves behind.

    Raises Trouble where it cannot be started for want of room, and nothing for what a job does: that is its Outcome,
    with one of the classes no-script, exit N, signal N, timeout, no-hyper, bad-hyper, out-of-memory, diverged. What
    stops the tick itself (KeyboardInterrupt, SystemExit) passes through, after the job had `grace_s` to save its
    checkpoint.
    """
    started_at = _now()
    logs = job.work / "logs"
    try:
        for directory in (logs, job.checkpoints, job.work / "tmp"):
            make_private(directory)
        out, err = JobLog(job.work / "out.log", echo=echo), JobLog(job.work / "err.log", echo=echo)
    except OSError as error:
        raise Trouble(f"cannot prepare a run: {error.filename}: {error.strerror}") from None
    try:
        failure, detail = _run(job, checkout, attempt, logs, out, err)
    finally:
        out.close()
        err.close()
        let_in(job.work.parent, job.work)
    files = None
    if failure is None:
        failure, detail, files = judge(logs)
    return Outcome(
        status="failed" if failure else "done",
        failure=failure,
        detail=detail,
        attempt=attempt,
        started_at=started_at,
        finished_at=_now(),
        files=files,
        logs=job.work,
    )


def judge(logs: Path) -> tuple[str | None, str, Path | None]:
    """What a job left: (class of failure or None, one line, the directory with its hyper.json)."""
    found = _candidates(logs)
    if not found:
        return "no-hyper", "the job ended well but wrote no hyper.json below ds_logs_dir (no link is followed)", None
    newest = max(found, key=lambda path: path.stat().st_mtime_ns)
    try:
        with newest.open("rb") as stream:
            hyper.parse(stream.read(hyper.MAX_BYTES + 1))
    except hyper.HyperError as error:
        return "bad-hyper", f"{newest.name}: {error}", newest.parent
    except OSError as error:
        return "bad-hyper", f"{newest.name}: {error.strerror}", newest.parent
    return None, "", newest.parent


def _candidates(logs: Path) -> list[Path]:
    try:
        if logs.is_symlink():
            return []
        logs.chmod(0o700)  # a job may have taken that away
        places = [logs, *(place for place in sorted(logs.iterdir()) if not place.is_symlink())]
        paths = [place / HYPER_FOUND for place in places]
        return [path for path in paths if path.is_file() and not path.is_symlink()]
    except OSError:
        return []


def end_leftovers(token: str, *, grace_s: float) -> list[int]:
    """End whatever a job of that token still has running, here or in sessions of its own; their pids."""
    left = [pid for pid in processes.with_environment(f"{TOKEN}={token}") if pid != os.getpid()]
    processes.end(left, grace_s=grace_s)
    return left


def _run(job: Job, checkout: Checkout, attempt: int, logs: Path, out: JobLog, err: JobLog) -> tuple[str | None, str]:
    script = Path(checkout.path, job.script)
    if not os.path.isfile(script):  # noqa: PTH113 - False also for names that are too long
        return "no-script", f"{job.script}: no such file in the checkout: set ds_wer_automation"
    if not os.access(script, os.X_OK):
        return "no-script", f"{job.script}: not executable (mode {script.stat().st_mode & 0o777:04o}): chmod +x it"
    kills = _out_of_memory_kills()
    with _ended(job, out, err) as started:
        try:
            process = _start(job, checkout, script, attempt, logs)
        except OSError as error:
            reason = "no #! line" if error.errno == errno.ENOEXEC else error.strerror
            return "no-script", f"{job.script}: cannot be executed: {reason}"
        started.append(process)
        with gpu.sampling(job.gpu_usage, job.environment):
            in_time = _attend(process, job.timeout_s, out, err)
    if not in_time:
        return "timeout", f"no end after {job.timeout_s:g} s (ds_job_timeout)"
    return _classify(process.returncode, _out_of_memory_kills() > kills, err)


def _start(job: Job, checkout: Checkout, script: Path, attempt: int, logs: Path) -> subprocess.Popen[bytes]:
    environment = {
        **job.environment,
        "ds_logs_dir": str(logs),
        "ds_checkpoint_dir": str(job.checkpoints),
        "ds_wer_sha": checkout.merge.sha,
        "ds_wer_attempt": str(attempt),
        "ds_python": job.environment.get("ds_python") or sys.executable,
        # Goes with the run, also when the job is killed.
        "TMPDIR": job.environment.get("TMPDIR") or str(job.work / "tmp"),
        TOKEN: job.token,
    }
    return subprocess.Popen(
        [str(script), "--checkpoint_dir", str(job.checkpoints)],
        cwd=checkout.path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        pass_fds=() if job.lock is None else (job.lock,),
    )


@contextmanager
def _ended(job: Job, out: JobLog, err: JobLog) -> Iterator[list[subprocess.Popen[bytes]]]:
    """On leaving, also by a signal to the tick, nothing of the job put into the list runs any more.

    While it runs we are its subreaper: what leaves its session and its parents is still our descendant.
    """
    ours = set(processes.descendants(os.getpid()))
    processes.adopt_orphans()
    started: list[subprocess.Popen[bytes]] = []
    try:
        yield started
    finally:
        if not started:  # a signal may come while it is being started: then it is known by its token alone
            try:
                time.sleep(_FORK_S)
            finally:
                end_leftovers(job.token, grace_s=3.0)
        for process in started:
            _end_all(process, job, ours, partial(_drain, process, out, err))
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


def _end_all(process: subprocess.Popen[bytes], job: Job, ours: set[int], drain: Callable[[], None]) -> None:
    for _ in range(10):  # what is ended may have started something meanwhile
        left = {*processes.in_session(process.pid), *processes.descendants(os.getpid())}
        left |= set(processes.with_environment(f"{TOKEN}={job.token}"))
        left -= {os.getpid(), *ours}
        if process.poll() is not None:
            left.discard(process.pid)
        if not left:
            break
        if process.returncode is not None:
            log.info("the job left %d process%s behind; ended", len(left), "" if len(left) == 1 else "es")
        # A job that says much while it saves its checkpoint must not wait for a reader.
        processes.end(sorted(left), grace_s=job.grace_s if process.returncode is None else 3.0, meanwhile=drain)
        processes.reap(left - {process.pid})
    drain()
    process.wait()


def _drain(process: subprocess.Popen[bytes], out: JobLog, err: JobLog) -> None:
    """Take what the job has written and has not been read."""
    for stream, joblog in ((process.stdout, out), (process.stderr, err)):
        with suppress(BlockingIOError, ValueError):  # nothing there; closed
            while stream and (data := os.read(stream.fileno(), 1 << 16)):
                joblog.feed(data)


def _attend(process: subprocess.Popen[bytes], timeout_s: float | None, out: JobLog, err: JobLog) -> bool:
    """Take the job's output until it has ended; False when the time is up."""
    deadline = time.monotonic() + (timeout_s if timeout_s is not None else float("inf"))
    with selectors.DefaultSelector() as selector:
        for stream, joblog in ((process.stdout, out), (process.stderr, err)):
            if stream:
                os.set_blocking(stream.fileno(), False)
                selector.register(stream, selectors.EVENT_READ, joblog)
        while process.poll() is None:
            if time.monotonic() >= deadline:
                return False
            _take(selector, min(_POLL_S, deadline - time.monotonic()))
        drained = time.monotonic() + _DRAIN_S
        while selector.get_map() and time.monotonic() < drained and _take(selector, 0.1):
            pass
    return True


def _take(selector: selectors.BaseSelector, wait_s: float) -> bool:
    """Read what is there, a bounded piece of each stream; whether there was anything."""
    if not selector.get_map():
        time.sleep(min(max(wait_s, 0), 0.05))
        return False
    ready = selector.select(max(wait_s, 0))
    for key, _ in ready:
        data = os.read(key.fd, 1 << 16)
        if data:
            key.data.feed(data)
        else:
            selector.unregister(key.fileobj)
    return bool(ready)


def _classify(code: int, out_of_memory: bool, err: JobLog) -> tuple[str | None, str]:
    said = err.last_words()
    if code == 0:
        return None, ""
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL) and out_of_memory:
        return "out-of-memory", "the kernel ended the job for want of memory"
    if code == DIVERGED and said.startswith("diverged:"):
        return "diverged", said
    if code < 0:
        return f"signal {-code}", f"ended by {signal.strsignal(-code) or 'a signal'}" + (
            f"; last words: {said}" if said else ""
        )
    return f"exit {code}", said or "it said nothing on stderr"


def _out_of_memory_kills() -> int:
    """How often the kernel has ended a process for want of memory since the start (vmstat, oom_kill)."""
    try:
        match = re.search(r"^oom_kill (\d+)$", Path("/proc/vmstat").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(match[1]) if match else 0


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
