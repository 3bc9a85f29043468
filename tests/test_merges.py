"""Which merges are new, held against real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepspeech_wer import merges, mirror, processes
from deepspeech_wer.errors import Trouble
from tests.conftest import Repository


def replay(
    bare: Path, tip: str, last: str | None, archived: set[str], bases: set[str] | None = None, **options: str
) -> list[str]:
    """Tick after tick until nothing is left: the SHAs in the order in which they would be run."""
    ran: list[str] = []
    bases = bases or set()
    while (found := merges.find(bare, tip, merges.Known(last, archived, lambda: bases), **options)).next:
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


def test_the_first_run_takes_the_head_then_every_merge_once(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    found = merges.find(bare, fetched(bare, repository), merges.Known(None, set()))
    assert found.next
    assert (found.next.sha, found.next.ordinal, found.waiting, found.base) == (root, 1, 1, None)
    shas = [repository.merge(subject) for subject in "abc"]
    assert replay(bare, fetched(bare, repository), root, {root[:12]}) == shas


def test_a_merge_is_described(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    sha = repository.merge("bring in \x1b[31m<b>")
    found = merges.find(bare, fetched(bare, repository), merges.Known(root, {root[:12]}))
    assert found.next
    assert found.next.subject == "bring in  [31m<b>"
    assert (found.next.author, found.next.ordinal, found.next.sha) == ("Ada", 2, sha)
    assert found.next.parents[0] == root
    assert found.next.committed_at.endswith("Z")


@pytest.mark.parametrize(
    ("date", "shown"),
    [
        ("@999999999999 +0000", "9999-12-31T23:59:59Z"),
        ("@99999999999999999 +0000", "9999-12-31T23:59:59Z"),
        ("@1 -1200", "1970-01-01T00:00:01Z"),
    ],
)
def test_an_absurd_date_stops_nothing(
    repository: Repository, bare: Path, monkeypatch: pytest.MonkeyPatch, date: str, shown: str
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", date)
        repository.commit("root")
    found = merges.find(bare, fetched(bare, repository), merges.Known(None, set()))
    assert found.next
    assert (found.next.committed_at, found.next.subject) == (shown, "root")


@pytest.mark.parametrize("encoding", ["x-klingon", "ISO-8859-1", "utf-7"])
def test_no_encoding_stops_anything(repository: Repository, bare: Path, encoding: str) -> None:
    repository.git("config", "i18n.commitEncoding", encoding)
    repository.git("config", "user.name", "Ada L")
    repository.commit("root\nand more")
    found = merges.find(bare, fetched(bare, repository), merges.Known(None, set()))
    assert found.next
    assert (found.next.author, found.next.subject) == ("Ada L", "root")


def test_no_git_is_kept_running(repository: Repository, bare: Path) -> None:
    tip = repository.commit("root")
    before = set(processes.descendants(os.getpid()))  # what other tests' jobs left was adopted by this process
    assert merges.find(bare, fetched(bare, repository), merges.Known(None, set())).next
    assert merges.resolve(bare, [tip])
    assert set(processes.descendants(os.getpid())) <= before  # a job could read its environment


def test_nothing_new(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    assert merges.find(bare, fetched(bare, repository), merges.Known(root, {root[:12]})) == merges.Found(root, None, 0)


def test_a_direct_push_is_no_merge_but_a_commit(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    pushed = repository.commit("pushed")
    tip = fetched(bare, repository)
    assert merges.find(bare, tip, merges.Known(root, {root[:12]})) == merges.Found(root, None, 0)
    assert replay(bare, tip, root, {root[:12]}, track="commits") == [pushed]


def test_an_archived_merge_is_never_run_again(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    shas = [repository.merge(subject) for subject in "abc"]
    found = merges.find(bare, fetched(bare, repository), merges.Known(root, {shas[0][:12], shas[1][:12]}))
    assert (found.base, found.next and found.next.sha, found.waiting) == (shas[1], shas[2], 1)


def test_after_a_force_push_it_goes_on_from_the_newest_archived(
    repository: Repository, bare: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = repository.commit("root")
    kept, lost = repository.merge("kept"), repository.merge("lost")
    fetched(bare, repository)
    repository.git("reset", "--quiet", "--hard", kept)
    new = repository.merge("new")
    archived = {sha[:12] for sha in (root, kept, lost)}
    assert replay(bare, fetched(bare, repository), lost, archived, {root, kept}) == [new]
    assert caplog.text.count("the branch was rewritten") == 1


@pytest.mark.parametrize("last", ["--all", "-n1", "HEAD~3", "", "0" * 40, "deadbeef", "\x00"])
def test_garbage_in_last_sha1_reaches_no_git(repository: Repository, bare: Path, last: str) -> None:
    root = repository.commit("root")
    sha = repository.merge("a")
    tip = fetched(bare, repository)
    assert replay(bare, tip, last, {root[:12]}, {root}) == [sha]
    assert replay(bare, tip, last, set()) == [tip]


def test_squashing_is_noticed(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    for n in range(merges.MANY_COMMITS):
        repository.commit(str(n))
    tip = fetched(bare, repository)
    assert merges.find(bare, tip, merges.Known(root, {root[:12]})).squashed == merges.MANY_COMMITS + 1
    assert merges.find(bare, tip, merges.Known(root, {root[:12]}), track="commits").squashed == 0
    repository.merge("a")
    assert merges.find(bare, fetched(bare, repository), merges.Known(root, {root[:12]})).squashed == 0


def test_the_newest_first_then_the_largest_gap_halved(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    shas = [repository.merge(str(n)) for n in range(7)]
    ran = replay(bare, fetched(bare, repository), root, {root[:12]}, backlog="newest")
    assert [shas.index(sha) for sha in ran] == [6, 3, 1, 5, 0, 2, 4]


@pytest.mark.parametrize("backlog", ["all", "newest"])
def test_without_last_sha1_the_archive_tells_what_is_due(repository: Repository, bare: Path, backlog: str) -> None:
    root = repository.commit("root")
    shas = [repository.merge(str(n)) for n in range(6)]
    tip = fetched(bare, repository)
    last: str | None = root
    archived, bases, ran = {root[:12]}, {root}, []
    for _ in range(6):
        found = merges.find(bare, tip, merges.Known(last, archived, lambda: bases), backlog=backlog)
        forgetful = merges.find(bare, tip, merges.Known(None, archived, lambda: bases), backlog=backlog)
        assert forgetful == found
        assert found.next
        ran.append(found.next.sha)
        archived.add(found.next.sha[:12])
        bases.add(str(found.base))
        last = found.base
    assert sorted(ran) == sorted(shas)
    assert merges.find(bare, tip, merges.Known(None, archived, lambda: bases), backlog=backlog).next is None


def test_a_commit_run_by_hand_is_no_base(repository: Repository, bare: Path) -> None:
    root = repository.commit("root")
    for n in range(3):
        tip = repository.merge(str(n))
    assert replay(bare, fetched(bare, repository), None, {root[:12]}) == [tip]
    found = merges.find(bare, tip, merges.Known(None, {tip[:12]}))
    assert found == merges.Found(tip, None, 0)


def test_the_first_run_is_finished_though_the_branch_moves_on(repository: Repository, bare: Path) -> None:
    first = repository.commit("root")
    second = repository.merge("a")
    tip = fetched(bare, repository)
    found = merges.find(bare, tip, merges.Known(None, set(), started=first))
    assert found.next
    assert found.next.sha == first
    assert replay(bare, tip, None, {first[:12]}, {first}) == [second]
    found = merges.find(bare, tip, merges.Known(None, set(), started="f" * 40))  # gone since
    assert found.next
    assert found.next.sha == second


def test_forced_commits_are_found_by_their_first_digits(repository: Repository, bare: Path) -> None:
    sha = repository.commit("root")
    fetched(bare, repository)
    assert [merge.sha for merge in merges.resolve(bare, [sha[:8], sha])] == [sha, sha]
    with pytest.raises(Trouble, match="abcdef0: no commit"):
        merges.resolve(bare, ["abcdef0"])


def grow(repository: Repository, steps: list[tuple[str, int]]) -> None:
    """A history of any shape from a list of moves."""
    repository.commit("root")
    for number, (move, which) in enumerate(steps):
        branches = repository.git("branch", "--format=%(refname:short)").split()
        other = branches[which % len(branches)]
        if move == "commit":
            repository.commit(str(number))
        elif move == "branch":
            repository.git("branch", f"b{number}", "HEAD")
        elif move == "elsewhere":
            repository.git("checkout", "--quiet", other)
        elif move == "foxtrot":  # the old trunk becomes the second parent
            repository.git("checkout", "--quiet", "-B", "fox", other)
            repository.commit(f"fox {number}")
            repository.git("merge", "--quiet", "--no-ff", "--strategy=ours", "--message", f"f{number}", "main")
            repository.git("checkout", "--quiet", "-B", "main", "fox")
        else:
            several = branches[: 1 + which % 3] if move == "octopus" else [other]
            repository.git("merge", "--quiet", "--no-ff", "--strategy=ours", "--message", f"m{number}", *several)
    repository.git("checkout", "--quiet", "main")


MOVES = st.tuples(
    st.sampled_from(["commit", "commit", "branch", "elsewhere", "merge", "merge", "octopus", "foxtrot"]),
    st.integers(0, 5),
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(MOVES, min_size=4, max_size=14), start=st.integers(0, 100))
def test_equals_git_on_any_history(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], start: int
) -> None:
    directory = tmp_path_factory.mktemp("history")
    repository, bare = Repository(directory / "tracked"), directory / "repository.git"
    grow(repository, steps)
    tip = fetched(bare, repository)
    chain = repository.git("rev-list", "--first-parent", "main").split()
    last = chain[start % len(chain)]
    for track, options in (("merges", ["--merges"]), ("commits", [])):
        expected = repository.git("rev-list", "--reverse", "--first-parent", *options, f"{last}..main").split()
        assert replay(bare, tip, last, {last[:12]}, track=track) == expected


def test_a_hundred_thousand_commits_are_read_in_one_go(tmp_path: Path, bare: Path) -> None:
    stream = "".join(f"commit refs/heads/main\ncommitter A <a@b> {n} +0000\ndata 1\nx\n" for n in range(1, 100_001))
    source = tmp_path / "long"
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(source)], check=True)
    subprocess.run(["git", "-C", str(source), "fast-import", "--quiet"], input=stream.encode(), check=True)
    tip = mirror.update(bare, str(source), None)
    assert tip
    found = merges.find(bare, tip, merges.Known(None, set()))
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
    root = mirror.run_git(bare, "rev-list", "--max-parents=0", tip)
    chain = mirror.run_git(bare, "rev-list", "--reverse", "--first-parent", "--merges", tip).split()
    found = merges.find(bare, tip, merges.Known(root, {root[:12]}))
    assert (found.waiting, found.next and found.next.sha) == (500, chain[0])
    found = merges.find(bare, tip, merges.Known(root, {sha[:12] for sha in [root, *chain[:300]]}))
    assert (found.waiting, found.base, found.next and found.next.ordinal) == (200, chain[299], 302)
