"""Archives in memory, as the notifications see them: runs, verdicts and events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.errors import Trouble
from deepspeech_wer.notify import channels
from deepspeech_wer.notify.facts import Archive
from deepspeech_wer.records import Merge, Run


def make(number: int, wer: float | None = None, detail: str = "no such layer", **parameters: Any) -> Run:
    """Return a run. It failed if `wer` is None."""
    sha = f"{number:040x}"[::-1]
    started = f"2026-01-02T{3 + number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z"
    hyper = None if wer is None else {"results": {"test_wer": wer}, "parameters": {"dropout_rate": 0.05} | parameters}
    status, failure, text = ("failed", "exit 3", detail) if wer is None else ("done", None, "")
    merge = Merge(sha, number, "bring in <b>", "Ada", started, ())
    name = f"{started[:19].replace('-', '').replace(':', '').replace('T', '-')}-{sha[:12]}"
    return Run(name, Path(), merge, status, failure, text, 1, started, started, "trainer", hyper)


@dataclass
class Book:
    """An archive that grows. `tell` notifies as a tick does after each run."""

    settings: Settings
    api: str | None = None
    runs: list[Run] = field(default_factory=list)
    verdicts: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    retraining: dict[str, Any] | None = None
    unreadable: set[str] = field(default_factory=set)
    mark: str = ""

    def add(self, run: Run, verdict: str | None = None, effect: float | None = None, **more: Any) -> Run:
        """Archive a run with its verdict; None: it is not judged yet."""
        self.runs.append(run)
        if verdict:
            interval = None if effect is None else [effect - 4.5, effect + 4.5]
            record = {"sha": run.merge.sha, "run": run.id, "verdict": verdict, "reason": "why", "retrained": 0}
            self.verdicts.append(record | {"effect_pp": effect, "interval_pp": interval, "culprits": []} | more)
        return run

    def judge(self, run: Run, verdict: str, effect: float | None = None) -> None:
        """Change a verdict."""
        record = next(one for one in self.verdicts if one["run"] == run.id)
        record |= {"verdict": verdict, "effect_pp": effect}
        record["interval_pp"] = None if effect is None else [effect - 4.5, effect + 4.5]

    def event(self, run: Run, state: str, closed_by: Run | None = None, **more: Any) -> None:
        """Begin an event, or change its state."""
        sha = run.merge.sha
        record = {"id": sha[:12], "start": sha, "culprits": [[sha, 1.0]], "step_pp": 28.7, "interval_pp": [24.2, 33.2]}
        record |= {"state": state, "closed_by": closed_by and closed_by.merge.sha, "retrained": 2} | more
        known = [number for number, one in enumerate(self.events) if one["id"] == record["id"]]
        if known:
            self.events[known[0]] = record
        else:
            self.events.append(record)

    def worse(self, run: Run) -> None:
        """Convict a run's merge."""
        self.judge(run, "worse", 28.7)
        self.event(run, "open")

    def tell(self, *, is_idle: bool = False) -> None:
        if not is_idle:
            self.mark += "x"
        current = self.settings
        channels.tell(
            current.repository, current.notices, current.places.cache, self.archive(), is_idle=is_idle, api=self.api
        )

    def begin(self, run: Run) -> None:
        current = self.settings
        channels.begin(current.repository, current.notices, current.places.cache, run.merge.sha, api=self.api)

    def archive(self) -> Archive:
        by_name = {run.id: run for run in self.runs}

        def read(name: str) -> Run:
            if name in self.unreadable:
                raise Trouble("broken")
            return by_name[name]

        record = {"verdicts": self.verdicts, "events": self.events, "retraining": self.retraining}
        return Archive(self.mark, lambda: sorted(by_name), read, lambda: record, self.settings.logs)

    def with_notices(self, **changes: Any) -> None:
        """Change settings."""
        self.settings = self.settings._replace(notices=replace(self.settings.notices, **changes))
