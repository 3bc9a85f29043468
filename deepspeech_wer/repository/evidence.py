"""What a git that failed proves: trouble of this machine, with its cure; a damaged mirror; or nothing.

The mirror may hold gigabytes and a merge is recorded for good, so neither is blamed without proof.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path

from deepspeech_wer.configuration import environment
from deepspeech_wer.repository.git import GitError, configured, run_git

_LEAST_BYTES, _LEAST_FILES = 1 << 20, 8
_PROBE_BYTES = 1 << 16
_REF = re.compile(rb"([0-9a-f]{40}|[0-9a-f]{64}|ref: .+)\s*")
# The patterns are compiled once git has failed: all of them take 6 ms.
_CURES = (
    (r"no space left on device", "make room there, or inodes (`df`, `df -i`)"),
    (r"disk quota exceeded", "free some of this user's quota"),
    (r"read-only file system", "mount it writable, or set another path"),
    (r"(symlink|symbolic link).*: (operation not permitted|operation not supported|function not implemented)",
     "set ds_clone_path to a file system with symbolic links"),
    (r"input/output error|stale (nfs )?file handle|transport endpoint|host is down|structure needs cleaning"
     r"|remote i/o error|bad message", "the disk or the mount fails: look at `dmesg`"),
    (r"key has (expired|been revoked)|required key not available",
     "unlock or renew it for cron's processes, too (`kinit`, `fscrypt unlock`)"),
    (r"out of memory|cannot allocate memory|memory exhausted|mmap failed|unable to mmap|failed to map segment",
     "free memory, raise `ulimit -v`, or add swap"),
    (r"resource temporarily unavailable|can(no|')t fork|(cannot|unable to) create (async )?thread",
     "too many processes of this user: raise `ulimit -u`"),
    (r"too many open files", "raise `ulimit -n`"),
    (r"file too large|file size limit", "raise `ulimit -f`"),
    (r"^(?!remote:|.*@).*: (permission denied|operation not permitted)$",
     "let the user that cron runs as read and write there"),
    (r"(cannot|unable to|failed to|could not) (exec|run|spawn|find remote helper)|is not a git command"
     r"|: (command )?not found$|error while loading shared libraries",
     "install it, or name its directory in the crontab's PATH"),
    (r"^host key for .* has changed",
     "if whoever runs that server confirms its new key, do so, then log in there once by hand, as this user"),
    (r"^host key verification failed", "log in there once by hand with ssh, as this user, and compare its key"),
    (r"^permissions \d+ for .* are too open", "chmod 600 that key"),
    (r"bad configuration option|^bad owner or permissions", "correct that file of ssh's"),
    (r"permission denied \(.*publickey",
     "name a key in ~/.ssh/config that is known there and needs no passphrase, or set SSH_ASKPASS"),
    (r"^(error: )?unknown (option|switch)|^usage: git", "git 2.32 or newer is needed: install it"),
)  # fmt: skip
_SETTING = (
    r"bad (config |numeric config|boolean config)|invalid key|missing config|bogus (count|format)|invalid pattern"
    r"|error occurred while reading the configuration|could not expand include|unable to access '[^']*config'"
    r"|transport '[^']*' not allowed"
)
_UNNAMED = (  # what git says of settings that it does not name, and those that it may mean
    (r"bad (zlib|pack) compression level", r"(core|pack)\.(loose)?compression"),
    (r"invalid mode for object creation", r"core\.createobject"),
    (r"unknown fetch negotiation algorithm", r"fetch\.negotiationalgorithm"),
    (r"invalid number of threads", r"pack\.threads"),
    (r"[Uu]nknown fsck m(sg|essage) type", r"(fetch|receive)\.fsck\..*"),
    (r"transport '.*' not allowed", r"protocol\.(.*\.)?allow"),
)


def cure(error: GitError, *places: Path) -> str | None:
    """What is wrong with this machine, told by git's end, its words, or the state of the places it writes to, and what
    helps; None where nothing tells of that.
    """
    if re.search(_SETTING, error.said, re.IGNORECASE):
        return "correct that setting of git's"
    if "terminal prompts disabled" in error.said:
        return "put user and password into ds_repo_url, or tell git of a credential helper or an askpass"
    if "dubious ownership" in error.said:
        cure = "chown it as root (`chown -R`), or remove it: the next tick fetches it anew"
        return next((f"{place} belongs to another user: {cure}" for place in places if _is_of_another(place)), None)
    return _of_the_machine(error) or next(filter(None, map(_lack, places)), None)


def cure_of_settings(error: GitError) -> str | None:
    """Which of the user's settings a git complains of that went to a remote, and where they stand; None if of none."""
    if "dubious ownership" in error.said:  # it only proposes one
        return None
    # The variable overrides all settings.
    if "' not allowed" in error.said and "GIT_ALLOW_PROTOCOL" in environment.git_environment():
        return "correct GIT_ALLOW_PROTOCOL in the environment"
    is_crash = error.code == -signal.SIGSEGV  # what some settings without a value lead to
    unnamed = [names for words, names in _UNNAMED if re.search(words, error.said)]
    meant = [
        f"{name} in {origin}"
        for origin, name, value in configured()
        if (is_crash and value is None)
        or name.lower() in error.said.lower()
        or any(re.fullmatch(names, name) for names in unnamed)
    ]
    return f"{'give a value to' if is_crash else 'correct'} {', '.join(dict.fromkeys(meant))}" if meant else None


