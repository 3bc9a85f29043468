"""Archived runs with utterances.json, for the tests of what is made of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepspeech_wer import wer
from deepspeech_wer.places import Places
from deepspeech_wer.records import Run, as_json
from tests import invented_runs
from tests.invented_runs import done
from tests.verdicts import speakers

COLUMNS = ["id", "speaker", "seconds", "reference", "hypothesis"]


def places(root: Path) -> Places:
    return Places(root / "cache", root / "data")


def texts(*pairs: tuple[str, str | None], names: str = "") -> list[list[Any]]:
    """Return rows called a, b, ...; `names` has a letter for each speaker."""
    return [[chr(97 + place), names[place] if names else None, 1.5, *pair] for place, pair in enumerate(pairs)]


def invented(size: int, seed: int, rate: float = 0.16) -> list[list[Any]]:
    """Return the rows of a training: one test set for each size, other errors for each seed."""
    return speakers.heard(speakers.references(size), seed, rate)


def run(number: int, rows: Sequence[Sequence[Any]], **fields: Any) -> tuple[Run, bytes]:
    """Return a run and its utterances.json; its job told the same errors as the tracker counts."""
    data = json.dumps({"version": 1, "set": "test", "columns": COLUMNS, "rows": list(rows)}).encode()
    counts = wer.total(wer.score_utterance(row[3], row[4]) for row in rows)
    made = done(number, counts.rate, **fields.pop("parameters", {}))
    assert made.hyper
    made.hyper["results"]["test_wer"] = counts.rate
    made.hyper["results"]["test_errors"] = {
        "substitutions": counts.substitutions,
        "deletions": counts.deletions,
        "insertions": counts.insertions,
        "words": counts.reference,
        "utterances": len(rows),
        "missing": sum(row[4] is None for row in rows),
    }
    return made._replace(number=number, **fields), data


def archive(where: Places, *runs: tuple[Run, bytes | None]) -> list[Run]:
    """Write runs with their utterances into the archive and return them with their directories."""
    written = []
    for one, data in runs:
        [made] = invented_runs.archive([one], where.runs)
        fields = {key: value for key, value in as_json(made).items() if key not in ("id", "root", "hyper")}
        (made.directory / "run.json").write_text(json.dumps({"version": 1, "base": None, **fields}))
        if data is not None:
            (made.directory / "utterances.json").write_bytes(data)
        written.append(made)
    return written
