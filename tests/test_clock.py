"""The format of times."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from deepspeech_wer import clock


def test_the_current_time_is_utc_in_iso_8601() -> None:
    now = datetime.fromisoformat(clock.utc_now())

    assert now.utcoffset() == timedelta(0)
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=5)


@pytest.mark.parametrize("zone", ["America/St_Johns", "Asia/Tokyo"])
def test_the_time_zone_changes_nothing(zone: str) -> None:
    code = "from deepspeech_wer import clock; print(clock.stamp(clock.UTC, 0), clock.stamp(clock.COMPACT, 1e9))"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TZ": zone}, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == ["1970-01-01T00:00:00Z", "20010909-014640"]
