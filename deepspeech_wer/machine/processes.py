"""Finds processes of this user through /proc (proc(5)), and ends them. A busy tick loads this module: keep it light."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterable

_POLL_S = 0.05
_LIMIT = b"Max msgqueue size"


def start_time(pid: int) -> str | None:
    """Return a process's start as "boot-id:clock ticks"; None if there is no such process.

    Together with the pid it identifies a process uniquely: pids alone are reused, also across reboots.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return f"{_boot_id()}:{fields[19].decode()}"


def is_gone(pid: int, started: str) -> bool:
    """Whether the process that had this pid and start time is no more.

    A /proc that is mounted with hidepid=2 hides each process whose memory we may not read, our own ticks among them:
    one that is hidden, but that the kernel knows, is not gone.
    """
    found = start_time(pid)
    if found is None:
        return not _is_hidden(pid)
    boot, _, ticks = started.rpartition(":")
    found_boot, _, found_ticks = found.rpartition(":")
    if not boot or not found_boot:  # /proc/sys was hidden
        return ticks.isdigit() and ticks != found_ticks
    return found != started


def with_environment(entry: str) -> list[int]:
    """Return the processes whose initial environment holds `entry`, "NAME=value"."""
    wanted = entry.encode()
    return [pid for pid in _pids() if wanted in _read(f"/proc/{pid}/environ").split(b"\0")]


def with_limit(value: int, since: str) -> list[int]:
    """Return the processes with this soft limit of bytes in message queues.

    Those that started before `since`, as of `start_time`, are left out.
    """
    boot, _, first = since.rpartition(":")
    found = []
    for pid in _pids():
        if _limit(pid) == value:
            its_boot, _, ticks = (start_time(pid) or "").rpartition(":")
            if its_boot == boot and ticks.isdigit() and first.isdigit() and int(ticks) >= int(first):
                found.append(pid)
    return found


def descendants(ancestor: int) -> list[int]:
    """Return all descendants of a process, nearest first. Those of a subreaper include its orphaned grandchildren."""
    children: dict[int, list[int]] = {}
    for pid in _pids():
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        if len(fields) > 1:
            children.setdefault(int(fields[1]), []).append(pid)
    found, queue = [], [ancestor]
    while queue:
        queue += children.get(queue[0], [])
        found += children.pop(queue.pop(0), [])
    return found


def resident(pid: int) -> int:
    """Return the bytes of memory that a process has, with all that it shares; 0 if it has ended."""
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * os.sysconf("SC_PAGESIZE") if len(fields) > 1 else 0


def own_memory(pid: int) -> int:
    """Return the same without mapped files, which the kernel can drop, and with only its share of shared pages.

    The kernel looks at each page for that, so ask for it only where `resident` is too much.
    """
    found = {}
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        name, _, value = line.partition(b":")
        if value.endswith(b" kB"):
            found[name] = int(value.split()[0]) << 10
    if b"Pss_Anon" in found:
        return found[b"Pss_Anon"] + found.get(b"Pss_Shmem", 0)
    return found.get(b"Pss", resident(pid))  # before Linux 5.4, or where that is hidden


def end(
    pids: Iterable[int],
    *,
    grace_s: float,
    meanwhile: Callable[[], None] | None = None,
    is_urgent: Callable[[], bool] = bool,
) -> None:
    """Send SIGTERM, wait up to `grace_s` seconds, then send SIGKILL. `is_urgent` cuts the grace period short.

    `meanwhile` is called repeatedly during the grace period. Signals go through pidfds, so a process that reuses a pid
    is never hit.
    """
    handles = [handle for handle in map(_open_handle, pids) if handle is not None]
    try:
        _signal_all(handles, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while any(map(_is_running, handles)) and time.monotonic() < deadline and not is_urgent():
            if meanwhile:
                meanwhile()
            time.sleep(_POLL_S)
        _signal_all(handles, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while any(map(_is_running, handles)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
    finally:
        for handle in handles:
            os.close(handle)


def ask_to_end(pid: int) -> None:
    """Send SIGTERM to a process if it still exists."""
    handle = _open_handle(pid)
    if handle is not None:
        _signal_all([handle], signal.SIGTERM)
        os.close(handle)


def own_identity() -> str:
    """Return a unique name of this process: "pid@start time"."""
    return f"{os.getpid()}@{start_time(os.getpid())}"


def namespace() -> str:
    """Identify this boot and this process namespace: only there does a pid mean anything. "" where they are hidden."""
    try:
        boot, pids = _boot_id(), os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
    return f"{boot}{pids}" if boot else ""


def orphans(variable: str) -> list[int]:
    """Return the processes in whose environment `variable` holds the `own_identity` of a process that has ended."""
    wanted = f"{variable}=".encode()
    found = []
    for pid in _pids():
        named = [entry for entry in _read(f"/proc/{pid}/environ").split(b"\0") if entry.startswith(wanted)]
        for entry in named:
            starter, _, started = entry.removeprefix(wanted).decode(errors="replace").partition("@")
            if starter.isdigit() and is_gone(int(starter), started):
                found.append(pid)
    return found


def reap(pids: Iterable[int]) -> None:
    """Reap those of `pids` that are our adopted children and have ended."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:  # none is mounted
        return []


def _limit(pid: int) -> int | None:
    for line in _read(f"/proc/{pid}/limits").splitlines():
        if line.startswith(_LIMIT):
            soft = line.removeprefix(_LIMIT).split()[0]
            return int(soft) if soft.isdigit() else None
    return None


def _is_hidden(pid: int) -> bool:
    """Whether the kernel knows a process that /proc does not show."""
    if os.path.exists(f"/proc/{pid}"):
        return False
    try:
        os.kill(pid, 0)
    except OSError:  # PermissionError: one of another user's, and so none of ours
        return False
    return True


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def _open_handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _signal_all(handles: Iterable[int], number: int) -> None:
    for handle in handles:
        try:
            signal.pidfd_send_signal(handle, number)
        except OSError:
            continue  # it has ended, or belongs to another user


def _is_running(handle: int) -> bool:
    return not select.select([handle], [], [], 0)[0]  # a pidfd becomes readable when the process ends
