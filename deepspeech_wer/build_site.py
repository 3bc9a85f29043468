"""Builds the site with js/hyper.js from the archive: scores and judges the runs, and draws the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deepspeech_wer import clock, dashboard, decision_files, derived, files, heartbeat
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.dashboard import kept
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.judging import comparing, kept_scores, verdict_file
from deepspeech_wer.places import Places
from deepspeech_wer.repository import history
from deepspeech_wer.run_table import Table


def build(
    settings: Settings,
    *,
    scoring_s: float | None = None,
    times: Mapping[str, int] | None = None,
    is_trusted: bool = False,
) -> int:
    """Score and judge the runs, merge them into js/hyper.js and build the site. Returns how many files there are.

    After `scoring_s` seconds, runs that are not scored yet are left for the next call. `times` are those of the runs'
    directories, mtime_ns, if they were looked at just before. Where it `is_trusted` that the files of runs in the site
    are as they were built, some of them are looked at; else all. Raises Trouble if the site cannot be written.
    """
    places, repository = settings.places, settings.repository
    project = dashboard.Project(
        name=repository.name,
        url=repository.page,
        branch=repository.ref or "",
        looked_at=clock.utc_now(),
        website=settings.notices.website_url,
        audio=settings.audio,
    )
    try:
        files.make_private(places.site)
        loaded = kept.load(places.runs, places.kept, settings.logs, times=times)
        ordered = loaded.runs.in_order()
        record = verdict_file.update(places, ordered, loaded.results, settings.retraining, page=repository.page)
        measures = kept_scores.update(places, ordered, loaded.files, budget_s=scoring_s)
        comparing.update(measures, ordered, record["verdicts"])
        kept_scores.save(places, measures)
        manifest = dashboard.build(
            ordered,
            places.site,
            project=project,
            line=loaded.line,
            whole=loaded.whole,
            files=loaded.files,
            mark=loaded.mark,
            judged=_judged(settings, ordered, record),
            logs=settings.logs,
            looked_at=derived.sample if is_trusted else list,
            heard=dashboard.Heard(measures.stamp, measures.record, measures.edits, measures.sets),
        )
        heartbeat.keep_up(settings)
        return dashboard.count(places.site, manifest)
    except OSError as error:
        raise Trouble(f"site not built: {error.filename or places.site}: {with_cure(error)}") from None


def _judged(settings: Settings, ordered: Table, record: Mapping[str, Any]) -> dashboard.Judged:
    judged = dashboard.judged(
        record,
        ordered.own,
        again=ordered.again,
        accepted=decision_files.accepted(settings.places.requests),
        logs=settings.logs,
    )
    marks = {run: (text, is_new) for run, text, is_new in judged.marks}
    for run, skipped in _skipped(settings.places, ordered.own):
        text, is_new = marks.get(run, ("", False))
        marks[run] = (f"{text}; {skipped}" if text else skipped, is_new)
    return judged._replace(marks=[(run, text, is_new) for run, (text, is_new) in marks.items()])


def _skipped(places: Places, own: Table) -> Iterator[tuple[str, str]]:
    """Yield what to say of each skipped merge, and the run that follows it in the history."""
    decided = {one.sha: one for one in decision_files.skipped(places.requests)}
    if not decided or not places.mirror.exists():
        return
    for sha, merge in history.known(places.mirror, list(decided)).items():
        after = next((run for run, ordinal in own.columns("id", "ordinal") if ordinal > merge.ordinal), None)
        if after:
            one = decided[sha]
            yield after, f"{sha[:12]} {merge.subject[:60]}: skipped by {one.who}: {one.why}"
