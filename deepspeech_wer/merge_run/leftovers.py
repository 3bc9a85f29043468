"""What earlier ticks left: unfinished runs to take over, and half-made files to remove."""

from __future__ import annotations

import logging
from contextlib import suppress

from deepspeech_wer import files
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.runner import attend
from deepspeech_wer.jobs.work import Work
from deepspeech_wer.merge_run import unfinished
from deepspeech_wer.merge_run.bench import Bench
from deepspeech_wer.merge_run.unfinished import Unfinished
from deepspeech_wer.places import Places
from deepspeech_wer.repository import checkout as checkouts

log = logging.getLogger(__name__)


def take_over(bench: Bench) -> list[Unfinished]:
    """Return what an earlier tick left unfinished. A job whose order cannot be read is ended."""
    _set_aside_earlier_release(bench.places)
    begun = unfinished.find(bench.places)
    for aside in bench.places.work.glob(f"*{works.UNREADABLE}"):
        _end_unknown(bench, Work(aside))
    return begun


def tidy(bench: Bench) -> None:
    """Remove what a killed tick left half made."""
    files.remove_leftovers(bench.places.site)
    for place in (bench.places.runs, bench.places.held, bench.places.work):
        for partial in files.partial_in(place):  # none is below: each is renamed when it is complete
            files.remove_tree(partial)
    for place in (bench.places.cache, bench.places.data):
        for partial in files.partial_in(place):
            with suppress(IsADirectoryError):  # not ours
                partial.unlink()


def _end_unknown(bench: Bench, work: Work) -> None:
    """End a job whose order cannot be read any more, or it would run beside the next one; remove its checkout."""
    if bench.runner.is_alive(work):
        bench.runner.ask_to_end(work)
        attend(bench.runner, work)
    bench.runner.clear(work, None)
    checkouts.wipe(work.checkout)


def _set_aside_earlier_release(places: Places) -> None:
    """Clean up a run that was interrupted under an earlier release, which had a single work directory and checkout."""
    checkouts.wipe(places.cache / "checkout.json")
    if (places.work / "logs").exists() or (places.work / "outcome.json").exists():
        aside = places.work.with_name("work.earlier")
        places.work.rename(aside)
        log.warning("a run was interrupted under an earlier release; its files are kept in %s", aside)
