"""Which merges are new, compared with real git."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepspeech_wer.backlog import Branch, Interrupted, State
from deepspeech_wer.backlog import plan as make_plan
from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import processes
from deepspeech_wer.records import Merge
from deepspeech_wer.repository import git, history, mirror
from tests.conftest import Repository


@dataclass(frozen=True)
class Known:
    """What earlier ticks left."""

    last: str | None  # the content of last_sha1
    archived: Collection[str]  # the first 12 digits of every archived commit
    bases: Callable[[], Collection[str]] = frozenset
    started: str | None = None  # the commit of an interrupted first run


@dataclass(frozen=True)
class Found:
    """What a tick finds in a history."""

    base: str | None
    next: Merge | None
    waiting: int
    squashed: int = 0


def find(bare: Path, tip: str, known: Known, *, track: str = "merges", backlog: str = "all") -> Found:
    """Read the history from the mirror and plan what to run."""
    read = history.read(bare, tip, known.last, bases=known.bases, track=track)
    interrupted = []
    if known.started:
        interrupted = [
            Interrupted(known.started, known.started, is_on_branch=history.contains(bare, tip, known.started))
        ]
    state = State(known.archived, interrupted, order=backlog)
    plan = make_plan(Branch(read.tip, read.base, read.new), state)
    merge = history.merge(bare, plan.next.sha) if plan.next else None
    return Found(plan.reached, merge, plan.waiting, read.squashed)


def replay(
    bare: Path, tip: str, last: str | None, archived: set[str], bases: set[str] | None = None, **options: str
) -> list[str]:
    """Plan until nothing is due. Returns the SHAs in the order in which they would run."""
    ran: list[str] = []
    bases = bases or set()
    while (found := find(bare, tip, Known(last, archived, lambda: bases), **options)).next:
        assert found.next.sha not in ran
        ran.append(found.next.sha)
        archived.add(found.next.sha[:12])
        bases.add(found.base or found.next.sha)
        last = found.base
    return ran


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return tmp_path / "repository.git"


def fetched(bare: Path, repository: Repository) -> str:
    tip = mirror.update(bare, str(repository.path), None)
    assert tip
    return tip


def test_the_head_runs_first_then_every_merge_once(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    found = find(bare, fetched(bare, repository), Known(None, set()))
    assert found.next
    assert (found.next.sha, found.next.ordinal, found.waiting, found.base) == (root, 1, 1, None)
    shas = [repository.merge(subject) for subject in "abc"]
    assert replay(bare, fetched(bare, repository), root, {root[:12]}) == shas


def test_a_merge_is_described(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    sha = repository.merge("bring in \x1b[31m<b>")
    found = find(bare, fetched(bare, repository), Known(root, {root[:12]}))
    assert found.next
    assert found.next.subject == "bring in  [31m<b>"
    assert (found.next.author, found.next.ordinal, found.next.sha) == ("Ada", 2, sha)
    assert found.next.parents[0] == root
    assert found.next.committed_at.endswith("Z")


@pytest.mark.parametrize(
    ("message", "request_"),
    [
        ("Merge pull request #12 from ada/faster\n\nFaster", "#12"),
        ("Faster (#12)", "#12"),
        ("Merge branch 'faster' into 'main'\n\nFaster\n\nSee merge request speech/team!34", "!34"),
        ("See merge request !34", "!34"),
        ("Merge branch 'fix-#12'", None),
        ("Faster, see #12 (#13) of 2016", None),
    ],
)
def test_the_request_of_a_merge(repository: Repository, bare: Path, message: str, request_: str | None) -> None:
    repository.commit("root")
    sha = repository.merge(message)
    fetched(bare, repository)
    assert history.merge(bare, sha).request == request_


def test_what_a_merge_changed(repository: Repository, bare: Path) -> None:
    root = repository.commit("root", {"a": "1\n2\n", "gone": "1\n"})
    (repository.path / "gone").unlink()
    (repository.path / "binary").write_bytes(b"\0\1")
    sha = repository.merge("more", {"a": "1\n3\n4\n", "wörd\tand\nline": "1\n"})
    fetched(bare, repository)
    changed = history.changed(bare, history.merge(bare, sha))
    assert changed.files == (("a", 2, 1), ("gone", 0, 1), ("wörd and line", 1, 0), ("binary", None, None))
    assert changed.files_count == 4
    assert history.changed(bare, history.merge(bare, root)).files == ()
    many = {str(number): "text\n" * (number + 2) for number in range(history.MOST_FILES)}
    sha = repository.merge("many", {**many, "bin/job": "1\n"})
    fetched(bare, repository)
    changed = history.changed(bare, history.merge(bare, sha), "bin/job")
    assert (changed.files[0], changed.files[-1]) == (("19", 21, 0), ("bin/job", 1, 0))
    assert (len(changed.files), changed.files_count) == (history.MOST_FILES, history.MOST_FILES + 1)


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        ("@999999999999 +0000", "9999-12-31T23:59:59Z"),
        ("@99999999999999999 +0000", "9999-12-31T23:59:59Z"),
        ("@1 -1200", "1970-01-01T00:00:01Z"),
    ],
)
def test_an_invalid_date_is_accepted(
    repository: Repository, bare: Path, monkeypatch: pytest.MonkeyPatch, date: str, shown: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", date)
        repository.commit("root")
    found = find(bare, fetched(bare, repository), Known(None, set()))
    assert found.next
    assert (found.next.committed_at, found.next.subject) == (shown, "root")


@pytest.mark.parametrize("encoding", ["x-klingon", "ISO-8859-1", "utf-7"])
def test_any_encoding_is_accepted(repository: Repository, bare: Path, encoding: str) -> None:
    repository.git("config", "i18n.commitEncoding", encoding)
    repository.git("config", "user.name", "Ada L")
    repository.commit("root\nand more")
    found = find(bare, fetched(bare, repository), Known(None, set()))
    assert found.next
    assert (found.next.author, found.next.subject) == ("Ada L", "root")


def test_no_git_process_is_left(repository: Repository, bare: Path) -> None:
    tip = repository.commit("root")
    before = running_gits()
    assert find(bare, fetched(bare, repository), Known(None, set())).next
    assert history.resolve(bare, [tip])
    assert running_gits() <= before  # a job could read its environment


def running_gits() -> set[int]:
    """Return the git processes below this one. Other tests' jobs may leave some here at any time."""
    return {pid for pid in processes.descendants(os.getpid()) if _name(pid) == "git"}


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:  # it has ended
        return ""


