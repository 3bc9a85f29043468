"""Reads the commits of the tracked branch from the mirror, with GitPython."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from configparser import Error as ConfigError
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from deepspeech_wer import clock
from deepspeech_wer.configuration import environment
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import remove_tree
from deepspeech_wer.records import Changed, Merge
from deepspeech_wer.repository import evidence
from deepspeech_wer.repository.git import LOCAL_TIMEOUT_S, TRACKED, GitError, failure, local_environment, odd, run_git

if TYPE_CHECKING:
    import git

_REVERTS = re.compile(r"^This reverts commit ([0-9a-f]{7,64})\b", re.IGNORECASE | re.MULTILINE)
_PULL_REQUEST = re.compile(r"Merge pull request #(\d{1,9})\b")
_SQUASHED = re.compile(r"\(#(\d{1,9})\)$")  # GitHub's subject of a squashed pull request
_MERGE_REQUEST = re.compile(r"^See merge request \S*!(\d{1,9})$", re.MULTILINE)
_MAX_MESSAGES = 100  # of a merge's commits
MOST_FILES = 20  # that a merge's record names
MANY_COMMITS = 20  # this many commits without a merge suggest squash or rebase merging

_SHORT_SHA = re.compile(r"[0-9A-Fa-f]{7,64}")
# What `git pull` calls a merge of the branch into a local line of the same name: a feature's says "into feature".
_PULLED = re.compile(r"Merge (remote-tracking branch 'origin/[\w./-]+'|branch '[\w./-]+' of \S+)$")
_FULL_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class History(NamedTuple):
    """The tracked branch since a commit up to which every merge is archived."""

    tip: str
    base: str | None  # that commit; None if the history has none: before the first run, or after a rewrite
    new: tuple[str, ...] = ()  # the first-parent commits after `base` that are tracked, oldest first
    squashed: int = 0  # number of commits, if at least MANY_COMMITS and none is a merge; else 0
    lost: str | None = None  # the text of last_sha1, if it is not a commit of this history
    passed_over: tuple[str, ...] = ()  # merges of the branch that a foxtrot merge moved off the first-parent line


def read(
    mirror: Path, tip: str, last: str | None, *, bases: Callable[[], Collection[str]] = tuple, track: str = "merges"
) -> History:
    """Read the history from `last` to `tip`. `last` is the text of last_sha1 and may be anything.

    If `last` is not in the history, read from the newest of `bases` that is. `track` is the setting ds_track. Raises
    Trouble if the mirror is damaged.
    """
    if tip == last:
        return History(tip, tip)
    found = _since(mirror, last, tip, track) if last is not None else None
    if found:
        return found
    with _opened(mirror) as repository:
        base = _newest(repository, tip, bases())
    found = _since(mirror, base, tip, track) if base is not None else None
    return (found or History(tip, None))._replace(lost=last)


@lru_cache(maxsize=4)  # commits do not change, and a tick reads the same history before and after each run
def _since(mirror: Path, base: str, tip: str, track: str) -> History | None:
    """Read the history from `base`, which may be any text; None if that is no commit of it. Raises Trouble."""
    with _opened(mirror) as repository:
        if not _is_in_history(repository, base, tip):
            return None
        new = _between(repository, base, tip, track)
        squashed = _squashed(repository, tip) if track != "commits" and not new else 0
        passed_over = _passed_over(repository, base, tip) if track != "commits" else []
        if track == "all-merges":
            new, passed_over = [*passed_over, *new], []
        return History(tip, base, tuple(new), squashed, None, tuple(passed_over))


def is_sha(text: str) -> bool:
    """Return whether a text is a full SHA."""
    return bool(_FULL_SHA.fullmatch(text))


def contains(mirror: Path, tip: str, sha: str) -> bool:
    """Return whether a commit is in the history of `tip`."""
    with _opened(mirror) as repository:
        return _is_in_history(repository, sha, tip)


def contained(mirror: Path, tip: str, shas: Sequence[str]) -> list[str]:
    """Return those of the commits, in their order, that are in the history of `tip`. One call of git for all."""
    if len(shas) <= 1:
        return [sha for sha in shas if contains(mirror, tip, sha)]
    with _opened(mirror) as repository:
        history = set(_list(repository, tip))
    return [sha for sha in shas if sha in history]


@lru_cache(maxsize=8)  # a tick asks three times for the merge that it trains
def merge(mirror: Path, sha: str) -> Merge:
    """Read a commit. Raises Trouble if the mirror is damaged."""
    with _opened(mirror) as repository:
        return _merge(repository, sha)


def changed(mirror: Path, merge: Merge, script: str = "") -> Changed:
    """Return which files a merge changed against its first parent, the job's script always if it is among them.

    Raises Trouble if the mirror is damaged.
    """
    if not merge.parents:
        return Changed()
    with _opened(mirror) as repository:
        shown: bytes = repository.git.diff_tree(
            "-r",
            "--numstat",
            "-z",
            "--no-renames",
            "--no-ext-diff",
            "--no-textconv",
            merge.parents[0],
            merge.sha,
            stdout_as_string=False,
        )
    found = [_changed_file(entry) for entry in shown.decode(errors="replace").split("\0") if entry]
    most = sorted(found, key=lambda file: (-(file[1] or 0) - (file[2] or 0), file[0]))
    kept = most[:MOST_FILES]
    kept[-1:] = [file for file in most[MOST_FILES:] if file[0] == script] or kept[-1:]
    return Changed(tuple(kept), len(found))


def _changed_file(entry: str) -> tuple[str, int | None, int | None]:
    parts = entry.split("\t", 2)
    if len(parts) != 3:
        raise odd("diff-tree", entry)
    added, removed, path = parts
    return _line(path), _lines(added), _lines(removed)


def _lines(count: str) -> int | None:
    return int(count) if count.isdecimal() else None  # "-": a binary file


def resolve(mirror: Path, names: Sequence[str]) -> list[Merge]:
    """Return the commits of `names` (7 to 64 hex digits). Raises Trouble if one is unknown or ambiguous."""
    with _opened(mirror) as repository:
        return [_merge(repository, _resolve(repository, name)) for name in names]


def known(mirror: Path, names: Collection[str]) -> dict[str, Merge]:
    """Return those of the commits (7 to 64 hex digits) that the mirror has, by the name given."""
    found = {}
    with _opened(mirror) as repository:
        for name in names:
            sha = _answer(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
            if sha is not None:
                found[name] = _merge(repository, sha)
    return found


def look_up(mirror: Path, name: str) -> str:
    """Return the SHA of a commit, while a tick may be at work: unlike all else here, this never removes the mirror.

    Raises Trouble if the mirror has no such commit.
    """
    _check_short(name)
    try:
        return run_git(mirror, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    except (GitError, OSError):
        raise Trouble(f"{name}: not found in {mirror}: try again once the running tick has fetched it") from None


def between(mirror: Path, base: str, tip: str) -> list[tuple[str, str, str]] | None:
    """Return (SHA, author, subject) of the first-parent commits after `base` up to `tip`, oldest first.

    None if the mirror does not know them, or `base` is not before `tip`. A tick may be at work: nothing is removed.
    """
    try:
        run_git(mirror, "merge-base", "--is-ancestor", "--end-of-options", base, tip)
        form = "--format=%H%x00%an%x00%s"
        listed = run_git(mirror, "log", "--first-parent", "--reverse", form, "--end-of-options", f"{base}..{tip}")
    except (GitError, OSError):
        return None
    rows = (line.split("\0") for line in listed.splitlines())
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


@contextmanager
def _opened(mirror: Path) -> Iterator[git.Repo]:
    """Open the mirror with GitPython. Leaving the block ends the processes that GitPython keeps running.

    Raises Trouble if it cannot be read. If it is proved to be damaged, it is removed, and fetched again by the next
    call.
    """
    try:
        with environment.sealed():  # it asks git for its version
            import git  # takes 35 ms, and an idle tick does not need it
    except ImportError as error:
        raise odd("version", str(error)) from None
    try:
        with git.Repo(mirror) as repository:
            repository.git = _with_deadline(mirror)
            # GIT_DIR: a bare repository that is named outright is right by any ~/.gitconfig.
            repository.git.update_environment(**local_environment(), GIT_DIR=str(mirror))
            yield repository
    except (git.GitError, ConfigError, UnicodeDecodeError) as error:
        failed = _failure(error)
        is_of_git = isinstance(error, git.GitError)  # else GitPython could not parse the mirror's configuration
        if not is_of_git or (failed.code is not None and evidence.is_damaged(mirror, TRACKED)):
            remove_tree(mirror)
            raise Trouble(f"removed the damaged mirror {mirror}, which the next tick fetches again: {failed}") from None
        cure = evidence.cure(failed, mirror)
        told = f"{failed}; {cure}" if cure else failed
        raise Trouble(f"cannot read the mirror {mirror}: {told}; the next tick tries again") from None


def _with_deadline(mirror: Path) -> git.Git:
    """Return GitPython's git with the time limit of ours: what it reads may be a pipe, or on a dead disk."""
    import git

    class Timed(git.Git):
        def execute(self, *arguments: Any, **named: Any) -> Any:
            return super().execute(*arguments, **named, kill_after_timeout=LOCAL_TIMEOUT_S)

    return Timed(mirror)


