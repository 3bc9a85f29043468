"""An invented history with a regression that was looked into, and the verdicts that the tracker makes of it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from deepspeech_wer import decision_files
from deepspeech_wer.configuration.settings import Retraining
from deepspeech_wer.dashboard import Judged, judged
from deepspeech_wer.decision_files import Decision
from deepspeech_wer.judging import verdict_file
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from tests.invented_runs import EPOCH, done

CULPRIT = 24  # its place; dropout_rate rises, and the WER by 5 points
STEP = 0.05


def history(count: int = 30, **culprit: Any) -> list[Run]:
    """Return `count` merges, the one at CULPRIT worse than before, and after them three re-trainings of two merges."""
    chance = random.Random(5)
    runs = []
    for place in range(count):
        is_late = place >= CULPRIT
        level = 0.42 + (STEP if is_late else 0)
        run = done(place + 1, level + chance.gauss(0, 0.003), dropout_rate=0.3 if is_late else 0.05)
        runs.append(run._replace(variables={}, processor="EPYC 7302"))
    runs[CULPRIT] = runs[CULPRIT]._replace(merge=runs[CULPRIT].merge._replace(**culprit))
    return [*runs, *_again(runs[CULPRIT - 1], 0.42, chance), *_again(runs[CULPRIT], 0.42 + STEP, chance)]


def _again(run: Run, level: float, chance: random.Random) -> list[Run]:
    made = []
    for seed in (1, 2, 3):
        started = EPOCH + timedelta(days=60, minutes=chance.randrange(40_000))
        one = done(run.merge.ordinal, level + chance.gauss(0, 0.003), started=started)
        made.append(one._replace(merge=run.merge, rerun_of=run.id, seed=seed, variables={}, processor="EPYC 7302"))
    return made


def verdicts(runs: Sequence[Run], accepted: Iterable[Decision] = ()) -> Judged:
    """Judge runs as a tick does; those with `rerun_of` are re-trainings."""
    taken = list(accepted)
    results = {run.id: str(place) for place, run in enumerate(runs)}
    with tempfile.TemporaryDirectory() as directory:
        places = Places(Path(directory, "cache"), Path(directory, "data"))
        for one in taken:
            decision_files.accept(places.requests, one)
        record = verdict_file.make(places, runs, results, Retraining("on", 12, 0.3, anchor=True))
    own = [run for run in runs if run.rerun_of is None]
    again = [run for run in runs if run.rerun_of is not None]
    return judged(record, own, again=again, accepted=taken)
