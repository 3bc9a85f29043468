"""The tick's lock for a command that writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deepspeech_wer import identity, lock
from deepspeech_wer.errors import Trouble
from deepspeech_wer.places import Places
from deepspeech_wer.settings import Repository


@contextmanager
def locked(places: Places, repository: Repository) -> Iterator[None]:
    """Hold it within the block. Raises Trouble, naming the holder, where a tick is at work."""
    identity.check(places, repository)
    path = str(places.lock)
    descriptor = lock.acquire(path)
    if descriptor is None:
        holder = lock.holder(path)
        who = f"process {holder[0]} since {holder[2]}" if holder else "one that is just starting"
        raise Trouble(f"a tick is at work ({who}): try again when it is done, see `status`")
    try:
        yield
    finally:
        lock.release(descriptor)
