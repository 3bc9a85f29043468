"""Archived runs as the verdicts see them, in the order of judging; each test set has draws of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from deepspeech_wer import archive_order, hyper, run_table
from deepspeech_wer.records import Run
from deepspeech_wer.run_table import Table
from deepspeech_wer.verdicts.series import Draw

MAX_RATE = 100.0  # larger WERs are not judged: squares of 1e308 overflow
MAX_SETS = 10  # test sets beside the main one
_ID_LENGTH = 28  # of a run id without an era


class Ordered(NamedTuple):
    """The runs that count, in the order of judging."""

    runs: Table
    places: Sequence[int]

    def calibrated(self) -> Ordered:
        """Return the runs of merges that were calibrated, and the newest good run of a merge."""
        shas = {sha for sha, calibrates in self.runs.columns("sha", "calibrates") if calibrates}
        if not shas:
            return self.only(())
        fields = self.runs.columns("id", "rerun_of", "seed", "test_wer")
        measured = [name for name, of, seed, rate in fields if _is_own(of, seed) and rate is not None]
        newest = {*measured[-1:]}
        fields = enumerate(self.runs.columns("id", "sha"))
        return self.only([place for place, (name, sha) in fields if sha in shas or name in newest])

    def only(self, kept: Sequence[int]) -> Ordered:
        """Return the runs at these indexes."""
        return Ordered(self.runs.only(kept), [self.places[number] for number in kept])


def order(runs: Sequence[Run]) -> Ordered:
    """Return the runs that count. Raises ValueError if two have the same id."""
    table = run_table.of(runs)
    ids, places = table.column("id"), table.column("number")
    if len(set(ids)) != len(ids):
        raise ValueError("two runs to judge have the same id; each run may be given once")
    is_usual = all(places) and all(len(name) == _ID_LENGTH for name in ids)
    if not is_usual:  # some were archived before there were numbers, or the clock was wrong
        of = archive_order.keys(table.placed())
        places = [of[name][0] for name in ids]
    if not (is_usual and run_table.is_rising(places)):
        in_order = table.order_by(places, archive_order.start_keys(ids))
        table, places = table.only(in_order), [places[number] for number in in_order]
    kept = _counting(table)
    return Ordered(table.only(kept), [places[number] for number in kept])


def _counting(table: Table) -> list[int]:
    """Return where the runs are that count.

    A person's retry replaces a failed run by a later one of the same commit. A failed re-training counts: as such.
    """
    newest = {sha: name for name, sha, of in table.columns("id", "sha", "rerun_of") if of is None}
    fields = enumerate(table.columns("id", "sha", "is_done", "rerun_of", "seed"))
    return [
        place
        for place, (name, sha, is_done, of, seed) in fields
        if is_done or not _is_own(of, seed) or newest.get(sha, name) == name
    ]


def keys(ordered: Ordered, results: Mapping[str, str]) -> list[str]:
    """Return what the draws of each run are made of."""
    fields = ordered.runs.columns("id", "fingerprint")
    of_runs = zip(fields, ordered.places, strict=True)
    return [f"{one} {place} {results.get(name, '')}\n" for (name, one), place in of_runs]


def sets(ordered: Ordered) -> dict[str, list[int]]:
    """Return the names of the test sets beside the main one, each with the indexes of its runs.

    Those are the runs that say something of it: the ones that measured it, and later failures.
    """
    found: dict[str, list[int]] = {}
    for number, (is_done, names) in enumerate(ordered.runs.columns("is_done", "sets")):
        for name in names if is_done else found:
            found.setdefault(name, []).append(number)
    return {name: found[name] for name in sorted(found)[:MAX_SETS]}


def draws(ordered: Ordered, results: Mapping[str, str], *, start: int = 0, test_set: str | None = None) -> list[Draw]:
    """Return the draws of the runs from an index on. `results` are digests by run id, "" if unknown.

    `test_set` None is the main one, results.test_wer.
    """
    earlier = reversed(ordered.runs.column("variables")[:start])
    before, found, digests = next((one for one in earlier if one is not None), None), [], _VariableDigests()
    for run, place in zip(ordered.runs[start:], ordered.places[start:], strict=True):
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
                rerun_of=None if _is_own(run.rerun_of, run.seed) else run.rerun_of,
                reverts=run.merge.reverts,
                calibrates=run.calibrates and not _is_own(run.rerun_of, run.seed),
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


def _is_own(rerun_of: str | None, seed: int | None) -> bool:
    return rerun_of is None or seed is None  # an anchor is a run of its own


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
