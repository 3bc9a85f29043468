"""Chooses the runner of a job: each work directory knows where its job was started, whatever the settings are now."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from deepspeech_wer.configuration.settings import Cluster
from deepspeech_wer.jobs.local import Local
from deepspeech_wer.jobs.outcome import Verdict
from deepspeech_wer.jobs.runner import Runner, Whereabouts
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.records import Outcome


class Runners:
    """The runner of every job: new ones are started where the settings say."""

    def __init__(self, cluster: Cluster) -> None:
        self._local, self._cluster = Local(), cluster

    def submit(self, work: Work, environment: Mapping[str, str]) -> None:
        """See Runner."""
        (self._slurm if self._cluster.is_slurm else self._local).submit(work, environment)

    def is_alive(self, work: Work) -> bool:
        """See Runner."""
        return self._of(work).is_alive(work)

    def wait(self, work: Work, seconds: float) -> None:
        """See Runner."""
        self._of(work).wait(work, seconds)

    def ask_to_end(self, work: Work) -> None:
        """See Runner."""
        self._of(work).ask_to_end(work)

    def clear(self, work: Work, order: Order | None) -> list[int]:
        """See Runner."""
        return self._of(work).clear(work, order)

    def verdict(self, work: Work, outcome: Outcome | None) -> Verdict | None:
        """See Runner."""
        return self._of(work).verdict(work, outcome)

    def whereabouts(self, work: Work) -> Whereabouts | None:
        """See Runner."""
        return self._of(work).whereabouts(work)

    def _of(self, work: Work) -> Runner:
        return self._slurm if work.ticket.exists() else self._local

    @cached_property
    def _slurm(self) -> Runner:
        from deepspeech_wer.jobs.slurm import Slurm  # not in an idle tick

        return Slurm(options_of(self._cluster))


def options_of(cluster: Cluster) -> tuple[str, ...]:
    """Return what the settings say as options of sbatch."""
    named = {
        "--partition": cluster.partition,
        "--gpus": cluster.gpus,
        "--time": cluster.time,
        "--account": cluster.account,
    }
    return (*(f"{option}={value}" for option, value in named.items() if value), *cluster.options)
