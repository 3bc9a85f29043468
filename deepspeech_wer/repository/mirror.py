"""The bare mirror of the tracked branch. Fetching into it detects new merges; 224 bytes if there are none.

The fetch calls git directly, since importing GitPython takes longer than the rest of an idle tick. If the mirror is
damaged it is deleted and fetched again, once per call.
"""

from __future__ import annotations

import logging
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from shlex import quote

from deepspeech_wer.configuration import environment
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.files import make_private, remove_tree
from deepspeech_wer.machine import signals
from deepspeech_wer.repository import evidence
from deepspeech_wer.repository.access import Access, access_to, is_by_ssh, without_questions
from deepspeech_wer.repository.git import TRACKED as TRACKED
from deepspeech_wer.repository.git import GitError, odd, run_git
from deepspeech_wer.variables import without_password

FETCH_TIMEOUT_S = 3600.0  # a first fetch may bring gigabytes; git itself gives up on a stalled line, see _SAFE
_ASKED = ".check-"  # how directories begin that `ask` makes
GC_TIMEOUT_S = 60.0  # merges wait for it
_LARGE = "too-large-for-gc"  # a file in a mirror whose gc took longer
_SMALL_PACKS = ("repack", "--geometric=2", "-d", "-l", "--quiet")  # reads what is new; a gc reads all of the history
RETRY_AFTER_S = (2.0, 5.0)  # pauses before a fetch is tried again that the network let down

log = logging.getLogger(__name__)


def update(mirror: Path, url: str, ref: str | None, *, known: str | None = None) -> str | None:
    """Fetch the tracked branch and return its newest commit; None if the repository is empty.

    If that is `known`, return at once: this is the path of an idle tick. Raises Trouble if the repository cannot be
    reached or the branch does not exist.
    """
    access = _access(url)
    try:
        return _update(mirror, access, ref, known)
    except GitError as error:
        had_locks = tidy(mirror)
        is_damaged = evidence.is_damaged(mirror, TRACKED)
        if not is_damaged and (not had_locks or evidence.cure(error)):
            raise Trouble(_cannot_fetch(mirror, url, ref, error)) from None
        if is_damaged:
            log.warning("the mirror %s is damaged, fetching it again: %s", mirror, error)
            remove_tree(mirror)
    except OSError as error:
        raise Trouble(f"cannot write the mirror {mirror}: {with_cure(error)}; the next tick tries again") from None
    try:
        return _update(mirror, access, ref, known)
    except GitError as error:
        raise Trouble(_cannot_fetch(mirror, url, ref, error)) from None


def ask(directory: Path, url: str, ref: str | None) -> str | None:
    """Return the newest commit of the tracked branch, fetched as `update` does; None if the repository is empty.

    Only that commit is fetched, into a repository in `directory` that is removed again. Raises Trouble as `update`
    does: settings of git's that only a fetch reads, say, are told here too.
    """
    access = _access(url)
    for left in directory.glob(f"{_ASKED}*"):  # by a killed `check`: no fetch takes longer than that
        if time.time() - left.lstat().st_mtime > FETCH_TIMEOUT_S:
            remove_tree(left)
    with tempfile.TemporaryDirectory(prefix=_ASKED, dir=directory) as name:
        place = Path(name) / "repository.git"
        try:
            try:
                return _update(place, access, ref, None, "--depth=1")
            except GitError as error:
                if "shallow" not in error.said:  # some servers send all or nothing
                    raise
            return _update(place, access, ref, None)
        except GitError as error:
            raise Trouble(_cannot_fetch(directory, url, ref, error)) from None


