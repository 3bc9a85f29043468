"""Who may run the job of a work directory: claim.json, which only one process can make.

Between the nodes of a cluster no pid means anything, and a tick that was killed may not know which job of the cluster
it started. So a supervisor on a node claims its work directory before it does anything, and a tick that gives a run up
takes that claim away: the job runs once.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import files
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.work import Work

GIVEN_UP = "given up"


class Claim(NamedTuple):
    """A claim on a work directory."""

    job: str  # the id of the cluster's job; GIVEN_UP: nobody may run it any more
    start: int = 0  # how often the cluster had started that job before


def take(work: Work, wanted: Claim) -> bool:
    """Claim a work directory for a job; False if it belongs to another one, or to a later start of the same job.

    Raises OSError if that cannot be told.
    """
    if _make(work, wanted):
        return True
    there = read(work)
    if there is None or there.job != wanted.job or there.start > wanted.start:
        return False
    works.write(_place(work), wanted._asdict())
    return read(work) == wanted


def give_up(work: Work) -> None:
    """Let no job run in a work directory from now on. One that runs there ends. Raises OSError."""
    with suppress(FileNotFoundError):  # removed meanwhile
        works.write(_place(work), Claim(GIVEN_UP)._asdict())


def read(work: Work) -> Claim | None:
    """Return the claim on a work directory; None if there is none, or none that can be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = works.read(_place(work))
        return Claim(str(record["job"]), int(record["start"]))
    return None


def _make(work: Work, wanted: Claim) -> bool:
    """Make the file with its content in one step, which fails if it is there: link(2) does, on NFS too."""
    draft = _place(work).with_name(f".claim-{os.getpid()}-{os.uname().nodename}{files.PARTIAL}")
    works.write(draft, wanted._asdict())
    try:
        os.link(draft, _place(work))
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _place(work: Work) -> Path:
    return work.path / "claim.json"
