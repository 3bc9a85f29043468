"""feed.xml, an Atom feed (RFC 4287): what got worse, recovered, better or accepted, and which runs failed. Pure.

An entry's id is made from what changed and its new state, so it stays the same whatever else happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from deepspeech_wer.archive_order import moment
from deepspeech_wer.dashboard.news import (
    ACCEPTED,
    BETTER,
    FAILED,
    RECOVERED,
    WORKING,
    WORSE,
    Known,
    News,
    address,
    beside,
    clean,
    named,
    of_better,
    of_event,
    of_failure,
    of_recovery,
    of_success,
    result,
    together,
)
from deepspeech_wer.dashboard.project import Project
from deepspeech_wer.records import Run
from deepspeech_wer.text import plain

NAME = "feed.xml"
MOST = 50  # entries
_START = "1970-01-01T00:00:00Z"


@dataclass(frozen=True)
class _Item:
    """Something that an entry can tell, before its words are looked up."""

    at: str  # ISO 8601, UTC
    of: str
    state: str
    source: Any  # an event or a verdict of verdicts.json, the events that one merge ended, or a run


def atom(runs: Sequence[Run], known: Known, project: Project) -> bytes:
    """Return the feed. `runs` are in the order of the archive, re-trainings included."""
    page = plain(project.website or "index.htm")
    listed = sorted(_items(runs, known), key=lambda item: (item.at, item.of, item.state), reverse=True)[:MOST]
    entries = [(item, told) for item in listed if (told := _told(item, known))]
    updated = entries[0][0].at if entries else max((_utc(run.finished_at) for run in runs), default=_START)
    title = f"{plain(project.name)[:200]}: word error rate"
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<feed xmlns="http://www.w3.org/2005/Atom">',
        f"<title>{escape(title)}</title>",
        f"<id>{_id(project, 'feed')}</id>",
        f"<updated>{updated}</updated>",
        "<author><name>deepspeech_wer</name></author>",
        f'<link rel="alternate" type="text/html" href="{escape(page)}"/>',
    ]
    if project.website:
        lines.append(f'<link rel="self" type="application/atom+xml" href="{escape(beside(page, NAME))}"/>')
    for item, told in entries:
        lines += _entry(item, told, project, page, known)
    return "\n".join([*lines, "</feed>", ""]).encode("utf-8")


def _entry(item: _Item, told: News, project: Project, page: str, known: Known) -> list[str]:
    link = address(page, told.run.id)
    text = f"{told.what}: {named(told.run, known.logs)}"
    return [
        "<entry>",
        f"<title>{escape(text)}</title>",
        f"<id>{_id(project, f'{item.of} {item.state}')}</id>",
        f"<updated>{item.at}</updated>",
        f"<author><name>{escape(clean(told.run.merge.author, known.logs, 80)) or 'unknown'}</name></author>",
        f'<link rel="alternate" type="text/html" href="{escape(link)}"/>',
        f"<category term='{escape(item.state)}'/>",
        f'<content type="text">{escape(_content(told, text, known))}</content>',
        "</entry>",
    ]


def _content(told: News, text: str, known: Known) -> str:
    """Return what a reader shows of an entry, one fact a line."""
    lines = [text]
    if told.run.hyper:
        lines.append(result(told.run))
    if told.event:
        lines += [f"merge that may have done it: {sha}, {chance:.0%}" for sha, chance in told.event["culprits"][:10]]
        times = told.event["retrained"]
        lines += [f"trained again {'once' if times == 1 else f'{times} times'}"] if times else []
    if told.verdict and told.verdict["reason"]:
        lines.append(f"verdict: {told.verdict['verdict']}: {clean(told.verdict['reason'], known.logs)}")
    return "\n".join(lines)


def _items(runs: Sequence[Run], known: Known) -> Iterator[_Item]:
    by_sha = {run.merge.sha: run for run in runs if run.rerun_of is None}
    by_prefix = {sha[:12]: run for sha, run in by_sha.items()}
    again: dict[str, list[Run]] = {}
    for run in runs:
        if run.rerun_of is not None and run.seed is not None:
            again.setdefault(run.merge.sha, []).append(run)
    started: dict[str, str] = {}
    for event in known.events:
        if event["state"] in ("open", "accepted", "recovered"):
            seen = [one for sha, _ in event["culprits"] for one in again.get(sha, ())]
            seen += [one for one in (by_sha.get(event["start"]), by_prefix.get(event["id"][:12])) if one]
            at = max((_utc(run.finished_at) for run in seen), default=_START)
            yield _Item(at, event["id"], WORSE, event)
            started[event["id"]] = at
            if event["state"] == "accepted":
                decided = (event.get("accepted") or {}).get("at") or at
                yield _Item(max(at, _utc(decided)), event["id"], ACCEPTED, event)
    for events in together(known.events):
        closed = by_sha.get(events[0]["closed_by"] or "")
        if closed:
            at = max(_utc(closed.finished_at), *(started[event["id"]] for event in events))
            yield _Item(at, events[0]["id"], RECOVERED, events)
    for place, (sha, state) in enumerate(known.heads):
        better = by_sha.get(sha) if state == "better" else None
        if better:
            verdict = known.verdicts[place]
            yield _Item(_utc(better.finished_at), verdict["run"], BETTER, verdict)
    before: Run | None = None
    for run in sorted(by_sha.values(), key=lambda run: (moment(run.id), run.merge.ordinal)):
        if run.status == "failed":
            yield _Item(_utc(run.finished_at), run.id, FAILED, run)
        elif before and before.status == "failed":
            yield _Item(_utc(run.finished_at), run.id, WORKING, run)
        before = run


def _told(item: _Item, known: Known) -> News | None:
    if item.state == FAILED:
        return of_failure(item.source, known)
    if item.state == WORKING:
        return of_success(item.source, known)
    if item.state == BETTER:
        return of_better(item.source, known)
    if item.state == RECOVERED:
        return of_recovery(item.source, known)
    return of_event(item.source, item.state, known)


def _id(project: Project, name: str) -> str:
    import uuid  # not in every tick

    return uuid.uuid5(uuid.NAMESPACE_URL, plain(f"deepspeech_wer {project.name} {project.branch} {name}")).urn


def _utc(time: str) -> str:
    """Return a time as RFC 3339 in UTC, so that times compare as text; 1970-01-01 for text that is no time."""
    try:
        found = datetime.fromisoformat(time)
        found = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        return found.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    except (ValueError, OverflowError):
        return _START
