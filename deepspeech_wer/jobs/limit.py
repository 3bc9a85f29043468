"""A limit that tells the processes of one job from all others.

It is a few bytes less than usual for POSIX message queues, which nobody fills. A process inherits it, however it leaves
its parents, its session, its descriptors and its environment behind (getrlimit(2)).
"""

from __future__ import annotations

import resource
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

_VALUES = 1 << 16


def of(token: str) -> int | None:
    """Return the limit of the job with this token, in bytes; None where so few are usual that it would hinder it."""
    usual = _usual()
    return usual - 1 - zlib.crc32(token.encode()) % _VALUES if usual > 10 * _VALUES else None


def is_mark(value: int) -> bool:
    """Return whether a limit is one of `of`, which no process has by chance."""
    return 0 < _usual() - value <= _VALUES


@contextmanager
def inheriting(limit: int | None) -> Iterator[None]:
    """Give the processes that are started within the block this limit."""
    if limit is None:
        yield
        return
    usual, most = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    resource.setrlimit(resource.RLIMIT_MSGQUEUE, (limit, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (usual, most))


def _usual() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft
