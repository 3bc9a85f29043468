"""The word error rate of a run, scored from its utterances by the tracker itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from deepspeech_wer import wer
from deepspeech_wer.errors import Trouble
from deepspeech_wer.verdicts.intervals import CONFIDENCE, Interval, around, clusters_of, standard_error
from deepspeech_wer.verdicts.utterances import Utterance, Utterances, digest, in_order, reference_digest
from deepspeech_wer.wer import Counts

VERSION = 1  # of the records kept beside a run: they are made anew if it changes
COARSEST = 0.005  # WER: a job rounds to whole percents at most
MAX_CELLS = 25_000_000  # word pairs of one alignment, 4 bytes each: 5,000 words against 5,000
MAX_WORD_CELLS = 4_000_000_000  # of a test set: half a minute of CPU
MAX_CHARACTER_CELLS = 10_000_000_000  # beyond, the CER is not computed


@dataclass(frozen=True)
class Score:
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


@dataclass(frozen=True)
class Each:
    """The errors of every utterance of a test set, in the order of their ids; what comparisons are made of."""

    test_set: str
    ids: tuple[str, ...]
    speakers: tuple[str | None, ...]
    words: tuple[int, ...]
    errors: tuple[int, ...]

    def to_record(self) -> dict[str, Any]:
        """Return a compact record for JSON."""
        names = sorted({one for one in self.speakers if one is not None})
        place: dict[str | None, int] = {name: number for number, name in enumerate(names)}
        return {
            "version": VERSION,
            "test_set": self.test_set,
            "speaker_names": names,
            "ids": self.ids,
            "speakers": [place.get(one, -1) for one in self.speakers],
            "words": self.words,
            "errors": self.errors,
        }


@dataclass(frozen=True)
class Scored:
    """A run on one test set: its figures, and the errors of each utterance."""

    score: Score
    each: Each


@dataclass(frozen=True)
class Summary:
    """What is kept beside a run, so that a tick scores new runs only. Derived: it may be deleted."""

    digest: str  # over all test sets
    sets: Mapping[str, Score]
    remark: str | None  # about rows left out or odd
    version: int = VERSION

    def to_record(self) -> dict[str, Any]:
        """Return a record for JSON."""
        return asdict(self)


def summarise(found: Utterances) -> tuple[Summary, dict[str, Scored]]:
    """Score every test set of a file. Raises Trouble if one has utterances that are too long to be aligned."""
    scored = {name: score(name, rows) for name, rows in found.sets.items()}
    figures = {name: one.score for name, one in scored.items()}
    return Summary(digest(found.sets), figures, found.remark), scored


def score(name: str, utterances: Iterable[Utterance]) -> Scored:
    """Score one test set, which is not empty. Raises Trouble if it is too long to be aligned."""
    rows = in_order(utterances)
    _check_lengths(name, rows)
    counts = [wer.score_utterance(one.reference, one.hypothesis) for one in rows]
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
    return Scored(figures, each)


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
            faults.append(f"{told} {name}, its utterances give {number}")
    if not faults:
        return None
    return f"{score.set}: the job says {'; '.join(faults)}: see what it leaves out or normalises"


def summary_from(record: Any) -> Summary | None:
    """Return the summary of a record; None if it is of another version or damaged, so that it is made anew."""
    try:
        if record["version"] != VERSION:
            return None
        sets = {name: _score_from(one) for name, one in record["sets"].items()}
        found = Summary(record["digest"], sets, record["remark"])
    except (KeyError, TypeError, AttributeError):
        return None
    return found if isinstance(found.digest, str) and isinstance(found.remark, str | None) else None


def each_from(record: Any) -> Each | None:
    """Return the errors by utterance of a record; None if it is of another version or damaged."""
    try:
        if record["version"] != VERSION:
            return None
        names = dict(enumerate(record["speaker_names"]))
        columns = [tuple(record[name]) for name in ("ids", "speakers", "words", "errors")]
        ids, speakers, lengths, errors = columns
        test_set = record["test_set"]
    except (KeyError, TypeError):
        return None
    numbers = all(type(one) is int for column in columns[1:] for one in column)
    if not numbers or len({len(column) for column in columns}) != 1 or not isinstance(test_set, str):
        return None
    if not all(isinstance(one, str) for one in ids) or list(ids) != sorted(set(ids)):
        return None
    if not all(isinstance(one, str) for one in names.values()) or not {-1, *names} >= set(speakers):
        return None
    return Each(test_set, ids, tuple(map(names.get, speakers)), lengths, errors)


def _score_from(record: Any) -> Score:
    """Return the score of a record. Raises KeyError or TypeError if it is damaged."""
    words, characters, interval = record["words"], record["characters"], record["interval"]
    made = {
        "words": Counts(**words),
        "characters": None if characters is None else Counts(**characters),
        "interval": None if interval is None else Interval(**interval),
    }
    whole = [record[name] for name in ("utterances", "missing", "sentence_errors")]
    whole += [*words.values(), *(characters or {}).values()]
    rates = [record["mean_utterance_wer"]] if record["mean_utterance_wer"] is not None else []
    texts = [record[name] for name in ("set", "digest", "test_set", "normaliser")]
    if interval is not None:
        whole.append(interval["clusters"])
        rates += [interval["low"], interval["high"]]
        texts.append(interval["by"])
    if not (
        all(type(one) is int for one in whole)
        and all(type(one) in (int, float) for one in rates)
        and all(isinstance(one, str) for one in texts)
    ):
        raise TypeError("a cell of another type")
    return Score(**{**record, **made})


def _check_lengths(name: str, rows: Iterable[Utterance]) -> None:
    total = 0
    for one in rows:
        cells = len(one.reference.split()) * len((one.hypothesis or "").split())
        total += cells
        if cells > MAX_CELLS or total > MAX_WORD_CELLS:
            found = f"{len(one.reference.split())} reference words in {one.id[:40]!r}"
            raise Trouble(f"test set {name}: too long to be scored, found {found}: cut recordings into sentences")


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