def test_nothing_new(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    assert find(bare, fetched(bare, repository), Known(root, {root[:12]})) == Found(root, None, 0)


def test_a_direct_push_is_a_commit_but_not_a_merge(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    pushed = repository.commit("pushed")
    tip = fetched(bare, repository)
    assert find(bare, tip, Known(root, {root[:12]})) == Found(root, None, 0)
    assert replay(bare, tip, root, {root[:12]}, track="commits") == [pushed]


def test_an_archived_merge_is_never_run_again(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    shas = [repository.merge(subject) for subject in "abc"]
    found = find(bare, fetched(bare, repository), Known(root, {shas[0][:12], shas[1][:12]}))
    assert (found.base, found.next and found.next.sha, found.waiting) == (shas[1], shas[2], 1)


def test_after_a_force_push_it_continues_after_the_newest_archived(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    kept, lost = repository.merge("kept"), repository.merge("lost")
    fetched(bare, repository)
    repository.git("reset", "--quiet", "--hard", kept)
    new = repository.merge("new")
    archived = {sha[:12] for sha in (root, kept, lost)}
    assert replay(bare, fetched(bare, repository), lost, archived, {root, kept}) == [new]
    assert history.read(bare, fetched(bare, repository), lost).lost == lost


@pytest.mark.parametrize("last", ["--all", "-n1", "HEAD~3", "", "0" * 40, "deadbeef", "\x00"])
def test_garbage_in_last_sha1_reaches_no_git(repository: Repository, bare: Path, last: str) -> None:
    root = repository.commit("root")
    sha = repository.merge("a")
    tip = fetched(bare, repository)
    assert replay(bare, tip, last, {root[:12]}, {root}) == [sha]
    assert replay(bare, tip, last, set()) == [tip]


def test_squashing_is_noticed(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    for n in range(history.MANY_COMMITS):
        repository.commit(str(n))
    tip = fetched(bare, repository)
    assert find(bare, tip, Known(root, {root[:12]})).squashed == history.MANY_COMMITS + 1
    assert find(bare, tip, Known(root, {root[:12]}), track="commits").squashed == 0
    repository.merge("a")
    assert find(bare, fetched(bare, repository), Known(root, {root[:12]})).squashed == 0


def test_the_newest_runs_first_then_the_middle_of_the_longest_gap(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    shas = [repository.merge(str(n)) for n in range(7)]
    ran = replay(bare, fetched(bare, repository), root, {root[:12]}, backlog="newest")
    assert [shas.index(sha) for sha in ran] == [6, 3, 1, 5, 0, 2, 4]


@pytest.mark.parametrize("backlog", ["all", "newest"])
def test_without_last_sha1_the_archive_determines_what_is_due(repository: Repository, bare: Path, backlog: str) -> None:
    root = repository.commit("root")
    shas = [repository.merge(str(n)) for n in range(6)]
    tip = fetched(bare, repository)
    last: str | None = root
    archived, bases, ran = {root[:12]}, {root}, []
    for _ in range(6):
        found = find(bare, tip, Known(last, archived, lambda: bases), backlog=backlog)
        forgetful = find(bare, tip, Known(None, archived, lambda: bases), backlog=backlog)
        assert forgetful == found
        assert found.next
        ran.append(found.next.sha)
        archived.add(found.next.sha[:12])
        bases.add(str(found.base))
        last = found.base
    assert sorted(ran) == sorted(shas)
    assert find(bare, tip, Known(None, archived, lambda: bases), backlog=backlog).next is None


def test_a_commit_run_by_hand_is_not_a_base(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    for n in range(3):
        tip = repository.merge(str(n))
    assert replay(bare, fetched(bare, repository), None, {root[:12]}) == [tip]
    found = find(bare, tip, Known(None, {tip[:12]}))
    assert found == Found(tip, None, 0)


def test_the_first_run_is_finished_even_if_the_branch_moves_on(repository: Repository, bare: Path) -> None:
    first = repository.commit("root")
    second = repository.merge("a")
    tip = fetched(bare, repository)
    found = find(bare, tip, Known(None, set(), started=first))
    assert found.next
    assert found.next.sha == first
    assert replay(bare, tip, None, {first[:12]}, {first}) == [second]
    found = find(bare, tip, Known(None, set(), started="f" * 40))  # no longer in the history
    assert found.next
    assert found.next.sha == second


def test_forced_commits_are_found_by_their_first_digits(repository: Repository, bare: Path) -> None:
    sha = repository.commit("root")
    fetched(bare, repository)
    assert [merge.sha for merge in history.resolve(bare, [sha[:8], sha])] == [sha, sha]
    with pytest.raises(Trouble, match="abcdef0: no commit"):
        history.resolve(bare, ["abcdef0"])
    for name in ("HEAD", "tracked", "HEAD~1", sha[:6], "--all"):
        with pytest.raises(Trouble, match="expected 7 to 64 hex digits of a commit"):
            history.resolve(bare, [name])


@pytest.mark.parametrize("damage", ["a config that git can read", "a config of nulls", "a lost commit"])
def test_damage_that_a_fetch_does_not_notice_is_repaired(repository: Repository, bare: Path, damage: str) -> None:
    root = repository.commit("root")
    for subject in "ab":
        repository.merge(subject)
    tip = fetched(bare, repository)
    if damage == "a lost commit":
        (bare / "objects" / root[:2] / root[2:]).unlink()
    else:
        (bare / "config").write_bytes(b"garbage\n" if damage.endswith("read") else bytes(60))
    with pytest.raises(
        Trouble, match=f"removed the damaged mirror {bare}, which the next tick fetches again: "
    ) as told:
        find(bare, tip, Known(None, set()))
    assert "\n" not in str(told.value)
    assert find(bare, fetched(bare, repository), Known(None, set())).next


@pytest.mark.parametrize("before", ["kill -9 $$", "exit 137", "echo 'fatal: Out of memory' >&2; exit 128"])
def test_a_git_that_is_ended_answers_nothing_and_costs_no_mirror(
    repository: Repository, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    root = repository.commit("root")
    repository.merge("a")
    tip = fetched(bare, repository)
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "git"
    for asked_for in ("merge-base", "rev-list", "log"):
        real = shutil.which("git", path="/usr/bin:/bin:/usr/local/bin")
        script.write_text(f'#!/bin/sh\ncase "$*" in *{asked_for}*) {before};; esac\nexec {real} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        with pytest.raises(Trouble, match=r"cannot read the mirror .*memory.*the next tick tries again"):
            find(bare, tip, Known(root, {root[:12]}))
    script.unlink()
    assert find(bare, tip, Known(root, {root[:12]})).next


# -- generated histories, compared with git's answer

MOVES = ("push", "merge", "octopus", "foxtrot", "criss-cross", "back-merge", "unrelated", "fast-forward")


class History:
    """A history of any shape, for git fast-import. Commits are numbers."""

    def __init__(self, moves: list[tuple[str, int, int]]) -> None:
        self.stream = ""
        self.commits = 0
        self.main = self.commit()
        self.tips = [self.main]
        for move, which, other in moves:
            self.main = self.moved(move, 1 + which % self.commits, 1 + other % self.commits)
            self.tips.append(self.main)
        for number, tip in enumerate([*self.tips, self.main]):
            name = "main" if number == len(self.tips) else f"tip-{number}"
            self.stream += f"reset refs/heads/{name}\nfrom :{tip}\n\n"

    def commit(self, *parents: int) -> int:
        """Add a commit with these parents, in this order; without parents, a root commit."""
        self.commits += 1
        start = "" if parents else "reset refs/heads/work\n\n"
        self.stream += f"{start}commit refs/heads/work\nmark :{self.commits}\n"
        self.stream += f"committer A <a@example.com> {self.commits} +0000\ndata 1\nx\n"
        for word, parent in zip(("from", *["merge"] * len(parents)), dict.fromkeys(parents), strict=False):
            self.stream += f"{word} :{parent}\n"
        return self.commits

    def moved(self, move: str, which: int, other: int) -> int:
        """Apply a move and return the new tip of main. `which` and `other` select earlier commits."""
        main = self.main
        if move == "push":
            return self.commit(main)
        if move == "merge":
            return self.commit(main, self.commit(self.commit(which)))
        if move == "octopus":
            return self.commit(main, self.commit(which), self.commit(other), self.commit(main))
        if move == "foxtrot":  # main becomes the second parent
            return self.commit(self.commit(which), main)
        if move == "criss-cross":
            left, right = self.commit(main), self.commit(which)
            return self.commit(self.commit(left, right), self.commit(right, left))
        if move == "back-merge":  # the side branch merges main twice before it is merged
            side = self.commit(self.commit(self.commit(which), main), other)
            return self.commit(main, side)
        if move == "unrelated":
            return self.commit(main, self.commit())
        assert move == "fast-forward"
        return self.commit(self.commit(main))

    def into(self, path: Path, object_format: str = "sha1") -> Path:
        """Write it to a repository."""
        start = ["git", "init", "--quiet", "--initial-branch=main", f"--object-format={object_format}", str(path)]
        subprocess.run(start, check=True)
        subprocess.run(["git", "-C", str(path), "fast-import", "--quiet"], input=self.stream.encode(), check=True)
        return path


def asked(path: Path, *arguments: str) -> list[str]:
    """Ask `git rev-list --first-parent`, the oracle."""
    command = ["git", "-C", str(path), "rev-list", "--reverse", "--first-parent", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_the_generated_histories_have_every_shape(tmp_path: Path) -> None:
    path = History([("merge", 0, 0), *((move, 1, 2) for move in MOVES)]).into(tmp_path / "h")

    def git(*arguments: str) -> list[str]:
        command = ["git", "-C", str(path), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    def tip(move: str, before: bool = False) -> str:
        return f"tip-{MOVES.index(move) + (1 if before else 2)}"

    parents = {move: len(git("rev-parse", f"{tip(move)}^@")) for move in MOVES}
    assert parents == dict(zip(MOVES, (1, 2, 4, 2, 2, 2, 2, 1), strict=True))
    assert git("rev-parse", tip("foxtrot", before=True)) == git("rev-parse", f"{tip('foxtrot')}^2")
    assert not set(git("rev-parse", tip("foxtrot", before=True))) & set(asked(path, tip("foxtrot")))
    assert len(git("merge-base", "--all", f"{tip('criss-cross')}^1", f"{tip('criss-cross')}^2")) == 2
    assert len(git("rev-list", "--max-parents=0", "main")) == 2
    inside = set(git("rev-list", "--merges", "main")) - set(asked(path, "--merges", "main"))
    assert inside  # merges that never were the tip


FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
SHAPES = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=10)


@FEW
@given(
    moves=SHAPES,
    start=st.integers(0, 100),
    object_format=st.sampled_from(["sha1", "sha256"]),
    depth=st.sampled_from([0, 0, 1, 2, 4]),
)
def test_it_agrees_with_git_on_any_history(
    tmp_path_factory: pytest.TempPathFactory,
    moves: list[tuple[str, int, int]],
    start: int,
    object_format: str,
    depth: int,
) -> None:
    directory = tmp_path_factory.mktemp("history")
    path = History(moves).into(directory / "tracked", object_format)
    if depth:
        shallow = ["git", "clone", "--quiet", "--branch=main", f"--depth={depth}", f"file://{path}"]
        subprocess.run([*shallow, str(directory / "shallow")], check=True)
        path = directory / "shallow"
    bare = directory / "repository.git"
    tip = mirror.update(bare, str(path), "main")
    assert tip
    chain = asked(path, "main")
    last = chain[start % len(chain)]
    for track, options in (("merges", ["--merges"]), ("commits", [])):
        expected = asked(path, *options, f"{last}..main")
        assert replay(bare, tip, last, {last[:12]}, track=track) == expected


@FEW
@given(moves=SHAPES, looks=st.sets(st.integers(0, 10)), track=st.sampled_from(["merges", "commits"]))
def test_it_agrees_with_git_tick_by_tick(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, int]], looks: set[int], track: str
) -> None:
    grown = [move for move in moves if move[0] != "foxtrot"]  # a foxtrot changes the first-parent history
    directory = tmp_path_factory.mktemp("history")
    shape = History(grown)
    path = shape.into(directory / "tracked")
    bare = directory / "repository.git"
    tip = mirror.update(bare, str(path), "main")
    root = asked(path, "main")[0]
    last, archived, ran = root, {root[:12]}, []
    for number in (*sorted(looks), len(grown)):
        if number <= len(grown):
            tip = asked(path, f"tip-{number}")[-1]
            new = replay(bare, tip, last, archived, track=track)
            ran += new
            last = find(bare, tip, Known(last, archived), track=track).base or last
    assert ran == asked(path, *(["--merges"] if track == "merges" else []), f"{root}..main")


@FEW
@given(moves=SHAPES, looks=st.lists(st.integers(0, 10), min_size=2, max_size=5))
def test_rewriting_the_branch_runs_nothing_twice(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, int]], looks: list[int]
) -> None:
    """The branch jumps between its tips, in any order."""
    directory = tmp_path_factory.mktemp("history")
    path = History(moves).into(directory / "tracked")
    bare = directory / "repository.git"
    last, archived, bases, ran = None, set(), set(), []
    for look in looks:
        tip = mirror.update(bare, str(path), f"tip-{look % (len(moves) + 1)}")
        assert tip
        new = replay(bare, tip, last, archived, bases)
        assert set(new) <= set(asked(path, tip))
        ran += new
        found = find(bare, tip, Known(last, archived, lambda: bases))
        assert found.next is None
        last = found.base
        assert last
        assert last in asked(path, tip) or history.contains(bare, tip, last)
    assert len(ran) == len(set(ran))


def test_a_hundred_thousand_commits_are_read_at_once(tmp_path: Path, bare: Path) -> None:
    stream = "".join(f"commit refs/heads/main\ncommitter A <a@b> {n} +0000\ndata 1\nx\n" for n in range(1, 100_001))
    source = tmp_path / "long"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(source)], check=True)
    subprocess.run(["git", "-C", str(source), "fast-import", "--quiet"], input=stream.encode(), check=True)
    tip = mirror.update(bare, str(source), None)
    assert tip
    found = find(bare, tip, Known(None, set()))
    assert found.next
    assert found.next.ordinal == 100_000


def test_a_backlog_of_five_hundred_merges(tmp_path: Path, bare: Path) -> None:
    stream = ["commit refs/heads/main\nmark :1\ncommitter A <a@b> 1 +0000\ndata 1\nx\n"]
    for n in range(500):
        side, merge, trunk = 2 * n + 2, 2 * n + 3, 2 * n + 1
        stream.append(f"commit refs/heads/side\nmark :{side}\ncommitter A <a@b> {n} +0000\ndata 1\ns\nfrom :{trunk}\n")
        stream.append(f"commit refs/heads/main\nmark :{merge}\ncommitter A <a@b> {n} +0000\ndata 1\nm\n")
        stream.append(f"from :{trunk}\nmerge :{side}\n")
    source = tmp_path / "long"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(source)], check=True)
    subprocess.run(["git", "-C", str(source), "fast-import", "--quiet"], input="".join(stream).encode(), check=True)
    tip = mirror.update(bare, str(source), "main")
    assert tip
    root = git.run_git(bare, "rev-list", "--max-parents=0", tip)
    chain = git.run_git(bare, "rev-list", "--reverse", "--first-parent", "--merges", tip).split()
    found = find(bare, tip, Known(root, {root[:12]}))
    assert (found.waiting, found.next and found.next.sha) == (500, chain[0])
    found = find(bare, tip, Known(root, {sha[:12] for sha in [root, *chain[:300]]}))
    assert (found.waiting, found.base, found.next and found.next.ordinal) == (200, chain[299], 302)


def test_what_a_merge_takes_back_is_read_from_all_its_messages(repository: Repository, bare: Path) -> None:
    repository.commit("root")
    bad = repository.merge("bad")
    sha = repository.merge(f'Revert "bad"\n\nThis reverts commit {bad[:10]}.')
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit(f"Take it back\n\nThis reverts commit {bad}, reversing changes made to x.")
    repository.git("checkout", "--quiet", "main")
    repository.git("merge", "--quiet", "--no-ff", "-m", "Merge branch 'side'", "side")
    tip = fetched(bare, repository)
    assert [history.merge(bare, name).reverts for name in (bad, sha, tip)] == [(), (bad[:10],), (bad,)]


# -- a long backlog


def passed_over(path: Path, base: str, tip: str) -> list[str]:
    """What `History.passed_over` is by its definition, one question to git after the other."""

    def leads(end: str) -> bool:
        line = asked(path, f"{base}..{end}")
        return not line or asked(path, "--parents", "--max-count=1", line[0])[1:2] == [base]

    if leads(tip):
        return []  # no subject of these histories says that somebody pulled
    for commit in reversed(asked(path, f"{base}..{tip}")):
        for parent in asked(path, "--parents", "--max-count=1", commit)[2:]:
            if parent == base or leads(parent):
                return asked(path, "--merges", f"{base}..{parent}")
    return []


@FEW
@given(moves=SHAPES, start=st.integers(0, 100))
def test_what_lies_behind_a_foxtrot_is_what_git_says(
    tmp_path_factory: pytest.TempPathFactory, moves: list[tuple[str, int, int]], start: int
) -> None:
    directory = tmp_path_factory.mktemp("history")
    moves = [("merge", 0, 0), *moves, ("foxtrot", start, start)]
    path = History(moves).into(directory / "tracked")
    bare = directory / "repository.git"
    tip = mirror.update(bare, str(path), "main")
    assert tip
    before = asked(path, f"tip-{1 + start % (len(moves) - 1)}")
    base = before[-1]  # a tip that main had
    assert list(history.read(bare, tip, base).passed_over) == passed_over(path, base, tip)


@pytest.mark.parametrize("subject", ["x", "Merge branch 'main' of example.org:x"])
@pytest.mark.parametrize("is_from_root", [True, False])
def test_a_long_backlog_takes_no_more_calls_of_git(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_from_root: bool, subject: str
) -> None:
    calls, wrapper = tmp_path / "calls", tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\necho "$1" >> "{calls}"\nexec "{shutil.which("git")}" "$@"\n')
    wrapper.chmod(0o755)
    counted = []
    for merges in (3, 40):
        shape = History([])
        for _ in range(merges):
            shape.main = shape.commit(shape.main, shape.commit(1 if is_from_root else shape.main))
        shape.stream += f"reset refs/heads/main\nfrom :{shape.main}\n\n"
        shape.stream = shape.stream.replace("data 1\nx\n", f"data {len(subject)}\n{subject}\n")
        path = shape.into(tmp_path / f"tracked-{merges}")
        bare = tmp_path / f"mirror-{merges}"
        tip = mirror.update(bare, str(path), "main")
        assert tip
        line = asked(path, "main")
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
            calls.write_text("")
            found = history.read(bare, tip, line[0])
            assert history.contained(bare, tip, ["f" * 40, *line]) == line
        assert len(found.new) == merges
        counted.append(len(calls.read_text().splitlines()))
    assert counted[0] == counted[1]


def test_a_git_that_waits_for_ever_is_given_up(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha, bare = repository.commit("one"), tmp_path / "cache" / "repository.git"
    mirror.update(bare, str(repository.path), None)
    place = bare / "objects" / sha[:2] / sha[2:]
    place.unlink()
    os.mkfifo(place)
    monkeypatch.setattr(history, "LOCAL_TIMEOUT_S", 1.0)
    with pytest.raises(Trouble, match=r"cannot read the mirror .*not done after 1 s; the next tick tries again"):
        history.merge(bare, sha)
    assert place.exists()
