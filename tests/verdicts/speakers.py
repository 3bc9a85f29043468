"""Synthetic test sets: speakers who differ, words as long as English ones, errors of the usual kinds."""

from __future__ import annotations

import json
import random
from typing import Any

LETTERS = "etaoinshrdlucmfwyp"
LENGTHS = (2, 3, 3, 4, 4, 5, 6, 8)


def vocabulary(seed: int = 0, words: int = 5_000) -> list[str]:
    """Return made-up words."""
    dice = random.Random(seed)
    return ["".join(dice.choices(LETTERS, k=dice.choice(LENGTHS))) for _ in range(words)]


def references(utterances: int, speakers: int = 40, seed: int = 0) -> list[list[Any]]:
    """Return rows of id, speaker, seconds and reference: about 20 words each, as in LibriSpeech test-clean."""
    dice, known = random.Random(seed), vocabulary()
    rows = []
    for number in range(utterances):
        said = dice.choices(known, k=max(1, round(dice.gammavariate(2, 10.2))))
        rows.append([f"utterance-{number:06}", f"speaker-{number % speakers}", len(said) / 2.5, " ".join(said)])
    return rows


def heard(rows: list[list[Any]], seed: int, rate: float = 0.16, spread: float = 0.0) -> list[list[Any]]:
    """Return the rows with a hypothesis each. `spread` is the standard deviation of the speakers' own rates."""
    dice, known = random.Random(seed), vocabulary()
    own: dict[str, float] = {}
    result = []
    for row in rows:
        errors = own.setdefault(row[1], max(0.0, dice.gauss(rate, spread)))
        words = [other for word in row[3].split() for other in _misheard(word, errors, dice, known)]
        result.append([*row, " ".join(words)])
    return result


def _misheard(word: str, rate: float, dice: random.Random, known: list[str]) -> list[str]:
    drawn = dice.random()
    if drawn < 0.2 * rate:
        return []
    if drawn < 0.8 * rate:
        return [dice.choice(known)]
    return [word, dice.choice(known)] if drawn < rate else [word]


def file_of(rows: list[list[Any]], name: str = "test") -> bytes:
    """Return the text of utterances.json."""
    columns = ["id", "speaker", "seconds", "reference", "hypothesis"]
    return json.dumps({"version": 1, "set": name, "columns": columns, "rows": rows}).encode()
