"""One publisher at a time in a web root, though all that the server has is files.

The lock is a file made with SFTP's "exclusive" flag. Its holder writes it anew every few seconds, so its time on the
server's own clock says whether anybody is still there; one that fell silent is taken away. No lock holds for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_wer import processes
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish.plan import STATE
from deepspeech_wer.publish.server import Server, Stage
from deepspeech_wer.sftp import files, new_file, pipeline
from deepspeech_wer.sftp.pipeline import Ask, Refused, Request, Task, string

LOCK = f"{STATE}/lock"
BEAT_S = 15.0
STALE_S = 120.0  # eight beats missed
AHEAD_S = 45.0  # how long a time in the future may stand: the server's clock was set back, and three beats missed
UNSIGNED_STALE_S = 5.0  # made, but its holder was gone before it wrote who it is
ASK_AGAIN_S = 1.0
_UNKNOWN_MACHINE = os.urandom(16).hex()
TRIALS = 4  # a refusal with no lock to be seen: given back in between, or not to be made at all


@dataclass(frozen=True)
class Holder:
    """Who publishes: told to those who wait, and how a lock of our own that a kill left behind is known again."""

    host: str
    pid: int
    started: str  # with the pid it names one process for ever
    machine: str  # this boot of this machine (or container), hashed
    token: str  # of this publish
    since: str  # UTC

    def dump(self) -> bytes:
        return json.dumps(vars(self)).encode()


def holder(token: str) -> Holder:
    """This process."""
    return Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=processes.start_time(os.getpid()) or "",
        machine=_machine(),
        token=token,
        since=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )


@dataclass
class Lock:
    """A lock that is held."""

    server: Server
    handle: bytes
    waited: bool  # for somebody else: what was seen before is old
    along: Mapping[str, Any]  # the results of what travelled with the first attempt
    released: bool = False

    def release(self) -> Task[None]:
        """Give it back; once."""
        self.released = True
        yield from _release(self.server, self.handle)


@contextlib.contextmanager
def held(
    server: Server, mine: Holder, wait_s: float, before: Sequence[Stage], along: Mapping[str, Task[Any]]
) -> Iterator[Lock]:
    """Hold the web root's lock; `along` are tasks, by their paths, that travel with the first attempt, after `before`.

    Raises Trouble, naming the holder, if another one still has it after `wait_s`.
    """
    deadline = time.monotonic() + wait_s
    taken: list[bytes] = []
    try:
        results = server.run_in_order([*before, ("write", {LOCK: _take(server, mine, taken), **along})])
    except Trouble:
        for unused in taken:
            server.session.one(_release(server, unused))
        raise
    handle = results[LOCK]
    waited = handle is None
    ahead_since: float | None = None
    while handle is None:
        # a directory of that name, say, can neither be read nor taken away: then this is where it is told
        other, age_s = server.run("read", {LOCK: _holder(server, mine)})[LOCK]
        now = time.monotonic()
        ahead_since = None if age_s > -BEAT_S else ahead_since or now
        if _is_dead(other, mine, age_s) or (ahead_since is not None and now - ahead_since > AHEAD_S):
            server.run("take away", {LOCK: _break(server, mine, other)})
        elif now >= deadline:
            sign = f"{age_s:.0f} s ago" if age_s >= 0 else f"{-age_s:.0f} s ahead of the server's clock"
            raise Trouble(
                f"{server.name}: {server.path()}: {_named(other)} is publishing there (last sign of life "
                f"{sign}); waited {wait_s:g} s: try again later"
            )
        else:
            time.sleep(ASK_AGAIN_S)
        handle = server.run("write", {LOCK: _take(server, mine, taken)})[LOCK]
    lock = Lock(server, handle, waited, results)
    beat = Request(pipeline.WRITE, handle + struct.pack(">Q", 0) + string(mine.dump()))
    with server.session.beating(beat, BEAT_S):
        try:
            yield lock
        finally:
            # after a lost connection there is nobody to tell; the lock is known again, or goes stale
            with contextlib.suppress(pipeline.Lost):
                if not lock.released:
                    server.session.one(lock.release())


def _release(server: Server, handle: bytes) -> Task[None]:
    yield Ask([Request(pipeline.CLOSE, handle), Request(pipeline.REMOVE, string(server.path(LOCK)))])


def _take(server: Server, mine: Holder, taken: list[bytes]) -> Task[bytes | None]:
    """The lock's handle, also added to `taken`; None where another one has it."""
    path, data = server.path(LOCK), mine.dump()
    flags = files.WRITE | files.CREATE | files.EXCLUSIVE
    request = Request(pipeline.OPEN, string(path) + struct.pack(">II", flags, 0))
    for trial in range(1, TRIALS + 1):
        [opened] = yield Ask([request])
        try:
            handle = string(files.checked(opened).blob())
            break
        except Refused as refusal:
            if (yield from files.state(path)) is not None:
                return None
            if trial == TRIALS:
                raise Trouble(
                    f"{server.name}: cannot write {path} ({refusal.text}): may that user write there?"
                ) from refusal
    [written] = yield Ask([Request(pipeline.WRITE, handle + struct.pack(">Q", 0) + string(data))])
    try:
        files.checked(written)
    except Refused as refusal:
        yield Ask([Request(pipeline.CLOSE, handle), Request(pipeline.REMOVE, string(path))])
        raise Trouble(
            f"{server.name}: cannot write {path} ({refusal.text}): is the disk or the quota full?"
        ) from refusal
    taken.append(handle)
    return handle


