"""The word error rate of a run, scored from its utterances by the tracker itself, and how sure it is.

With e errors and n reference words in an utterance, W = sum e / sum n, r = e - W n. Utterances of one speaker fail
together, so r is summed for each of the G speakers first. The standard error is sqrt(G / (G - 1) sum r^2) / sum n, the
interval has Student's t with G - 1 degrees of freedom. Where speakers are unknown, each utterance counts as one, which
makes the interval too narrow; `by` says which it is. Two runs on one test set are compared likewise, with the
difference of their errors as e. That says whether two models differ on these recordings, never whether a merge did it:
two trainings of one commit differ as well.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import combinations
from operator import ne
from typing import Any

from deepspeech_wer import wer
from deepspeech_wer.errors import Trouble
from deepspeech_wer.verdicts import student
from deepspeech_wer.verdicts.utterances import Utterance, Utterances, digest, in_order, reference_digest
from deepspeech_wer.wer import Counts

VERSION = 1  # of the records kept beside a run: they are made anew if it changes
CONFIDENCE = 0.95
NEWEST, BEFORE = 3, 5  # the draws that `lasting` compares
COARSEST = 0.005  # WER: a job rounds to whole percents at most
MAX_CELLS = 25_000_000  # word pairs of one alignment, 4 bytes each: 5,000 words against 5,000
MAX_WORD_CELLS = 4_000_000_000  # of a test set: half a minute of CPU
MAX_CHARACTER_CELLS = 10_000_000_000  # beyond, the CER is not computed


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval, as fractions of the reference words."""

    low: float
    high: float
    by: str  # "speaker", or "utterance" where speakers are unknown or all are one
    clusters: int  # speakers or utterances; one of unknown speaker counts as a speaker


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


@dataclass(frozen=True)
class Change:
    """The errors of one utterance in two runs."""

    id: str
    before: int
    after: int


@dataclass(frozen=True)
class Comparison:
    """Two runs on the utterances that both have, paired. Differences are fractions of the words: after - before."""

    same_test_set: bool  # False: only the utterances of equal id and length are paired, and no verdict may rest on it
    utterances: int
    before: float  # WER on the paired utterances
    after: float
    difference: float
    interval: Interval | None
    p: float | None  # two-sided: of a difference as large between two models that are equally good
    worse: tuple[Change, ...]  # largest change first
    better: tuple[Change, ...]
    by_noise: float | None  # as many are worse, and as many better, between two trainings of one commit; None: unknown


@dataclass(frozen=True)
class Lasting:
    """Utterances that changed for good: all the newest runs lie on one side of all the runs before."""

    worse: tuple[int, ...]  # places in the lists of errors
    better: tuple[int, ...]
    worse_by_noise: float  # expected if nothing changed
    better_by_noise: float
    newest: int  # runs compared; runs with equal errors count once
    before: int


@dataclass(frozen=True)
class Edit:
    """A word substituted, deleted (`heard` is None) or inserted (`said` is None), with its number in two runs."""

    said: str | None
    heard: str | None
    before: int
    after: int

    @property
    def kind(self) -> str:
        return "insertion" if self.said is None else "deletion" if self.heard is None else "substitution"


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
    clusters, by = _clusters(each.speakers)
    rate = sum(each.errors) / sum(each.words)
    found = _around(rate, _standard_error(each.errors, each.words, clusters), by)
    if found is None:
        return None
    # Without an error the formula's width is 0. Poisson's limit for none seen is exact where errors are independent.
    high = found.high if sum(each.errors) else -math.log((1 - CONFIDENCE) / 2) / sum(each.words)
    return Interval(max(0.0, found.low), high, found.by, found.clusters)


def compare(before: Each, after: Each, replicates: Sequence[Each] = ()) -> Comparison | None:
    """Compare two runs on one test set; None if they have no reference word in common.

    `replicates` are runs of one commit on the same test set, at least two: they show what noise alone changes.
    """
    pairs = _pairs(before, after)
    old, new = [before.errors[one] for one, _ in pairs], [after.errors[other] for _, other in pairs]
    words = [after.words[other] for _, other in pairs]
    total = sum(words)
    if not total:
        return None
    ids = [after.ids[other] for _, other in pairs]
    changes = [
        Change(key, one, other) for key, one, other in zip(ids, old, new, strict=True) if one != other
    ]  # in the order of ids
    changes.sort(key=lambda one: -abs(one.after - one.before))
    difference = (sum(new) - sum(old)) / total
    clusters, by = _clusters([after.speakers[other] for _, other in pairs])
    error = _standard_error([two - one for one, two in zip(old, new, strict=True)], words, clusters)
    return Comparison(
        same_test_set=before.test_set == after.test_set,
        utterances=len(pairs),
        before=sum(old) / total,
        after=sum(new) / total,
        difference=difference,
        interval=_around(difference, error, by),
        p=_p(difference, error),
        worse=tuple(one for one in changes if one.after > one.before),
        better=tuple(one for one in changes if one.after < one.before),
        by_noise=_by_noise([one.errors for one in replicates if one.test_set == after.test_set]),
    )


