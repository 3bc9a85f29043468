"""What a comparison of two runs says, in words. The page and the commands quote these sentences as they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from deepspeech_wer.verdicts import noise, student
from deepspeech_wer.verdicts.intervals import CONFIDENCE
from deepspeech_wer.verdicts.paired import Comparison

SURE = 0.05  # p below which two models differ by more than chance
CAUTION = "A paired test says that two models differ on these recordings, never that a merge did it."


class Basis(NamedTuple):
    """Where the number of utterances that noise alone changes comes from."""

    number: float | None  # as many get worse, and as many better
    text: str  # "3 trainings of one commit"


def between(sigma: noise.Estimate) -> float:
    """Return what two trainings of one commit differ by at most in 95 % of cases, as a fraction."""
    return student.quantile(CONFIDENCE, sigma.degrees) * math.sqrt(2) * sigma.sigma


def verdict(found: Comparison, sigma: noise.Estimate | None, *, comparable: bool = True) -> str:
    """Return what a pair of runs shows on one test set, the noise of a training counted in."""
    if not found.same_test_set or not comparable:
        return "not comparable"
    if not found.worse and not found.better:
        return "identical"
    if sigma is None:
        return "noise unknown"
    if abs(found.difference) <= between(sigma):
        return "within noise"
    return "worse" if found.difference > 0 else "better"


def pair(name: str, found: Comparison, other: str, basis: Basis) -> str:
    """Return what the utterances of two runs say, in a few sentences. `other` names the run compared with."""
    start = f"{name}: {_percent(found.after)}, {_points(found.difference)} pp against {other}"
    if not found.same_test_set:
        start = f"{name}: on the {found.utterances:,} utterances that both test sets have, {start[len(name) + 2 :]}"
    if not found.worse and not found.better:
        return f"{start}: every utterance has as many errors as before."
    chance = "by more than chance" if found.p is not None and found.p < SURE else "by no more than chance would"
    sure = f"{_interval(found)}. On these recordings the two models differ {chance}." if found.interval else "."
    moved = f"{_count(len(found.worse), 'utterance')} got worse, {len(found.better):,} better"
    return f"{start}{sure} {moved}{_by_noise(basis)}."


def figures(of_set: Mapping[str, Any]) -> str:
    """Return the figures of a run on a test set (`measuring.figures`) in one line."""
    words, interval = of_set["words"], of_set["interval"]
    parts = ["no reference words" if of_set["wer"] is None else f"WER {_percent(of_set['wer'])}"]
    if interval:
        low, high = 100 * interval["low"], 100 * interval["high"]
        parts[0] += f" (95 % by {interval['by']}: {low:.2f} to {high:.2f})"
    kinds = ", ".join(f"{words[kind]:,} {kind}" for kind in ("substitutions", "deletions", "insertions"))
    total = sum(words[kind] for kind in ("substitutions", "deletions", "insertions"))
    parts.append(f"{total:,} errors in {words['reference']:,} words: {kinds}")
    if of_set["cer"] is not None:
        parts.append(f"CER {_percent(of_set['cer'])}")
    parts.append(
        f"{_percent(of_set['sentence_error_rate'])} of {_count(of_set['utterances'], 'utterance')} with an error"
    )
    if of_set["missing"]:
        parts.append(f"{of_set['missing']:,} without a hypothesis")
    return "; ".join(parts)


def record(found: Comparison, basis: Basis) -> dict[str, Any]:
    """Return a comparison as the page gets it: without the utterances, which it finds itself."""
    return {
        "same_test_set": found.same_test_set,
        "utterances": found.utterances,
        "before": found.before,
        "after": found.after,
        "difference": found.difference,
        "interval": found.interval._asdict() if found.interval else None,
        "p": found.p,
        "worse": len(found.worse),
        "better": len(found.better),
        "by_noise": basis.number,
        "basis": basis.text,
    }


def trainings(count: int) -> str:
    return f"{count} trainings of one commit"


def comparisons(numbers: Sequence[float]) -> str:
    return f"the {len(numbers)} comparisons before"


def _interval(found: Comparison) -> str:
    if found.interval is None:
        return ""
    low, high = _points(found.interval.low), _points(found.interval.high)
    by = f"95 % by {found.interval.by}: {low} to {high}"
    return f" ({by}, {_p(found.p)})" if found.p is not None else f" ({by})"


def _by_noise(basis: Basis) -> str:
    if basis.number is None:
        return "; how many noise alone would change is not known yet"
    return f"; noise alone would make about {basis.number:,.0f} worse and as many better ({basis.text})"


def _p(p: float | None) -> str:
    if p is None:
        return ""
    return "p < .001" if p < 0.001 else f"p = {p:.3f}".replace("0.", ".", 1)


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
