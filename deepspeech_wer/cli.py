"""The command line: exit codes, standard streams, and the tick's lock. The only reader of sys.argv.

Without arguments it runs one tick, as cron does. A runner starts `supervise WORK LOCK` for each job, a cluster
`supervise WORK JOB START`, and that `sweep WORK PID`; `check` starts `probe` there. All other commands are in
`commands`. Heavy modules are imported only when needed: a tick that finds the lock held
loads nothing else.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence

from deepspeech_wer import clock, xdg_directories
from deepspeech_wer.configuration import env_file
from deepspeech_wer.errors import Stopped, Trouble, UsageTrouble, is_lack_of_memory, is_of_the_machine, with_cure
from deepspeech_wer.exit_codes import BUG, DONE, SIGNAL, TROUBLE, USAGE
from deepspeech_wer.machine import lock
from deepspeech_wer.text import plain

OUT_OF_MEMORY = "out of memory: free memory, raise `ulimit -v`, `-d` or `-u`, or add swap; the next call resumes"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    _open_missing_streams()
    return _flush(_run(sys.argv[1:] if argv is None else list(argv)))


def _run(arguments: Sequence[str]) -> int:
    try:
        if arguments[:1] == ["supervise"]:
            return _supervise(*arguments[1:])
        if arguments[:1] in (["sweep"], ["probe"]):
            return _on_node(*arguments)
        if env_file.is_completing():
            return _complete()
        if arguments:
            return _command(arguments)
        env_file.fill()  # XDG_CACHE_HOME may be in it
        descriptor = lock.acquire(f"{xdg_directories.cache_directory(env_file.instance())}/lock")
        if descriptor is None:  # another tick is at work: the usual case while a training runs
            return DONE
        return _tick(descriptor)
    except UsageTrouble as trouble:
        _complain("unusable settings:", *str(trouble).split("\n"))
        return USAGE
    except Trouble as trouble:
        _complain(str(trouble))
        return TROUBLE
    except Stopped as stopped:
        _complain(f"ended by {stopped}; the next call resumes")
        return SIGNAL + stopped.number
    except KeyboardInterrupt:
        _complain("interrupted")
        return SIGNAL + signal.SIGINT
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader left early, like `head`; see _flush. Of a mount it is ESHUTDOWN
            return DONE
        if not is_of_the_machine(error):
            return _bug()
        _complain(f"{error.filename or 'cannot go on'}: {with_cure(error)}; the next call resumes")
        return TROUBLE
    except Exception as error:  # noqa: BLE001 - the outermost handler: a bug gets its traceback and its own exit code
        if not is_lack_of_memory(error):
            return _bug()
    return _out_of_memory()  # after the handler: the frames of the error hold what there is


def _tick(descriptor: int) -> int:
    _hide()
    from deepspeech_wer import logging_setup
    from deepspeech_wer.commands import act

    logging_setup.set_up()
    try:
        return act.tick(descriptor)
    finally:
        lock.release(descriptor)


def _command(arguments: Sequence[str]) -> int:
    _hide()
    from deepspeech_wer.commands import parser

    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # see __main__.py; a tick and a supervisor have their own
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return parser.run(arguments)


def _complete() -> int:
    """Answer a shell that completes a command line. It calls us without arguments: a tick must not start."""
    from deepspeech_wer.commands import parser

    parser.complete()
    return DONE


def _supervise(work: str, descriptor: str, start: str = "") -> int:
    _hide()
    if start:  # on a node of a cluster, where no lock can be inherited
        from deepspeech_wer.jobs import node

        return node.main(work, descriptor, start)
    from deepspeech_wer.jobs import supervisor

    return supervisor.main(work, descriptor=int(descriptor))


def _on_node(word: str, *arguments: str) -> int:
    _hide()
    from deepspeech_wer.jobs import node, probe

    return (node.sweep if word == "sweep" else probe.answer)(*arguments)


def _hide() -> None:
    """Call this before anything else: the environment holds secrets that no job may read."""
    from deepspeech_wer.machine import prctl

    prctl.hide()


def _out_of_memory() -> int:
    try:
        _complain(OUT_OF_MEMORY)
    except MemoryError:
        os.write(2, f"deepspeech_wer: {OUT_OF_MEMORY}\n".encode())
    return TROUBLE


def _bug() -> int:
    from deepspeech_wer import logging_setup

    logging_setup.report_bug()
    return BUG


def _flush(code: int) -> int:
    """Flush both streams and return the exit code.

    A log that cannot be written (a full disk) does not change the code; an answer on stdout that is lost does.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())  # or the interpreter flushes again at exit
            if stream is sys.stdout and not isinstance(error, BrokenPipeError):  # a reader like `head` left early
                _complain(f"cannot write the output: {error.strerror}")
                code = code or TROUBLE
    return code


def _open_missing_streams() -> None:
    """Open closed standard streams on /dev/null. Otherwise the next file opened, such as the lock, would become one."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # open(2) returns the lowest free descriptor: this one
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


def _complain(message: str, *faults: str) -> None:
    """Print a message on stderr, with a timestamp unless stderr is a terminal. The faults follow, one per line."""
    stamp = "" if sys.stderr.isatty() else f"{clock.utc_now()} ERROR "
    print(f"{stamp}deepspeech_wer: {plain(message)}", *map(plain, faults), sep="\n  ", file=sys.stderr)
