"""Requests of a process to the kernel about itself (prctl(2)). Apart from `processes`: ctypes takes 5 ms to load."""

from __future__ import annotations

import ctypes

_PR_SET_DUMPABLE = 4  # linux/prctl.h
_PR_SET_CHILD_SUBREAPER = 36


def hide() -> None:
    """Stop other processes of this user from reading our memory and /proc/PID/environ."""
    _prctl(_PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Adopt the daemons that our children leave behind, so that we can find and end them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
