"""Processes of this user, seen through /proc (proc(5)), and ended for certain. Imports nothing heavy."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # as in typing, whose import would cost a busy tick
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_POLL_S = 0.05
_SIGTERM, _SIGKILL = 15, 9
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36


def start_time(pid: int) -> str | None:
    """When a process started, as "boot-id:clock ticks"; None where there is none. With the pid it names one process
    for ever: pids are reused, also across reboots.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            fields = stream.read().rpartition(b")")[2].split()
    except OSError:
        return None
    if len(fields) < 20 or fields[0] in (b"Z", b"X"):
        return None
    return f"{_boot_id()}:{fields[19].decode()}"


def locking(inode: tuple[int, int]) -> dict[int, int]:
    """The processes that hold a flock on the file (device, inode), as far as this user may see, each with the pid of
    the process that took it: itself, or the one it was inherited from. Having the file open is not yet holding it.
    """
    import re  # a busy tick has no need of it

    owners = {}
    for pid in _pids():
        for name in _open_on(pid, inode):
            found = re.search(rb"^lock:.* FLOCK +\S+ +\S+ +(-?\d+) ", _read(f"/proc/{pid}/fdinfo/{name}"), re.MULTILINE)
            if found:
                owners[pid] = int(found[1])
    return owners


def with_environment(entry: str) -> list[int]:
    """The processes whose environment at their start held `entry`, "NAME=value"."""
    wanted = entry.encode()
    return [pid for pid in _pids() if wanted in _read(f"/proc/{pid}/environ").split(b"\0")]


def in_session(session: int) -> list[int]:
    """The processes of a session (a job starts its own)."""
    found = []
    for pid in _pids():
        fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
        if len(fields) > 3 and int(fields[3]) == session and fields[0] != b"Z":
            found.append(pid)
    return found


def descendants(ancestor: int) -> list[int]:
    """All that descends from a process, nearest first; a subreaper's orphaned grandchildren are its children."""
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


def end(pids: list[int], *, grace_s: float, meanwhile: Callable[[], None] | None = None) -> None:
    """SIGTERM, wait (calling `meanwhile` again and again), SIGKILL; that at once where a signal to us ends the wait.

    Through descriptors of the processes: a pid that is reused in between is never signalled.
    """
    handles = [handle for handle in map(_open_handle, pids) if handle is not None]
    try:
        _signal_all(handles, _SIGTERM)
        deadline = time.monotonic() + grace_s
        while any(_is_running(handle) for handle in handles) and time.monotonic() < deadline:
            if meanwhile:
                meanwhile()
            time.sleep(_POLL_S)
    finally:
        _kill(handles)
        for handle in handles:
            os.close(handle)


def _kill(handles: list[int]) -> None:
    _signal_all(handles, _SIGKILL)
    deadline = time.monotonic() + 10
    while any(_is_running(handle) for handle in handles) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def hide() -> None:
    """No other process of this user may read our memory or /proc/PID/environ (prctl(2), PR_SET_DUMPABLE)."""
    _prctl(_PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Daemons that a job leaves behind become our children, to be found and ended (PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """This process, newly forked, gets SIGTERM when its parent dies, however that dies (PR_SET_PDEATHSIG).

    It outlives the exec of any plain program, but is not handed on to what that starts.
    """
    _prctl(_PR_SET_PDEATHSIG, _SIGTERM)


def this() -> str:
    """This process, named for ever: its pid and when it started."""
    return f"{os.getpid()}@{start_time(os.getpid())}"


def of_the_dead(variable: str) -> list[int]:
    """The processes in whose environment `variable` names, as `this` does, a process that is no more."""
    wanted = f"{variable}=".encode()
    found = []
    for pid in _pids():
        named = [entry for entry in _read(f"/proc/{pid}/environ").split(b"\0") if entry.startswith(wanted)]
        for entry in named:
            starter, _, started = entry.removeprefix(wanted).decode(errors="replace").partition("@")
            if starter.isdigit() and start_time(int(starter)) != started:
                found.append(pid)
    return found


def reap(pids: Iterable[int]) -> None:
    """Take the exit status of those among `pids` that are adopted children of ours and have ended."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            continue


def _prctl(option: int, value: int) -> None:
    import ctypes  # 5 ms, and only needed once there is a job to run

    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _boot_id() -> str:
    return _read("/proc/sys/kernel/random/boot_id").decode().strip()


def _open_on(pid: int, inode: tuple[int, int]) -> list[str]:
    """The names of its descriptors that are open on the file."""
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return []
    found = []
    for name in names:
        try:
            status = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if (status.st_dev, status.st_ino) == inode:
            found.append(name)
    return found


def _open_handle(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None


def _signal_all(handles: list[int], number: int) -> None:
    import signal  # brings enum and more

    for handle in handles:
        try:
            signal.pidfd_send_signal(handle, number)
        except OSError:
            continue  # it has ended, or is not ours


def _is_running(handle: int) -> bool:
    import select

    return not select.select([handle], [], [], 0)[0]  # a process's descriptor is readable once it has ended
