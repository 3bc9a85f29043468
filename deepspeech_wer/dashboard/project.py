"""What the page says about the tracked repository."""

from __future__ import annotations

from typing import NamedTuple


class Project(NamedTuple):
    """The tracked repository, and when the tracker last built the site."""

    name: str  # title of the page: "mozilla/DeepSpeech"
    url: str | None  # https://github.com/mozilla/DeepSpeech, for links to commits; None if unknown
    branch: str
    looked_at: str  # ISO 8601, UTC; written to the page only if the runs changed too
    website: str | None = None  # the site's public address
    audio: str | None = None  # address of the recordings of the test set; {id} stands for an utterance
