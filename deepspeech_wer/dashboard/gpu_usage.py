"""gpu-usage.csv, or what `nvidia-smi dmon` prints, as a few columns that the page draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import pairwise
from pathlib import Path
from typing import Any

from deepspeech_wer.files import open_file

EVERY_S = 5  # as jobs/gpu.py samples
METRICS = (
    *("gpu_percent", "memory_controller_percent", "memory_used_mib", "memory_total_mib"),
    *("temperature_celsius", "power_watts"),
)
MAX_BUCKETS = 1000
MAX_GPUS = 64
MAX_BYTES = 200_000_000  # a week of eight GPUs has 60 MB
_DMON = {  # column of dmon -> ours
    "gpu": "index",
    "pwr": "power_watts",
    "temp": "temperature_celsius",
    "gtemp": "temperature_celsius",
    "sm": "gpu_percent",
    "mem": "memory_controller_percent",
    "fb": "memory_used_mib",
}


def usage(path: Path, *, since: float = -math.inf, until: float = math.inf) -> dict[str, Any] | None:
    """Return `{"every": seconds, "count", "gpus": [{"index", metric: [means by bucket of that time]}]}`.

    A value that is not available is None, never 0. A metric that no sample of a GPU has is left out. Returns None if
    the file holds no sample, cannot be read, or is larger than MAX_BYTES. `since` and `until` choose samples from a
    file of many runs, in seconds since 1970.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            return None
        times = [(at, index) for at, index, _ in _samples(path) if since <= at <= until]
        if not times:
            return None
        buckets = _Buckets(min(times)[0], max(times)[0], _distance(times))
        for at, index, values in _samples(path):
            if since <= at <= until:
                buckets.add(at, index, values)
    except OSError:
        return None
    return buckets.columns()


def _distance(times: Sequence[tuple[float, int]]) -> float:
    """Return how far apart the samples of a GPU are, in seconds. Shorter buckets would be empty between them.

    It is the distance that 9 of 10 keep: clocks jitter, and a machine that slept leaves a gap.
    """
    of_one = sorted(at for at, index in times if index == times[0][1])
    apart = sorted(later - at for at, later in pairwise(of_one))
    return apart[len(apart) * 9 // 10] if apart else 0.0


class _Buckets:
    """Sums of the samples of equal spans of time: a week of samples is more than anybody can see."""

    def __init__(self, start: float, end: float, distance: float) -> None:
        self.start = start
        self.every = max(EVERY_S, math.ceil((end - start) / (MAX_BUCKETS - 1)), round(distance))
        self.count = int((end - start) // self.every) + 1
        self._sums: dict[tuple[int, str], list[float]] = {}
        self._counts: dict[tuple[int, str], list[int]] = {}
        self._gpus: set[int] = set()

    def add(self, at: float, index: int, values: Sequence[float | None]) -> None:
        self._gpus.add(index)
        place = int((at - self.start) // self.every)
        for name, value in zip(METRICS, values, strict=True):
            if value is not None:
                self._sums.setdefault((index, name), [0.0] * self.count)[place] += value
                self._counts.setdefault((index, name), [0] * self.count)[place] += 1

    def columns(self) -> dict[str, Any]:
        return {"every": self.every, "count": self.count, "gpus": [self._gpu(index) for index in sorted(self._gpus)]}

    def _gpu(self, index: int) -> dict[str, Any]:
        means = {
            name: [
                round(total / count, 1) if count else None
                for total, count in zip(self._sums[index, name], self._counts[index, name], strict=True)
            ]
            for name in METRICS
            if (index, name) in self._sums
        }
        return {"index": index, **means}


def _samples(path: Path) -> Iterator[tuple[float, int, list[float | None]]]:
    """Yield (seconds since 1970, GPU, a value for each of METRICS). Without times in the file a round takes EVERY_S."""
    names: list[str] = []
    rounds, seen = 0, set[int]()
    with TextIOWrapper(open_file(path), "utf-8", "replace") as lines:
        for line in lines:
            fields = _split(line.lstrip("# "))
            if line.startswith(("#", "timestamp")):
                known = [_DMON.get(field.lower(), field) for field in fields]
                names = known if "index" in known else names  # dmon has a second line with the units
                continue
            row = dict(zip(names, fields, strict=False))
            index = _number(row.get("index"))
            if index is None or not index.is_integer() or not 0 <= index < MAX_GPUS:
                continue  # a line that was cut off, or a message of nvidia-smi's
            if index in seen:
                rounds, seen = rounds + 1, set()
            seen.add(int(index))
            at = _time(row)
            at = EVERY_S * rounds if at is None else at
            yield float(at), int(index), [_number(row.get(name)) for name in METRICS]


def _split(line: str) -> list[str]:
    return [field.strip() for field in line.split(",")] if "," in line else line.split()


def _number(text: str | None) -> float | None:
    """Return the number; None for "[N/A]", "[Not Supported]", "-" and whatever else is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < 1e12 else None


def _time(row: dict[str, str]) -> float | None:
    for text, form in (
        (row.get("timestamp", ""), "%Y/%m/%d %H:%M:%S.%f"),
        (f"{row.get('Date', '')} {row.get('Time', '')}", "%Y%m%d %H:%M:%S"),  # dmon -o DT
    ):
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    return None
