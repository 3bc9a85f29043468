"""The tick's locks, for commands that write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deepspeech_wer import data_lock, identity
from deepspeech_wer.configuration.settings import Repository
from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import lock
from deepspeech_wer.places import Places


@contextmanager
def locked(places: Places, repository: Repository) -> Iterator[None]:
    """Hold the tick's locks, of the cache and of the data root, within the block.

    Raises Trouble that names the holder if a tick is running, or if the cache belongs to another repository.
    """
    with cache_locked(places, repository), data_lock.held(places):
        yield


@contextmanager
def cache_locked(places: Places, repository: Repository) -> Iterator[None]:
    """Hold the lock of the cache alone, for what only reads the data root. Raises Trouble as `locked` does."""
    identity.check(places, repository)
    path = str(places.lock)
    descriptor = lock.acquire(path)
    if descriptor is None:
        holder = lock.holder(path)
        who = f"process {holder[0]} since {holder[2]}" if holder else "just starting"
        raise Trouble(f"a tick is running ({who}): try again when it has ended, see `status`")
    try:
        yield
    finally:
        lock.release(descriptor)
