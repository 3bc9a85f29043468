"""The command line: sub-commands, logging, exit codes. The only reader of sys.argv.

Without a word it is one tick, what cron runs. Exit codes: 0 done, nothing to do, or another tick is at work; 1 expected
trouble, told in one line; 2 unusable settings or command line; 3 a bug, with its traceback; 4 done, but a merge failed
or the publishing did; 128 + N ended by signal N. Everything heavy is imported once it is known to be needed.
"""

from __future__ import annotations

import io
import os
import sys

from deepspeech_wer import lock, processes
from deepspeech_wer.errors import Trouble, UsageTrouble

TYPE_CHECKING = False  # as in typing, whose import would cost a busy tick
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from types import FrameType

DONE, TROUBLE, USAGE, BUG, FAILED = 0, 1, 2, 3, 4


class _Stopped(SystemExit):
    """A signal came that ends the tick."""

    def __init__(self, number: int) -> None:
        import signal

        super().__init__(128 + number)
        self.name = signal.Signals(number).name


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    _open_missing_streams()
    return _flushed(_run(sys.argv[1:] if argv is None else list(argv)))


def _run(arguments: Sequence[str]) -> int:
    try:
        if not arguments:
            return _tick(())
        return _command(arguments)
    except UsageTrouble as trouble:
        _complain("settings cannot be used:\n  " + str(trouble).replace("\n", "\n  "))
        return USAGE
    except Trouble as trouble:
        _complain(str(trouble))
        return TROUBLE
    except KeyboardInterrupt:
        _complain("interrupted")
        return 128 + 2
    except _Stopped as stopped:
        _complain(f"ended by {stopped.name}; the next call goes on")
        return int(str(stopped.code))
    except BrokenPipeError:  # told by _flushed
        return DONE
    except Exception as error:  # the top door: a bug is told with its traceback and has an exit code of its own
        import errno
        import logging

        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO):
            _complain(f"{error.filename or 'cannot write'}: {error.strerror}; the next call goes on")
            return TROUBLE
        if isinstance(error, PermissionError) and error.filename:
            _complain(
                f"{error.filename}: {error.strerror}: as which user does this run? It must be able to write there"
            )
            return TROUBLE
        if isinstance(error, IsADirectoryError | NotADirectoryError) and error.filename:
            _complain(f"{error.filename2 or error.filename}: {error.strerror}: move what stands there away")
            return TROUBLE

        logging.getLogger(__name__).exception("a bug in deepspeech_wer; please report it with these lines")
        return BUG


def _flushed(code: int) -> int:
    """The exit code, once all that was said is written: a log that nobody takes (a full disk) changes nothing."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # the interpreter would try again
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):  # `head` has seen enough
                _complain(f"cannot write the answer: {error.strerror}")
                code = code or TROUBLE
    return code


def _tick(forced: Sequence[str]) -> int:
    """One tick. The lock comes first: a busy tick imports nothing else."""
    from deepspeech_wer.cache import cache_directory

    path = f"{cache_directory()}/lock"
    descriptor = lock.acquire(path)
    if descriptor is None:
        descriptor = _take_over(path)
        if descriptor is None:
            return DONE
    try:
        return _tick_locked(descriptor, forced)
    finally:
        lock.release(descriptor)


def _take_over(path: str) -> int | None:
    """The lock is busy: by a living tick, then leave it; or by the job of a killed one, then end that and go on."""
    if lock.holder(path):  # the usual case: what follows would cost a busy tick a fifth of its time
        return None
    processes.hide()
    if not lock.is_orphaned(path):
        return None
    orphans = lock.end_orphans(path)
    if orphans is None:
        return None
    if orphans:
        _log("ended the job of a killed tick (processes %s)", ", ".join(map(str, orphans)))
    return lock.acquire(path)


def _tick_locked(descriptor: int, forced: Sequence[str]) -> int:
    processes.hide()  # before anything else: the environment holds our secrets
    from deepspeech_wer import automation, environment, settings
    from deepspeech_wer.commands import progress

    _set_up_logging()
    environment.forget_git_variables()
    current = settings.load()
    environment.forget_secrets()
    _end_by_signal()
    watcher = automation.Watcher(job_line=progress.job_line(), upload=progress.upload_bar())
    well = automation.tick(current, descriptor, watcher=watcher, forced=forced or current.force_sha)
    return DONE if well else FAILED


def _command(arguments: Sequence[str]) -> int:
    processes.hide()
    from deepspeech_wer import environment
    from deepspeech_wer.commands import typed as commands

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale without a character is no reason to fail
    options = commands.parser().parse_args(arguments)
    _set_up_logging(quiet=options.quiet)
    if options.command == "run" and not options.dry_run:
        return _tick(options.sha)
    environment.forget_git_variables()
    action: Callable[[argparse.Namespace], int] = options.action
    return action(options)


def _open_missing_streams() -> None:
    """Called with a standard stream closed, the next file opened would take its place: the lock, say."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: this one
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def _end_by_signal() -> None:
    """SIGTERM, SIGHUP: unwind, so that the job gets its time to save a checkpoint and the checkout is wiped."""
    import signal

    def stop(number: int, _: FrameType | None) -> None:
        raise _Stopped(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def _set_up_logging(*, quiet: bool = False) -> None:
    """To stderr: on a terminal the bare message, under cron with the time in UTC."""
    import logging
    import time

    formatter = logging.Formatter(
        "%(message)s" if sys.stderr.isatty() else "%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%SZ"
    )
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logger = logging.getLogger("deepspeech_wer")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


def _log(message: str, *values: object) -> None:
    import logging

    _set_up_logging()
    logging.getLogger(__name__).warning(message, *values)


def _complain(message: str) -> None:
    """One line on stderr, stamped where nobody watches."""
    import time

    stamp = "" if sys.stderr.isatty() else time.strftime("%Y-%m-%dT%H:%M:%SZ ERROR ", time.gmtime())
    print(f"{stamp}deepspeech_wer: {message}", file=sys.stderr)
