"""What the page says about the tracked repository."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Project:
    """The tracked repository and when the tracker last looked at it."""

    name: str  # heads the page: "DeepSpeech"
    url: str | None  # https://github.com/mozilla/DeepSpeech, for links to commits; None where there is no such page
    branch: str
    looked_at: str  # ISO 8601, UTC; reaches the page only together with a change of the runs
