"""Word and character error rates, counted on the alignment that the page shows.

A corpus rate is the sum of errors divided by the sum of reference words (or characters). It is not the mean of the
utterance rates, which differs and has a larger variance. Several alignments may have the same number of errors but
different substitutions, deletions and insertions, so these are counted on the alignment that is shown. kaldialign
computes it, which agrees with Kaldi's compute-wer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

NORMALISER = "none@1"  # recorded with every rate: rates with different normalisers cannot be compared
GAP = " gap "  # kaldialign marks gaps with a token that must not be a word; words contain no spaces


class Counts(NamedTuple):
    """Errors and reference length of one or more utterances, in words (WER) or in characters (CER)."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference: int = 0  # length

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Errors per reference word or character, as a fraction; may exceed 1.0. None if the reference is empty."""
        return self.errors / self.reference if self.reference else None


class Aligned(NamedTuple):
    """The alignment of an utterance: pairs of (reference, hypothesis) tokens, None for a gap, and their counts."""

    pairs: tuple[tuple[str | None, str | None], ...]
    counts: Counts


class Score(NamedTuple):
    """The score of a corpus: pooled counts. Missing hypotheses are scored as empty."""

    words: Counts
    characters: Counts
    utterances: int
    missing: int
    mean_utterance_wer: float | None  # the measure of the 2016 notebook, to compare with old records

    @property
    def wer(self) -> float | None:
        return self.words.rate

    @property
    def cer(self) -> float | None:
        return self.characters.rate


def words(text: str) -> list[str]:
    """Return the tokens to compare: Unicode NFC, split at white space, otherwise unchanged (normaliser "none@1")."""
    return unicodedata.normalize("NFC", text).split()


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> Aligned:
    """Align two lists of tokens with the minimum number of edits. Takes four bytes for each pair of tokens."""
    import kaldialign  # loaded by the tick that has something to score, not by those that find nothing to do

    raw = kaldialign.align(list(reference), list(hypothesis), GAP)
    pairs = tuple((_or_gap(left), _or_gap(right)) for left, right in raw)
    return Aligned(pairs, _count(pairs))


def score_utterance(reference: str, hypothesis: str | None) -> Counts:
    """Return the word errors of an utterance; a missing hypothesis (None) is scored as empty."""
    return align(words(reference), words(hypothesis or "")).counts


def score_characters(reference: str, hypothesis: str | None) -> Counts:
    """Return the character errors, one space between words. Takes memory for one row only."""
    import kaldialign

    left = _characters(reference)
    found = kaldialign.edit_distance(left, _characters(hypothesis or ""))
    return Counts(found["sub"], found["del"], found["ins"], len(left))


def score_corpus(references: Mapping[str, str], hypotheses: Mapping[str, str]) -> Score:
    """Score all references. Both mappings have utterance ids as keys. A missing hypothesis is scored as empty.

    Raises KeyError for a hypothesis without a reference: the two come from different sets.
    """
    unknown = sorted(set(hypotheses) - set(references))
    if unknown:
        raise KeyError(f"hypotheses without a reference: {', '.join(unknown[:3])}")
    rows = [(text, hypotheses.get(key) or "") for key, text in references.items()]
    per_utterance = [score_utterance(reference, hypothesis) for reference, hypothesis in rows]
    return Score(
        words=total(per_utterance),
        characters=total(score_characters(reference, hypothesis) for reference, hypothesis in rows),
        utterances=len(rows),
        missing=len(references.keys() - hypotheses.keys()),
        mean_utterance_wer=_mean([counts.rate for counts in per_utterance if counts.rate is not None]),
    )


def total(counts: Iterable[Counts]) -> Counts:
    """Return the sum of counts; its rate is the pooled rate."""
    return Counts(*map(sum, zip(*counts, strict=True)))


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