def lasting(before: Sequence[Sequence[int]], after: Sequence[Sequence[int]]) -> Lasting | None:
    """Return the utterances of which the 3 newest runs all made more errors than any of the 5 runs before.

    Each run is the list of its errors by utterance (`Each.errors`), all on one test set, oldest first. None without at
    least one run on each side. Equal lists are one draw. If nothing changed, every choice of "the newest" among the
    runs is as likely, so an utterance whose three worst runs stand apart from the others is found in one of 56 cases:
    that is the number expected by noise.
    """
    newest, old = _draws(after)[-NEWEST:], _draws(before)[-BEFORE:]
    if not newest or not old:
        return None
    size = len(newest)
    choices = math.comb(size + len(old), size)
    worse, better, apart_above, apart_below = [], [], 0, 0
    for place, values in enumerate(zip(*newest, *old, strict=True)):
        new, past = values[:size], values[size:]
        if min(new) > max(past):
            worse.append(place)
        elif max(new) < min(past):
            better.append(place)
        ordered = sorted(values)
        apart_above += ordered[-size] > ordered[-size - 1]
        apart_below += ordered[size - 1] < ordered[size]
    return Lasting(tuple(worse), tuple(better), apart_above / choices, apart_below / choices, size, len(old))


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


def words(before: Iterable[Utterance], after: Iterable[Utterance], most: int = 20) -> tuple[Edit, ...]:
    """Return the commonest word errors of two runs on one test set, at most `most` of each kind.

    Of each kind those that changed most come first, then those more frequent.
    """
    old, new = _edits(before), _edits(after)
    found = [Edit(said, heard, old[said, heard], new[said, heard]) for said, heard in old.keys() | new.keys()]
    found.sort(key=lambda one: (-abs(one.after - one.before), -one.after - one.before, one.said or "", one.heard or ""))
    kinds = ("substitution", "deletion", "insertion")
    return tuple(one for kind in kinds for one in [each for each in found if each.kind == kind][:most])


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


def _clusters(speakers: Sequence[str | None]) -> tuple[list[int], str]:
    """Return the number of each utterance's cluster, and what the clusters are."""
    place: dict[str, int] = {}
    for one in speakers:
        if one is not None:
            place.setdefault(one, len(place))
    unknown = sum(one is None for one in speakers)
    if not place or len(place) + unknown < 2:
        return list(range(len(speakers))), "utterance"
    numbers, following = [], len(place)
    for one in speakers:
        numbers.append(following if one is None else place[one])
        following += one is None
    return numbers, "speaker"


@dataclass(frozen=True)
class _Error:
    value: float  # the standard error of a rate
    clusters: int


def _standard_error(errors: Sequence[int], words: Sequence[int], clusters: Sequence[int]) -> _Error | None:
    """Return the standard error of sum errors / sum words; None of a single cluster."""
    count, total = max(clusters) + 1, sum(words)
    if count < 2:
        return None
    # Whole numbers, so that no order of summing changes a digit: r times the number of words.
    all_errors, residuals = sum(errors), [0] * count
    for error, length, cluster in zip(errors, words, clusters, strict=True):
        residuals[cluster] += error * total - all_errors * length
    square = sum(one * one for one in residuals)
    return _Error(math.sqrt(count / (count - 1) * (square / total**2)) / total, count)


def _around(rate: float, error: _Error | None, by: str) -> Interval | None:
    if error is None:
        return None
    half = student.quantile(CONFIDENCE, error.clusters - 1) * error.value
    return Interval(rate - half, rate + half, by, error.clusters)


def _p(difference: float, error: _Error | None) -> float | None:
    if error is None:
        return None
    if not difference:
        return 1.0
    return student.two_sided(difference / error.value, error.clusters - 1) if error.value else 0.0


def _pairs(before: Each, after: Each) -> list[tuple[int, int]]:
    """Return the places of the utterances that both have, in the order of their ids."""
    if before.ids == after.ids and before.words == after.words:
        return [(place, place) for place in range(len(after.ids))]
    place_of = {key: place for place, key in enumerate(before.ids)}
    pairs = [(place_of[key], place) for place, key in enumerate(after.ids) if key in place_of]
    return [(one, other) for one, other in pairs if before.words[one] == after.words[other]]


def _by_noise(draws: Sequence[Sequence[int]]) -> float | None:
    """Return how many utterances are worse in one run than in another, on average over all pairs of runs."""
    pairs = list(combinations(_draws(draws)[-8:], 2))
    if not pairs:
        return None
    differing: list[int] = [sum(map(ne, one, other)) for one, other in pairs]
    return sum(differing) / len(pairs) / 2  # half of them are worse


def _draws(runs: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """Return the runs without repeats: the same seed and the same code repeat a result to the digit."""
    return list(dict.fromkeys(map(tuple, runs)))


def _edits(utterances: Iterable[Utterance]) -> Counter[tuple[str | None, str | None]]:
    counted: Counter[tuple[str | None, str | None]] = Counter()
    for one in utterances:
        if one.reference != one.hypothesis:
            aligned = wer.align(wer.words(one.reference), wer.words(one.hypothesis or ""))
            counted.update(pair for pair in aligned.pairs if pair[0] != pair[1])
    return counted


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
