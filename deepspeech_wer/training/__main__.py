"""python -m deepspeech_wer.training SCRIPT: run the converted notebook and turn its failures into exit codes.

0: done. 1: expected trouble, one line on stderr. 2: settings that cannot be used, one line each. 65: the training
diverged, and the last line starts with "diverged:". An error in a cell keeps its traceback and exits with 1.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from ..contract import DIVERGED, EXIT_BAD_SETTINGS, EXIT_DIVERGED
from ..errors import Trouble, UsageTrouble


def main(argv: Sequence[str]) -> int:
    """Run the script `argv[0]` and return the exit code."""
    try:
        runpy.run_path(argv[0], run_name="__main__")
    except UsageTrouble as trouble:
        return _exit_with(trouble, EXIT_BAD_SETTINGS)
    except Trouble as trouble:
        # By name: importing the class would load TensorFlow before the script has limited its threads.
        if type(trouble).__name__ == "Diverged":
            return _exit_with(f"{DIVERGED} {trouble}", EXIT_DIVERGED)
        return _exit_with(trouble, 1)
    return 0


def _exit_with(message: object, code: int) -> int:
    sys.stdout.flush()
    print(message, file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
