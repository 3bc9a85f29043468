"""The utterances of runs as the page loads them, on demand: each test set once, and the errors of each run.

sets/<name>.js         wer.said({...})     ids, speakers, words; the name comes from the content
sets/<name>/<n>.js     wer.texts({...})    a part of the references
runs/<id>/edits.js     wer.edits({...})    the errors of a run, of every test set
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer.dashboard.literal import javascript
from deepspeech_wer.variables import MASK

EDITS = "edits.js"
_CALLS = {"said": b"wer.said(", "texts": b"wer.texts(", "edits": b"wer.edits("}
_END = b");\n"


class Heard(NamedTuple):
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


def as_seen(data: bytes, trimmed: Callable[[str], str]) -> bytes | None:
    """Return one of these scripts with all its texts trimmed; None if that changes nothing, or it is no such script.

    A transcript keeps its number of words: errors name their places.
    """
    kind = next((kind for kind, start in _CALLS.items() if data.startswith(start)), None)
    record = argument(data) if kind else None
    if kind is None or not isinstance(record, dict):
        return None
    seen = _SEEN[kind](record, trimmed)
    return None if seen == record else _call(kind, seen)


def _said_as_seen(record: dict[str, Any], trimmed: Callable[[str], str]) -> dict[str, Any]:
    return {**record, **{name: _each(record.get(name), trimmed) for name in ("ids", "names")}}


def _texts_as_seen(record: dict[str, Any], trimmed: Callable[[str], str]) -> dict[str, Any]:
    return {**record, "texts": _each(record.get("texts"), partial(_words, trimmed=trimmed))}


def _edits_as_seen(record: dict[str, Any], trimmed: Callable[[str], str]) -> dict[str, Any]:
    found = []
    for one in record.get("sets") or ():
        name, wrong = one.get("name"), _each(one.get("edits"), partial(_errors, trimmed=trimmed))
        found.append({**one, "name": trimmed(name) if isinstance(name, str) else name, "edits": wrong})
    return {**record, "sets": found}


def _errors(text: str, trimmed: Callable[[str], str]) -> str:
    """Trim the words of `edits`, of which each third field is a number."""
    fields = text.split(" ")
    seen = _words(text, trimmed).split(" ")
    return " ".join(fields[at] if at % 3 == 0 else seen[at] for at in range(len(fields)))


_SEEN = {"said": _said_as_seen, "texts": _texts_as_seen, "edits": _edits_as_seen}


def _each(values: Any, trimmed: Callable[[str], str]) -> Any:
    return [trimmed(one) if isinstance(one, str) else one for one in values] if isinstance(values, list) else values


def _words(text: str, trimmed: Callable[[str], str]) -> str:
    """Trim a text of words with one space between them, and keep their number."""
    if trimmed(text) == text:
        return text
    seen = ["".join(trimmed(word).split()) for word in text.split(" ")]
    again = trimmed(" ".join(seen))
    left = set(again.split(" "))  # what goes over several words: all of them are masked
    return " ".join(word if again == " ".join(seen) or word in left else MASK for word in seen)


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
