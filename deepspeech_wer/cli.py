"""The command line: exit codes, standard streams, and the lock before all else. The only reader of sys.argv.

Without a word it is one tick, what cron runs; `supervise WORK LOCK` is what a runner starts for a job. Everything else
is in `commands`. A tick that finds the lock held loads nothing more than this module: whatever is heavy is imported
once it is needed.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence

from deepspeech_wer import clock, lock, xdg_directories
from deepspeech_wer.errors import Stopped, Trouble, UsageTrouble
from deepspeech_wer.exit_codes import BUG, DONE, SIGNAL, TROUBLE, USAGE

_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    _open_missing_streams()
    return _flushed(_run(sys.argv[1:] if argv is None else list(argv)))


def _run(arguments: Sequence[str]) -> int:
    try:
        if arguments[:1] == ["supervise"]:
            return _supervise(*arguments[1:])
        if arguments:
            return _command(arguments)
        descriptor = lock.acquire(f"{xdg_directories.cache_directory()}/lock")
        if descriptor is None:  # another tick is at work: the usual case while a training runs
            return DONE
        return _tick(descriptor)
    except UsageTrouble as trouble:
        _complain("settings cannot be used:\n  " + str(trouble).replace("\n", "\n  "))
        return USAGE
    except Trouble as trouble:
        _complain(str(trouble))
        return TROUBLE
    except Stopped as stopped:
        _complain(f"ended by {stopped}; the next call goes on")
        return SIGNAL + stopped.number
    except KeyboardInterrupt:
        _complain("interrupted")
        return SIGNAL + signal.SIGINT
    except BrokenPipeError:  # told by _flushed
        return DONE
    except OSError as error:
        if error.errno not in _OF_THE_DISK:
            return _bug()
        _complain(f"{error.filename or 'cannot write'}: {error.strerror}; the next call goes on")
        return TROUBLE
    except Exception:  # noqa: BLE001 - the top door
        return _bug()


def _tick(descriptor: int) -> int:
    _hide()
    from deepspeech_wer.commands import act

    try:
        return act.tick(descriptor)
    finally:
        lock.release(descriptor)


def _command(arguments: Sequence[str]) -> int:
    _hide()
    from deepspeech_wer.commands import parser

    return parser.run(arguments)


def _supervise(work: str, descriptor: str) -> int:
    _hide()
    from deepspeech_wer.jobs import supervisor

    return supervisor.main(work, descriptor=int(descriptor))


def _hide() -> None:
    """Before all else: our environment holds secrets, which no job may read."""
    from deepspeech_wer import prctl

    prctl.hide()


def _bug() -> int:
    from deepspeech_wer import logs

    logs.report_bug()
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


def _open_missing_streams() -> None:
    """Called with a standard stream closed, the next file opened would take its place: the lock, say."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free descriptor: this one
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def _complain(message: str) -> None:
    """One line on stderr, stamped where nobody watches."""
    stamp = "" if sys.stderr.isatty() else f"{clock.utc_now()} ERROR "
    print(f"{stamp}deepspeech_wer: {message}", file=sys.stderr)
