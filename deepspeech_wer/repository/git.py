"""The only caller of git. Every call has a safe configuration, its own session and a time-out.

Without the time-out, a server that accepts a connection and then stays silent would block the tick for ever.
"""

from __future__ import annotations

import logging
import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from deepspeech_wer.configuration import environment
from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import processes, signals
from deepspeech_wer.repository.access import Access
from deepspeech_wer.variables import MASK, without_password

TRACKED = "refs/tracked/head"  # what the mirror keeps; no branch: it may hold an annotated tag
LOCAL_TIMEOUT_S = 600.0
MOST_BYTES = 256 << 20  # of an answer: a history of a million commits takes 41 MB
log = logging.getLogger(__name__)
GRACE_S = 2.0  # between SIGTERM and SIGKILL
_SAFE = {
    "GIT_TERMINAL_PROMPT": "0",
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
    "advice.detachedHead": "false",
    "gc.autoDetach": "false",
    "gc.packRefs": "false",
    "safe.bareRepository": "all",  # the mirror is bare; ~/.gitconfig may forbid bare repositories
}
_AS_COMMITTED = {  # how files are written; stated, so that nothing but the repository's own attributes changes it
    "core.attributesFile": "/dev/null",
    "core.autocrlf": "false",
    "core.eol": "lf",
    "core.excludesFile": "/dev/null",
    "core.fsmonitor": "false",
    "core.symlinks": "true",
    "protocol.file.allow": "always",  # the mirror is cloned by its path
    "submodule.recurse": "false",
}
_DRAIN_S = 2.0  # to read the last output after git ended
_POLL_S = 0.5  # how soon a git that is waited for is ended once a signal asked us to end
# Compiled once git has failed.
_TRANSIENT = (
    r"could not resolve|name resolution|connection (refused|reset|closed|timed out)|timed? ?out|could(n't| not) connect"
    r"|unable to connect|unreachable|early eof|hung up|unexpected disconnect|rpc failed|returned error: (429|5\d\d)"
    r"|(gnutls|ssl|tls)\w* .*(error|failed)|empty reply|transfer closed"
)
_NOISE = (
    r"(hint|warning):(?! (?:unable to access|identity file))|Please make sure|and the repository exists|Cloning into"
    r"|remote: *\W*$|remote: (Enumerating|Counting|Compressing|Total) |To add an exception"
)
_TELLING = (
    r"^(fatal|error|ssh|remote):|^git config |denied|refused|failed|closed|not found|timed out|cannot|could not|unable"
    r"|^ssh-keygen .* -R |host key for .* has changed|are too open|not accessible|bad configuration|bad owner"
)
_CONSEQUENCE = (
    r"could not read from remote repository|hung up unexpectedly|early eof|(index-pack|unpack-objects).* fail"
    r"|fetch-pack: invalid|invalid index-pack output|could not fetch|died of signal|expected flush"
    r"|unable to fork"
)
_DUBIOUS = re.compile(r"dubious ownership in repository at '(.+)'")
_made_here: set[str] = set()  # repositories of ours that seem to be another user's; see _is_made_here
STARTER = "ds_wer_git_of"  # in the environment of git and all that it starts: the process that started it


