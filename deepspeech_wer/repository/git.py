"""The only caller of git. Every call has a safe configuration, its own session and a time-out.

Without the time-out, a server that accepts a connection and then stays silent would block the tick for ever.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from deepspeech_wer import environment, processes, signals
from deepspeech_wer.errors import Trouble
from deepspeech_wer.repository.access import Access
from deepspeech_wer.setting_types import without_password

LOCAL_TIMEOUT_S = 600.0
GRACE_S = 2.0  # between SIGTERM and SIGKILL
_SAFE = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_HTTP_LOW_SPEED_LIMIT": "1",
    "GIT_HTTP_LOW_SPEED_TIME": "60",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C.UTF-8",
}
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "protocol.ext.allow": "never",
    "gc.autoDetach": "false",
    "gc.packRefs": "false",
    "safe.bareRepository": "all",  # the mirror is bare; ~/.gitconfig may forbid bare repositories
}
_POLL_S = 0.5  # how often a wait for git checks for signals
_TRANSIENT = re.compile(
    r"could not resolve|name resolution|connection (refused|reset|closed|timed out)|timed? ?out|could(n't| not) connect"
    r"|unable to connect|unreachable|early eof|hung up|unexpected disconnect|rpc failed|returned error: (429|5\d\d)"
    r"|(gnutls|ssl|tls)\w* .*(error|failed)|empty reply|transfer closed",
    re.IGNORECASE,
)
STARTER = "ds_wer_git_of"  # names our process in the environment of git and of everything that git starts


class GitError(Trouble):
    """git failed. The message is the most informative line of its output.

    `code` is its exit code, None after a time-out. `is_transient`: a network error that may be gone on the next try.
    """

    def __init__(self, message: str, code: int | None, *, is_transient: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_transient = is_transient


def run_git(directory: Path, *arguments: str, access: Access | None = None, timeout_s: float = LOCAL_TIMEOUT_S) -> str:
    """Run git in `directory` and return its standard output. Raises GitError; Stopped after a signal.

    git gets its own session: without a terminal neither git nor ssh can prompt, and a time-out also ends the helpers
    (git-remote-https outlives a killed git). If this process is killed, the next tick ends git.
    """
    process = _start(directory, arguments, access or Access(""))
    try:
        out, err = _communicate(process, arguments[0], timeout_s)
    finally:
        if process.poll() is None:
            _end(process)
    if process.returncode:
        said = err.decode(errors="replace")
        raise GitError(
            _reason(said) or f"git {arguments[0]}: exit {process.returncode}",
            process.returncode,
            is_transient=bool(_TRANSIENT.search(said)),
        )
    return out.decode(errors="replace").rstrip("\n")


def safe_environment() -> dict[str, str]:
    """Return the environment of every git process, including GitPython's."""
    safe = {
        **environment.git_environment(),
        **_SAFE,
        STARTER: processes.own_identity(),
        "GIT_CONFIG_COUNT": str(len(_CONFIG)),
    }
    for number, (name, value) in enumerate(_CONFIG.items()):
        safe |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return safe


def end_leftovers() -> list[int]:
    """End all git processes and helpers that a killed tick left. Returns their pids."""
    ended: list[int] = []
    for _ in range(10):  # a process may start others before it ends
        left = processes.orphans(STARTER)
        if not left:
            break
        processes.end(left, grace_s=GRACE_S)
        ended += left
    return ended


def _communicate(process: subprocess.Popen[bytes], what: str, timeout_s: float) -> tuple[bytes, bytes]:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return process.communicate(timeout=max(0.0, min(_POLL_S, deadline - time.monotonic())))
        except subprocess.TimeoutExpired:
            signals.check()
            if time.monotonic() >= deadline:
                raise GitError(f"git {what}: not done after {timeout_s:.0f} s", None) from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and its helpers. SIGTERM comes first: a git that gets SIGKILL leaves its locks in the mirror."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):  # no helper is left
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _start(directory: Path, arguments: Sequence[str], access: Access) -> subprocess.Popen[bytes]:
    """Start git. Raises GitError, or Trouble if git is not installed."""
    try:
        return subprocess.Popen(
            ["git", *access.options, *arguments],
            cwd=directory,
            env={**safe_environment(), **access.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            umask=0o077,
        )
    except OSError as error:
        if error.filename == "git":
            raise Trouble("git is not on PATH: install it, or add its directory to PATH in the crontab") from None
        raise GitError(f"git {arguments[0]} in {directory}: {error.strerror}", None) from None


def _reason(text: str) -> str:
    """Return the most informative line of git's error output."""
    lines = [without_password(line.strip()) for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:", "remote: "))]
    return (telling or lines or [""])[0]
