"""The time in UTC, in the one format of records and messages. A busy tick loads this module, so keep it light."""

import time

UTC = "%Y-%m-%dT%H:%M:%SZ"  # RFC 3339
COMPACT = "%Y%m%d-%H%M%S"  # for file names; sorts by time


def utc_now() -> str:
    """Return the current time, as 2026-01-02T03:04:05Z."""
    return stamp(UTC)


def stamp(form: str, seconds: float | None = None) -> str:
    """Return a Unix time in seconds (None: now) as UTC text. `form` is a format of `time.strftime`."""
    return time.strftime(form, time.gmtime(seconds))
