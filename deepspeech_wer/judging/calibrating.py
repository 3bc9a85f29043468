"""Carries out the requests of `calibrate`: which seed of which commit is trained next, and when a request is over.

Nothing is counted but archived runs, so a kill at any moment loses nothing and repeats nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

from deepspeech_wer import archive, backlog, decision_files
from deepspeech_wer.backlog import Due
from deepspeech_wer.decision_files import Calibration
from deepspeech_wer.judging import draws, verdict_file
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.verdicts import calibration
from deepspeech_wer.verdicts.calibration import Measured

MAX_FAILED = 2  # trainings of one request; then it is given up

log = logging.getLogger(__name__)


class Progress(NamedTuple):
    """How far a request has come."""

    request: Calibration
    runs: Sequence[Run]  # every readable run of the commit
    done: int  # of the seeds that the request wants
    failed: int
    repeated: str | None  # the run, made for the request, that repeats another one's result: the job ignores its seed

    @property
    def missing(self) -> int:
        """The seeds that are still to be trained."""
        return max(0, self.request.runs - self.done)

    @property
    def is_open(self) -> bool:
        return self.missing > 0 and self.failed < MAX_FAILED and self.repeated is None

    @property
    def sentence(self) -> str:
        """Say it in one line."""
        wanted = self.request
        counted = f"{self.done} of {wanted.runs} seed{'' if wanted.runs == 1 else 's'} trained"
        return f"{wanted.sha[:12]}: {counted}, asked for by {wanted.who} at {wanted.at}"


def progress(places: Places, request: Calibration) -> Progress:
    """Return how far a request has come. Reads the commit's runs."""
    runs = list(archive.of_commit(places.runs, request.sha))
    good, failed = counted(runs)  # by number, not by time: the clock may have been set back
    mine = [run for run in runs if run.calibrates][request.before + request.failed :]
    return Progress(
        request, runs, max(0, good - request.before), max(0, failed - request.failed), _repeated(mine, runs)
    )


def due(places: Places) -> list[Due]:
    """Return the next training of each open request, in the order of the requests."""
    return [
        _next(one)
        for one in (progress(places, request) for request in decision_files.calibrations(places.requests))
        if one.is_open and own_run(one.runs) is not None
    ]


def end(places: Places, request: Calibration) -> None:
    """Remove a request that is over, and say what it showed. Raises OSError."""
    now = progress(places, request)
    decision_files.end_calibration(places.requests, request.sha)
    name = request.sha[:12]
    if now.repeated:
        text = "the job ignores its seed (ds_random_seed), so no noise can be measured: run %s repeats a result"
        log.warning(f"%s: calibration ended: {text}", name, now.repeated)
    elif now.failed >= MAX_FAILED:
        log.warning("%s: calibration given up: %d of its trainings failed", name, now.failed)
    for measured in _measured(now.runs)[-1:]:
        log.info("%s: calibrated: %s", name, measured.sentence)


def own_run(runs: Sequence[Run]) -> Run | None:
    """Return the newest good run of a commit that is no re-training; a run as anchor of a new series counts.

    One of an earlier tracker does not: this machine may have nothing that the old commit needs.
    """
    return next((run for run in reversed(runs) if run.hyper and run.seed is None and not run.imported), None)


def counted(runs: Sequence[Run]) -> tuple[int, int]:
    """Return how many of the runs are good calibration runs, and how many are failed ones."""
    made = [run for run in runs if run.calibrates]
    good = sum(run.hyper is not None for run in made)
    return good, len(made) - good


def _next(now: Progress) -> Due:
    own = own_run(now.runs)
    sha = now.request.sha
    number = 1 + sum(run.rerun_of is not None for run in now.runs)
    return Due(
        sha,
        backlog.CALIBRATED,
        None,
        rerun_of=own.id if own else None,
        seed=verdict_file.seed(sha, number),
        reason=f"to measure the noise: {now.done + 1} of {now.request.runs}, as {now.request.who} asked",
        calibrates=True,
    )


def _repeated(mine: Sequence[Run], runs: Sequence[Run]) -> str | None:
    digests = {run.id: (archive.result_digest(run), run.processor or run.machine) for run in runs} if mine else {}
    for run in mine:
        others = {digest for name, digest in digests.items() if name != run.id}
        if digests[run.id][0] and digests[run.id] in others:
            return run.id
    return None


def _measured(runs: Sequence[Run]) -> list[Measured]:
    return calibration.measured(draws.draws(draws.order(runs), {run.id: archive.result_digest(run) for run in runs}))
