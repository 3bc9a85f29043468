"""The measure: word and character error rates with the alignment they come from.

A corpus rate is summed errors over summed reference words (or characters), never a mean of utterance rates: the mean is
another number, and less precise. The counts are read off the very alignment that is shown, because substitutions,
deletions and insertions are not unique for a given total. The alignment is kaldialign's, which agrees with Kaldi's
compute-wer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import kaldialign

NORMALISER = "none@1"  # named and versioned: rates of two normalisers are never one line on a chart
GAP = " gap "  # kaldialign marks a gap by a token, which must be none of the words: no split word holds a space


@dataclass(frozen=True)
class Counts:
    """Errors and reference length, of one utterance or summed over many; units are words, or characters in a CER."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference: int = 0

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors per reference unit: 1.0 is 100 %, which it may exceed; None without any reference unit."""
        return self.errors / self.reference if self.reference else None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.reference + other.reference,
        )


@dataclass(frozen=True)
class Aligned:
    """One utterance: pairs of (reference word, hypothesis word), None for a gap, and the counts read off them."""

    pairs: tuple[tuple[str | None, str | None], ...]
    counts: Counts


@dataclass(frozen=True)
class Score:
    """A corpus: pooled counts in words and characters, and how many hypotheses were missing (scored as empty)."""

    words: Counts
    characters: Counts
    utterances: int
    missing: int
    mean_utterance_wer: float | None  # the 2016 notebook's number, for comparison with old records only

    @property
    def wer(self) -> float | None:
        return self.words.rate

    @property
    def cer(self) -> float | None:
        return self.characters.rate


def words(text: str) -> list[str]:
    """The words that are compared: Unicode NFC, split at white space, nothing else ("none@1")."""
    return unicodedata.normalize("NFC", text).split()


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> Aligned:
    """Align two lists of words (or characters) with the fewest edits."""
    raw = kaldialign.align(list(reference), list(hypothesis), GAP)
    pairs = tuple((_or_gap(left), _or_gap(right)) for left, right in raw)
    return Aligned(pairs, _count(pairs))


def score_utterance(reference: str, hypothesis: str | None) -> Counts:
    """Word errors of one utterance; a missing hypothesis (None) is an empty one."""
    return align(words(reference), words(hypothesis or "")).counts


def score_corpus(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> Score:
    """Score every reference, by utterance id. A hypothesis that is not there is an empty one, and counted as missing.

    Raises KeyError for a hypothesis whose id no reference has: a mixed-up set must not pass as a good one.
    """
    unknown = sorted(set(hypotheses) - set(references))
    if unknown:
        raise KeyError(f"hypotheses for utterances that have no reference: {', '.join(unknown[:3])}")
    rows = [(text, hypotheses.get(key) or "") for key, text in references.items()]
    per_utterance = [score_utterance(reference, hypothesis) for reference, hypothesis in rows]
    return Score(
        words=total(per_utterance),
        characters=total(
            align(_characters(reference), _characters(hypothesis)).counts for reference, hypothesis in rows
        ),
        utterances=len(rows),
        missing=len(references.keys() - hypotheses.keys()),
        mean_utterance_wer=_mean([counts.rate for counts in per_utterance if counts.rate is not None]),
    )


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of counts; its rate is the pooled rate."""
    return sum(counts, Counts())


def _count(pairs: Iterable[tuple[str | None, str | None]]) -> Counts:
    substitutions = deletions = insertions = reference = 0
    for left, right in pairs:
        reference += left is not None
        insertions += left is None
        deletions += right is None
        substitutions += left is not None and right is not None and left != right
    return Counts(substitutions, deletions, insertions, reference)


def _characters(text: str) -> list[str]:
    return list(" ".join(words(text)))


def _or_gap(word: str) -> str | None:
    return None if word == GAP else word


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
