"""python -m deepspeech_wer.training SCRIPT: run the converted notebook and turn its failures into exit codes.

0: done. 1: expected trouble, one line on stderr. 2: settings that cannot be used, one line each. 65: the training
diverged, and the last line starts with "diverged:". 75: one of several workers was lost, or did not come, and the last
line starts with "interrupted:". An error in a cell keeps its traceback and exits with 1. A script that ends without a
new hyper.json has trained nothing: that is trouble, too. Several workers all end with one code and the same last words.
Lines that cannot be printed, on a full disk or when the reader has gone, change no code: the results are in hyper.json.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import Trouble, UsageTrouble
from ..job_contract import DIVERGED, EXIT_BAD_SETTINGS, EXIT_DIVERGED, EXIT_INTERRUPTED, HYPER, INTERRUPTED
from . import outputs, workers
from .parameters import from_process
from .quiet import last_words
from .workers import Interrupted


def main(argv: Sequence[str]) -> int:
    """Run the script `argv[0]` and return the exit code."""
    outputs.last()
    try:
        _train(argv[0])
    except Interrupted as trouble:
        return _exit_with(f"{INTERRUPTED} {trouble}", EXIT_INTERRUPTED)
    except UsageTrouble as trouble:
        return _exit_with(trouble, EXIT_BAD_SETTINGS)
    except Trouble as trouble:
        # By name: importing the class would load TensorFlow before the script has limited its threads.
        if type(trouble).__name__ == "Diverged":
            return _exit_with(f"{DIVERGED} {trouble}", EXIT_DIVERGED)
        return _exit_with(trouble, 1)
    except BaseException as error:
        workers.explain(error)
        workers.leave(1, f"another worker failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
        raise
    workers.leave(0)
    return 0


def _train(script: str) -> None:
    """Run the script. Raises Trouble if it succeeds but leaves no new hyper.json."""
    logs = from_process().logs_dir
    before = _reports(logs)
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as left:
        if left.code:
            raise
    if _reports(logs) <= before:
        raise Trouble(f"{logs}: nothing was trained: the notebook ended without a new {HYPER}: expected one below it")


def _reports(logs: Path) -> set[tuple[Path, int]]:
    """Return (path, time of the last change) of each report below a directory."""
    found = (path for depth in ("", "*/") for path in logs.glob(f"{depth}{HYPER}"))
    return {(path, path.stat().st_mtime_ns) for path in found}


def _exit_with(message: object, code: int) -> int:
    sys.stdout.flush()
    if workers.have_joined():  # those that end later let TensorFlow write lines of its own
        sys.stderr.flush()
        last_words(str(message))
    else:
        print(message, file=sys.stderr, flush=True)
    workers.leave(code, str(message))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
