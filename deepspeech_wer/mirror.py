"""The bare mirror of the tracked branch. Fetching into it is the detection: 224 bytes when nothing is new.

Each call of git gets a session and a time-out of its own, because a server that accepts and then stays silent would
hang it for ever. GitPython is left to what reads the mirror: importing it takes longer than all else in an idle tick.
The mirror is derived: damaged by anything local, it is deleted and fetched anew, once.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from deepspeech_wer import processes
from deepspeech_wer import settings as environment
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import is_full, make_private, remove_tree
from deepspeech_wer.remote import Remote, is_by_ssh, reach, without_questions
from deepspeech_wer.setting_types import without_password

TRACKED = "refs/tracked/head"  # no branch: it may hold an annotated tag
FETCH_TIMEOUT_S = 3600.0  # a first fetch may bring gigabytes; git itself gives up on a stalled line, see _SAFE
LOCAL_TIMEOUT_S = 600.0
GRACE_S = 2.0  # for a git that is to end
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
_STARTER = "ds_wer_git_of"  # in the environment of git and all that it starts: the process that started it

log = logging.getLogger(__name__)


class GitError(Trouble):
    """git failed; `code` is its exit code, None after a time-out; the message is the line that says most.

    `is_passing`: something on the network let it down that may have passed in a moment.
    """

    def __init__(self, message: str, code: int | None, *, is_passing: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.is_passing = is_passing


def run_git(directory: Path, *arguments: str, remote: Remote | None = None, timeout_s: float = LOCAL_TIMEOUT_S) -> str:
    """Run git in `directory`; what it printed. Raises GitError.

    In its own session: without a terminal neither git nor ssh can ask for a password, and a time-out ends the helpers
    too (git-remote-https outlives a killed git). Where this process is killed, git ends with it, and the next tick ends
    what is left of its helpers.
    """
    process = _start(directory, arguments, remote or Remote(""))
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise GitError(f"git {arguments[0]}: no end after {timeout_s:.0f} s", None) from None
    finally:
        if process.poll() is None:
            _end(process)
    if process.returncode:
        said = err.decode(errors="replace")
        raise GitError(
            _reason(said) or f"git {arguments[0]}: exit {process.returncode}",
            process.returncode,
            is_passing=bool(_PASSING.search(said)),
        )
    return out.decode(errors="replace").rstrip("\n")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asked first: a git that is killed at once leaves its locks in the mirror."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):  # no helper outlived it
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _start(directory: Path, arguments: Sequence[str], remote: Remote) -> subprocess.Popen[bytes]:
    """Raises GitError, or Trouble where there is no git at all."""
    own = {**_SAFE, _STARTER: processes.this(), **remote.environment}
    try:
        return subprocess.Popen(
            ["git", *_OPTIONS, *remote.options, *arguments],
            cwd=directory,
            env={**environment.git_environment(), **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=processes.end_with_parent,
            umask=0o077,
        )
    except OSError as error:
        if error.filename == "git":
            raise Trouble("no git on PATH: install it, or name its directory in the crontab's PATH") from None
        raise GitError(f"git {arguments[0]} in {directory}: {error.strerror}", None) from None


def update(mirror: Path, url: str, ref: str | None, *, known: str | None = None) -> str | None:
    """Fetch the tracked branch; its newest commit, None while the repository is empty.

    Where that is `known`, nothing more is looked at: it is on the way of an idle tick. Raises Trouble: the repository
    cannot be reached, the branch is not there.
    """
    remote = _reach(url)
    try:
        return _update(mirror, remote, ref, known)
    except GitError as error:
        if error.code is None:
            tidy(mirror)
        if error.code is None or not is_damaged(mirror):
            raise Trouble(_cannot_fetch(mirror, url, ref, error)) from None
        log.warning("mirror %s: %s; it is fetched anew", mirror, error)
    remove_tree(mirror)
    try:
        return _update(mirror, remote, ref, known)
    except GitError as error:
        raise Trouble(_cannot_fetch(mirror, url, ref, error)) from None


def ask(directory: Path, url: str, ref: str | None) -> str | None:
    """What the tracked branch is at over there, without fetching it; None while the repository is empty.

    Raises Trouble: the repository cannot be reached, the branch is not there.
    """
    remote = _reach(url)
    try:
        for pattern in _patterns(ref):
            listed = run_git(
                directory, "ls-remote", "--end-of-options", remote.url, pattern, remote=remote, timeout_s=120
            )
            for line in listed.splitlines():
                sha, _, name = line.partition("\t")
                if name == pattern:  # git also lists names that end so
                    return sha
        _check_empty(directory, remote, ref)
    except GitError as error:
        raise Trouble(_cannot_fetch(directory, url, ref, error)) from None
    return None


def tip(mirror: Path) -> str:
    """The newest commit of the tracked branch that was fetched. Raises GitError."""
    return run_git(mirror, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{TRACKED}^{{commit}}")


def end_leftovers(mirror: Path) -> list[int]:
    """End every git, and helper of one, whose tick was killed, and remove their half-written files; the pids."""
    ended: list[int] = []
    for _ in range(10):  # what is ended may have started something meanwhile
        left = processes.of_the_dead(_STARTER)
        if not left:
            break
        processes.end(left, grace_s=2.0)
        ended += left
    tidy(mirror)
    return ended


def tidy(mirror: Path) -> None:
    """Remove what a git that was killed leaves in the mirror: locks, and packs of any size. Only while none runs."""
    for pattern in ("**/*.lock", "objects/pack/tmp_*", "objects/??/tmp_obj_*"):
        for left in mirror.glob(pattern):
            left.unlink(missing_ok=True)


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


def _reach(url: str) -> Remote:
    """The remote; one that is reached by ssh by the user's own command, but without questions."""
    remote = reach(url)
    if not is_by_ssh(url):
        return remote
    from shlex import quote  # with https, an idle tick has no need of it

    command, program = environment.ssh_of_git()
    command = command or _configured("core.sshCommand") or (quote(program) if program else "ssh")
    return replace(remote, environment={"GIT_SSH_COMMAND": without_questions(command)})


