"""What a built site says at a glance: read from its own files, wherever it was built, and by whatever tracker."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from deepspeech_wer.dashboard.assets import INDEX
from deepspeech_wer.dashboard.feed import NAME as FEED
from deepspeech_wer.dashboard.scripts import VERSION
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import open_file
from deepspeech_wer.files import read as read_file

NOW = Path("js/now.js")
_MOST_BYTES = 256_000_000  # js/index.js of 10,000 runs has 2 MB
_HEAD_BYTES = 4_000  # of the feed: the address of the page stands before its entries
_OPENS_FROM = re.compile(r'src="(js/index(?:\.[0-9a-f]{8})?\.js)"')
_ADDRESS = re.compile(r'<link rel="alternate" type="text/html" href="(https?://[^"\s]+)"/>')


class Glance(NamedTuple):
    """One site. WERs are fractions, in the order of the history; None: failed or not measured."""

    name: str
    branch: str
    rates: Sequence[float | None]
    state: str  # the verdict on top of the page; "" before the first
    sentence: str
    looked_at: str  # ISO 8601, UTC: when the tracker last showed that it lives
    every_s: float  # the longest time until it shows it again; 0: it promises none
    waiting: int  # merges
    training: str  # the abbreviated commit of the running job; "" without one
    address: str | None  # where the site is published, as far as it says

    @property
    def newest(self) -> float | None:
        """The newest WER that was measured."""
        return next((rate for rate in reversed(self.rates) if rate is not None), None)


def read(site: Path) -> Glance:
    """Read a built site. Raises Trouble if it is none, is damaged, or was written by a newer deepspeech_wer."""
    page = _bytes(site / INDEX).decode("utf-8", "replace")
    found = _OPENS_FROM.search(page)
    if found is None:
        raise Trouble(
            f"{site / INDEX}: expected the page of a site of deepspeech_wer: run `deepspeech-wer build` there"
        )
    path = site / found[1]
    index = _record(path, "WER_INDEX")
    now = _now(site / NOW)
    try:
        state, sentence = (str(one) for one in (index.get("headline") or ("", ""))[:2])
        return Glance(
            name=str(index["project"]["name"]),
            branch=str(index["project"]["branch"]),
            rates=[None if units is None else units / 1e5 for units in index["test_wer"]],
            state=state,
            sentence=sentence,
            looked_at=str(now.get("looked_at") or _assigned(path, "WER_LOOKED_AT")),
            every_s=float(now.get("every") or 0),
            waiting=int(now.get("waiting") or 0),
            training=str((now.get("job") or {}).get("sha", ""))[:8],
            address=_address(site / FEED),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise Trouble(f"{path}: expected the columns of a site: {reason}: run `deepspeech-wer build` there") from None


def looked_at(data: bytes) -> float | None:
    """Return when the tracker last looked, as a js/now.js says, in Unix time; None where it cannot be read."""
    match = re.search(rb'"looked_at":\s*"([0-9T:Z+-]{10,35})"', data)
    try:
        return datetime.fromisoformat(match[1].decode()).timestamp() if match else None
    except ValueError:
        return None


def _now(path: Path) -> Mapping[str, Any]:
    """Return what js/now.js says; nothing for a site that has none, as a tracker of before or a build by hand makes."""
    return _record(path, "WER_NOW") if path.exists() else {}


def _record(path: Path, name: str) -> Mapping[str, Any]:
    record = _assigned(path, name)
    version = record.get("version") if isinstance(record, dict) else None
    if not isinstance(record, dict) or type(version) is not int:
        raise Trouble(f"{path}: expected an object with a version in {name}: run `deepspeech-wer build` there")
    if version > VERSION:
        raise Trouble(f"{path}: written by a newer deepspeech_wer (version {version}): install that one here")
    return record


def _assigned(path: Path, name: str) -> Any:
    """Return the JSON that a script assigns to `window.NAME`, which has a line of its own."""
    start = f"window.{name}=".encode()
    for line in _bytes(path).splitlines():
        if line.startswith(start):
            with suppress(ValueError, RecursionError):
                return json.loads(line.removeprefix(start).removesuffix(b";"))
    raise Trouble(f"{path}: expected {name}, found none or a damaged one: run `deepspeech-wer build` there")


def _address(feed: Path) -> str | None:
    try:
        with open_file(feed) as stream:
            head = stream.read(_HEAD_BYTES).decode("utf-8", "replace")
    except OSError:
        return None
    found = _ADDRESS.search(head.partition("<entry>")[0])
    return html.unescape(found[1]) if found else None


def _bytes(path: Path) -> bytes:
    try:
        return read_file(path, _MOST_BYTES)
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}: expected a built site or a data directory with one") from None