class GitError(Trouble):
    """git failed; `code` is its exit code, None after a time-out, negative where a signal ended it.

    The message is what matters of `said`, all that it wrote to stderr. `is_transient`: something on the network let it
    down that may have passed in a moment.
    """

    def __init__(self, message: str, code: int | None, said: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.said = said or message
        self.is_transient = bool(re.search(_TRANSIENT, said, re.IGNORECASE))


def run_git(directory: Path, *arguments: str, access: Access | None = None, timeout_s: float = LOCAL_TIMEOUT_S) -> str:
    """Run git in `directory` and return its standard output. Raises GitError; Stopped after a signal.

    It runs in a session of its own: without a terminal neither git nor ssh can ask for a password, and a time-out ends
    the helpers too (git-remote-https outlives a killed git). Where this process is killed, the next tick ends it.

    Only with `access` to a remote does git read the user's configuration: proxies, certificates, credentials. All that
    stays on this machine works the same whatever stands there.

    A repository of ours on a mount that shows another owner for all files is used all the same.
    """
    access = access or Access("")
    try:
        return _run_git(directory, *arguments, access=access, timeout_s=timeout_s)
    except GitError as error:
        place = _DUBIOUS.search(error.said)
        own = (directory, directory / ".git", *map(Path, arguments[-2:] if arguments[0] == "clone" else ()))
        if not place or place[1] in _made_here or place[1] not in map(os.path.realpath, own):
            raise
        if not _is_made_here(Path(place[1])):
            raise
        _made_here.add(place[1])
    return _run_git(directory, *arguments, access=access, timeout_s=timeout_s)


def _is_made_here(place: Path) -> bool:
    """Return whether git finds another owner for what we make beside a repository, and the repository has that one."""
    try:
        with tempfile.TemporaryDirectory(prefix=".owner-", dir=place.parent) as name:
            _run_git(Path(name), "init", "--quiet", "--bare", "--template=", ".", access=Access(""))
            if Path(name, "HEAD").stat().st_uid != place.stat().st_uid:
                return False
            _run_git(Path(name), "rev-parse", "--git-dir", access=Access(""))
    except GitError as error:
        return bool(_DUBIOUS.search(error.said))
    except OSError:
        pass
    return False


def _run_git(directory: Path, *arguments: str, access: Access, timeout_s: float = LOCAL_TIMEOUT_S) -> str:
    process, begun = _start(directory, arguments, access), time.monotonic()
    try:
        out, err = _communicate(process, arguments[0], timeout_s)
    finally:
        if process.poll() is None:
            _end(process)
        for stream in filter(None, (process.stdout, process.stderr)):
            stream.close()
        took = time.monotonic() - begun
        log.debug("git %s ended with %s after %.2f s", arguments[0], process.returncode, took)
    if process.returncode:
        said = err.decode(errors="replace")
        for secret in access.secrets:
            said = said.replace(secret, MASK)
        raise failure(arguments[0], process.returncode, said)
    return out.decode(errors="replace").rstrip("\n")


def odd(command: str, answer: str) -> Trouble:
    """The error for an answer that git does not give: what is called git may be a wrapper around it."""
    return Trouble(
        f"git {command} answered {answer[:60]!r}, as git does not: is {shutil.which('git')} a wrapper that prints "
        "something of its own, or nothing? Put git's directory first in the crontab's PATH; the next tick tries again"
    )


def failure(command: str, code: int, said: str) -> GitError:
    """The error for a git command that ended with `code` and wrote `said`."""
    end = f"ended by {signal.Signals(-code).name}" if -code in set(signal.Signals) else f"exit {code}"
    return GitError(_reason(said) or f"git {command}: {end}", code, said)


def local_environment() -> dict[str, str]:
    """The variables under which a git runs that only deals with files of ours, GitPython's too."""
    given = environment.sealed_git_environment()
    return {**_with(given, {**_CONFIG, **_AS_COMMITTED}), "GIT_ASKPASS": "true"}


def configured() -> list[tuple[str, str, str | None]]:
    """The user's settings of git's that a git for a remote reads and that are not ours: where each stands, its name,
    and its value, None without one. Empty where git cannot read them.
    """
    try:
        listed = run_git(Path("/"), "config", "--list", "--show-origin", "--null", access=Access("any"))
    except GitError:
        return []
    ours, fields = {name.lower() for name in _CONFIG}, listed.split("\0")
    found = []
    for origin, text in zip(fields[::2], fields[1::2], strict=False):
        name, has_value, value = text.partition("\n")
        if origin.startswith("file:"):
            found.append((origin.removeprefix("file:"), name, value if has_value else None))
        elif name not in ours:
            found.append(("the environment (GIT_CONFIG_...)", name, value))
    return found


def _remote_environment(access: Access) -> dict[str, str]:
    """The variables under which a git runs that goes to a remote: the user's, with what answers questions."""
    return {**_with(environment.git_environment(), access.config), **environment.askpass(), **access.environment}


def _with(given: dict[str, str], config: Mapping[str, str]) -> dict[str, str]:
    """Add our variables, and our git settings after those that are there: the last one wins."""
    safe = {**given, **_SAFE, STARTER: processes.own_identity()}
    count = given.get("GIT_CONFIG_COUNT") or "0"
    if count.isdigit():  # else git says what is wrong with it
        for number, (name, value) in enumerate(config.items(), start=int(count)):
            safe |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
        safe["GIT_CONFIG_COUNT"] = str(int(count) + len(config))
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
    """Return what git wrote until it ended. A helper that it left behind may hold its outputs open for ever."""
    deadline, end = time.monotonic() + timeout_s, None
    out, err = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, said in ((process.stdout, out), (process.stderr, err)):
            if stream:
                selector.register(stream, selectors.EVENT_READ, said)
        while process.poll() is None or (selector.get_map() and time.monotonic() < (end or deadline)):
            signals.check()
            if time.monotonic() >= deadline:
                raise GitError(f"git {what}: not done after {timeout_s:.0f} s", None)
            if process.returncode is not None:
                end = end or time.monotonic() + _DRAIN_S
            _take(selector, what, process)
    return bytes(out), bytes(err)


def _take(selector: selectors.BaseSelector, what: str, process: subprocess.Popen[bytes]) -> None:
    """Read what there is. Raises GitError if it is too much."""
    if not selector.get_map():  # it closed both and runs on
        with suppress(subprocess.TimeoutExpired):
            process.wait(_POLL_S)
    for key, _ in selector.select(_POLL_S if selector.get_map() else 0):
        data = os.read(key.fd, 1 << 16)
        key.data.extend(data)
        if not data:
            selector.unregister(key.fileobj)
        if len(key.data) > MOST_BYTES:
            raise GitError(f"git {what}: it, or the server, wrote more than {MOST_BYTES >> 20} MB of answers", None)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End git and its helpers. SIGTERM comes first: a git that gets SIGKILL leaves its locks in the mirror."""
    try:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):  # no helper is left
            os.killpg(process.pid, signal.SIGKILL)
        left = processes.with_environment(f"{STARTER}={processes.own_identity()}")  # helpers in sessions of their own
        processes.end([pid for pid in left if pid != os.getpid()], grace_s=GRACE_S)
        with suppress(subprocess.TimeoutExpired):  # a process that waits for a dead disk cannot be killed
            process.wait(GRACE_S)


def _start(directory: Path, arguments: Sequence[str], access: Access) -> subprocess.Popen[bytes]:
    """Raises GitError, or Trouble where there is no git at all."""
    variables, options = {**local_environment(), **access.environment}, access.options
    trusted = tuple(text for place in sorted(_made_here) for text in ("-c", f"safe.directory={place}"))
    if trusted and arguments[0] == "clone":  # git does not pass them on to the other one that it starts
        arguments = ("clone", f"--upload-pack={shlex.join(('git', *trusted, 'upload-pack'))}", *arguments[1:])
    if access.url:
        # As options our settings win over all of the user's, those in GIT_CONFIG_PARAMETERS too.
        safe = (text for name, value in _CONFIG.items() for text in ("-c", f"{name}={value}"))
        variables, options = _remote_environment(access), (*safe, *access.options)
    # Where `directory` is no repository, git would take one that lies above it: a home that is kept in git, say.
    variables["GIT_CEILING_DIRECTORIES"] = str(directory.parent)
    try:
        return subprocess.Popen(
            ["git", *trusted, *options, *arguments],
            cwd=directory,
            env=variables,
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
    """What matters of git's complaint, in one line: the causes, not what follows from them; and git's own cure."""
    lines = [without_password(line.strip()) for line in text.splitlines() if line.strip()]
    lines = [line for line in dict.fromkeys(lines) if not re.match(_NOISE, line, re.IGNORECASE)] or lines
    telling = [line for line in lines if re.search(_TELLING, line, re.IGNORECASE)] or lines
    causes = [line for line in telling if not re.search(_CONSEQUENCE, line, re.IGNORECASE)] or telling
    shown = causes if len(causes) <= 3 else [*causes[:2], causes[-1]]
    return "; ".join(line if len(line) <= 300 else f"{line[:140]}...{line[-150:]}" for line in shown)