def _configured(name: str) -> str:
    """What the user's configuration of git holds for a name; "" when nothing."""
    try:
        return run_git(Path("/"), "config", "--get", name)
    except GitError:
        return ""


def _update(mirror: Path, remote: Remote, ref: str | None, known: str | None) -> str | None:
    for pause_s in RETRY_AFTER_S:
        try:
            return _update_once(mirror, remote, ref, known)
        except GitError as error:
            if not error.is_passing:
                raise
        time.sleep(pause_s)
    return _update_once(mirror, remote, ref, known)


def _update_once(mirror: Path, remote: Remote, ref: str | None, known: str | None) -> str | None:
    if not (mirror / "HEAD").exists():
        _create(mirror)
    for pattern in _patterns(ref):
        try:
            _fetch(mirror, remote, pattern)
        except GitError as error:
            if "couldn't find remote ref" not in str(error):
                raise
            continue
        return known if known and _fetched(mirror) == known else _looked_at(mirror)
    _check_empty(mirror, remote, ref)
    return None


def _fetched(mirror: Path) -> str:
    """What the tracked ref holds: a commit, or an annotated tag."""
    try:
        return (mirror / TRACKED).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _looked_at(mirror: Path) -> str:
    sha = tip(mirror)
    run_git(mirror, "gc", "--auto", "--quiet")
    return sha


def _create(mirror: Path, object_format: str = "sha1") -> None:
    remove_tree(mirror)  # also a file, or a link that leads nowhere
    make_private(mirror.parent)
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


def _fetch(mirror: Path, remote: Remote, pattern: str) -> None:
    arguments = (
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--update-shallow",
        "--no-recurse-submodules",
    )
    spec = f"+{pattern}:{TRACKED}"
    try:
        run_git(mirror, *arguments, "--end-of-options", remote.url, spec, remote=remote, timeout_s=FETCH_TIMEOUT_S)
    except GitError as error:
        if "mismatched algorithms" not in str(error):
            raise
        _create(mirror, "sha256" if "server sha256" in str(error) else "sha1")
        run_git(mirror, *arguments, "--end-of-options", remote.url, spec, remote=remote, timeout_s=FETCH_TIMEOUT_S)


def _patterns(ref: str | None) -> tuple[str, ...]:
    """What to ask the remote for, in order: a branch before a tag of the same name."""
    if ref is None:
        return ("HEAD",)
    return (ref,) if ref.startswith("refs/") else (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}")


def _check_empty(mirror: Path, remote: Remote, ref: str | None) -> None:
    """Raises Trouble where there are commits, and only the branch is missing."""
    listed = run_git(mirror, "ls-remote", "--symref", "--end-of-options", remote.url, remote=remote, timeout_s=120)
    if not listed:
        return
    head = re.search(r"^ref: refs/heads/(\S+)\s+HEAD$", listed, re.MULTILINE)
    branches = re.findall(r"\srefs/heads/(\S+)$", listed, re.MULTILINE)
    cure = f"its HEAD is {head[1]}" if head else f"it has {', '.join(branches[:5]) or 'no branch'}"
    missing = f"no branch {ref}" if ref else "HEAD points at no branch"
    raise Trouble(f"{without_password(remote.url)}: {missing} there ({cure}): set ds_github_ref")


def _reason(text: str) -> str:
    """The line of git's complaint that says most."""
    lines = [without_password(line.strip()) for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "ssh:", "remote: "))]
    return (telling or lines or [""])[0]


def _cannot_fetch(mirror: Path, url: str, ref: str | None, error: GitError) -> str:
    what = f" ({ref})" if ref else ""
    room = f"; no space left for {mirror}" if is_full(mirror) else ""
    return f"cannot fetch {without_password(url)}{what}: {error}{room}; the next call tries again"
