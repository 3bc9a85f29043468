"""Which merges are new: read from the mirror by GitPython."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby, takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import Merge

if TYPE_CHECKING:
    import git

MANY_COMMITS = 20  # a history that long without one merge is squashed or rebased

_SHORT_SHA = re.compile(r"[0-9A-Fa-f]{7,64}")
_FULL_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What is to be done."""

    base: str | None  # everything up to here is archived: what last_sha1 should hold; None before the first run
    next: Merge | None  # the merge to run now
    waiting: int  # merges without a run, the next one included
    squashed: int = 0  # so many commits and no merge among them: squashed or rebased


@dataclass(frozen=True)
class Known:
    """What earlier ticks left to go by."""

    last: str | None  # what last_sha1 holds, whatever it is
    archived: Collection[str]  # the first 12 digits of every archived commit
    bases: Callable[[], Collection[str]] = frozenset  # commits up to which everything was archived, told by the archive
    started: str | None = None  # the first run, where it was cut off


def find(mirror: Path, tip: str, known: Known, *, track: str = "merges", backlog: str = "all") -> Found:
    """The merges up to `tip` that are not archived, and which of them comes first.

    `track` and `backlog` are the settings of these names. On the first run the tip alone is due; from then on all that
    come after last_sha1. Where that is missing, garbage or no longer in the history, it goes on from the newest of the
    bases there; where there is none, as on the first run.
    """
    if tip == known.last:
        return Found(tip, None, 0)
    with _opened(mirror) as repository:
        return _find(repository, tip, known, track, backlog)


def contains(mirror: Path, tip: str, sha: str) -> bool:
    """Whether a commit is in the history of `tip`."""
    with _opened(mirror) as repository:
        return _is_in_history(repository, sha, tip)


@contextmanager
def _opened(mirror: Path) -> Iterator[git.Repo]:
    """The mirror for GitPython. Closing it ends what it keeps running.

    Raises Trouble where something in it is damaged; then it is gone, and fetched anew by the next call.
    """
    from configparser import Error  # of its config

    import git  # 35 ms: an idle tick has no need of it

    try:
        with git.Repo(mirror) as repository:
            # Said outright, a bare one is right by any ~/.gitconfig.
            repository.git.update_environment(GIT_DIR=str(mirror))
            yield repository
    except (git.GitError, Error, UnicodeDecodeError) as error:
        shutil.rmtree(mirror, ignore_errors=True)
        reason = " ".join(str(error).split())[-200:]
        raise Trouble(f"the mirror {mirror} is damaged, and fetched anew by the next call: {reason}") from None


def _find(repository: git.Repo, tip: str, known: Known, track: str, backlog: str) -> Found:
    last, archived = known.last, known.archived
    base = last if _is_in_history(repository, last, tip) else _newest(repository, tip, known.bases())
    if base is None:
        return _find_first(repository, tip, known)
    new = _between(repository, base, tip, track)
    squashed = _squashed(repository, tip) if track == "merges" and not new else 0
    done = list(takewhile(lambda sha: sha[:12] in archived, new))
    due = [sha for sha in new if sha[:12] not in archived]
    chosen = _choose(new, archived, backlog) if due else None
    merge = _merge(repository, chosen, _count(repository, chosen)) if chosen else None
    reached = done[-1] if done else base
    if base != last:
        _tell_of_rewriting(last, f"from {reached[:12]}, up to which all is archived")
    return Found(reached, merge, len(due), squashed)


def _find_first(repository: git.Repo, tip: str, known: Known) -> Found:
    """The tip; once begun, the same commit, though the branch has moved on."""
    _tell_of_rewriting(known.last, "with its newest commit, for none is archived")
    started = known.started if _is_in_history(repository, known.started, tip) else None
    due = [sha for sha in (started, tip) if sha and sha[:12] not in known.archived]
    if not due:  # it was run by hand
        return Found(tip, None, 0)
    return Found(None, _merge(repository, due[0], _count(repository, due[0])), 1)


def _tell_of_rewriting(last: str | None, way: str) -> None:
    if last is None:
        return
    if _FULL_SHA.fullmatch(last):
        log.warning("the branch was rewritten: last_sha1 %s is not in its history; going on %s", last, way)
    else:
        log.warning("last_sha1 is damaged: expected 40 or 64 hex digits, found %r; going on %s", last[:64], way)


