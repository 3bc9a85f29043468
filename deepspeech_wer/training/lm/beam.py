"""CTC prefix beam search with a language model over words (Hannun et al. 2014, arXiv:1408.2873, algorithm 1).

A text's score is ln P_ctc(text) + alpha ln P_lm(text) + beta words: the first over all its paths, as far as the beam
keeps them. While a word is being spelled, the best that the language model can make of it is counted already
(look-ahead, Ortmanns et al. 1996), so that the beam compares like with like. Where the model has an <unk>, a word that
it does not know may be spelled: that costs the <unk>, and what a model of letters makes of the spelling.

Own code, because no library fits: flashlight-text has no wheel for Python 3.13, pyctcdecode wants numpy 1 and kenlm,
kenlm has no wheels, torchaudio brings PyTorch, and kaldi-decoder takes the best path instead of the sum.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import Trouble
from ..arrays import Floats
from ..text import Alphabet
from .arpa import UNKNOWN, Gram
from .language import WordModel
from .ngram import estimate

LN10 = math.log(10)
LEAST = 1e-30  # a probability is never 0, or a beam could come to nothing
FLOOR = 1e-4  # a letter less likely than this in a frame does not begin there
MARGIN = 1e-9  # a text less likely than this times the best one is let go
SPELLING_ORDER = 4  # letters that the model of spellings looks at
SWEEP = 64  # frames between two sweeps of texts that were let go


@dataclass(frozen=True)
class Candidate:
    """A text that the search ended with, and what its score is made of."""

    text: str
    acoustic: float  # ln P_ctc
    language: float  # ln P_lm
    words: int

    def score(self, alpha: float, beta: float) -> float:
        return self.acoustic + alpha * self.language + beta * self.words


@dataclass(eq=False, slots=True)
class _Place:
    """A node in the tree of the lexicon's letters."""

    best: float = -math.inf  # the highest ln P of a word through here, whatever was before
    word: str | None = None  # the word that ends here
    below: dict[int, _Place] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Prefix:
    """A text as far as it goes, with its last word perhaps unfinished."""

    parent: _Prefix | None
    label: int  # its last letter; -1: no letter yet
    words: int  # finished ones
    language: float  # ln P of them
    context: Any  # the language model's, after them
    unknown: float  # ln P(<unk> | context)
    place: _Place | None  # where the unfinished word is in the lexicon
    spelling: Gram  # context of the model of spellings
    spelled: float  # ln P of the unfinished word's letters
    weight: float  # alpha ln P_lm + beta words, with the look-ahead
    ratio: float = 1.0  # exp(weight - the parent's)
    # The probability of its paths times exp(weight), scaled; of those that end with a blank, and with the last letter.
    blank: float = 0.0
    letter: float = 0.0
    next_blank: float = 0.0  # the same after the frame that is under way
    next_letter: float = 0.0
    frame: int = -1  # which that is
    below: dict[int, _Prefix | None] = field(default_factory=dict)

    @property
    def mass(self) -> float:
        return self.blank + self.letter


