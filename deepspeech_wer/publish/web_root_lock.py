"""One publisher at a time in a web root. The lock is a file, made with SFTP's "exclusive" flag.

Its holder rewrites it every few seconds, so its mtime, compared with the server's own clock, shows whether the holder
is still alive. A lock whose holder fell silent is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from deepspeech_wer import clock
from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import processes
from deepspeech_wer.publish.plan import STATE
from deepspeech_wer.publish.web_root import Stage, Tasks, WebRoot
from deepspeech_wer.sftp import files, pipeline
from deepspeech_wer.sftp.pipeline import Ask, Packet, Refused, Task, string
from deepspeech_wer.text import plain

LOCK = f"{STATE}/lock"
_PROBE = re.compile(rf"{LOCK}\.[0-9a-f]{{16}}\.partial")  # tells the server's time; left where it cannot be removed
BEAT_S = 15.0
STALE_S = 120.0  # eight missed beats
AHEAD_S = 45.0  # how long an mtime in the future is believed: three missed beats after the server's clock was set back
UNSIGNED_STALE_S = 5.0  # for an empty lock: its holder was killed before it wrote who it is
ASK_AGAIN_S = 1.0
TRIES = 4  # to make a lock that is refused although none can be seen: it may just have been released
_ALONE = os.urandom(16).hex()  # where a hardened service hides its namespace, a process knows only its own locks

Holder = dict[str, Any]  # who publishes; what the lock holds, if its holder lived long enough to write it


def this_process() -> Holder:
    """This process as the holder of one lock."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": processes.start_time(os.getpid()) or "",  # with the pid it identifies one process
        "machine": hashlib.sha256((processes.namespace() or _ALONE).encode()).hexdigest()[:16],
        "token": secrets.token_hex(8),
        "since": clock.utc_now(),
    }


class Lock(NamedTuple):
    """A lock that this process holds."""

    waited: bool  # for somebody else: the survey is out of date
    along: Mapping[str, Any]  # results of the tasks that were sent together with the first attempt
    release: Task[None]  # to be run once; later runs do nothing


@contextlib.contextmanager
def locked(
    root: WebRoot, wait_s: float, seen: Iterable[str], before: Sequence[Stage] = (), along: Tasks = MappingProxyType({})
) -> Iterator[Lock]:
    """Hold the web root's lock. `before` and `along` go with the first attempt. Of the files that were `seen` there,
    probes are removed first. Raises Trouble if that fails, or if another process still has the lock after `wait_s`.
    """
    root.run(("remove", {path: files.remove(root.path(path)) for path in seen if _PROBE.fullmatch(path)}))
    me, deadline = this_process(), time.monotonic() + wait_s
    taken: list[bytes] = []
    release = _release(root, taken)
    try:
        results = root.run(*before, ("write", {LOCK: _take(root, me, taken), **along}))
        waited = not taken
        ahead_since: float | None = None
        while not taken:
            # If something else has that name, a directory for example, this raises Trouble that says so.
            other, age_s = root.run(("read", {LOCK: _read_holder(root)}))[LOCK]
            now = time.monotonic()
            ahead_since = None if age_s > -BEAT_S else ahead_since or now
            if _is_dead(other, me, age_s) or (ahead_since is not None and now - ahead_since > AHEAD_S):
                root.run(("take away", {LOCK: _remove_dead(root, other)}))
            elif now >= deadline:
                sign = f"{age_s:.0f} s ago" if age_s >= 0 else f"{-age_s:.0f} s ahead of the server's clock"
                host, pid, since = (str(other.get(key, "?"))[:100] for key in ("host", "pid", "since"))
                who = plain(f"process {pid} on {host}, since {since},") if other else "somebody"
                told = f"{who} is publishing there (last sign of life {sign}); waited {wait_s:g} s: try again later"
                raise Trouble(f"{root}: {told}")
            else:
                time.sleep(ASK_AGAIN_S)
            root.run(("write", {LOCK: _take(root, me, taken)}))
        with root.session.beating(_writing(taken[0], me), BEAT_S):
            yield Lock(waited, results, release)
    finally:
        # If the connection is lost, the next publish recognises the lock as ours, or it goes stale.
        with contextlib.suppress(pipeline.Lost, Refused):
            root.session.one(release)


def _release(root: WebRoot, taken: Sequence[bytes]) -> Task[None]:
    if taken:
        replies = yield Ask([Packet(pipeline.CLOSE, taken[0]), Packet(pipeline.REMOVE, string(root.path(LOCK)))])
        if replies and not files.is_status(replies[1], pipeline.NO_SUCH_FILE):  # none: the connection broke meanwhile
            files.checked(replies[1])


def _writing(handle: bytes, me: Holder) -> Packet:
    return Packet(pipeline.WRITE, handle + struct.pack(">Q", 0) + string(json.dumps(me)))


def _take(root: WebRoot, me: Holder, taken: list[bytes]) -> Task[None]:
    """Add the lock's handle to `taken`, unless somebody else has the lock. Raises Refused where it cannot be made."""
    path = root.path(LOCK)
    flags = files.WRITE | files.CREATE | files.EXCLUSIVE
    for left in reversed(range(TRIES)):
        [opened] = yield Ask([Packet(pipeline.OPEN, string(path) + struct.pack(">II", flags, 0))])
        if opened.kind == pipeline.HANDLE or not left:
            break
        if (yield from files.states([path])) != [None]:
            return
    taken.append(string(files.checked(opened, pipeline.HANDLE).blob()))
    [written] = yield Ask([_writing(taken[0], me)])
    files.checked(written)


def _read_holder(root: WebRoot) -> Task[tuple[Holder, float]]:
    """Who has the lock, and for how many seconds it has not been rewritten, by the server's clock."""
    path, probe = root.path(LOCK), root.path(f"{LOCK}.{secrets.token_hex(8)}.partial")
    data = yield from files.read_file(path)
    [state] = yield from files.states([path])
    now = yield from files.write(probe, (b"",), mode=root.modes[0], mtime=None, reread=False)
    yield from files.discard(probe)
    age_s = (now.mtime - state.mtime) if state and now.mtime and state.mtime else 0
    return _parsed(data), float(age_s)


def _is_dead(other: Holder, me: Holder, age_s: float) -> bool:
    if other.get("machine") == me["machine"] and isinstance(other.get("pid"), int):
        # a lock of this very process is one from before the connection broke
        return other["pid"] == me["pid"] or processes.is_gone(other["pid"], str(other.get("started")))
    return age_s > (STALE_S if other else UNSIGNED_STALE_S)


def _remove_dead(root: WebRoot, other: Holder) -> Task[None]:
    """Remove the lock of a dead holder.

    It is renamed first: if two try, one succeeds. If the renamed lock is another one, taken meanwhile, it goes back.
    """
    aside = f"{LOCK}.{secrets.token_hex(8)}.stale"
    try:
        yield from root.replace(LOCK, aside)
    except Refused as refusal:
        if refusal.code == pipeline.NO_SUCH_FILE:  # somebody else was faster
            return
        raise
    path = root.path(aside)
    data = yield from files.read_file(path)
    if data is not None and _parsed(data) != other:
        yield Ask([Packet(pipeline.RENAME, string(path) + string(root.path(LOCK)))])
        return
    yield from files.remove(path)


def _parsed(data: bytes | None) -> Holder:
    """The holder as the lock tells it; empty where it was killed before it wrote."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(data or b"{}")
        return found if isinstance(found, dict) else {}
    return {}