def resolve(mirror: Path, names: Sequence[str]) -> list[Merge]:
    """The commits of `names` (7 to 64 hex digits), in the order given. Raises Trouble: unknown or ambiguous."""
    with _opened(mirror) as repository:
        shas = [_resolve(repository, name) for name in names]
        return [_merge(repository, sha, _count(repository, sha)) for sha in shas]


def _resolve(repository: git.Repo, name: str) -> str:
    if not _SHORT_SHA.fullmatch(name):  # HEAD is the mirror's own there, and means nothing to anybody
        raise Trouble(f"{name!r}: expected a commit's 7 to 64 hex digits")
    sha = _answer(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if sha is None:
        raise Trouble(f"{name}: no commit of the tracked branch, or not the only one: give more digits")
    return sha


def _choose(new: Sequence[str], archived: Collection[str], backlog: str) -> str:
    """The oldest without a run; or the newest, then the middle of the longest stretch without one."""
    due = [sha[:12] not in archived for sha in new]
    if backlog == "all" or not any(due):
        return new[due.index(True)]
    if due[-1]:
        return new[-1]
    stretches = [[place for place, _ in group] for is_due, group in groupby(enumerate(due), lambda p: p[1]) if is_due]
    longest = max(stretches, key=len)
    return new[longest[len(longest) // 2]]


def _newest(repository: git.Repo, tip: str, shas: Collection[str]) -> str | None:
    """The newest of some commits in the first-parent history."""
    return next((sha for sha in _chain(repository, tip) if sha in shas), None) if shas else None


def _is_in_history(repository: git.Repo, sha: str | None, tip: str) -> bool:
    if not sha or not _FULL_SHA.fullmatch(sha):  # `--all`, `-n1` and `HEAD~3` mean something to git
        return False
    return _answer(repository, "merge-base", "--is-ancestor", sha, tip) is not None


def _answer(repository: git.Repo, *arguments: str) -> str | None:
    """What git says; None where it fails."""
    from git import GitCommandError

    try:
        said: str = repository.git.execute(["git", *arguments])
    except GitCommandError:
        return None
    return said


def _between(repository: git.Repo, base: str, tip: str, track: str) -> list[str]:
    options = ["--reverse", "--first-parent"] + (["--merges"] if track == "merges" else [])
    listed: str = repository.git.rev_list(*options, f"{base}..{tip}")
    return listed.split()


def _chain(repository: git.Repo, tip: str) -> list[str]:
    """The first-parent history, newest first."""
    listed: str = repository.git.rev_list("--first-parent", tip)
    return listed.split()


def _count(repository: git.Repo, sha: str) -> int:
    return int(repository.git.rev_list("--first-parent", "--count", sha))


def _squashed(repository: git.Repo, tip: str) -> int:
    """How many commits there are, where they are many and no merge is among them; else 0."""
    if int(repository.git.rev_list("--first-parent", "--merges", "--count", "--max-count=1", tip)):
        return 0
    commits = _count(repository, tip)
    return commits if commits >= MANY_COMMITS else 0


def _merge(repository: git.Repo, sha: str, ordinal: int) -> Merge:
    """A commit as git shows it: GitPython's own reading of one fails on an absurd date or an unknown encoding."""
    shown: bytes = repository.git.log(
        "--max-count=1",
        "--no-show-signature",
        "--encoding=UTF-8",
        "--format=tformat:%H%x00%P%x00%ct%x00%an%x00%B",
        sha,
        stdout_as_string=False,
        strip_newline_in_stdout=False,
    )
    name, parents, seconds, author, message = shown.decode(errors="replace").split("\0", 4)
    return Merge(
        sha=name,
        ordinal=ordinal,
        subject=_line(message.partition("\n")[0]),
        author=_line(author),
        committed_at=_time(seconds),
        parents=tuple(parents.split()),
    )


def _time(seconds: str) -> str:
    """Anything may stand in a commit: what is no date of ours becomes the last one that can be written."""
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return "9999-12-31T23:59:59Z"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:300]