class BeamSearch:
    """The search for the likeliest text, with one language model, its weights, and a beam of so many texts.

    Raises Trouble for a model none of whose words the alphabet can write.
    """

    def __init__(self, model: WordModel, alphabet: Alphabet, *, alpha: float, beta: float, width: int) -> None:
        self.model, self.alphabet = model, alphabet
        self.alpha, self.beta, self.width = alpha, beta, width
        self.space = alphabet.letters.index(" ")
        self.open = model.knows(UNKNOWN)
        words = [word for word in model.words() if not alphabet.outside(word)]
        if not words:
            raise Trouble(
                f"no word of the language model has letters of {alphabet.letters!r} only: "
                "expected a model of words in the writing of the transcripts"
            )
        self.root = self._tree(words)
        self.spelling = estimate(map(list, words), SPELLING_ORDER, alphabet.letters.replace(" ", ""))

    def _tree(self, words: list[str]) -> _Place:
        root = _Place()
        for word in words:
            probability = LN10 * self.model.alone(word)
            place = root
            for label in self.alphabet.encode(word):
                place = place.below.setdefault(label, _Place())
                place.best = max(place.best, probability)
            place.word = word
        return root

    def text(self, logits: Floats) -> str:
        """The likeliest text of [frames, labels] logits."""
        return self.candidates(logits)[0].text

    def candidates(self, logits: Floats) -> list[Candidate]:
        """At most `width` texts of [frames, labels] logits, the best first; there is always one."""
        beam, scale = [self._begin()], 0.0
        for number, (row, likely) in enumerate(_frames(logits)):
            beam = self._step(beam, number, row, likely)
            best = max(prefix.mass for prefix in beam)
            scale += math.log(best)
            for prefix in beam:
                prefix.blank /= best
                prefix.letter /= best
            if number % SWEEP == SWEEP - 1:
                _sweep(beam)
        return self._finish(beam, scale)

    def _begin(self) -> _Prefix:
        context = self.model.start()
        return _Prefix(None, -1, 0, 0.0, context, *self._word_begins(context), 0.0, blank=1.0)

    def _word_begins(self, context: Any) -> tuple[float, _Place, Gram, float]:
        """(unknown, place, spelling, spelled) before the first letter of a word."""
        return LN10 * self.model.score(context, UNKNOWN)[0], self.root, self.spelling.start(), 0.0

    def _step(
        self, beam: list[_Prefix], number: int, row: list[float], likely: list[tuple[int, float]]
    ) -> list[_Prefix]:
        """The beam one frame on: `row` has the probability of each label, `likely` the letters that may begin."""
        blank = row[-1]
        least = MARGIN * max(prefix.mass for prefix in beam)
        reached: list[_Prefix] = []
        for prefix in beam:
            ends_blank, ends_letter = prefix.blank, prefix.letter
            total = ends_blank + ends_letter
            if prefix.frame != number:
                prefix.frame, prefix.next_blank, prefix.next_letter = number, 0.0, 0.0
                reached.append(prefix)
            prefix.next_blank += total * blank
            if ends_letter:
                prefix.next_letter += ends_letter * row[prefix.label]
            for label, probability in likely:
                # Only a blank parts two equal letters.
                mass = (ends_blank if label == prefix.label else total) * probability
                if mass < least:
                    continue
                longer = prefix.below[label] if label in prefix.below else self._grow(prefix, label)
                if longer is None:
                    continue
                if longer.frame != number:
                    longer.frame, longer.next_blank, longer.next_letter = number, 0.0, 0.0
                    reached.append(longer)
                longer.next_letter += mass * longer.ratio
        for prefix in reached:
            prefix.blank, prefix.letter = prefix.next_blank, prefix.next_letter
        if len(reached) > self.width:
            reached = heapq.nlargest(self.width, reached, key=lambda prefix: prefix.mass)
        least = MARGIN * max(prefix.mass for prefix in reached)
        return [prefix for prefix in reached if prefix.mass >= least]

    def _grow(self, prefix: _Prefix, label: int) -> _Prefix | None:
        """The text one letter longer; None where there is none such."""
        longer = self._end_word(prefix) if label == self.space else self._spell(prefix, label)
        if longer is not None:
            longer.ratio = math.exp(longer.weight - prefix.weight)
        prefix.below[label] = longer
        return longer

    def _end_word(self, prefix: _Prefix) -> _Prefix | None:
        if prefix.label in (-1, self.space):
            return None  # a word has letters
        score, context = self._word(prefix)
        language, words = prefix.language + score, prefix.words + 1
        weight = self.alpha * language + self.beta * words
        return _Prefix(prefix, self.space, words, language, context, *self._word_begins(context), weight)

    def _spell(self, prefix: _Prefix, label: int) -> _Prefix | None:
        place = prefix.place.below.get(label) if prefix.place else None
        if place is None and not self.open:
            return None
        score, spelling = self.spelling.score(prefix.spelling, self.alphabet.letters[label])
        spelled = prefix.spelled + LN10 * score
        ahead = max(place.best if place else -math.inf, prefix.unknown + spelled)
        weight = self.alpha * (prefix.language + ahead) + self.beta * prefix.words
        return _Prefix(
            prefix, label, prefix.words, prefix.language, prefix.context, prefix.unknown,
            place, spelling, spelled, weight,
        )  # fmt: skip

    def _word(self, prefix: _Prefix) -> tuple[float, Any]:
        """(ln P of the last word as it stands, the context after it)."""
        if prefix.place is not None and prefix.place.word is not None:
            score, context = self.model.score(prefix.context, prefix.place.word)
            return LN10 * score, context
        _, context = self.model.score(prefix.context, UNKNOWN)
        return prefix.unknown + prefix.spelled + LN10 * self.spelling.finish(prefix.spelling), context

    def _finish(self, beam: list[_Prefix], scale: float) -> list[Candidate]:
        found: dict[str, Candidate] = {}
        for prefix in beam:
            language, context, words = prefix.language, prefix.context, prefix.words
            if prefix.label not in (-1, self.space):
                score, context = self._word(prefix)
                language, words = language + score, words + 1
            language += LN10 * self.model.finish(context)
            text = self.alphabet.decode(_labels(prefix))
            acoustic = scale + math.log(prefix.mass) - prefix.weight
            if text in found:  # with and without a space at its end
                acoustic = float(np.logaddexp(acoustic, found[text].acoustic))
            found[text] = Candidate(text, acoustic, language, words)
        return sorted(found.values(), key=lambda one: (-one.score(self.alpha, self.beta), one.text))


def _frames(logits: Floats) -> Iterator[tuple[list[float], list[tuple[int, float]]]]:
    """For each frame the probability of each label, and the letters among them that may begin there."""
    values = logits.astype(np.float64)
    values = np.exp(values - values.max(1, keepdims=True))
    values = np.maximum(values / values.sum(1, keepdims=True), LEAST)
    for row in values:
        yield row.tolist(), [(int(label), float(row[label])) for label in np.flatnonzero(row[:-1] >= FLOOR)]


def _sweep(beam: list[_Prefix]) -> None:
    """Forget the texts that lead to none in the beam: what is kept then grows with the beam, not with the speech."""
    kept: dict[int, _Prefix] = {}
    for prefix in beam:
        above: _Prefix | None = prefix
        while above is not None and id(above) not in kept:
            kept[id(above)] = above
            above = above.parent
    for prefix in kept.values():
        prefix.below = {label: longer for label, longer in prefix.below.items() if longer is None or id(longer) in kept}


def _labels(prefix: _Prefix) -> list[int]:
    labels: list[int] = []
    while prefix.parent is not None:
        labels.append(prefix.label)
        prefix = prefix.parent
    return labels[::-1]
