"""Archived runs as the verdicts see them, in the order of judging; each test set has draws of its own."""

from __future__ import annotations

import hashlib
import json
import marshal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from deepspeech_wer import archive, archive_order, hyper
from deepspeech_wer.records import Run
from deepspeech_wer.verdicts.series import Draw

MAX_RATE = 100.0  # larger WERs are not judged: squares of 1e308 overflow
MAX_SETS = 10  # test sets beside the main one
_ID_LENGTH = 28  # of a run id without an era


@dataclass(frozen=True)
class Ordered:
    """The runs that count, in the order of judging."""

    runs: Sequence[Run]
    places: Sequence[int]

    def calibrated(self) -> Ordered:
        """Return the runs of merges that were calibrated, and the newest good run of a merge."""
        shas = {run.merge.sha for run in self.runs if run.calibrates}
        if not shas:
            return Ordered((), ())
        newest = next(
            (run.id for run in reversed(self.runs) if _is_own(run) and hyper.test_wer(run.hyper) is not None), ""
        )
        pairs = zip(self.runs, self.places, strict=True)
        kept = [(run, place) for run, place in pairs if run.merge.sha in shas or run.id == newest]
        return Ordered([run for run, _ in kept], [place for _, place in kept])

    def only(self, kept: Sequence[int]) -> Ordered:
        """Return the runs at these indexes."""
        return Ordered([self.runs[number] for number in kept], [self.places[number] for number in kept])


def order(runs: Iterable[Run]) -> Ordered:
    """Return the runs that count. Raises ValueError if two have the same id."""
    listed = list(runs)
    if all(run.number and len(run.id) == _ID_LENGTH for run in listed):
        listed.sort(key=attrgetter("number", "id"))
        places = {run.id: run.number for run in listed}
    else:  # some were archived before there were numbers, or the clock was wrong
        places = {name: key[0] for name, key in archive.order_keys(listed).items()}
        listed.sort(key=lambda run: (places[run.id], archive_order.started(run.id)))
    if len(places) != len(listed):
        raise ValueError("two runs to judge have the same id; each run may be given once")
    newest = {run.merge.sha: run.id for run in listed if run.rerun_of is None}
    # A person's retry replaces a failed run by a later one of the same commit. A failed re-training counts: as such.
    kept = [
        run
        for run in listed
        if run.hyper is not None or not _is_own(run) or newest.get(run.merge.sha, run.id) == run.id
    ]
    return Ordered(kept, [places[run.id] for run in kept])


def keys(ordered: Ordered, results: Mapping[str, str]) -> list[bytes]:
    """Return what the draws of each run are made of. Version 2 of marshal is the last that depends on nothing else."""
    names = ("variables", "processor", "machine", "rerun_of", "seed", "calibrates", "imported")
    known = attrgetter("id", "merge.sha", "merge.reverts", *names)
    dumps: Callable[[Any, int], bytes] = marshal.dumps
    return [
        dumps((known(run), place, run.hyper and run.hyper["results"], results.get(run.id)), 2)
        for run, place in zip(ordered.runs, ordered.places, strict=True)
    ]


def sets(ordered: Ordered) -> dict[str, list[int]]:
    """Return the names of the test sets beside the main one, each with the indexes of its runs.

    Those are the runs that say something of it: the ones that measured it, and later failures.
    """
    found: dict[str, list[int]] = {}
    for number, run in enumerate(ordered.runs):
        if run.hyper is None:
            for measured in found.values():
                measured.append(number)
        elif "tests" in run.hyper["results"]:
            for name in hyper.test_sets(run.hyper):
                found.setdefault(name, []).append(number)
    return {name: found[name] for name in sorted(found)[:MAX_SETS]}


def draws(ordered: Ordered, results: Mapping[str, str], *, start: int = 0, test_set: str | None = None) -> list[Draw]:
    """Return the draws of the runs from an index on. `results` are digests by run id, "" if unknown.

    `test_set` None is the main one, results.test_wer.
    """
    earlier, listed = ordered.runs[:start], ordered.runs[start:]
    known = (run.variables for run in reversed(earlier) if run.variables is not None)
    before, found, digests = next(known, None), [], _VariableDigests()
    for run, place in zip(listed, ordered.places[start:], strict=True):
        figures = _figures(run, test_set)
        found.append(
            Draw(
                run=run.id,
                sha=run.merge.sha,
                place=place,
                rate=figures.rate if figures.rate is not None and figures.rate <= MAX_RATE else None,
                errors=figures.errors,
                words=figures.words,
                digest=results.get(run.id, ""),
                signature=_signature(run, figures.signature) if run.hyper else "",  # a failure ends no series
                variables=digests.of(run.variables),
                changed_variables=changed_variables(before, run.variables),
                machine=run.processor or run.machine,
                rerun_of=None if _is_own(run) else run.rerun_of,
                reverts=run.merge.reverts,
                calibrates=run.calibrates and not _is_own(run),
            )
        )
        before = run.variables if run.variables is not None else before
    return found


def changed_variables(before: Mapping[str, str] | None, now: Mapping[str, str] | None) -> tuple[str, ...]:
    """Return the names of the operator's variables that differ; none if either is unknown."""
    if before is None or now is None:
        return ()
    return tuple(name for name in sorted({*before, *now}) if before.get(name) != now.get(name))


def _signature(run: Run, told: Any) -> str:
    if run.imported:  # trained elsewhere, in another time: not comparable
        told = {"trained by": "an earlier tracker", "signature": told}
    return json.dumps(told, sort_keys=True)


def _is_own(run: Run) -> bool:
    return run.rerun_of is None or run.seed is None  # an anchor is a run of its own


def _figures(run: Run, test_set: str | None) -> hyper.Figures:
    if test_set is not None:
        return hyper.test_sets(run.hyper).get(test_set, hyper.Figures(None))
    errors, words = hyper.error_counts(run.hyper) or (None, None)
    signature = run.hyper["results"].get("signature") if run.hyper else None
    return hyper.Figures(hyper.test_wer(run.hyper), errors, words, signature)


class _VariableDigests:
    """Digests of the operator's variables; equal ones are often one object."""

    def __init__(self) -> None:
        self._of: dict[int, str] = {}

    def of(self, variables: Mapping[str, str] | None) -> str:
        if variables is None:
            return ""
        if id(variables) not in self._of:
            text = json.dumps(sorted(variables.items()))
            self._of[id(variables)] = hashlib.sha256(text.encode()).hexdigest()[:32]
        return self._of[id(variables)]
