"""The utterances of runs as the page loads them, on demand: each test set once, and the errors of each run.

sets/<name>.js         wer.said({...})     ids, speakers, words; the name comes from the content
sets/<name>/<n>.js     wer.texts({...})    a part of the references
runs/<id>/edits.js     wer.edits({...})    the errors of a run, of every test set
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_wer.dashboard.scripts import javascript

EDITS = "edits.js"
_CALLS = {"said": b"wer.said(", "texts": b"wer.texts(", "edits": b"wer.edits("}
_END = b");\n"


@dataclass(frozen=True)
class Heard:
    """What is known of the utterances of runs, asked by the run's id. By default nothing is."""

    stamp: Callable[[str], str] = lambda _: ""  # changes with all that is shown of a run
    record: Callable[[str], Mapping[str, Any] | None] = lambda _: None  # the figures for the run's page
    edits: Callable[[str], Path | None] = lambda _: None  # the file to publish as the run's edits.js
    sets: Callable[[Iterable[str]], Mapping[str, Path]] = lambda _: {}  # of runs: name below the site -> file


def said_js(name: str, record: Mapping[str, Any]) -> bytes:
    return _call("said", {"set": name, **record})


def texts_js(name: str, part: int, texts: Sequence[str]) -> bytes:
    return _call("texts", {"set": name, "part": part, "texts": texts})


def edits_js(run: str, version: int, sets: Mapping[str, Mapping[str, Any]]) -> bytes:
    return _call("edits", {"version": version, "run": run, "sets": [{"name": name, **sets[name]} for name in sets]})


def without_paths(data: bytes, trimmed: Callable[[str], str]) -> bytes | None:
    """Return the script of a test set with trimmed ids and names of speakers; None if that changes nothing.

    None as well of any other script.
    """
    record = argument(data) if data.startswith(_CALLS["said"]) else None
    if not isinstance(record, dict):
        return None
    seen = {**record}
    for column in ("ids", "names"):
        values = record.get(column)
        if isinstance(values, list):
            seen[column] = [trimmed(one) if isinstance(one, str) else one for one in values]
    return None if seen == record else _call("said", seen)


def record_without_paths(record: Mapping[str, Any], trimmed: Callable[[str], str]) -> dict[str, Any]:
    """Return a run's figures with what quotes its job trimmed: a name of an utterance may be a path."""
    found = {name: record[name] and trimmed(record[name]) for name in ("trouble", "remark")}
    return {**record, **found, "differs": [trimmed(line) for line in record["differs"]]}


def argument(data: bytes) -> Any:
    """Return the value that such a script passes to the page; None if the file is no such script."""
    for start in _CALLS.values():
        if data.startswith(start) and data.endswith(_END):
            try:
                return json.loads(data[len(start) : -len(_END)])
            except (ValueError, RecursionError):
                return None
    return None


def _call(kind: str, value: Any) -> bytes:
    return _CALLS[kind] + javascript(value).encode("ascii") + _END
