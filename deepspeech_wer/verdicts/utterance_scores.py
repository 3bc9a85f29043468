"""The word error rate of a run, scored from its utterances by the tracker itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any, NamedTuple

from deepspeech_wer import wer
from deepspeech_wer.errors import Trouble
from deepspeech_wer.verdicts import edits
from deepspeech_wer.verdicts.intervals import CONFIDENCE, Interval, around, clusters_of, standard_error
from deepspeech_wer.verdicts.utterance_file import Utterance, Utterances, digest, in_order, reference_digest
from deepspeech_wer.wer import Counts

COARSEST = 0.005  # WER: a job rounds to whole percents at most
MAX_CELLS = 25_000_000  # word pairs of one alignment, 4 bytes each: 5,000 words against 5,000
MAX_WORD_CELLS = 4_000_000_000  # of a test set: half a minute of CPU
MAX_CHARACTER_CELLS = 10_000_000_000  # beyond, the CER is not computed


class Score(NamedTuple):
    """The figures of a run on one test set. Rates are fractions; None where there is no reference word."""

    set: str
    digest: str  # of what was heard: if it is equal, the results are the same
    test_set: str  # digest of ids and references
    utterances: int
    missing: int  # hypotheses, scored as empty
    words: Counts
    characters: Counts | None  # None if the utterances are too long for it
    sentence_errors: int  # utterances with at least one wrong word
    interval: Interval | None
    mean_utterance_wer: float | None  # the measure of the 2016 notebook, to compare with old records
    normaliser: str = wer.NORMALISER

    @property
    def wer(self) -> float | None:
        return self.words.rate

    @property
    def cer(self) -> float | None:
        return self.characters.rate if self.characters else None

    @property
    def sentence_error_rate(self) -> float:
        return self.sentence_errors / self.utterances


class Each(NamedTuple):
    """The errors of every utterance of a test set, in the order of their ids; what comparisons are made of."""

    test_set: str
    ids: tuple[str, ...]
    speakers: tuple[str | None, ...]
    words: tuple[int, ...]
    errors: tuple[int, ...]


class Scored(NamedTuple):
    """A run on one test set: its figures, and the errors of each utterance, in the order of their ids."""

    score: Score
    each: Each
    rows: Sequence[Utterance]
    edits: tuple[str, ...]  # which words, see `edits`


class Summary(NamedTuple):
    """The figures of a run on all its test sets."""

    digest: str  # over all test sets
    sets: Mapping[str, Score]
    remark: str | None  # about rows left out or odd


def summarise(found: Utterances) -> tuple[Summary, dict[str, Scored]]:
    """Score every test set of a file. Raises Trouble if one has utterances that are too long to be aligned."""
    _check_lengths("all test sets", chain.from_iterable(found.sets.values()))
    scored = {name: score(name, rows) for name, rows in found.sets.items()}
    figures = {name: one.score for name, one in scored.items()}
    return Summary(digest(found.sets), figures, found.remark), scored


def score(name: str, utterances: Iterable[Utterance]) -> Scored:
    """Score one test set, which is not empty. Raises Trouble if it is too long to be aligned."""
    rows = in_order(utterances)
    _check_lengths(f"test set {name}", rows)
    counts, wrong = _align(rows)
    references = reference_digest(rows)
    each = Each(
        references,
        tuple(one.id for one in rows),
        tuple(one.speaker for one in rows),
        tuple(one.reference for one in counts),
        tuple(one.errors for one in counts),
    )
    rates = [one.errors / one.reference for one in counts if one.reference]
    figures = Score(
        set=name,
        digest=digest({name: rows}),
        test_set=references,
        utterances=len(rows),
        missing=sum(one.hypothesis is None for one in rows),
        words=_sum(counts),
        characters=_characters(rows),
        sentence_errors=sum(map(bool, each.errors)),
        interval=interval(each),
        mean_utterance_wer=math.fsum(rates) / len(rates) if rates else None,
    )
    return Scored(figures, each, rows, wrong)


def _align(rows: Iterable[Utterance]) -> tuple[list[Counts], tuple[str, ...]]:
    counts, wrong = [], []
    for one in rows:
        aligned = wer.align(wer.words(one.reference), wer.words(one.hypothesis or ""))
        counts.append(aligned.counts)
        wrong.append(edits.encode(aligned.pairs))
    return counts, tuple(wrong)


def interval(each: Each) -> Interval | None:
    """Return the interval of a run's WER; None of a single utterance, or without a reference word."""
    if not sum(each.words):
        return None
    clusters, by = clusters_of(each.speakers)
    rate = sum(each.errors) / sum(each.words)
    found = around(rate, standard_error(each.errors, each.words, clusters), by)
    if found is None:
        return None
    # Without an error the formula's width is 0. Poisson's limit for none seen is exact where errors are independent.
    high = found.high if sum(each.errors) else -math.log((1 - CONFIDENCE) / 2) / sum(each.words)
    return Interval(max(0.0, found.low), high, found.by, found.clusters)


