"""The time in UTC, in the one format of records and messages. Imports only `time`: a busy tick imports this."""

import time

UTC = "%Y-%m-%dT%H:%M:%SZ"  # RFC 3339
COMPACT = "%Y%m%d-%H%M%S"  # for names of files and directories; sorts by time


def utc_now() -> str:
    """Return the time now, as 2026-01-02T03:04:05Z."""
    return stamp(UTC)


def stamp(form: str, seconds: float | None = None) -> str:
    """Return the UTC time so many seconds after the epoch, now if None, in a form of `time.strftime`."""
    return time.strftime(form, time.gmtime(seconds))
