"""The bare mirror of the tracked branch. Fetching into it is the detection: 224 bytes when nothing is new.

GitPython starts git; each call gets a session and a time-out of its own, because a server that accepts and then stays
silent would hang it for ever. The mirror is derived: damaged by anything local, it is deleted and fetched anew, once.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import cast

import git

from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import is_full
from deepspeech_wer.setting_types import without_password

TRACKED = "refs/tracked/head"  # no branch: it may hold an annotated tag
FETCH_TIMEOUT_S = 3600.0  # a first fetch may bring gigabytes; git itself gives up on a stalled line, see _SAFE
LOCAL_TIMEOUT_S = 600.0
_SAFE = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
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
    "safe.bareRepository": "all",  # the mirror is one, and ours, whatever ~/.gitconfig says of others
}
_OPTIONS = tuple(word for name, value in _CONFIG.items() for word in ("-c", f"{name}={value}"))
RETRY_AFTER_S = (2.0, 5.0)  # pauses before a fetch is tried again that the network let down
_PASSING = re.compile(
    r"could not resolve|name resolution|connection (refused|reset|closed|timed out)|timed? ?out|could(n't| not) connect"
    r"|unable to connect|unreachable|early eof|hung up|unexpected disconnect|rpc failed|returned error: (429|5\d\d)"
    r"|(gnutls|ssl|tls)\w* .*(error|failed)|empty reply|transfer closed",
    re.IGNORECASE,
)
log = logging.getLogger(__name__)


class GitError(Trouble):
    """git failed; `code` is its exit code, None after a time-out; the message is the line that says most.

    `is_passing`: something on the network let it down that may have passed in a moment.
    """

    def __init__(self, message: str, code: int | None, *, is_passing: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_passing = is_passing


def run_git(directory: Path, *arguments: str, timeout_s: float = LOCAL_TIMEOUT_S) -> str:
    """Run git in `directory`; what it printed. Raises GitError.

    In its own session: without a terminal neither git nor ssh can ask for a password, and a time-out ends the helpers
    too (git-remote-https outlives a killed git).
    """
    started = git.Git(directory).execute(
        ["git", *_OPTIONS, *arguments], as_process=True, env=_SAFE, start_new_session=True
    )
    process = cast("subprocess.Popen[bytes]", started.proc)
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]}: no end after {timeout_s:.0f} s", None) from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode:
        said = err.decode(errors="replace")
        raise GitError(
            _reason(said) or f"git {arguments[0]}: exit {process.returncode}",
            process.returncode,
            is_passing=bool(_PASSING.search(said)),
        )
    return out.decode(errors="replace").rstrip("\n")


def update(mirror: Path, url: str, ref: str | None) -> str | None:
    """Fetch the tracked branch; its newest commit, None while the repository is empty.

    Raises Trouble: the repository cannot be reached, the branch is not there.
    """
    try:
        return _update(mirror, url, ref)
    except GitError as error:
        if error.code is None or not is_damaged(mirror):
            raise Trouble(_cannot_fetch(mirror, url, ref, error)) from None
        log.warning("mirror %s: %s; it is fetched anew", mirror, error)
    shutil.rmtree(mirror)
    try:
        return _update(mirror, url, ref)
    except GitError as error:
        raise Trouble(_cannot_fetch(mirror, url, ref, error)) from None


def ask(directory: Path, url: str, ref: str | None) -> str | None:
    """What the tracked branch is at over there, without fetching it; None while the repository is empty.

    Raises Trouble: the repository cannot be reached, the branch is not there.
    """
    try:
        for pattern in _patterns(ref):
            listed = run_git(directory, "ls-remote", "--end-of-options", url, pattern, timeout_s=120)
            for line in listed.splitlines():
                sha, _, name = line.partition("\t")
                if name == pattern:  # git also lists names that end so
                    return sha
        _check_empty(directory, url, ref)
    except GitError as error:
        raise Trouble(_cannot_fetch(directory, url, ref, error)) from None
    return None


def tip(mirror: Path) -> str:
    """The newest commit of the tracked branch that was fetched. Raises GitError."""
    return run_git(mirror, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{TRACKED}^{{commit}}")


def is_damaged(mirror: Path) -> bool:
    """Whether something local is wrong with the mirror, so that no fetch into it can ever work."""
    if not mirror.exists():
        return False
    try:
        has_commits = run_git(mirror, "for-each-ref", "--count=1", TRACKED)
        if has_commits:
            run_git(mirror, "rev-list", "--quiet", TRACKED)
    except GitError:
        return True
    return any(mirror.rglob("*.lock")) or any(not ref.stat().st_size for ref in mirror.glob("refs/tracked/*"))


def _update(mirror: Path, url: str, ref: str | None) -> str | None:
    for pause_s in RETRY_AFTER_S:
        try:
            return _update_once(mirror, url, ref)
        except GitError as error:
            if not error.is_passing:
                raise
        time.sleep(pause_s)
    return _update_once(mirror, url, ref)


def _update_once(mirror: Path, url: str, ref: str | None) -> str | None:
    if not (mirror / "HEAD").exists():
        _create(mirror)
    for pattern in _patterns(ref):
        try:
            _fetch(mirror, url, pattern)
        except GitError as error:
            if "couldn't find remote ref" not in str(error):
                raise
            continue
        return tip(mirror)
    _check_empty(mirror, url, ref)
    return None


def _create(mirror: Path, object_format: str = "sha1") -> None:
    shutil.rmtree(mirror, ignore_errors=True)
    mirror.parent.mkdir(parents=True, exist_ok=True)
    run_git(
        mirror.parent,
        "init",
        "--quiet",
        "--bare",
        "--template=",
        "--initial-branch=tracked",
        f"--object-format={object_format}",
        str(mirror),
    )


def _fetch(mirror: Path, url: str, pattern: str) -> None:
    arguments = (
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--update-shallow",
        "--no-recurse-submodules",
    )
    spec = f"+{pattern}:{TRACKED}"
    try:
        run_git(mirror, *arguments, "--end-of-options", url, spec, timeout_s=FETCH_TIMEOUT_S)
    except GitError as error:
        if "mismatched algorithms" not in str(error):
            raise
        _create(mirror, "sha256" if "server sha256" in str(error) else "sha1")
        run_git(mirror, *arguments, "--end-of-options", url, spec, timeout_s=FETCH_TIMEOUT_S)


def _patterns(ref: str | None) -> tuple[str, ...]:
    """What to ask the remote for, in order: a branch before a tag of the same name."""
    if ref is None:
        return ("HEAD",)
    return (ref,) if ref.startswith("refs/") else (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}")


def _check_empty(mirror: Path, url: str, ref: str | None) -> None:
    """Raises Trouble where there are commits, and only the branch is missing."""
    listed = run_git(mirror, "ls-remote", "--symref", "--end-of-options", url, timeout_s=120)
    if not listed:
        return
    head = re.search(r"^ref: refs/heads/(\S+)\s+HEAD$", listed, re.MULTILINE)
    branches = re.findall(r"\srefs/heads/(\S+)$", listed, re.MULTILINE)
    cure = f"its HEAD is {head[1]}" if head else f"it has {', '.join(branches[:5]) or 'no branch'}"
    missing = f"no branch {ref}" if ref else "HEAD points at no branch"
    raise Trouble(f"{without_password(url)}: {missing} there ({cure}): set ds_github_ref")


def _reason(text: str) -> str:
    """The line of git's complaint that says most."""
    lines = [without_password(line.strip()) for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:", "remote: "))]
    return (telling or lines or [""])[0]


def _cannot_fetch(mirror: Path, url: str, ref: str | None, error: GitError) -> str:
    what = f" ({ref})" if ref else ""
    room = f"; no space left for {mirror}" if is_full(mirror) else ""
    return f"cannot fetch {without_password(url)}{what}: {error}{room}; the next call tries again"