def differs_from_job(score: Score, hyper: Mapping[str, Any]) -> str | None:
    """Return one line if the job's own figures differ from the tracker's by more than rounding, else None.

    They are those of `results.tests` for this test set, else `results.test_wer` and `results.test_errors`. A rate with
    d digits may be off by half of the last one. Substitutions, deletions and insertions are compared as a sum: several
    alignments have the same number of errors.
    """
    results = _object(hyper.get("results"))
    own = _object(_object(results.get("tests")).get(score.set))
    rate = _number(own.get("wer") if own else results.get("test_wer"))
    errors = _object(own.get("errors") if own else results.get("test_errors"))
    faults = []
    if rate is not None and score.wer is not None and abs(rate - score.wer) > _rounding(rate):
        faults.append(f"WER {_percent(rate)}, its utterances give {_percent(score.wer)}")
    kinds = [errors.get(name) for name in ("substitutions", "deletions", "insertions")]
    if all(type(one) is int for one in kinds):
        errors = {**errors, "errors": sum(one for one in kinds if one is not None)}
    counted = {"errors": score.words.errors, "words": score.words.reference}
    counted |= {"utterances": score.utterances, "missing": score.missing}
    for name, number in counted.items():
        told = errors.get(name)
        if _number(told) is not None and told != number:
            faults.append(f"{told:,} {name}, its utterances give {number:,}")
    if not faults:
        return None
    return f"{score.set}: the job says {'; '.join(faults)}: see what it leaves out or normalises"


def _check_lengths(what: str, rows: Iterable[Utterance]) -> None:
    total = 0
    for one in rows:
        cells = len(one.reference.split()) * len((one.hypothesis or "").split())
        total += cells
        if cells > MAX_CELLS or total > MAX_WORD_CELLS:
            found = f"{len(one.reference.split())} reference words in {one.id[:40]!r}"
            raise Trouble(f"{what}: too long to be scored, found {found}: cut recordings into sentences")


def _characters(rows: Sequence[Utterance]) -> Counts | None:
    if sum(len(one.reference) * len(one.hypothesis or "") for one in rows) > MAX_CHARACTER_CELLS:
        return None
    return _sum(wer.score_characters(one.reference, one.hypothesis) for one in rows)


def _sum(counts: Iterable[Counts]) -> Counts:
    substitutions = deletions = insertions = reference = 0
    for one in counts:
        substitutions += one.substitutions
        deletions += one.deletions
        insertions += one.insertions
        reference += one.reference
    return Counts(substitutions, deletions, insertions, reference)


def _rounding(rate: float) -> float:
    """Return what a rate may be off by, from the number of its digits."""
    exponent = Decimal(repr(rate)).as_tuple().exponent
    digits = max(0, -exponent) if isinstance(exponent, int) else 0
    return min(COARSEST, 0.5 / 10.0**digits) + 1e-9  # an eighth digit is no difference between two figures


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    """Return a number of the job's that can be calculated with, else None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if abs(value) < 1e15 else None


def _percent(rate: float) -> str:
    return f"{100 * rate:.2f} %"
