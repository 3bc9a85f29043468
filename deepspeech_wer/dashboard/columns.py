"""Encodes runs as columns: about 20 bytes per run when compressed, so that the page opens fast with 10,000 runs.

website/js/model/decode.js decodes them. There are three encodings: delta encoding for times and ordinals, run-length
encoding `[value, count, value, count, ...]` for what rarely changes, and dictionary encoding for repeated values.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from typing import Any

from deepspeech_wer import hyper, run_table
from deepspeech_wer.records import Run
from deepspeech_wer.run_table import MAX_WER, Table

_MAX_TEXT = 200  # characters; the run's own file has all of it
_MAX_PARAMETERS = 200
_MAX_VALUES = 1000  # a parameter that differs in every run groups nothing
_ABSENT, _UNKNOWN = object(), object()


def columns(runs: Sequence[Run]) -> Iterator[tuple[str, Any]]:
    """Yield the columns of runs, which are in the order of the history, each with its name.

    Times are Unix times in seconds, durations are in seconds. WERs are integers in units of 1e-5; None: not measured.
    """
    table = run_table.of(runs)
    yield "count", len(table)
    yield from _ids(table)
    yield "ordinals", run_lengths(differences(table.column("ordinal")))
    yield "committed", differences(table.column("committed_s"))
    yield "took", table.column("took_s")
    yield "attempts", run_lengths(table.column("attempt"))
    endings = zip(table.column("failure"), table.column("status"), strict=True)
    yield "status", coded([failure or status for failure, status in endings])
    details = enumerate(table.column("detail"))
    yield "details", [[place, short(detail)] for place, detail in details if detail]
    for name in hyper.WERS:  # with the number of words, the page can compute that of the errors
        yield name, [None if rate is None else round(min(rate, MAX_WER) * 1e5) for rate in table.column(name)]
    yield "words", run_lengths(table.column("counted_words"))
    yield "signatures", coded(_carried(_signatures(table)))
    yield from _parameters(table).items()


def differences(numbers: Iterable[int | None]) -> list[int | None]:
    """Return each number minus the last number before it. None stays None."""
    last, out = 0, []
    for number in numbers:
        out.append(None if number is None else number - last)
        last = last if number is None else number
    return out


def run_lengths(values: Iterable[Any]) -> list[Any]:
    """Return `[value, count, value, count, ...]`."""
    found: list[Any] = []
    last: Any = _ABSENT
    for value in values:
        if value == last:
            found[-1] += 1
        else:
            found += value, 1
            last = value
    return found


def short(text: str) -> str:
    """Shorten a long text, with a checksum so that different texts stay different."""
    if len(text) <= _MAX_TEXT:
        return text
    return f"{text[: _MAX_TEXT - 10]}… {zlib.crc32(text.encode('utf-8', 'replace')):08x}"


def _ids(table: Table) -> Iterator[tuple[str, Any]]:
    """Encode ids as start and abbreviated SHA; other ids, such as those with a suffix, in full."""
    yield "shas", "".join([sha[:12].ljust(12, "-") for sha in table.column("sha")])
    yield "started", differences(table.column("started_s"))
    ids = enumerate(table.columns("id", "has_usual_id"))
    yield "ids", [[place, name] for place, (name, is_usual) in ids if not is_usual]


def _signatures(table: Table) -> Iterator[Any]:
    """Yield each signature of test set and scoring as text: runs are comparable only if it is the same."""
    texts: dict[int, str] = {}  # runs may share the object
    for is_done, signature in table.columns("is_done", "signature"):
        if not is_done:
            yield _UNKNOWN
            continue
        text = texts.get(id(signature))
        if text is None:
            text = texts[id(signature)] = short(json.dumps(signature, sort_keys=True))
        yield text


def _parameters(table: Table) -> dict[str, Any]:
    groups = _Groups(table.column("parameters"))
    used: Counter[str] = Counter()
    for parameters, count in zip(groups.flat, groups.counts, strict=True):
        used.update(dict.fromkeys(parameters, count))
    chosen = sorted(name for name, _ in used.most_common(_MAX_PARAMETERS))
    by_name = {name: _coded(groups.values(name), groups.lengths) for name in chosen}
    kept = {name: column for name, column in by_name.items() if len(column["values"]) <= _MAX_VALUES}
    return {
        "parameters": [{"name": short(name), **column} for name, column in kept.items()],
        "parameters_left_out": [short(name) for name in used if name not in kept][:_MAX_PARAMETERS],
    }


class _Groups:
    """Runs in a row that share their parameters.

    A failed run has none, and the page ignores them there: they go on as before, for longer runs of equal values.
    """

    def __init__(self, of_runs: Iterable[dict[str, Any] | None]) -> None:
        self.flat: list[dict[str, hyper.Scalar]] = []  # the parameters of each group
        self.counts: list[int] = []  # how many runs have them
        self.lengths: list[int] = []  # the same with failed runs
        known: dict[int, dict[str, hyper.Scalar]] = {}
        last: dict[str, Any] | None = None
        failed = 0  # before the first run that has parameters
        for parameters in of_runs:
            if parameters is not None and parameters is not last:
                if id(parameters) not in known:
                    known[id(parameters)] = hyper.flatten(parameters)
                self.flat.append(known[id(parameters)])
                self.counts.append(0)
                self.lengths.append(failed)
                last, failed = parameters, 0
            if last is None:
                failed += 1
                continue
            self.counts[-1] += parameters is not None
            self.lengths[-1] += 1

    def values(self, name: str) -> Iterator[Any]:
        """Yield a parameter of each group."""
        return (_value(parameters, name) for parameters in self.flat)


def _value(parameters: dict[str, hyper.Scalar], name: str) -> Any:
    """Return a parameter as the columns hold it; _ABSENT if it is not set."""
    value = parameters.get(name, _ABSENT)
    if isinstance(value, str):
        return short(value)
    # JavaScript rounds integers above 2**53, so different values could look the same.
    return str(value)[:_MAX_TEXT] if type(value) is int and abs(value) > 2**53 else value


def _carried(values: Iterable[Any]) -> Iterator[Any]:
    """Repeat the last value for failed runs, where the page ignores it: this makes longer runs of equal values."""
    last: Any = _ABSENT
    for value in values:
        last = last if value is _UNKNOWN else value
        yield last


def coded(values: Iterable[Any]) -> dict[str, Any]:
    """Dictionary-encode: `{"values": [...], "codes": run lengths of indices into them}`; index -1: no value."""
    return _coded(values, repeat(1))


def _coded(values: Iterable[Any], counts: Iterable[int]) -> dict[str, Any]:
    """The same where each value stands so many times in a row."""
    places: dict[tuple[bool, Any], int] = {}
    codes: list[int] = []
    last: Any = None
    before: Any = object()
    for value, count in zip(values, counts, strict=False):
        if value is before:
            codes[-1] += count
            continue
        before = value
        key = (isinstance(value, bool), value)  # in Python True == 1
        code = -1 if value is _ABSENT else places.setdefault(key, len(places))
        if code == last:
            codes[-1] += count
        else:
            codes += code, count
            last = code
    return {"values": [value for _, value in places], "codes": codes}
