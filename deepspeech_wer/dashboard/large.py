"""Records that are too large for the page: it gets a part of them. The archive and the published hyper.json are whole.

A page of many records is made, sent and opened at once, so what it holds of each is bounded: thirty records of 9 MB
would take a gigabyte of memory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from deepspeech_wer import hyper, job_contract
from deepspeech_wer.records import Run

MAX_BYTES = 64 << 10  # of hyper.json; records of 2016 take 1 kB
PART_BYTES = 16 << 10  # of JSON, of a record that is larger
_VALUE_BYTES = 2 << 10  # a value above this would leave no room for others
_NOTE = "left_out"  # the result that says so
_KEPT = (("context", "time_started"), *(("results", name) for name in hyper.WERS))  # the page needs them
_SECTIONS = ("context", "parameters", "results")

log = logging.getLogger(__name__)

Path = tuple[str, ...]


def is_large(run: Run) -> bool:
    """Return whether the job's record is too large for the page."""
    if run.hyper is None:
        return False
    with suppress(OSError):
        return (run.directory / job_contract.HYPER).stat().st_size > MAX_BYTES
    return False


def reduced(run: Run) -> Run:
    """Return the run as the page gets it: of a large record the values that are small, in their order, and a note."""
    if run.hyper is None or not is_large(run):
        return run
    part: dict[str, Any] = {section: {} for section in _SECTIONS}
    left, left_out = dict.fromkeys((*_SECTIONS, ""), PART_BYTES // 4), 0  # "": all other sections
    for path, value in _values(run.hyper):
        section = path[0] if path[0] in _SECTIONS else ""
        if left[section] <= 0 and path not in _KEPT:
            left_out += 1
            continue
        size = sum(map(len, path)) + len(value if isinstance(value, str) else json.dumps(value))
        if path in _KEPT or (size <= min(left[section], _VALUE_BYTES) and len(path) > 1):
            _put(part, path, value)
            left[section] -= size
        else:
            left_out += 1
    part["results"][_NOTE] = f"{left_out:,} values too large or too many for this page: see hyper.json"
    return run._replace(hyper=part)


def tell(run: Run) -> None:
    """Log that the page does not show all of a record."""
    size = (run.directory / job_contract.HYPER).stat().st_size
    log.warning(
        "%s: hyper.json has %d bytes: the page shows a part of it, since it takes at most %d of each; "
        "the file is whole",
        run.id,
        size,
        MAX_BYTES,
    )


def _values(record: dict[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every value of a nested record that is no record itself; of sections that are empty, nothing."""
    for name, value in record.items():
        if isinstance(value, dict) and value:
            yield from _values(value, (*above, name))
        elif value != {} or above:
            yield (*above, name), value


def _put(record: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        record = record.setdefault(name, {})
    record[path[-1]] = value
