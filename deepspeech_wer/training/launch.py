"""python -m deepspeech_wer.training.launch SCRIPT [ARGUMENT...]: run the job once more in each task of a job of Slurm.

srun writes more on standard error after a task has failed, and its exit code is the largest of all tasks'. For the
tracker the training's own last words come last, and a training that lost a worker is interrupted, whatever the code of
the task that was killed.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

from ..job_contract import EXIT_BAD_SETTINGS, EXIT_INTERRUPTED, INTERRUPTED

WAIT_S = 120  # for the other tasks, once one has ended: they end by themselves, see workers.py
_INTERRUPTED = INTERRUPTED.encode()
_SLURMS = (b"srun: ", b"slurmstepd: ")  # what lines of Slurm begin with


def main(argv: Sequence[str]) -> int:
    """Run the command `argv` in each task, and return the exit code of the job."""
    srun = shutil.which("srun")
    if srun is None:
        print("srun: not found: install Slurm's commands on this node, or set ds_distribute=off", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    options = ["--kill-on-bad-exit=0", f"--wait={WAIT_S}", "--distribution=block", "--mpi=none", "--export=ALL"]
    cpus = os.environ.get("SLURM_CPUS_PER_TASK")  # since 22.05 srun does not take it from sbatch
    own = [f"--cpus-per-task={cpus}"] if cpus else []
    with subprocess.Popen([srun, *options, *own, *argv], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:

        def forward(number: int, _: Any) -> None:
            with suppress(ProcessLookupError):
                process.send_signal(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, forward)
        said, is_last = _pass_on(process.stderr or io.BytesIO())
        code = process.wait()
    if code and said and not is_last:
        _write(said)
    if code and said.startswith(_INTERRUPTED):
        return EXIT_INTERRUPTED
    return code if code >= 0 else 128 - code


def _pass_on(stream: IO[bytes]) -> tuple[bytes, bool]:
    """Write the lines of a stream to standard error; return the last words of a task, and whether nothing followed.

    A task that tells of a lost worker has the last word, whatever TensorFlow writes in the others.
    """
    words, is_last = b"", True
    for line in stream:
        _write(line)
        is_words = not line.startswith(_SLURMS) and (
            line.startswith(_INTERRUPTED) or not words.startswith(_INTERRUPTED)
        )
        words, is_last = (line, True) if is_words else (words, False)
    return words, is_last


def _write(line: bytes) -> None:
    """Write to standard error; where it takes nothing, the tasks go on."""
    with suppress(OSError):
        os.write(2, line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
