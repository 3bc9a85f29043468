"""What a check says."""

from __future__ import annotations

from typing import NamedTuple

OK, HINT, FAULT = "ok", "hint", "fault"  # after a hint the tick may still work
TIMEOUT_S = 10.0  # of one question to another machine
CRONS_PATH = "/usr/bin:/bin"  # where a crontab sets none


class Finding(NamedTuple):
    """The result of one check: a line for people, with the cure."""

    level: str  # OK, HINT or FAULT
    subject: str
    text: str
