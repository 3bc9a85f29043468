"""Runs as JavaScript: the bytes of js/index.js, js/merges.js and runs/<id>.js. No file is written here.

`ordered` are the runs in the order of archive.in_order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepspeech_wer import hyper, run_table
from deepspeech_wer.dashboard.changes import changes
from deepspeech_wer.dashboard.columns import coded, columns, run_lengths, short
from deepspeech_wer.dashboard.hyper_js import tracker_record
from deepspeech_wer.dashboard.judged import Judged
from deepspeech_wer.dashboard.literal import javascript, javascript_record
from deepspeech_wer.dashboard.project import Project
from deepspeech_wer.records import Run
from deepspeech_wer.run_table import Table

VERSION = 1  # of index.js, merges.js and runs/<id>.js; the page refuses what is newer than itself


def index_js(ordered: Sequence[Run], project: Project, merges: str, judged: Judged | None = None) -> bytes:
    """Return the columns that the page opens from. Only the first line depends on when the tracker last looked.

    `merges` is the fingerprint of js/merges.js.
    """
    looked_at = javascript(project.looked_at).encode("ascii")
    index = _index(run_table.of(ordered), project, merges, judged or Judged())
    start = b"window.WER_LOOKED_AT=%b;\nwindow.WER_INDEX=" % looked_at
    return b"".join((start, *javascript_record(index), b";\n"))


def _index(table: Table, project: Project, merges: str, judged: Judged) -> Iterator[tuple[str, Any]]:
    """Yield what the page opens from, name by name: ten thousand runs as a whole would be 3 MB."""
    ids, places = table.column("id"), table.places
    yield "version", VERSION
    yield "project", _project(project)
    yield "merges", merges
    yield from columns(table)
    yield from changes(table, judged.sigmas).items()
    yield "verdicts", coded([judged.states.get(name, "") for name in ids]) if judged.states else None
    yield "bands", run_lengths([_hundredths(judged.bands.get(name)) for name in ids])
    yield "headline", judged.headline and [*judged.headline[:2], places.get(judged.headline[2])]
    yield "noise", judged.noise
    yield "marks", [[places[run], text, is_new] for run, text, is_new in judged.marks if run in places]
    shas = {sha: place for place, sha in enumerate(table.column("sha"))}
    yield "events", [_event(event, shas) for event in judged.events]


def merges_js(ordered: Sequence[Run], judged: Judged | None = None) -> Iterator[bytes]:
    """Yield the pieces of subjects, authors and the reasons of verdicts: half of the text, and not needed to draw."""
    yield b"window.WER_MERGES="
    yield from javascript_record(_merges(run_table.of(ordered), judged))
    yield b";\n"


def _merges(table: Table, judged: Judged | None) -> Iterator[tuple[str, Any]]:
    yield "version", VERSION
    yield "count", len(table)
    yield "subjects", run_lengths(map(short, table.column("subject")))
    yield "authors", run_lengths(map(short, table.column("author")))
    yield "reasons", run_lengths([judged.reasons.get(name, "") for name in table.column("id")]) if judged else None
    yield "events", judged.events if judged else []


def run_js(run: Run, details: dict[str, Any]) -> bytes:
    """Return all there is to show about one run. `details`: epochs, logs and files, as details.py reads them."""
    record = run.hyper or {}
    detail = {
        "version": VERSION,
        **tracker_record(run),
        "parents": run.merge.parents,
        # pairs, not objects: a name such as `__proto__` is a name like any other
        "context": list(hyper.flatten(record.get("context", {})).items()),
        "parameters": list(hyper.flat_parameters(record).items()),
        "results": list(hyper.flatten(record.get("results", {})).items()),
        **details,
    }
    return f"wer.run({javascript(detail)});\n".encode("ascii")


def _project(project: Project) -> dict[str, Any]:
    named = {"name": project.name, "url": _web(project.url), "branch": project.branch}
    return {**named, "audio": project.audio} if project.audio else named


def _hundredths(points: float | None) -> int | None:
    """Whole hundredths of a percentage point take fewer bytes, and nobody can see less on a chart."""
    return None if points is None else round(100 * min(points, 1e4))


def _event(event: Mapping[str, Any], places: Mapping[str, int]) -> dict[str, Any]:
    """Return what the chart and the overview need of an event; `at` and `closed` are places of runs or None."""
    return {
        "id": event["id"],
        "state": event["state"],
        "at": places.get(event["start"]),
        "closed": places.get(event["closed_by"]),
        "step": event["step_pp"],
        "interval": event["interval_pp"],
    }


def _web(url: str | None) -> str | None:
    return url.rstrip("/") if url and url.startswith(("https://", "http://")) else None
