"""Estimate a language model from transcripts: python -m deepspeech_wer.training.lm.ngram --order 3 TRAIN.csv OUT.arpa

Interpolated, modified Kneser-Ney smoothing (Chen and Goodman 1999, section 3), as in KenLM's lmplz. The discounts of
each length follow from how many n-grams were seen once, twice, three and four times. In a small corpus one of these
numbers may be 0, or the formula may give no valid discount; then the discounts are 0.5, 1 and 1.5, with which every
distribution still sums to 1.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import Trouble
from ..corpus import Misshapen, sort_out
from ..csv_rows import names_recording, read_rows, without_recording
from ..text import clean
from . import arpa
from .arpa import BEGIN, END, MARKS, NEVER, UNKNOWN, Gram, Ngrams

Discounts = tuple[float, float, float]  # for a count of 1, of 2, of 3 or more

FALLBACK: Discounts = (0.5, 1.0, 1.5)  # lmplz's --discount_fallback


def estimate(sentences: Iterable[Sequence[str]], order: int, vocabulary: Iterable[str] = ()) -> Ngrams:
    """Estimate a model of this order from sentences of tokens. Raises Trouble if there is no sentence.

    <unk>, and tokens of `vocabulary` that are in no sentence, evenly share with all others the probability mass that
    smoothing reserves for unigrams.
    """
    counts = adjusted_counts(sentences, order)
    if not counts[0]:
        raise Trouble("no sentence to make a language model of: expected at least one")
    words = sorted({word for (word,) in counts[0]} | set(vocabulary) | {UNKNOWN, END})
    below: dict[Gram, float] = {
        (word,): 1 / len(words) for word in words
    }  # the distribution that the next length is interpolated with
    tables: list[dict[Gram, float]] = []
    backoffs: list[dict[Gram, float]] = []
    for length, table in enumerate(counts, 1):
        probabilities, shares = _interpolate(table, below, length)
        tables.append(probabilities)
        backoffs.append(shares)
        below = probabilities
    return Ngrams(
        tuple(
            _logarithms(probabilities, backoffs[length] if length < order else {})
            for length, probabilities in enumerate(tables, 1)
        )
    )


def adjusted_counts(sentences: Iterable[Sequence[str]], order: int) -> list[Counter[Gram]]:
    """Return the n-gram counts of each length: for the longest, occurrences; for the others, different preceding words.

    N-grams that begin with <s> have no preceding word, so their occurrences are counted too.
    """
    seen: list[Counter[Gram]] = [Counter() for _ in range(order)]
    for sentence in sentences:
        words = (BEGIN, *sentence, END)
        for end in range(1, len(words)):
            for length in range(1, min(order, end + 1) + 1):
                seen[length - 1][words[end + 1 - length : end + 1]] += 1
    adjusted = [Counter({gram: count for gram, count in table.items() if gram[0] == BEGIN}) for table in seen]
    adjusted[-1] = seen[-1]
    for shorter, longer in zip(adjusted, seen[1:], strict=False):
        shorter.update(gram[1:] for gram in longer)
    return adjusted


def _interpolate(
    table: Counter[Gram], below: dict[Gram, float], length: int
) -> tuple[dict[Gram, float], dict[Gram, float]]:
    """Return (P of each n-gram, the probability mass that each history leaves to its shorter history)."""
    discounts = discounts_of(table)
    totals: dict[Gram, int] = defaultdict(int)
    kept_back: dict[Gram, float] = defaultdict(float)
    for gram, count in table.items():
        totals[gram[:-1]] += count
        kept_back[gram[:-1]] += discounts[min(count, 3) - 1]
    shares = {history: kept_back[history] / total for history, total in totals.items()}
    # Unigrams: also unseen ones, which the uniform distribution includes.
    grams = below if length == 1 else table
    probabilities = {
        gram: (max(0.0, table[gram] - (discounts[min(table[gram], 3) - 1] if table[gram] else 0)) / totals[gram[:-1]])
        + shares[gram[:-1]] * below[gram if length == 1 else gram[1:]]
        for gram in grams
    }
    return probabilities, shares


def discounts_of(table: Counter[Gram]) -> Discounts:
    """Return the discounts of Chen and Goodman's equation 26, or FALLBACK where it gives no valid ones."""
    kinds = Counter(table.values())
    one, two, three, four = (kinds[count] for count in (1, 2, 3, 4))
    if not (one and two and three):
        return FALLBACK
    y = one / (one + 2 * two)
    found = (1 - 2 * y * two / one, 2 - 3 * y * three / two, 3 - 4 * y * four / three)
    # Above 0: else unseen words would have probability 0.
    return found if all(0 < discount <= most for most, discount in enumerate(found, 1)) else FALLBACK


def _logarithms(probabilities: dict[Gram, float], shares: dict[Gram, float]) -> dict[Gram, tuple[float, float]]:
    table = {
        gram: (math.log10(probability), math.log10(shares[gram]) if gram in shares else 0.0)
        for gram, probability in probabilities.items()
    }
    if (END,) in table:
        table[(BEGIN,)] = (NEVER, math.log10(shares[(BEGIN,)]) if (BEGIN,) in shares else 0.0)
    return table


def read_sentences(path: Path) -> list[list[str]]:
    """Read the tokens of a .csv table's transcripts, or of a text with one sentence per line. Raises Trouble."""
    if path.suffix.lower() == ".csv":
        rows, _ = sort_out(_table_rows(path), path)
        return [_unmarked(clean(row["transcript"]).split()) for _, row in rows]
    if path.suffix.lower() == ".tsv":
        raise Trouble(f"{path}: expected a .csv table with a column transcript, or a text with one sentence per line")
    try:
        with path.open(encoding="utf-8-sig") as stream:
            return [words for line in stream if (words := _unmarked(clean(line).split()))]
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"{path}: cannot be read as sentences: {error}") from error


def _table_rows(table: Path) -> Iterator[tuple[int, dict[str, str]] | Misshapen]:
    """Yield the rows of a table; as in a training, what names no recording may be the rest of a cut transcript."""
    before = ""
    for row in read_rows(table, ["transcript"], "wav_filename"):
        name = "" if isinstance(row, Misshapen) else row[1].get("wav_filename")
        if isinstance(row, Misshapen) or name is None:
            yield row
        elif names_recording([name], before) or (table.parent / name).is_file():
            before = name
            yield row
        else:
            why = f"no recording {name!r}: expected its name"
            yield without_recording(f"{table}:{row[0]}", why, row[1], ("wav_filename", "transcript"))


def _unmarked(words: list[str]) -> list[str]:
    """Return the words without the sentence markers of some corpora, which would count as words."""
    return [word for word in words if word not in MARKS and word.lower() != UNKNOWN]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    summary, _, more = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser("python -m deepspeech_wer.training.lm.ngram", description=more or summary)
    parser.add_argument("--order", type=int, default=3, choices=range(1, 10), metavar="N", help="1 to 9 words (3)")
    parser.add_argument(
        "source", type=Path, help="table with a column transcript (.csv), or text with one sentence per line"
    )
    parser.add_argument("target", type=Path, help="the ARPA file to write")
    given = parser.parse_args(argv)
    try:
        sentences = read_sentences(given.source)
        model = estimate(sentences, given.order)
        arpa.write(given.target, model)
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    sizes = ", ".join(f"{len(table)} {length}-grams" for length, table in enumerate(model.tables, 1))
    print(
        f"{given.target}: {sizes}, from {len(sentences)} sentences; their perplexity {model.perplexity(sentences):.2f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
