"""CTC prefix beam search with a language model over words (Hannun et al. 2014, arXiv:1408.2873, algorithm 1).

The score of a text is ln P_ctc(text) + alpha ln P_lm(text) + beta words. P_ctc sums over all paths of the text that the
beam keeps. An unfinished word is scored with the best word that it can become (look-ahead, Ortmanns et al. 1996), so
that finished and unfinished words compare. If the model has an <unk>, words outside its vocabulary may be spelled, at
the cost of the <unk> plus that of the letters, from an n-gram model of the vocabulary's spellings.

No library fits: flashlight-text has no wheel for Python 3.13, pyctcdecode needs numpy 1 and kenlm, kenlm has no wheels,
torchaudio brings PyTorch, and kaldi-decoder scores the best path instead of the sum.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...errors import Trouble
from ..arrays import Floats
from ..text import REPLACED, Alphabet
from .arpa import UNKNOWN, Gram
from .language import WordModel
from .ngram import estimate

LN10 = math.log(10)
LEAST = 1e-30  # lower bound of every probability: with zeros, the beam could become empty
FLOOR = 1e-4  # a letter less likely than this in a frame is not tried there
MARGIN = 1e-9  # a text less likely than this times the best one is dropped
SPELLING_ORDER = 4  # length of the n-grams of letters that score spellings
SWEEP = 64  # frames from one removal of dropped texts to the next


@dataclass(frozen=True)
class Candidate:
    """A text in the final beam, and the parts of its score."""

    text: str
    acoustic: float  # ln P_ctc
    language: float  # ln P_lm
    words: int
    hot: float = 0.0  # sum of the boosts of its hot words

    def score(self, alpha: float, beta: float) -> float:
        return self.acoustic + alpha * self.language + beta * self.words + self.hot


@dataclass(eq=False, slots=True)
class _Node:
    """A node of the prefix tree of the vocabulary."""

    best: float = -math.inf  # the highest ln P, without a context, of the words below
    word: str | None = None  # the word that ends at this node
    hot: tuple[tuple[float, float], ...] = ()  # (ln P without a context, boost) of each hot word below
    below: dict[int, _Node] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class _Prefix:
    """A text in the beam; its last word may be unfinished."""

    parent: _Prefix | None
    label: int  # its last letter; -1: no letter yet
    words: int  # finished ones
    language: float  # ln P of them
    context: Any  # the language model's context after them
    unknown: float  # ln P(<unk> | context)
    node: _Node | None  # of the unfinished word; None: not a prefix of the vocabulary
    spelling: Gram  # the spelling model's context
    spelled: float  # ln P of the unfinished word's letters
    hot: float  # sum of the boosts of its finished words
    weight: float  # alpha ln P_lm + beta words + boosts, including the look-ahead
    ratio: float = 1.0  # exp(weight - the parent's)
    # Probability of its paths that end with a blank, and with the last letter; times exp(weight), and scaled.
    blank: float = 0.0
    letter: float = 0.0
    next_blank: float = 0.0  # the same after the current frame
    next_letter: float = 0.0
    frame: int = -1  # the number of the current frame
    below: dict[int, _Prefix | None] = field(default_factory=dict)

    @property
    def mass(self) -> float:
        return self.blank + self.letter


class BeamSearch:
    """Searches for the most likely text with a language model, the weights alpha and beta, and a beam of `width` texts.

    `hot` adds a boost, in ln P, to every occurrence of a word; a word that the model does not know gets the probability
    of its rarest one. Raises Trouble if the alphabet cannot write any word of the model, or one of the hot words.
    """

    def __init__(
        self,
        model: WordModel,
        alphabet: Alphabet,
        *,
        alpha: float,
        beta: float,
        width: int,
        hot: Mapping[str, float] | None = None,
    ) -> None:
        self.model, self.alphabet = model, alphabet
        self.hot = dict(hot or {})
        self.alpha, self.beta, self.width = alpha, beta, width
        self.space = alphabet.letters.index(" ")
        self.open = model.knows(UNKNOWN)
        words = [word for word in model.words() if not alphabet.outside(word)]
        if not words:
            raise Trouble(
                f"no word of the language model has letters of {alphabet.told} only: "
                "expected a model of words in the script and case of the transcripts"
            )
        for word in self.hot:
            if outside := alphabet.outside(word):
                letters = " ".join(outside)
                raise Trouble(f"hot word {word!r}: has {letters}: expected letters of {alphabet.told} only")
        self.rarest = min(LN10 * model.alone(word) for word in words)
        self.root = self._tree(list(dict.fromkeys([*words, *self.hot])))
        self.spelling = estimate(map(self._letters, words), SPELLING_ORDER, alphabet.letters.replace(" ", ""))

    def _letters(self, word: str) -> list[str]:
        """Return a letter for each label of a word."""
        return [self.alphabet.letters[label] for label in self.alphabet.encode(word)]

    def _tree(self, words: list[str]) -> _Node:
        root = _Node()
        for word in words:
            probability = LN10 * self.model.alone(word) if self.model.knows(word) else self.rarest
            boost = self.hot.get(word)
            node = root
            for label in self.alphabet.encode(word):
                node = node.below.setdefault(label, _Node())
                node.best = max(node.best, probability)
                if boost is not None:
                    node.hot += ((probability, boost),)
            node.word = word
        return root

    def text(self, logits: Floats) -> str:
        """Return the most likely text of [frames, labels] logits."""
        return self.candidates(logits)[0].text

    def candidates(self, logits: Floats) -> list[Candidate]:
        """Return at most `width` texts of [frames, labels] logits, the best first, and at least one."""
        beam, scale = [self._begin()], 0.0
        for number, (row, likely) in enumerate(_frames(logits)):
            beam = self._step(beam, number, row, likely)
            best = max(prefix.mass for prefix in beam)
            scale += math.log(best)
            for prefix in beam:
                prefix.blank /= best
                prefix.letter /= best
            if number % SWEEP == SWEEP - 1:
                _forget_dropped(beam)
        return self._finish(beam, scale)

    def _begin(self) -> _Prefix:
        context = self.model.start()
        return _Prefix(None, -1, 0, 0.0, context, *self._word_begins(context), 0.0, 0.0, blank=1.0)

    def _word_begins(self, context: Any) -> tuple[float, _Node, Gram, float]:
        """Return (unknown, node, spelling, spelled) of a prefix before the first letter of a word."""
        return LN10 * self.model.score(context, UNKNOWN)[0], self.root, self.spelling.start(), 0.0

    def _step(
        self, beam: list[_Prefix], number: int, row: list[float], likely: list[tuple[int, float]]
    ) -> list[_Prefix]:
        """Return the beam after one frame: `row`: the probability of each label, `likely`: the letters to try."""
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
                # Two equal letters need a blank between them.
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
        """Return the prefix with one more letter; None if no word continues with it."""
        longer = None
        if self.alphabet.continues(_recent(prefix), label):
            longer = self._end_word(prefix) if label == self.space else self._spell(prefix, label)
        if longer is not None:
            longer.ratio = math.exp(longer.weight - prefix.weight)
        prefix.below[label] = longer
        return longer

    def _end_word(self, prefix: _Prefix) -> _Prefix | None:
        if prefix.label in (-1, self.space):
            return None  # no empty word
        score, context = self._word(prefix)
        language, words, hot = prefix.language + score, prefix.words + 1, prefix.hot + self._boost(prefix)
        weight = self.alpha * language + self.beta * words + hot
        return _Prefix(prefix, self.space, words, language, context, *self._word_begins(context), hot, weight)

    def _spell(self, prefix: _Prefix, label: int) -> _Prefix | None:
        node = prefix.node.below.get(label) if prefix.node else None
        if node is None and not self.open:
            return None
        score, spelling = self.spelling.score(prefix.spelling, self.alphabet.letters[label])
        spelled = prefix.spelled + LN10 * score
        ahead = max(node.best if node else -math.inf, prefix.unknown + spelled)
        best = self.alpha * ahead
        if node is not None:
            for probability, boost in node.hot:
                best = max(best, self.alpha * probability + boost)
        weight = self.alpha * prefix.language + best + self.beta * prefix.words + prefix.hot
        return _Prefix(
            prefix, label, prefix.words, prefix.language, prefix.context, prefix.unknown,
            node, spelling, spelled, prefix.hot, weight,
        )  # fmt: skip

    def _boost(self, prefix: _Prefix) -> float:
        """Return the boost of the last word if it ends here."""
        word = prefix.node.word if prefix.node else None
        return self.hot.get(word, 0.0) if word else 0.0

    def _word(self, prefix: _Prefix) -> tuple[float, Any]:
        """Return (ln P of the last word if it ends here, the context after it)."""
        word = prefix.node.word if prefix.node is not None else None
        if word is not None and (self.model.knows(word) or word not in self.hot):
            score, context = self.model.score(prefix.context, word)
            return LN10 * score, context
        if word is not None:  # a hot one that the model does not know
            score, context = self.model.score(prefix.context, UNKNOWN)
            return max(LN10 * score, self.rarest), context
        _, context = self.model.score(prefix.context, UNKNOWN)
        return prefix.unknown + prefix.spelled + LN10 * self.spelling.finish(prefix.spelling), context

    def _finish(self, beam: list[_Prefix], scale: float) -> list[Candidate]:
        found: dict[str, Candidate] = {}
        for prefix in beam:
            language, context, words, hot = prefix.language, prefix.context, prefix.words, prefix.hot
            if prefix.label not in (-1, self.space):
                score, context = self._word(prefix)
                language, words, hot = language + score, words + 1, hot + self._boost(prefix)
            language += LN10 * self.model.finish(context)
            text = self.alphabet.decode(_labels(prefix))
            acoustic = scale + math.log(prefix.mass) - prefix.weight
            if text in found:  # with and without a trailing space
                acoustic = float(np.logaddexp(acoustic, found[text].acoustic))
            found[text] = Candidate(text, acoustic, language, words, hot)
        readable = {text: one for text, one in found.items() if REPLACED not in text}  # its last character is whole
        return sorted((readable or found).values(), key=lambda one: (-one.score(self.alpha, self.beta), one.text))


def _frames(logits: Floats) -> Iterator[tuple[list[float], list[tuple[int, float]]]]:
    """Yield for each frame the probability of each label, and the letters to try with theirs."""
    values = logits.astype(np.float64)
    values = np.exp(values - values.max(1, keepdims=True))
    values = np.maximum(values / values.sum(1, keepdims=True), LEAST)
    for row in values:
        yield row.tolist(), [(int(label), float(row[label])) for label in np.flatnonzero(row[:-1] >= FLOOR)]


def _forget_dropped(beam: list[_Prefix]) -> None:
    """Forget prefixes that no text of the beam descends from, so that memory grows with the beam and not with time."""
    kept: dict[int, _Prefix] = {}
    for prefix in beam:
        above: _Prefix | None = prefix
        while above is not None and id(above) not in kept:
            kept[id(above)] = above
            above = above.parent
    for prefix in kept.values():
        prefix.below = {label: longer for label, longer in prefix.below.items() if longer is None or id(longer) in kept}


def _recent(prefix: _Prefix) -> list[int]:
    """Return the last three labels, or fewer."""
    labels: list[int] = []
    while prefix.parent is not None and len(labels) < 3:
        labels.append(prefix.label)
        prefix = prefix.parent
    return labels[::-1]


def _labels(prefix: _Prefix) -> list[int]:
    labels: list[int] = []
    while prefix.parent is not None:
        labels.append(prefix.label)
        prefix = prefix.parent
    return labels[::-1]
