"""The lock of the data root: one tick works on it, whatever caches there are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deepspeech_wer import files
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.machine import lock
from deepspeech_wer.places import Places


@contextmanager
def held(where: Places) -> Iterator[int]:
    """Hold the data root's lock within the block. Raises Trouble that names its holder if a tick has it."""
    path = str(where.data_lock)
    try:
        files.make_private(where.data)
    except OSError as error:
        raise Trouble(f"cannot make {where.data}: {with_cure(error)}") from None
    descriptor = lock.acquire(path)
    if descriptor is None:
        holder = lock.holder(path)
        who = f"process {holder[0]} since {holder[2]}" if holder else f"just starting, or on another host, see {path}"
        raise Trouble(
            f"another tick is at work on {where.data} ({who}), with another cache or without its lock file: wait for "
            "its end; set XDG_CACHE_HOME to one directory for all, or ds_dataroot to one for each"
        )
    try:
        yield descriptor
    finally:
        lock.release(descriptor)