def tip(mirror: Path) -> str:
    """Return the newest fetched commit of the tracked branch. Raises GitError, or Trouble if git does not say."""
    sha = run_git(mirror, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{TRACKED}^{{commit}}")
    if not re.fullmatch(r"[0-9a-f]{40,64}", sha):
        raise odd("rev-parse", sha)
    return sha


def tidy(mirror: Path) -> bool:
    """Remove what a git that was killed leaves in the mirror: locks, and packs of any size. Only while none runs.

    Return whether there were locks.
    """
    had_locks = False
    for pattern in ("**/*.lock", "gc.pid", "objects/pack/.tmp-*", "objects/pack/tmp_*", "objects/??/tmp_obj_*"):
        for left in mirror.glob(pattern):
            left.unlink(missing_ok=True)
            had_locks |= left.suffix == ".lock"
    return had_locks


def _access(url: str) -> Access:
    """Return the access to a URL. For ssh, use the command that the user configured, but without prompts."""
    access = access_to(url)
    if access.last_resort and not environment.has_askpass_of_git() and not _configured(access, "core.askPass"):
        access = replace(access, options=(*access.options, *access.last_resort))
    if not is_by_ssh(url):
        return access
    command, program = environment.ssh_of_git()
    command = command or _configured(access, "core.sshCommand") or (quote(program) if program else "ssh")
    has_askpass = environment.askpass()["SSH_ASKPASS_REQUIRE"] != "never"
    return replace(access, environment={"GIT_SSH_COMMAND": without_questions(command, has_askpass=has_askpass)})


def _configured(access: Access, name: str) -> str:
    """What the user's configuration of git holds for a name; "" when nothing."""
    try:
        return run_git(Path("/"), "config", "--get", name, access=access)
    except GitError:
        return ""


def _update(mirror: Path, access: Access, ref: str | None, known: str | None, *options: str) -> str | None:
    for pause_s in RETRY_AFTER_S:
        try:
            return _update_once(mirror, access, ref, known, *options)
        except GitError as error:
            if not error.is_transient:
                raise
        signals.wait(pause_s)
        signals.check()
    return _update_once(mirror, access, ref, known, *options)


def _update_once(mirror: Path, access: Access, ref: str | None, known: str | None, *options: str) -> str | None:
    if not (mirror / "HEAD").exists():
        _create(mirror)
    for pattern in _patterns(ref):
        try:
            _fetch(mirror, access, pattern, *options)
        except GitError as error:
            if "couldn't find remote ref" not in error.said:
                raise
            continue
        # Asked of git even if nothing is new: a broken wrapper that does nothing and exits with 0 must not look idle.
        return tip(mirror) if known and _fetched(mirror) == known else _tip_after_tidying(mirror)
    _check_empty(mirror, access, ref)
    return None


def _fetched(mirror: Path) -> str:
    """Return the object that the tracked ref points to: a commit, or an annotated tag. "" if it cannot be read."""
    try:
        return (mirror / TRACKED).read_text("utf-8", "replace").strip()
    except OSError:
        return ""


def _tip_after_tidying(mirror: Path) -> str:
    sha = tip(mirror)
    is_large = mirror / _LARGE
    try:
        if is_large.exists():
            run_git(mirror, *_SMALL_PACKS, timeout_s=GC_TIMEOUT_S)
        else:
            run_git(mirror, "gc", "--auto", "--quiet", timeout_s=GC_TIMEOUT_S)
    except GitError as error:  # the fetch succeeded all the same
        log.warning("cannot tidy up the mirror %s: %s", mirror, error)
        tidy(mirror)
        if error.code is None:
            with suppress(OSError):
                is_large.touch()
    return sha


def _create(mirror: Path, object_format: str = "sha1") -> None:
    remove_tree(mirror)  # or a file, or a broken link
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
    if not (mirror / "HEAD").exists():
        raise odd("init", "")


def _fetch(mirror: Path, access: Access, pattern: str, *options: str) -> None:
    arguments = (
        "fetch",
        "--quiet",
        "--no-tags",
        "--no-write-fetch-head",
        "--no-auto-maintenance",
        "--update-shallow",
        "--no-recurse-submodules",
        *(options or ["--unshallow"] * (mirror / "shallow").exists()),  # the repository may have become whole
    )
    spec = f"+{pattern}:{TRACKED}"
    try:
        run_git(mirror, *arguments, "--end-of-options", access.url, spec, access=access, timeout_s=FETCH_TIMEOUT_S)
    except GitError as error:
        if "mismatched algorithms" not in error.said:
            raise
        _create(mirror, "sha256" if "server sha256" in error.said else "sha1")
        run_git(mirror, *arguments, "--end-of-options", access.url, spec, access=access, timeout_s=FETCH_TIMEOUT_S)


def _patterns(ref: str | None) -> tuple[str, ...]:
    """Return the refs to ask the remote for, in order: a branch before a tag of the same name."""
    if ref is None:
        return ("HEAD",)
    return (ref,) if ref.startswith("refs/") else (f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}")


def _check_empty(mirror: Path, access: Access, ref: str | None) -> None:
    """Raise Trouble unless the remote is empty: then only the branch is missing."""
    listed = run_git(mirror, "ls-remote", "--symref", "--end-of-options", access.url, access=access, timeout_s=120)
    if not listed:
        return
    head = re.search(r"^ref: refs/heads/(\S+)\s+HEAD$", listed, re.MULTILINE)
    branches = re.findall(r"\srefs/heads/(\S+)$", listed, re.MULTILINE)
    hint = f"its HEAD is {head[1]}" if head else f"it has {', '.join(branches[:5]) or 'no branch'}"
    missing = f"no branch {ref}" if ref else "HEAD points at no branch"
    raise Trouble(f"{without_password(access.url)}{_rewritten(access)}: {missing} there ({hint}): set ds_github_ref")


def _cannot_fetch(mirror: Path, url: str, ref: str | None, error: GitError) -> str:
    what = f" ({ref})" if ref else ""
    cure = evidence.cure_of_settings(error) or evidence.cure(error, mirror)
    told = f"cannot fetch {without_password(url)}{what}{_rewritten(access_to(url))}: {error}"
    return f"{told}; {f'{cure}; ' if cure else ''}the next tick tries again"


def _rewritten(access: Access) -> str:
    """Which URL git really asks, if a `url.<base>.insteadOf` of the user's makes another one of it; else ""."""
    try:
        asked = run_git(Path("/"), "ls-remote", "--get-url", "--end-of-options", access.url, access=access)
    except GitError:
        return ""
    if asked in ("", access.url):
        return ""
    return f", for which git asks {without_password(asked)} (url.<base>.insteadOf in git's configuration)"