def _holder(server: Server, mine: Holder) -> Task[tuple[dict[str, Any], float]]:
    """Who has the lock, and for how many seconds it has been silent, by the server's clock."""
    path, probe = server.path(LOCK), server.path(f"{LOCK}.{mine.token}.partial")
    data = yield from files.read_file(path)
    state = yield from files.state(path)
    now = yield from new_file.write(probe, new_file.Source((b"",), server.website.modes[0], None))
    yield from files.remove(probe)
    age_s = (now.mtime - state.mtime) if state and now.mtime and state.mtime else 0
    return _parsed(data), float(age_s)


def _is_dead(other: dict[str, Any], mine: Holder, age_s: float) -> bool:
    if other.get("machine") == mine.machine and isinstance(other.get("pid"), int):
        # our own is one from before the connection broke
        return other["pid"] == mine.pid or processes.is_gone(other["pid"], str(other.get("started")))
    return age_s > (STALE_S if other else UNSIGNED_STALE_S)


def _break(server: Server, mine: Holder, other: dict[str, Any]) -> Task[None]:
    """Take a dead lock away. Renamed first: of two who try one succeeds, and a live one taken by mistake goes back."""
    path, aside = server.path(LOCK), server.path(f"{LOCK}.{mine.token}.stale")
    yield Ask([Request(pipeline.RENAME, string(path) + string(aside))])
    data = yield from files.read_file(aside)
    if data is not None and _parsed(data) != other:
        yield Ask([Request(pipeline.RENAME, string(aside) + string(path))])
        return
    yield from files.remove(aside)


def _parsed(data: bytes | None) -> dict[str, Any]:
    """What a lock says; nothing where its holder was killed before writing."""
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _named(other: dict[str, Any]) -> str:
    host, pid, since = (str(other.get(key, "?"))[:100] for key in ("host", "pid", "since"))
    text = f"process {pid} on {host}, since {since}," if other else "somebody"
    return "".join(char if char.isprintable() else "?" for char in text)


def _machine() -> str:
    """Tells this boot and this process namespace from all others: only there does a process id mean anything."""
    try:
        parts = [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    except OSError:  # hidden; then this process alone: no other machine's lock may be taken for one of ours
        parts = [_UNKNOWN_MACHINE]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]
