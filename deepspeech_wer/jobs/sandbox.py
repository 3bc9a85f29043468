"""The sandbox of a job, `ds_job_sandbox=bubblewrap`: a read-only system, writable directories, no network (bwrap(1)).

A job sees the whole system, read-only, less the tracker's key and file of variables. It may write to its checkout, its
checkpoints, ds_logs_dir, TMPDIR (which is also its /tmp), the training's cache, and ds_job_writable. /dev holds the
usual devices and those of GPUs; /run is empty but for a few names, or its sockets would lead out (docker.sock, D-Bus).
Processes outside are not to be seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer.records import Guards

PROGRAM = "bwrap"
DEVICES = Path("/dev")
_GPUS = ("nvidia*", "dri", "kfd", "dxg")  # NVIDIA, and its capabilities; Mesa; AMD; WSL
_RUN = ("media", "systemd/resolve", "nvidia-persistenced", "udev")  # disks, names of hosts, the GPU's driver, devices
_SHARED = ("/tmp", "/var/tmp")  # noqa: S108 - where programs write that do not ask for TMPDIR
_PROBE_S = 30.0
_MISSING = "bubblewrap is not installed: `apt install bubblewrap`, or unset ds_job_sandbox"
_FORBIDDEN = (
    "this kernel or container forbids the sandbox: allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
    "user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns=0), or unset ds_job_sandbox"
)


class Room(NamedTuple):
    """The directories of one job."""

    checkout: Path
    writable: Sequence[Path]  # the checkout, too
    temporary: Path


def command(guards: Guards, room: Room, environ: Mapping[str, str]) -> list[str]:
    """Return the words to put before a job's command."""
    program = shutil.which(PROGRAM, path=environ.get("PATH")) or PROGRAM
    return [program, *_options(guards, room, environ), "--"]


def fault(guards: Guards, room: Room, environ: Mapping[str, str]) -> str | None:
    """Return why the sandbox of a job cannot be made on this machine, with the cure; None if it can."""
    if shutil.which(PROGRAM, path=environ.get("PATH")) is None:
        return _MISSING
    for place in guards.writable:
        if not os.path.isdir(place):  # noqa: PTH112 - False also where this user may not look
            return f"{place}: no such directory: make it, or take it out of ds_job_writable"
    words = command(guards, room, environ)
    try:
        done = subprocess.run(
            [*words, "/bin/sh", "-c", "exit 0"],
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PROBE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"bwrap does not answer within {_PROBE_S:g} s: {_FORBIDDEN}"
    except OSError as error:
        return f"{words[0]}: {error.strerror}: {_MISSING}"
    if done.returncode == 0:
        return None
    said = " ".join(done.stderr.decode("utf-8", "replace").split())[:300]
    return f"{said or f'bwrap ended with {done.returncode}'}: {_FORBIDDEN}"


def _options(guards: Guards, room: Room, environ: Mapping[str, str]) -> Iterator[str]:
    # The names of namespaces first: as root, too, the job gets a user namespace, in which it has no privileges.
    yield from ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--cap-drop", "ALL")
    if not guards.has_network:
        yield "--unshare-net"
    yield from ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run")
    for pattern in _GPUS:
        for device in sorted(DEVICES.glob(pattern)):
            yield from ("--dev-bind", str(device), str(device))
    for name in _RUN:
        yield from ("--ro-bind-try", f"/run/{name}", f"/run/{name}")
    for shared in _SHARED:
        yield from ("--bind", _real(room.temporary), shared)
    for needed in _needed(environ):
        yield from ("--ro-bind-try", needed, needed)
    for place in (*room.writable, *map(Path, guards.writable)):
        yield from ("--bind", _real(place), _real(place))
    for hidden in guards.hidden:
        if os.path.exists(hidden):  # noqa: PTH110 - False also where this user may not look
            yield from ("--ro-bind", "/dev/null", _real(hidden))
    yield from ("--chdir", _real(room.checkout))


def _needed(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield what a job needs of /tmp or /run, of which the sandbox has its own: corpora, Pythons, programs."""
    named = [value for name, value in sorted(environ.items()) if name.startswith("ds_")]
    python = environ.get("ds_python")
    pythons = [sys.prefix, sys.base_prefix, *([str(Path(python).parent.parent)] if python else [])]
    for path in dict.fromkeys((*named, *pythons, *environ.get("PATH", "").split(":"))):
        if any(path.startswith(f"{place}/") for place in (*_SHARED, "/run")) and os.path.exists(path):  # noqa: PTH110
            yield _real(path)


def _real(path: str | Path) -> str:
    """Resolve links: bwrap would follow those in the way to a mount point in the wrong root."""
    return os.path.realpath(path)
