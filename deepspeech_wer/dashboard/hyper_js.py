"""js/hyper.js, the contract of 2016: what it holds, and how it is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deepspeech_wer import archive, hyper, run_table
from deepspeech_wer.dashboard.literal import javascript
from deepspeech_wer.dashboard.spliced import Lines, Mark, Pieces, splice
from deepspeech_wer.records import Run
from deepspeech_wer.run_table import Table


def line(run: Run) -> bytes:
    """Return a run's line of js/hyper.js."""
    tracked = {**tracker_record(run), "result": archive.result_digest(run)}
    record = {} if run.hyper is None else _record(run.hyper)
    return javascript({**record, "run": tracked}).encode("ascii")


def write(path: Path, ordered: Sequence[Run], line: Callable[[Run], bytes], mark: Callable[[str], Mark | None]) -> None:
    """Write js/hyper.js, of which the lines that it had are copied."""
    table = run_table.of(ordered)

    def is_of(name: str, text: bytes) -> bool:
        return b'"run":{"id":%s,' % javascript(name).encode() in text

    splice(path, _pieces(table), Lines(mark, lambda name: line(table[table.places[name]]), is_of))


def _pieces(table: Table) -> Pieces:
    """Return what js/hyper.js consists of: the runs by their start, each with what stands before its line; its end.

    Failed runs stand apart: they have no WER, and the page of 2016 would draw them as 0 %.
    """
    times, ids = table.column("time_started"), table.column("id")
    done = sorted((place for place, time in enumerate(times) if time is not None), key=times.__getitem__)
    found = Pieces([], [])
    before = b"window.ALL_THE_DATA = "
    groups = done, [place for place, time in enumerate(times) if time is None]
    for places, after in zip(groups, (b";\nwindow.FAILED_RUNS = ", b";\n"), strict=True):
        if places:
            found.texts.extend([before + b"[\n", *[b",\n"] * (len(places) - 1)])
            found.names.extend(ids[place] for place in places)
        before = (b"\n]" if places else before + b"[]") + after
    found.texts.append(before)
    found.names.append(None)
    return found


def tracker_record(run: Run) -> dict[str, Any]:
    """Return what the tracker knows of a run."""
    return {
        "id": run.id,
        "sha": run.merge.sha,
        "ordinal": run.merge.ordinal,
        "number": run.number,
        "subject": run.merge.subject,
        "author": run.merge.author,
        "committed_at": run.merge.committed_at,
        "status": run.status,
        "failure": run.failure,
        "detail": run.detail,
        "attempt": run.attempt,
        "started_at": run.started_at,
        "finished_at": run.finished_at,
        "machine": run.machine,
        "processor": run.processor,
        "variables": run.variables,
        "rerun_of": run.rerun_of,
        "seed": run.seed,
        "calibrates": run.calibrates,
        "imported": run.imported,
        "reverts": run.merge.reverts,
    }


def _record(record: dict[str, Any]) -> dict[str, Any]:
    context = {**record["context"], "time_started": hyper.time_started(record)}
    return {**record, "context": context}
