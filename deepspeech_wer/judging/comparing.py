"""Compares each measured run with the last one that is comparable, utterance by utterance, and keeps what that says.

Comparable is what has the same test set and scoring (the job's signature) and the same variables of the operator; a run
of an earlier release, which recorded no variables, is comparable with any.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, NamedTuple

from deepspeech_wer import run_table
from deepspeech_wer.judging import kept_scores
from deepspeech_wer.judging.kept_scores import Measures
from deepspeech_wer.records import Run
from deepspeech_wer.verdicts import noise, paired, told
from deepspeech_wer.verdicts.told import Basis
from deepspeech_wer.verdicts.utterance_scores import Each

VERSION = 2
RECENT = 10  # comparisons that show what usually changes, where no commit was trained twice
FEWEST = 3  # of them
LISTED = 100  # utterances that changed for good


class Inputs(NamedTuple):
    """The runs that a comparison is made from."""

    before: str
    replicates: tuple[str, ...]  # runs of one commit, at least two with different results
    newest: tuple[str, ...]  # the draws that tell what changed for good
    earlier: tuple[str, ...]
    usual: Mapping[str, tuple[float, ...]]  # test set -> what the comparisons before changed
    sigma: noise.Estimate | None

    def key(self) -> str:
        return hashlib.sha256(f"{VERSION} {self!r}".encode()).hexdigest()[:16]


@dataclass
class _Series:
    """What came before, in one series."""

    last: str | None = None
    draws: list[str] = field(default_factory=list)  # runs, repeats of a result left out; the newest ones
    replicates: tuple[str, ...] = ()
    usual: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))


def update(measures: Measures, ordered: Sequence[Run], verdicts: Sequence[Mapping[str, Any]]) -> None:
    """Bring the kept comparisons up to date. Raises OSError.

    `ordered` are the runs in the order of archive.in_order, `verdicts` those of verdicts.json.
    """
    if not measures.entries:
        return
    sigmas = {one["run"]: sigma_of(one) for one in verdicts}
    compared = _digest(measures, ordered, sigmas)
    if compared == measures.compared:
        return
    kept_scores.forget()
    listed = run_table.of(ordered)
    damaged: set[str] = set()
    for run, inputs in _walk(measures, ordered, sigmas):
        entry = measures.entries[run.id]
        key = inputs.key() if inputs else f"none {sigmas.get(run.id)}"
        if entry.against == key:
            continue
        entry.against = key
        against, entry.moved = None, {}
        if inputs:
            unreadable = set(_unreadable(measures, (inputs.before, run.id)))
            damaged |= unreadable
            if unreadable:
                entry.against = ""  # compared again once they can be read
            against, entry.moved = _against(measures, run, listed[listed.places[inputs.before]], inputs)
        changes = {"against": against, "noise": noise_record(sigmas.get(run.id))}
        kept_scores.write_record(measures, run.id, changes)
    for name in damaged:
        kept_scores.drop(measures, name)
    kept_scores.forget()
    measures.compared, measures.is_changed = compared if not damaged else "", True


def _digest(measures: Measures, runs: Sequence[Run], sigmas: Mapping[str, noise.Estimate | None]) -> str:
    """Return a digest of all that the comparisons are made from. Much quicker than to look what each one needs."""
    find, entries = _Finder(), measures.entries
    lines = [
        f"{run} {of} {find.key(*conditions)} {entries[run].stamp} {sigmas.get(run)}"
        for run, of, *conditions in run_table.of(runs).columns("id", "rerun_of", "signature", "variables")
        if run in entries
    ]
    return hashlib.sha256(f"{VERSION} {measures.waiting} {lines}".encode()).hexdigest()[:16]


def sigma_of(verdict: Mapping[str, Any]) -> noise.Estimate | None:
    """Return the noise of one training, as a fraction, as a verdict states it."""
    sigma, degrees = verdict.get("sigma_pp"), verdict.get("sigma_df")
    return noise.Estimate(sigma / 100, degrees) if sigma and degrees else None


def noise_record(sigma: noise.Estimate | None) -> dict[str, float] | None:
    """Return the noise as the page gets it, in percentage points."""
    if sigma is None:
        return None
    between = 100 * told.between(sigma)
    return {"sigma_pp": 100 * sigma.sigma, "sigma_df": sigma.degrees, "between_pp": round(between, 4)}


def basis(measures: Measures, name: str, replicates: Sequence[str], usual: Sequence[float], of: Each) -> Basis:
    """Return how many utterances noise alone makes worse: from trainings of one commit, else from what is usual."""
    draws = [each for run in replicates if (each := kept_scores.each(measures, run, name))]
    found = paired.by_noise([one.errors for one in draws if one.test_set == of.test_set])
    if found is not None:
        return Basis(found, told.trainings(len(draws)))
    if len(usual) >= FEWEST:
        return Basis(median(usual), told.comparisons(usual))
    return Basis(None, "")


def noise_around(
    measures: Measures, runs: Sequence[Run], run: Run
) -> tuple[tuple[str, ...], Mapping[str, tuple[float, ...]]]:
    """Return what `basis` needs for a run: trainings of one commit, and what the comparisons before it changed."""
    for one, inputs in _walk(measures, runs, {}):
        if one.id == run.id and inputs:
            return inputs.replicates, inputs.usual
    return (), {}


def _walk(
    measures: Measures, runs: Sequence[Run], sigmas: Mapping[str, noise.Estimate | None]
) -> Iterator[tuple[Run, Inputs | None]]:
    """Yield each measured run of a merge, in the order of history, with what it is to be compared with."""
    again: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        if run.rerun_of and run.id in measures.entries:
            again[run.rerun_of].append(run.id)
    find = _Finder()
    for run in runs:
        entry = measures.entries.get(run.id)
        if entry is None or not entry.sets:
            continue
        if run.rerun_of is not None:
            yield run, None
            continue
        series = find(run)
        mine = [run.id, *sorted(again[run.id])]
        _add_draws(series, mine, measures)
        if len({_results(measures, one) for one in mine}) > 1:
            series.replicates = tuple(mine)
        usual = {name: tuple(series.usual[name][-RECENT:]) for name in entry.sets}
        inputs = None
        if series.last is not None:
            draws = series.draws[-paired.NEWEST - paired.BEFORE :]
            newest, earlier = draws[-paired.NEWEST :], draws[: -paired.NEWEST]
            if len(earlier) < FEWEST:
                newest, earlier = [], []
            before = series.last
            inputs = Inputs(before, series.replicates, tuple(newest), tuple(earlier), usual, sigmas.get(run.id))
        yield run, inputs
        for name, number in entry.moved.items():
            series.usual[name].append(number)
        series.last = run.id


class _Finder:
    """Finds the series of a run."""

    def __init__(self) -> None:
        self._series: dict[str, dict[str, _Series]] = defaultdict(dict)
        # By object: what is equal is often one object in memory, see `dashboard.kept`. The object is kept, so that no
        # other one gets its number.
        self._texts: dict[int, tuple[Any, str]] = {}

    def key(self, signature: Any, variables: Mapping[str, str] | None) -> tuple[str, str]:
        """Return signature and variables as text; "" are unknown variables."""
        return self._text(signature), "" if variables is None else self._text(variables)

    def _text(self, value: Any) -> str:
        if id(value) not in self._texts:
            self._texts[id(value)] = value, json.dumps(value, sort_keys=True)
        return self._texts[id(value)][1]

    def __call__(self, run: Run) -> _Series:
        signature, variables = self.key((run.hyper or {}).get("results", {}).get("signature"), run.variables)
        series = self._series[signature]
        if variables not in series:
            if not variables and series:
                variables = next(reversed(series))
            elif "" in series:
                series[variables] = series.pop("")
        found = series.pop(variables, None) or _Series()
        series[variables] = found  # the last one last
        return found


def _add_draws(series: _Series, runs: Sequence[str], measures: Measures) -> None:
    for run in runs:
        if not series.draws or _results(measures, series.draws[-1]) != _results(measures, run):
            series.draws.append(run)
    del series.draws[: -2 * (paired.NEWEST + paired.BEFORE)]


def _results(measures: Measures, run: str) -> str:
    return repr(measures.entries[run].results)


def _against(
    measures: Measures, run: Run, before: Run, inputs: Inputs
) -> tuple[dict[str, Any] | None, dict[str, float]]:
    """Return the comparison of a run with the one before, and how many utterances moved on each test set."""
    sets, sentences, moved = [], [], {}
    for name in measures.entries[run.id].sets:
        old, new = kept_scores.each(measures, before.id, name), kept_scores.each(measures, run.id, name)
        found = paired.compare(old, new) if old and new else None
        if found is None or new is None:
            continue
        from_noise = basis(measures, name, inputs.replicates, inputs.usual[name], new)
        sets.append({"set": name, **told.record(found, from_noise), "lasting": _lasting(measures, name, inputs, new)})
        sentences.append(told.pair(name, found, before.merge.sha[:8], from_noise))
        if found.same_test_set and (found.worse or found.better):
            moved[name] = (len(found.worse) + len(found.better)) / 2
    if not sets:
        return None, {}
    return {"run": before.id, "sha": before.merge.sha, "sets": sets, "sentence": " ".join(sentences)}, moved


def _unreadable(measures: Measures, runs: Sequence[str]) -> Iterator[str]:
    """Yield the runs of which kept errors are damaged."""
    for run in runs:
        if any(kept_scores.each(measures, run, name) is None for name in measures.entries[run].sets):
            yield run


def _lasting(measures: Measures, name: str, inputs: Inputs, of: Each) -> dict[str, Any] | None:
    """Return which utterances changed for good; None before there are enough runs."""
    newest, earlier = (
        [
            each.errors
            for run in side
            if (each := kept_scores.each(measures, run, name)) and each.test_set == of.test_set
        ]
        for side in (inputs.newest, inputs.earlier)
    )
    found = paired.lasting(earlier, newest)
    if found is None or found.before < FEWEST:
        return None
    return {
        "newest": found.newest,
        "before": found.before,
        "worse": len(found.worse),
        "better": len(found.better),
        "worse_by_noise": round(found.worse_by_noise, 1),
        "better_by_noise": round(found.better_by_noise, 1),
        # places in the test set: an id may be a path of the machine
        "worse_places": found.worse[:LISTED],
        "better_places": found.better[:LISTED],
    }
