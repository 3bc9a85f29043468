"""Who and what may be behind an event: authors, requests, parameters, files, links. Made from the archive alone.

Each event of verdicts.json gets

    "blame": [{"sha", "run", "author", "subject", "committed_at", "chance", "url", "request", "request_url",
               "parameters": ["name old -> new", ...], "files": [[path, added, removed], ...], "files_count"}, ...]
    "range_url": what lies between the last merge before its culprits and the last culprit

and the commits that never ran stand among its culprits. A field that is not known is null; `run` is null for a commit
that never ran, of which nothing else is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

from deepspeech_wer import archive_record, hyper, run_table
from deepspeech_wer.records import Run

MOST_EVENTS = 50  # the newest ones that were told
MOST_CULPRITS = 20
MOST_PARAMETERS = 20
_PULL_REQUEST = re.compile(r"Merge pull request (#\d{1,9})\b|.*\((#\d{1,9})\)$")


class Blame:
    """Looks up the merges of events."""

    def __init__(self, runs: Sequence[Run], page: str | None) -> None:
        """`runs` are those that count, in the order of history; `page` is the repository's address."""
        self._runs, self._page = run_table.of(runs), page.rstrip("/") if page else None
        fields = enumerate(self._runs.columns("sha", "rerun_of"))
        self._at = {sha: place for place, (sha, of) in fields if of is None}
        self._is_gitlab = "gitlab" in (urlsplit(page).hostname or "") if page else False

    def add(self, events: Sequence[dict[str, Any]]) -> None:
        """Add the blame to events, as verdicts.json holds them."""
        for event in events:
            event |= {"blame": [], "range_url": None}
        told = [event for event in events if event["state"] != "dismissed"]
        for event in told[-MOST_EVENTS:]:
            self._add(event)

    def _add(self, event: dict[str, Any]) -> None:
        skipped = [(sha, gap["chance"]) for gap in event["gaps"] for sha in self._skipped(gap)]
        event["culprits"] = [*event["culprits"], *([sha, chance] for sha, chance in skipped)]
        own = [(self._at[sha], chance) for sha, chance in event["culprits"] if sha in self._at][:MOST_CULPRITS]
        found = [self._of_run(place, chance) for place, chance in sorted(own)]
        found += [{**_NOTHING, "sha": sha, "chance": chance, "url": self._commit(sha)} for sha, chance in skipped]
        event["blame"] = found[:MOST_CULPRITS]
        if own:
            event["range_url"] = self._range(event, min(own)[0], max(own)[0])

    def _skipped(self, gap: Mapping[str, Any]) -> Iterator[str]:
        """Yield the commits of a gap that still have not run, as the run at its end recorded them."""
        place = self._at.get(gap["before"])
        named = archive_record.blame(self._runs[place].directory).get("passed") if place is not None else None
        listed = [sha for sha in named if isinstance(sha, str)] if isinstance(named, list) else []
        ran = [number for number, sha in enumerate(listed) if sha in self._at or sha == gap["after"]]
        yield from listed[max(ran, default=-1) + 1 :]

    def _of_run(self, place: int, chance: float) -> dict[str, Any]:
        run = self._runs[place]
        told, merge = archive_record.blame(run.directory), run.merge
        files, count = told.get("files"), told.get("files_count")
        named = _PULL_REQUEST.match(merge.subject)
        request = told.get("request") or (named and (named[1] or named[2]))
        return {
            "sha": merge.sha,
            "run": run.id,
            "author": merge.author,
            "subject": merge.subject,
            "committed_at": merge.committed_at,
            "chance": chance,
            "url": self._commit(merge.sha, request),
            "request": request,
            "request_url": self._request(request),
            "parameters": self._parameters(place),
            "files": files if isinstance(files, list) else [],
            "files_count": count if isinstance(count, int) else None,
        }

    def _parameters(self, place: int) -> list[str]:
        run = self._runs[place]
        done, shas = self._runs.column("is_done"), self._runs.column("sha")
        earlier = (at for at in range(place - 1, -1, -1) if done[at] and shas[at] != run.merge.sha)
        before = next((self._runs[at] for at in earlier), None)
        return hyper.changed_parameters(before.hyper, run.hyper)[:MOST_PARAMETERS] if before else []

    def _commit(self, sha: str, request: str | None = None) -> str | None:
        return self._link(f"commit/{sha}", is_gitlab=bool(request and request.startswith("!")))

    def _request(self, request: str | None) -> str | None:
        if not request or not request[1:].isdecimal():
            return None
        kind = "merge_requests" if request.startswith("!") else "pull"
        return self._link(f"{kind}/{request[1:]}", is_gitlab=request.startswith("!"))

    def _range(self, event: Mapping[str, Any], first: int, last: int) -> str | None:
        run = self._runs[first]
        gap = next((gap for gap in event["gaps"] if gap["before"] == run.merge.sha), None)
        parents = archive_record.blame(run.directory).get("parents")
        after = gap["after"] if gap else parents[0] if isinstance(parents, list) and parents else None
        return self._link(f"compare/{after}...{self._runs[last].merge.sha}") if isinstance(after, str) else None

    def _link(self, path: str, *, is_gitlab: bool = False) -> str | None:
        between = "-/" if is_gitlab or self._is_gitlab else ""
        return f"{self._page}/{between}{quote(path)}" if self._page else None


_NOTHING: dict[str, Any] = {
    "sha": None,
    "run": None,
    "author": None,
    "subject": None,
    "committed_at": None,
    "chance": None,
    "url": None,
    "request": None,
    "request_url": None,
    "parameters": [],
    "files": [],
    "files_count": None,
}
