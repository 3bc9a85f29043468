"""feed.xml, an Atom feed (RFC 4287): what got worse, recovered, better or accepted, and which runs failed. Pure.

An entry's id is made from what changed and its new state, so it stays the same whatever else happens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any, NamedTuple

from deepspeech_wer import archive_order, run_table
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
from deepspeech_wer.run_table import Table
from deepspeech_wer.text import plain

NAME = "feed.xml"
MOST = 50  # entries
_START = "1970-01-01T00:00:00Z"


class _Item(NamedTuple):
    """Something that an entry can tell, before its words are looked up."""

    at: str  # ISO 8601, UTC
    of: str
    state: str
    # an event or a verdict of verdicts.json, or the events that one merge ended; None: `of` is a run
    source: Any = None


def atom(runs: Sequence[Run], known: Known, project: Project) -> bytes:
    """Return the feed. `runs` are in the order of the archive, re-trainings included."""
    page, table = plain(project.website or "index.htm"), run_table.of(runs)
    listed = sorted(_items(table, known), key=lambda item: (item.at, item.of, item.state), reverse=True)[:MOST]
    entries = [(item, told) for item in listed if (told := _told(item, known))]
    updated = entries[0][0].at if entries else max(map(_utc, table.column("finished_at")), default=_START)
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


def _items(table: Table, known: Known) -> Iterator[_Item]:
    own = {sha: place for place, (sha, of) in enumerate(table.columns("sha", "rerun_of")) if of is None}
    yield from _of_events(table, own, known)
    finished = table.column("finished_at")
    for place, (sha, state) in enumerate(zip(*known.heads, strict=True)):
        if state == "better" and sha in own:
            verdict = known.verdicts[place]
            yield _Item(_utc(finished[own[sha]]), verdict["run"], BETTER, verdict)
    yield from _of_failures(table.only(list(own.values())))


def _of_events(table: Table, own: Mapping[str, int], known: Known) -> Iterator[_Item]:
    """Yield the items of regressions. `own` are the places of the merges' own runs."""
    if not known.events:
        return
    finished = table.column("finished_at")
    by_prefix = {sha[:12]: place for sha, place in own.items()}
    again: dict[str, list[int]] = {}
    for place, (sha, of, seed) in enumerate(table.columns("sha", "rerun_of", "seed")):
        if of is not None and seed is not None:
            again.setdefault(sha, []).append(place)
    started: dict[str, str] = {}
    for event in known.events:
        if event["state"] in ("open", "accepted", "recovered"):
            seen = [one for sha, _ in event["culprits"] for one in again.get(sha, ())]
            both = own.get(event["start"]), by_prefix.get(event["id"][:12])
            seen += [one for one in both if one is not None]
            at = max((_utc(finished[one]) for one in seen), default=_START)
            yield _Item(at, event["id"], WORSE, event)
            started[event["id"]] = at
            if event["state"] == "accepted":
                decided = (event.get("accepted") or {}).get("at") or at
                yield _Item(max(at, _utc(decided)), event["id"], ACCEPTED, event)
    for events in together(known.events):
        closed = own.get(events[0]["closed_by"] or "")
        if closed is not None:
            at = max(_utc(finished[closed]), *(started[event["id"]] for event in events))
            yield _Item(at, events[0]["id"], RECOVERED, events)


def _of_failures(own: Table) -> Iterator[_Item]:
    """Yield the items of failed runs, and of the good ones that followed."""
    failed = [status == "failed" for status in own.column("status")]
    if not any(failed):
        return
    ids, finished = own.column("id"), own.column("finished_at")
    before: int | None = None
    for place in own.order_by(archive_order.moment_keys(ids), own.column("ordinal")):
        if failed[place] or (before is not None and failed[before]):
            yield _Item(_utc(finished[place]), ids[place], FAILED if failed[place] else WORKING)
        before = place


def _told(item: _Item, known: Known) -> News | None:
    if item.source is None:
        run = known.run(item.of)
        of_run = of_failure if item.state == FAILED else of_success
        return of_run(run, known) if run else None
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