def is_damaged(mirror: Path, ref: str) -> bool:
    """Whether the mirror's own files are damaged, so that no fetch into it can ever work.

    Proved by git: it cannot read the history of its refs, twice, and can read a new repository beside it. `ref` is the
    one that must be there.
    """
    if not mirror.exists():
        return False
    refs = (mirror / "refs").rglob("*")
    if any(file.is_file() and not _REF.fullmatch(file.read_bytes()) for file in refs):  # a power cut empties files
        return True
    return _is_proved(mirror, lambda: _read_history(mirror, ref))


def lacks_files(mirror: Path, sha: str) -> bool:
    """Whether files of a commit are missing from the mirror, or cannot be read; proved in the same way."""
    return _is_proved(mirror, lambda: _read_files(mirror, sha))


def _read_history(mirror: Path, ref: str) -> None:
    if run_git(mirror, "for-each-ref", "--count=1", ref):
        run_git(mirror, "rev-list", "--quiet", "--all")


def _read_files(mirror: Path, sha: str) -> None:
    run_git(mirror, "rev-list", "--objects", "--no-walk", "--quiet", sha)
    nothing = run_git(mirror, "hash-object", "-t", "tree", "/dev/null")
    plain = ("--text", "--no-textconv", "--no-ext-diff", "--no-renames")
    run_git(mirror, "diff-tree", "-r", "--shortstat", *plain, nothing, sha)  # reads each file


def _is_proved(mirror: Path, read: Callable[[], None]) -> bool:
    for _ in range(2):
        try:
            read()
        except GitError as error:
            if error.code not in (1, 128) or _of_the_machine(error) or "dubious ownership" in error.said:
                return False
        else:
            return False
        if not _works(mirror.parent):
            return False
    return True


def _works(directory: Path) -> bool:
    """Whether git does the same in a new repository."""
    try:
        with tempfile.TemporaryDirectory(dir=directory) as name:
            place = Path(name)
            run_git(place, "init", "--quiet", "--bare", "--template=", ".")
            tree = run_git(place, "hash-object", "-t", "tree", "-w", "/dev/null")
            run_git(place, "for-each-ref", "--count=1")
            run_git(place, "rev-list", "--objects", "--quiet", "--all")
            run_git(place, "diff-tree", "-r", "--shortstat", tree, tree)
    except (GitError, OSError):
        return False
    return True


def _of_the_machine(error: GitError) -> str | None:
    ended = _signal(error)
    if ended:
        return f"{ended} ended it: is there enough memory (`dmesg` tells), and no limit (`ulimit -a`)?"
    flags = re.IGNORECASE | re.MULTILINE
    return next((cure for words, cure in _CURES if re.search(words, error.said, flags)), None)


def _is_of_another(place: Path) -> bool:
    return place.exists() and place.stat().st_uid != os.geteuid()


def _signal(error: GitError) -> str | None:
    """The signal that ended git; a shell around it adds 128."""
    number = error.code or 0
    if number == 129:  # git's own, for options that it does not know
        return None
    number = -number if number < 0 else number - 128
    return signal.Signals(number).name if number in set(signal.Signals) else None


def _lack(place: Path) -> str | None:
    """What is missing where git writes, though it did not say so."""
    there = next(path for path in (place, *place.parents) if path.exists())
    try:
        state = os.statvfs(there)
        if state.f_flag & os.ST_RDONLY:
            return f"{place} is on a read-only file system: mount it writable, or set another path"
        if state.f_bavail * state.f_frsize < _LEAST_BYTES:
            return f"no space left for {place}: make room there"
        if state.f_files and state.f_favail < _LEAST_FILES:
            return f"no inodes left for {place}: remove files there"
        with tempfile.TemporaryFile(dir=there) as probe:
            probe.write(bytes(_PROBE_BYTES))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return f"no space or quota left for {place} ({error.strerror}): make room there"
        return f"cannot write to {place}: {error.strerror}"
    return None
