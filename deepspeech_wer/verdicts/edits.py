"""The word errors of an utterance as one short text, from which alignment and hypothesis are rebuilt.

    "3 can kahn 7 the  0  um"

Three fields an error: the place in the reference, the word said, the word heard; an empty field is a gap. No word
contains a space, so the text is unambiguous. website/js/model/aligned.js reads the same.
"""

from __future__ import annotations

from collections.abc import Iterable

Pair = tuple[str | None, str | None]


def encode(pairs: Iterable[Pair]) -> str:
    """Return the errors of an alignment; "" if there are none."""
    fields, place = [], 0
    for said, heard in pairs:
        if said != heard:
            fields.append(f"{place} {said or ''} {heard or ''}")
        place += said is not None
    return " ".join(fields)


def count(text: str) -> int:
    """Return the number of errors."""
    return (text.count(" ") + 1) // 3


def decode(text: str) -> list[tuple[int, str | None, str | None]]:
    """Return (place in the reference, said, heard) of each error. Raises ValueError if it is no such text."""
    fields = text.split(" ") if text else []
    if len(fields) % 3:
        raise ValueError(f"expected three fields an error, found {len(fields)}")
    triples = zip(fields[::3], fields[1::3], fields[2::3], strict=True)
    return [(int(place), said or None, heard or None) for place, said, heard in triples]


def align(reference: str, text: str) -> list[Pair]:
    """Return the whole alignment. `reference` has one space between words. Raises ValueError if they do not fit."""
    words, pairs, at = reference.split(), list[Pair](), 0
    for place, said, heard in decode(text):
        if not at <= place <= len(words) or (said is not None and words[place : place + 1] != [said]):
            raise ValueError(f"an error at word {place}, where the reference has none such")
        pairs += [(word, word) for word in words[at:place]]
        pairs.append((said, heard))
        at = place + (said is not None)
    return pairs + [(word, word) for word in words[at:]]