def _failure(error: Exception) -> GitError:
    """What GitPython raised, as an error of our own git."""
    from git import GitCommandError

    if not isinstance(error, GitCommandError) or not isinstance(error.status, int):
        return GitError(" ".join(str(error).split())[-200:], 128)
    said = error.stderr.strip().removeprefix("stderr: '").removesuffix("'")
    if said.startswith("Timeout: "):
        return GitError(f"git {error.command[1]}: not done after {LOCAL_TIMEOUT_S:.0f} s", None)
    return failure(str(error.command[1]), error.status, said)


def _resolve(repository: git.Repo, name: str) -> str:
    _check_short(name)
    sha = _answer(repository, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if sha is None:
        cure = "give more digits; one of another branch must be merged"
        raise Trouble(f"{name}: no commit of the tracked branch matches, or several do: {cure}")
    return sha


def _check_short(name: str) -> None:
    if not _SHORT_SHA.fullmatch(name):  # names such as HEAD mean something else in the mirror
        raise Trouble(f"{name!r}: expected 7 to 64 hex digits of a commit")


def _newest(repository: git.Repo, tip: str, shas: Collection[str]) -> str | None:
    """Return the newest of `shas` in the first-parent history."""
    return next((sha for sha in _first_parents(repository, tip) if sha in shas), None) if shas else None


def _is_in_history(repository: git.Repo, sha: str, tip: str) -> bool:
    if not is_sha(sha):  # git would interpret `--all`, `-n1` or `HEAD~3`
        return False
    return _answer(repository, "merge-base", "--is-ancestor", sha, tip) is not None


def _answer(repository: git.Repo, *arguments: str) -> str | None:
    """What git says; None where it says no."""
    from git import GitCommandError

    try:
        said: str = repository.git.execute(["git", *arguments])
    except GitCommandError as error:
        failed = _failure(error)
        if failed.code not in (1, 128) or evidence.cure(failed):  # that is no answer
            raise
        return None
    return said


def _passed_over(repository: git.Repo, base: str, tip: str) -> list[str]:
    """Return the merges since `base`, oldest first, that were on the branch and lie behind a foxtrot merge now.

    A foxtrot merge has the branch as its second parent: somebody merged it into their own line, and pushed that. If
    that line began at `base`, only the subject that `git pull` writes tells it from the merge of a feature branch.
    """
    parents = _parents_since(repository, base, tip)
    leads: dict[str, bool] = {}
    is_certain = not _leads_to(parents, base, tip, leads)
    candidates: dict[str, str] = {}  # the branch's former tip, by the merge that may be a foxtrot
    commit = tip
    while commit in parents:
        for parent in parents[commit][1:]:
            if parent == base or _leads_to(parents, base, parent, leads):
                candidates.setdefault(commit, parent)
        commit = next(iter(parents[commit]), "")
    if not candidates:
        return []
    subjects = {} if is_certain else _subjects(repository, base, tip)
    for merge, former_tip in candidates.items():
        if is_certain or _PULLED.match(subjects.get(merge, "")):
            return _between(repository, base, former_tip, "merges")
    return []


def _leads_to(parents: Mapping[str, Sequence[str]], base: str, tip: str, known: dict[str, bool]) -> bool:
    """Return whether `base` is on the first-parent line of `tip`, or `tip` in the history of `base`.

    `parents` are those of each commit since `base`; `known` keeps the answers, so that no line is walked twice.
    """
    line, commit, before = [], tip, base
    while commit in parents and commit not in known:
        line.append(commit)
        before = next(iter(parents[commit]), "")
        commit = before
    answer = known.get(commit, before == base)
    known.update(dict.fromkeys(line, answer))
    return answer


def _parents_since(repository: git.Repo, base: str, tip: str) -> dict[str, list[str]]:
    """Return the parents of each commit that `tip` has in its history and `base` has not. One call of git."""
    listed: str = repository.git.rev_list("--parents", f"{base}..{tip}")
    rows = [line.split() for line in listed.splitlines()]
    if not all(is_sha(sha) for row in rows for sha in row):
        raise odd("rev-list", listed)
    return {row[0]: row[1:] for row in rows}


def _subjects(repository: git.Repo, base: str, tip: str) -> dict[str, str]:
    """Return the subject of each commit on the first-parent line since `base`. One call of git."""
    shown: bytes = repository.git.log(
        "-z",
        "--first-parent",
        "--no-show-signature",
        "--encoding=UTF-8",
        "--format=tformat:%H%x00%B",
        f"{base}..{tip}",
        stdout_as_string=False,
        strip_newline_in_stdout=False,
    )
    told = shown.decode(errors="replace").split("\0")
    return {sha: _line(message.partition("\n")[0]) for sha, message in zip(told[::2], told[1::2], strict=False)}


def _between(repository: git.Repo, base: str, tip: str, track: str) -> list[str]:
    options = ["--reverse", "--first-parent"] + ([] if track == "commits" else ["--merges"])
    return _list(repository, *options, f"{base}..{tip}")


def _first_parents(repository: git.Repo, tip: str) -> list[str]:
    """Return the first-parent history, newest first."""
    return _list(repository, "--first-parent", tip)


def _list(repository: git.Repo, *options: str) -> list[str]:
    """Return the commits that `git rev-list` lists. Raises Trouble."""
    listed: str = repository.git.rev_list(*options)
    shas = listed.split()
    if not all(map(is_sha, shas)):
        raise odd("rev-list", listed)
    return shas


def _count(repository: git.Repo, sha: str, *options: str) -> int:
    counted: str = repository.git.rev_list("--first-parent", "--count", *options, sha)
    if not counted.isdecimal():
        raise odd("rev-list", counted)
    return int(counted)


def _squashed(repository: git.Repo, tip: str) -> int:
    if _count(repository, tip, "--merges", "--max-count=1"):
        return 0
    commits = _count(repository, tip)
    return commits if commits >= MANY_COMMITS else 0


def _merge(repository: git.Repo, sha: str) -> Merge:
    """Read a commit with `git log`: GitPython's parser fails on an invalid date or an unknown encoding."""
    shown: bytes = repository.git.log(
        "--max-count=1",
        "--no-show-signature",
        "--encoding=UTF-8",
        "--format=tformat:%H%x00%P%x00%ct%x00%an%x00%B",
        sha,
        stdout_as_string=False,
        strip_newline_in_stdout=False,
    )
    told = shown.decode(errors="replace").split("\0", 4)
    if len(told) != 5 or not all(map(is_sha, (told[0], *told[1].split()))):
        raise odd("log", told[0])
    name, parents, seconds, author, message = told
    request = _request(message)
    if len(parents.split()) > 1:
        message += _messages(repository, f"{name}^1..{name}")
    return Merge(
        sha=name,
        ordinal=_count(repository, sha),
        subject=_line(message.partition("\n")[0]),
        author=_line(author),
        committed_at=_time(seconds),
        parents=tuple(parents.split()),
        reverts=tuple(dict.fromkeys(found.lower() for found in _REVERTS.findall(message))),
        request=request,
    )


def _request(message: str) -> str | None:
    """Return the number of the pull or merge request that a commit's message names."""
    subject = message.partition("\n")[0]
    found = _MERGE_REQUEST.search(message)
    if found:
        return f"!{found[1]}"
    found = _PULL_REQUEST.match(subject) or _SQUASHED.search(subject)
    return f"#{found[1]}" if found else None


def _messages(repository: git.Repo, commits: str) -> str:
    """Return the messages of the newest commits in a range."""
    shown: bytes = repository.git.log(
        f"--max-count={_MAX_MESSAGES}",
        "--no-show-signature",
        "--encoding=UTF-8",
        "--format=tformat:%B",
        commits,
        stdout_as_string=False,
    )
    return "\n" + shown.decode(errors="replace")


def _time(seconds: str) -> str:
    """Format a commit's time. A commit can hold any number: an invalid date becomes the latest possible one."""
    try:
        moment = datetime.fromtimestamp(int(seconds), UTC)
    except (ValueError, OverflowError, OSError):
        return "9999-12-31T23:59:59Z"
    return moment.strftime(clock.UTC)


def _line(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:300]
