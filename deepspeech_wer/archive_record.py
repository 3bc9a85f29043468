"""The record of one archived run, run.json, and the result beside it, hyper.json: written, read and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from deepspeech_wer import files, hyper, job_contract, versions
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.records import Circumstances, Merge, Outcome, Run, as_json

VERSION = 1
RUN = "run.json"


def read(directory: Path) -> Run:
    """Read one archived run.

    Raises Trouble that names the file if it is missing, damaged or written by a newer version.
    """
    record = raw(directory / RUN)
    try:
        fields = _fields(record, _RUN_FIELDS)
        of_merge = _fields(record["merge"], _MERGE_FIELDS)
        merge = Merge(
            **{**of_merge, "parents": tuple(map(str, of_merge["parents"]))},
            reverts=tuple(map(str, record["merge"].get("reverts", ()))),
        )
    except (KeyError, TypeError) as error:
        raise Trouble(f"{directory / RUN}: expected a run record, found one without {error}") from None
    found = read_hyper(directory) if fields["status"] == "done" else None
    return Run(
        id=directory.name,
        root=directory.parent,
        merge=merge,
        hyper=found,
        number=number(record),
        **fields,
        **_later_fields(record),
    )


def blame(directory: Path) -> dict[str, Any]:
    """Return what run.json says of the merge's changes; {} where it cannot be read, as the page's build tells."""
    with suppress(Trouble):
        record = raw(directory / RUN)
        merge, changed = record.get("merge"), record.get("changed")
        told = {**changed} if isinstance(changed, dict) else {}
        if isinstance(merge, dict):
            told |= {"parents": merge.get("parents"), "request": merge.get("request")}
        return told
    return {}


def raw(path: Path) -> dict[str, Any]:
    """Return the content of a run.json, of which only the version is checked. Raises Trouble that names the file."""
    try:
        record = json.loads(files.read(path))
    except OSError as error:
        raise Trouble(f"{path}: {with_cure(error)}") from None
    except (ValueError, RecursionError) as error:
        raise Trouble(f"{path}: expected JSON, but cannot parse it ({error})") from None
    versions.refuse_newer(path, record, VERSION)
    version = record.get("version") if isinstance(record, dict) else None
    if version != VERSION:
        raise Trouble(f"{path}: expected version {VERSION}, found {version!r}")
    return dict(record)


def read_hyper(directory: Path) -> dict[str, Any]:
    """Return the hyper.json of an archived run. Raises Trouble that names the file if it is missing or not valid."""
    try:
        return hyper.parse(files.read(directory / job_contract.HYPER))
    except OSError as error:
        raise Trouble(f"{directory / job_contract.HYPER}: {with_cure(error)}") from None
    except hyper.HyperError as error:
        raise Trouble(f"{directory / job_contract.HYPER}: {error}") from None


def number(record: dict[str, Any]) -> int:
    """Return the run's number; 0 if it was archived before there were numbers."""
    found = record.get("number")
    return found if type(found) is int else 0


def serialise(merge: Merge, outcome: Outcome, under: Circumstances, more: Mapping[str, Any] | None = None) -> bytes:
    """Return the content of a run.json, with `more` fields if they are given."""
    record: dict[str, Any] = {
        "version": VERSION,
        "merge": as_json(merge),
        "status": outcome.status,
        "failure": outcome.failure,
        "detail": outcome.detail,
        "attempt": outcome.attempt,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        **as_json(under),
        **(more or {}),
    }
    return json.dumps(record, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def _fields(record: dict[str, Any], wanted: dict[str, Callable[[Any], bool]]) -> dict[str, Any]:
    """Return the wanted fields of a record. Raises KeyError or TypeError that names a missing or invalid field."""
    for key, is_usable in wanted.items():
        if not is_usable(record[key]):
            raise TypeError(f"a valid {key!r}: {str(record[key])[:40]!r}")
    return {key: record[key] for key in wanted}


def _later_fields(record: dict[str, Any]) -> dict[str, Any]:
    """Return what earlier releases did not record; None where it is missing or of another kind."""
    kinds = {"processor": str, "variables": dict, "rerun_of": str, "seed": int, "imported": str}
    found: dict[str, Any] = {
        name: value if type(value := record.get(name)) is kind else None for name, kind in kinds.items()
    }
    return {**found, "calibrates": record.get("calibrates") is True}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return type(value) is int


def is_time(value: Any) -> bool:
    """Return whether a value is an ISO 8601 time."""
    try:
        return bool(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        return False


_RUN_FIELDS: dict[str, Callable[[Any], bool]] = {
    "status": lambda value: value in ("done", "failed"),
    "failure": lambda value: value is None or isinstance(value, str),
    "detail": _is_text,
    "attempt": _is_number,
    "started_at": is_time,
    "finished_at": is_time,
    "machine": _is_text,
}
_MERGE_FIELDS: dict[str, Callable[[Any], bool]] = {
    "sha": _is_text,
    "ordinal": _is_number,
    "subject": _is_text,
    "author": _is_text,
    "committed_at": is_time,
    "parents": lambda value: isinstance(value, list),
}
