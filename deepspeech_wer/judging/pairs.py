"""Any two runs, compared: what differs, and what that does to the words. Nothing is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from deepspeech_wer import hyper
from deepspeech_wer.dashboard.details import Files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.judging import comparing, draws, kept_scores
from deepspeech_wer.judging.kept_scores import Known, Measures
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run
from deepspeech_wer.run_table import Table
from deepspeech_wer.verdicts import edits, noise, paired, told
from deepspeech_wer.verdicts.paired import Change, Comparison

LISTED = 20  # utterances, and words of each kind


class Pair(NamedTuple):
    """Two runs and what is known around them."""

    before: Run
    after: Run
    runs: Sequence[Run]  # all of the archive, in the order of archive.in_order
    verdicts: Sequence[Mapping[str, Any]]  # of verdicts.json
    files: Callable[[Table], Iterable[Files]]  # those of the runs' directories


def compare(places: Places, pair: Pair) -> dict[str, Any]:
    """Return the comparison as a record for JSON. Rates are fractions, what ends in _pp is in percentage points."""
    measures = kept_scores.known(places, pair.runs, pair.files)
    by_run = {one["run"]: one for one in pair.verdicts}
    sigma = next((found for run in (pair.after, pair.before) if (found := _sigma(by_run, run))), None)
    notes = list(_obstacles(pair.before, pair.after))
    known, lacking = _known(measures, pair)
    parameters = changed_parameters(pair.before, pair.after)
    names = [name for name in known[1] if name in known[0]]
    judged = "test" if "test" in names else next(iter(names), "")  # the noise is that of one test set
    arounds = {name: _Around(measures, pair, sigma if name == judged else None, comparable=not notes) for name in names}
    sets = [_set(name, known, arounds[name]) for name in names]
    return {
        "before": _side(pair.before, by_run),
        "after": _side(pair.after, by_run),
        "comparable": not notes,
        "difference_pp": _difference(pair),
        "noise": comparing.noise_record(sigma),
        "parameters": parameters,
        "sets": [one for one in sets if one],
        "notes": notes + lacking,
    }


def changed_parameters(before: Run, after: Run) -> list[dict[str, Any]]:
    """Return the parameters that differ; paths do so by machine and run, and are left out."""
    old, new = (hyper.flat_parameters(run.hyper or {}) for run in (before, after))
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    changed = [{"name": name, "before": old.get(name), "after": new.get(name)} for name in names]
    return [one for one in changed if "/" not in f"{one['before']}{one['after']}"]


class _Around(NamedTuple):
    measures: Measures
    pair: Pair
    sigma: noise.Estimate | None
    comparable: bool


def _set(name: str, known: Sequence[Mapping[str, Known]], around: _Around) -> dict[str, Any] | None:
    """Return the comparison on one test set; None if the runs have no utterance in common."""
    old, new = known[0][name], known[1][name]
    found = paired.compare(old.heard.each, new.heard.each)
    if found is None:
        return None
    replicates, usual = comparing.noise_around(around.measures, around.pair.runs, around.pair.after)
    basis = comparing.basis(around.measures, name, replicates, usual.get(name, ()), new.heard.each)
    words = paired.words(old.heard.edits, new.heard.edits, LISTED)
    return {
        "set": name,
        "verdict": told.verdict(found, around.sigma, comparable=around.comparable),
        "sentence": told.pair(name, found, around.pair.before.merge.sha[:8], basis),
        **told.record(found, basis),
        "words": [{"said": one.said, "heard": one.heard, "before": one.before, "after": one.after} for one in words],
        **_changed(found, old, new),
    }


def _changed(found: Comparison, old: Known, new: Known) -> dict[str, Any]:
    sides = [{key: place for place, key in enumerate(one.heard.each.ids)} for one in (old, new)]

    def utterance(change: Change) -> dict[str, Any]:
        places = [side[change.id] for side in sides]
        text = new.text(places[1])
        aligned = [edits.align(text, one.heard.edits[place]) for one, place in zip((old, new), places, strict=True)]
        return {
            "id": change.id,
            "speaker": new.heard.each.speakers[places[1]],
            "errors_before": change.before,
            "errors_after": change.after,
            "reference": text,
            "before": aligned[0],
            "after": aligned[1],
        }

    return {
        "worse_utterances": [utterance(one) for one in found.worse[:LISTED]],
        "better_utterances": [utterance(one) for one in found.better[:LISTED]],
    }


def _known(measures: Measures, pair: Pair) -> tuple[list[Mapping[str, Known]], list[str]]:
    """Return what is known of both runs, and why one has nothing."""
    known: list[Mapping[str, Known]] = []
    lacking = []
    for run in (pair.before, pair.after):
        try:
            known.append(kept_scores.sets_of(measures, run))
        except Trouble as trouble:
            known.append({})
            lacking.append(f"no words are compared: {str(trouble).replace(f'{run.directory}/', f'{run.id}: ')}")
    return known, lacking


def _obstacles(before: Run, after: Run) -> list[str]:
    """Return why a difference says nothing about the code."""
    found = []
    scores = [(run.hyper or {}).get("results", {}).get("signature") for run in (before, after)]
    if scores[0] != scores[1]:
        found.append("the test set, normaliser or decoder is another one")
    names = draws.changed_variables(before.variables, after.variables)
    if names:
        found.append(f"the operator changed {', '.join(names)}")
    return found


def _side(run: Run, verdicts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "run": run.id,
        "sha": run.merge.sha,
        "subject": run.merge.subject,
        "author": run.merge.author,
        "wer": hyper.test_wer(run.hyper),
        "verdict": verdicts[run.id]["verdict"] if run.id in verdicts else None,
    }


def _difference(pair: Pair) -> float | None:
    rates = [hyper.test_wer(run.hyper) for run in (pair.before, pair.after)]
    return None if rates[0] is None or rates[1] is None else round(100 * (rates[1] - rates[0]), 4)


def _sigma(verdicts: Mapping[str, Mapping[str, Any]], run: Run) -> noise.Estimate | None:
    return comparing.sigma_of(verdicts[run.id]) if run.id in verdicts else None
