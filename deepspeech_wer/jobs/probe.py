"""A small job on a node of the cluster that tells what it sees of this machine's files, for `check`."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import __version__
from deepspeech_wer.configuration import environment
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE
from deepspeech_wer.jobs import slurm_client
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.slurm import NAME
from deepspeech_wer.machine import lock

_PATIENCE_S = 90.0  # NFS shows new files after 60 s at most
_LOOK_S = 1.0
_ANSWER = "answer.json"


class Answer(NamedTuple):
    """What a node says."""

    machine: str
    release: str  # of deepspeech_wer there
    sees_clone: bool
    sees_locks: bool  # those that are held here


def ask(data: Path, clone_path: Path, options: Sequence[str]) -> Answer | str:
    """Submit the job and return its answer, or a line that tells why there is none yet.

    Raises Trouble if Slurm refuses the job, or if it ended without an answer.
    """
    mark = secrets.token_hex(8)
    with (
        tempfile.TemporaryDirectory(prefix=".check-", dir=_existing(data)) as in_data,
        tempfile.TemporaryDirectory(prefix=".check-", dir=_existing(clone_path)) as in_clones,
    ):
        Path(in_clones, "mark").write_text(mark)
        held = lock.acquire(f"{in_data}/lock")
        try:
            return _ask(Path(in_data), Path(in_clones), mark, options)
        finally:
            if held is not None:
                os.close(held)


def answer(directory: str, clones: str, mark: str) -> int:
    """Write the answer. Runs on the node."""
    sees_clone = False
    with suppress(OSError):
        sees_clone = Path(clones, "mark").read_text() == mark
    found = Answer(os.uname().nodename, __version__, sees_clone, lock.is_held(f"{directory}/lock"))
    works.write(Path(directory, _ANSWER), found._asdict())
    return DONE


def _ask(directory: Path, clones: Path, mark: str, options: Sequence[str]) -> Answer | str:
    name = f"{NAME}-check-{mark}"
    given = [*options, f"--job-name={name}", f"--chdir={directory}", f"--output={directory}/said", "--export=ALL"]
    words = [sys.executable, "-P", "-m", "deepspeech_wer", "probe", str(directory), str(clones), mark]
    script = f"#!/bin/sh\nexec {shlex.join(words)}\n"
    job = slurm_client.submit(["--nodes=1", "--ntasks=1", *given], script, environment.job_environment())
    deadline, ended = time.monotonic() + _PATIENCE_S, 0
    try:
        while time.monotonic() < deadline and ended * _LOOK_S < _PATIENCE_S / 2:
            time.sleep(_LOOK_S)
            found = _read(directory)
            if found:
                return found
            seen = next((one for one in slurm_client.jobs() if (one.id, one.name) == (job, name)), None)
            if seen is None or (seen.is_over and seen.state != "COMPLETED"):
                raise Trouble(_why(directory, job, seen.node if seen else ""))
            ended += seen.is_over
        if ended:
            raise Trouble(_why(directory, job, ""))
        return f"Slurm's job {job} has not run within {_PATIENCE_S:g} s, so nothing is known of the nodes: try again"
    finally:
        with suppress(Trouble):
            slurm_client.cancel(job)


def _read(directory: Path) -> Answer | None:
    with suppress(OSError, ValueError, TypeError):
        if any(path.name == _ANSWER for path in directory.iterdir()):  # NFS remembers that a file was missing
            return Answer(**works.read(directory / _ANSWER))
    return None


def _why(directory: Path, job: str, node: str) -> str:
    said = ""
    with suppress(OSError):
        said = " ".join((directory / "said").read_text("utf-8", "replace").split())[-300:]
    on = f" on {node}" if node else ""
    if said:
        return (
            f"Slurm's job {job}{on} could not run {sys.executable} -m deepspeech_wer: {said}: share this Python with it"
        )
    return (
        f"Slurm's job {job}{on} left no answer in {directory.parent}: the nodes must share the data root (ds_dataroot)"
    )


def _existing(path: Path) -> Path:
    """Return the directory, made if need be, or the nearest one above it. Raises Trouble."""
    there = next(place for place in (path, *path.parents) if place.is_dir())
    if not os.access(there, os.W_OK):
        raise Trouble(f"{there}: cannot write there: give the user of the crontab write access")
    return there
