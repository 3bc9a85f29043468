"""What running a merge needs, and how the log names a merge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer.configuration.settings import JobLimits
from deepspeech_wer.jobs.runner import Runner
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.places import Places
from deepspeech_wer.records import Merge


class Bench(NamedTuple):
    """What running a merge needs: paths, limits and the runner."""

    places: Places
    job: JobLimits
    clone_path: Path
    variables: Mapping[str, str]  # the operator's ds_* variables, as run.json records them
    origin: str  # the URL of the clone's remote: the repository's URL without its password
    runner: Runner
    job_line: Callable[[str], None] | None = None  # called with each line of the job's output
    meanwhile: Callable[[Work, Order], None] | None = None  # called again and again while a job runs
    require_data: Callable[[], None] = lambda: None  # raises Trouble if the data root is no longer there


def title(merge: Merge) -> str:
    """Return how the log names a merge."""
    return f'{merge.sha[:12]} "{merge.subject[:60]}"'
