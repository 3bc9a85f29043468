"""Back-off n-gram models of words, and the ARPA files that hold them.

The format is https://cmusphinx.github.io/wiki/arpaformat/, as written by SRILM, KenLM and others. All probabilities and
back-off weights are logarithms to base 10.
"""

from __future__ import annotations

import gzip
import math
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...errors import Trouble
from ...files import write_atomically

Gram = tuple[str, ...]  # words, oldest first

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
MARKS = (BEGIN, END, UNKNOWN)
NEVER = -99.0  # ARPA's convention for log10(0): <s> is never predicted
ROUNDED = 0.001  # log10 of a probability of 1 may be rounded up to this
MISSING = -100.0  # KenLM's score of an unknown word if the file has no <unk>


@dataclass(frozen=True)
class Ngrams:
    """A back-off model: P(w | h) is the entry of hw, or else the back-off weight of h times P(w | h without a word)."""

    tables: tuple[Mapping[Gram, tuple[float, float]], ...]  # by length: n-gram -> (log10 P, log10 back-off weight)

    @property
    def order(self) -> int:
        return len(self.tables)

    def words(self) -> list[str]:
        """Return the vocabulary without <s>, </s> and <unk>."""
        return [word for (word,) in self.tables[0] if word not in MARKS]

    def knows(self, word: str) -> bool:
        return (word,) in self.tables[0]

    def alone(self, word: str) -> float:
        """Return log10 P(word) without a context."""
        return self.log10_probability((), word if self.knows(word) else UNKNOWN)

    def start(self) -> Gram:
        """Return the context at the beginning of a sentence."""
        return self._context((BEGIN,))

    def score(self, context: Gram, word: str) -> tuple[float, Gram]:
        """Return (log10 P(word | context), the context after it). A word not in the vocabulary counts as <unk>."""
        known = word if self.knows(word) else UNKNOWN
        return self.log10_probability(context, known), self._context((*context, known))

    def finish(self, context: Gram) -> float:
        """Return log10 P(</s> | context)."""
        return self.log10_probability(context, END)

    def log10_probability(self, context: Gram, word: str) -> float:
        weight = 0.0
        for first in range(max(0, len(context) - self.order + 1), len(context) + 1):
            history = context[first:]
            entry = self.tables[len(history)].get((*history, word))
            if entry is not None:
                return weight + entry[0]
            if history:
                weight += self.tables[len(history) - 1].get(history, (0.0, 0.0))[1]
        return weight + MISSING

    def log10_sentence(self, words: Sequence[str]) -> float:
        """Return log10 P of a sentence, including its end."""
        total, context = 0.0, self.start()
        for word in words:
            score, context = self.score(context, word)
            total += score
        return total + self.finish(context)

    def perplexity(self, sentences: Iterable[Sequence[str]]) -> float:
        """Return the perplexity per token, over words and sentence ends; unknown words count as <unk>."""
        log10_total, count = 0.0, 0
        for words in sentences:
            log10_total += self.log10_sentence(words)
            count += len(words) + 1
        return float(10 ** (-log10_total / count))

    def _context(self, words: Gram) -> Gram:
        """Return the last order - 1 words: no n-gram looks further back."""
        return words[max(0, len(words) - self.order + 1) :]


def read(path: Path) -> Ngrams:
    """Read an ARPA file, compressed if its name ends in .gz.

    Raises Trouble if it is unreadable or malformed: no header, counts unlike the header's, a line that is no n-gram.
    """
    try:
        with _opened(path) as stream:
            found = _parse(path, enumerate(stream, 1))
            stream.read()  # to the end: gzip verifies its checksum there
            return found
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise Trouble(f"{path}: cannot be read as an ARPA language model: {error}") from error


def _opened(path: Path) -> TextIO:
    if _is_compressed(path):
        return gzip.open(path, "rt", encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def _is_compressed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _parse(path: Path, lines: Iterator[tuple[int, str]]) -> Ngrams:
    counts = _header(path, lines)
    tables: list[dict[Gram, tuple[float, float]]] = []
    for length, count in enumerate(counts, 1):
        table: dict[Gram, tuple[float, float]] = {}
        for number, line in lines:
            fields = line.split()
            if not fields:
                break
            try:
                probability, words = float(fields[0]), fields[1 : length + 1]
                weight = float(fields[length + 1]) if len(fields) > length + 1 else 0.0
            except ValueError:
                words = []
            fit = len(words) == length and len(fields) <= length + 2
            if not fit or not -math.inf <= probability <= ROUNDED or not abs(weight) <= -MISSING:
                raise Trouble(f"{path}, line {number}: {line.strip()!r}: expected LOG10 {length} words [LOG10]")
            gram = tuple(map(_word, words))
            unknown = [word for word in gram if length > 1 and (word,) not in tables[0]]
            if unknown:
                raise Trouble(f"{path}, line {number}: {unknown[0]!r} is none of its 1-grams: truncated or edited")
            # -inf times a weight of 0 would be NaN
            table[gram] = (min(max(probability, MISSING), 0.0), weight)
        if len(table) != count:
            raise Trouble(f"{path}: {len(table)} {length}-grams: its header promises {count}: truncated or edited")
        tables.append(table)
        expected = f"\\{length + 1}-grams:" if length < len(counts) else "\\end\\"
        _expect(path, lines, expected)
    return Ngrams(tuple(tables))


def _header(path: Path, lines: Iterator[tuple[int, str]]) -> list[int]:
    counts: list[int] = []
    for _, line in lines:
        if line.strip() == "\\data\\":
            break
    else:
        raise Trouble(f"{path}: no line \\data\\ in it: expected a language model in ARPA format")
    for number, line in lines:
        if not line.strip():
            if counts:
                break
            continue
        match = re.fullmatch(r"ngram\s+(\d+)\s*=\s*(\d+)\s*", line)
        if not match or int(match[1]) != len(counts) + 1:
            raise Trouble(f"{path}, line {number}: {line.strip()!r}: expected ngram {len(counts) + 1}=COUNT")
        counts.append(int(match[2]))
    if not counts:
        raise Trouble(f"{path}: it announces no n-grams: expected ngram 1=COUNT")
    _expect(path, lines, "\\1-grams:")
    return counts


def _expect(path: Path, lines: Iterator[tuple[int, str]], text: str) -> None:
    for number, line in lines:
        if line.strip():
            if line.strip() != text:
                raise Trouble(f"{path}, line {number}: {line.strip()!r}: expected {text}")
            return
    raise Trouble(f"{path}: ends before {text}: truncated")


def _word(text: str) -> str:
    """Return one object per word, however often the file has it; SRILM writes <UNK> for <unk>."""
    return UNKNOWN if text == "<UNK>" else sys.intern(text)


def write(path: Path, model: Ngrams) -> None:
    """Write a model as an ARPA file, compressed if its name ends in .gz, with seven significant digits."""
    lines = ["\\data\\", *(f"ngram {length}={len(table)}" for length, table in enumerate(model.tables, 1))]
    for length, table in enumerate(model.tables, 1):
        lines += ["", f"\\{length}-grams:"]
        for gram, (probability, weight) in sorted(table.items()):
            line = f"{probability:.7g}\t{' '.join(gram)}"
            lines.append(f"{line}\t{weight:.7g}" if length < model.order and weight else line)
    data = ("\n".join([*lines, "", "\\end\\", ""])).encode()
    try:
        write_atomically(path, gzip.compress(data) if _is_compressed(path) else data)
    except OSError as error:
        raise Trouble(f"{path}: cannot be written: {error}") from error
