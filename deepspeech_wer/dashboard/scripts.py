"""Runs as JavaScript: the bytes of js/hyper.js, js/index.js, js/merges.js and runs/<id>.js. No file is written here.

`ordered` are the runs in the order of archive.in_order.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from deepspeech_wer import archive, hyper
from deepspeech_wer.dashboard.changes import changes
from deepspeech_wer.dashboard.columns import coded, columns, run_lengths, short
from deepspeech_wer.dashboard.judged import Judged
from deepspeech_wer.dashboard.project import Project
from deepspeech_wer.records import Run

VERSION = 1  # of index.js, merges.js and runs/<id>.js; the page refuses what is newer than itself


def javascript(value: Any) -> str:
    """Return a literal that is JSON, ASCII, safe in a script: no `<`, `>`, U+2028, U+2029, NaN."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def line(run: Run) -> bytes:
    """Return a run's line of js/hyper.js."""
    tracked = {**_tracked(run), "result": archive.result_digest(run)}
    record = {} if run.hyper is None else _record(run.hyper)
    return javascript({**record, "run": tracked}).encode("ascii")


def hyper_js(ordered: Sequence[Run], line: Callable[[Run], bytes] = line) -> Iterator[bytes]:
    """Yield the contract of 2016, one record a line."""
    for text, run in hyper_pieces(ordered):
        yield text
        if run:
            yield line(run)


def hyper_pieces(ordered: Sequence[Run]) -> Iterator[tuple[bytes, Run | None]]:
    """Yield the runs of js/hyper.js, sorted by start, each with what stands before its line; at last what ends it.

    Failed runs stand apart: they have no WER, and the page of 2016 would draw them as 0 %.
    """
    done = [(hyper.time_started(run.hyper), run) for run in ordered if run.hyper]
    done.sort(key=lambda pair: pair[0])
    before = b"window.ALL_THE_DATA = "
    groups = [run for _, run in done], [run for run in ordered if not run.hyper]
    for runs, after in zip(groups, (b";\nwindow.FAILED_RUNS = ", b";\n"), strict=True):
        between = before + b"[\n"
        for run in runs:
            yield between, run
            between = b",\n"
        before = (b"\n]" if runs else before + b"[]") + after
    yield before, None


def index_js(ordered: Sequence[Run], project: Project, merges: bytes, judged: Judged | None = None) -> bytes:
    """Return the columns that the page opens from. Only the first line depends on when the tracker last looked."""
    judged = judged or Judged()
    places = {run.id: place for place, run in enumerate(ordered)}
    shas = {run.merge.sha: place for place, run in enumerate(ordered)}
    index = {
        "version": VERSION,
        "project": _project(project),
        "merges": fingerprint(merges),
        **columns(ordered),
        **changes(ordered, judged.sigmas),
        "verdicts": coded([judged.states.get(run.id, "") for run in ordered]) if judged.states else None,
        "bands": run_lengths([_hundredths(judged.bands.get(run.id)) for run in ordered]),
        "headline": judged.headline and [*judged.headline[:2], places.get(judged.headline[2])],
        "noise": judged.noise,
        "marks": [[places[run], text, is_new] for run, text, is_new in judged.marks if run in places],
        "events": [_event(event, shas) for event in judged.events],
    }
    text = f"window.WER_LOOKED_AT={javascript(project.looked_at)};\nwindow.WER_INDEX={javascript(index)};\n"
    return text.encode("ascii")


def merges_js(ordered: Sequence[Run], judged: Judged | None = None) -> bytes:
    """Return subjects, authors and the reasons of verdicts: half of the text, and not needed to draw."""
    merges = {
        "version": VERSION,
        "count": len(ordered),
        "subjects": run_lengths([short(run.merge.subject) for run in ordered]),
        "authors": run_lengths([short(run.merge.author) for run in ordered]),
        "reasons": run_lengths([judged.reasons.get(run.id, "") for run in ordered]) if judged else None,
        "events": judged.events if judged else [],
    }
    return f"window.WER_MERGES={javascript(merges)};\n".encode("ascii")


def run_js(run: Run, details: dict[str, Any]) -> bytes:
    """Return all there is to show about one run. `details`: epochs, logs and files, as details.py reads them."""
    record = run.hyper or {}
    detail = {
        "version": VERSION,
        **_tracked(run),
        "parents": run.merge.parents,
        # pairs, not objects: a name such as `__proto__` is a name like any other
        "context": list(hyper.flatten(record.get("context", {})).items()),
        "parameters": list(hyper.flat_parameters(record).items()),
        "results": list(hyper.flatten(record.get("results", {})).items()),
        **details,
    }
    return f"wer.run({javascript(detail)});\n".encode("ascii")


def fingerprint(data: bytes) -> str:
    """Return what tells versions of a file apart in its address: no browser then shows an old one from its cache."""
    return hashlib.sha256(data).hexdigest()[:8]


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


def _record(record: dict[str, Any]) -> dict[str, Any]:
    context = {**record["context"], "time_started": hyper.time_started(record)}
    return {**record, "context": context}


def _tracked(run: Run) -> dict[str, Any]:
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


def _web(url: str | None) -> str | None:
    return url.rstrip("/") if url and url.startswith(("https://", "http://")) else None
