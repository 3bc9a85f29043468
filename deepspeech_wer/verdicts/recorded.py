"""What is kept, and published, of the utterances of runs: each test set once, and of each run its errors alone.

A test set's record has its ids, speakers, lengths and words, and its texts in parts, since a page shows few of them.
A run's record has the `edits` of each utterance. Both are read back with every cell checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deepspeech_wer import wer
from deepspeech_wer.verdicts import edits
from deepspeech_wer.verdicts.utterance_scores import Each, Scored

VERSION = 1
PART_UTTERANCES, PART_CHARACTERS = 1_000, 200_000  # of one part of the texts, whichever comes first


class Said(NamedTuple):
    """What is said in a test set, in the order of the ids."""

    name: str  # from its content
    record: Mapping[str, Any]
    parts: Sequence[Sequence[str]]  # the references, one space between words


class Heard(NamedTuple):
    """The errors of one run on one test set."""

    each: Each
    edits: tuple[str, ...]
    missing: tuple[int, ...]  # places without a hypothesis


def said(scored: Scored) -> Said:
    """Return the test set that a run was scored on."""
    rows, each = scored.rows, scored.each
    parts = list(_parts([" ".join(wer.words(one.reference)) for one in rows]))
    names = sorted({one for one in each.speakers if one is not None})
    number: dict[str | None, int] = {name: place for place, name in enumerate(names)}
    starts = [0]
    for part in parts[:-1]:
        starts.append(starts[-1] + len(part))
    record = {
        "version": VERSION,
        "test_set": each.test_set,
        "ids": each.ids,
        "names": names,
        "speakers": [number.get(one, -1) for one in each.speakers],
        "words": each.words,
        "seconds": [one.seconds for one in rows] if any(one.seconds is not None for one in rows) else None,
        "parts": starts,
    }
    name = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:16]
    return Said(name, record, parts)


def of_run(scored: Scored, name: str) -> dict[str, Any]:
    """Return the record of a run on the test set called `name` by `said`."""
    missing = [place for place, one in enumerate(scored.rows) if one.hypothesis is None]
    return {"set": name, "edits": scored.edits, "missing": missing}


def read(of_set: Any, of_run: Any) -> Heard | None:
    """Return what two records say together; None if they are damaged, of another version, or do not fit."""
    try:
        if of_set["version"] != VERSION:
            return None
        names = [*of_set["names"], None]
        speakers = [names[one] for one in of_set["speakers"]]
        ids, words, wrong = of_set["ids"], of_set["words"], of_run["edits"]
        test_set, missing = of_set["test_set"], of_run["missing"]
        columns = (ids, words, wrong, missing, of_set["speakers"], of_set["names"])
        numbers, texts = [*of_set["speakers"], *words, *missing], [*ids, *wrong, *names[:-1], test_set]
    except (KeyError, TypeError, IndexError):
        return None
    is_sound = (
        all(isinstance(one, list) for one in columns)
        and all(isinstance(one, str) for one in texts)
        and all(type(one) is int for one in numbers)
        and all(-1 <= one < len(of_set["names"]) for one in of_set["speakers"])
        and all(0 <= one < len(ids) for one in missing)
        and len(ids) == len(speakers) == len(words) == len(wrong)
    )
    if not is_sound or ids != sorted(set(ids)):
        return None
    each = Each(test_set, tuple(ids), tuple(speakers), tuple(words), tuple(map(edits.count, wrong)))
    return Heard(each, tuple(wrong), tuple(missing))


def _parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = size = 0
    for place, text in enumerate(texts):
        if place > start and (place - start >= PART_UTTERANCES or size + len(text) > PART_CHARACTERS):
            yield texts[start:place]
            start, size = place, 0
        size += len(text)
    yield texts[start:]
