"""The time of day as every file and log of this project writes it: ISO 8601, UTC, whole seconds."""

import time

FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> str:
    """The present, such as `2026-01-02T03:04:05Z`."""
    return time.strftime(FORMAT, time.gmtime())
