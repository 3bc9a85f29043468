"""Fetching into the mirror, with real git."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import processes
from deepspeech_wer.repository import checkout, git, history, mirror
from deepspeech_wer.repository.access import Access
from tests.conftest import Repository


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "repository.git"


def test_follows_the_head_of_the_remote(repository: Repository, bare: Path) -> None:
    first = repository.commit("one")
    assert mirror.update(bare, str(repository.path), None) == first
    repository.git("branch", "--move", "trunk")
    second = repository.commit("two")
    assert mirror.update(bare, str(repository.path), None) == second


def test_an_empty_repository_has_no_commits(repository: Repository, bare: Path) -> None:
    assert mirror.update(bare, str(repository.path), None) is None


def test_a_missing_branch_names_the_head(repository: Repository, bare: Path) -> None:
    repository.commit("one")
    with pytest.raises(Trouble, match=r"no branch gone there \(its HEAD is main\): set ds_github_ref"):
        mirror.update(bare, str(repository.path), "gone")


@pytest.mark.parametrize(
    "ref", ["release", "heads/release", "refs/heads/release", "light", "annotated", "tags/annotated", "refs/tags/light"]
)
def test_branches_and_tags_lead_to_their_commit(repository: Repository, bare: Path, ref: str) -> None:
    commit = repository.commit("one")
    repository.git("branch", "release")
    repository.git("tag", "light")
    repository.git("tag", "--annotate", "--message", "x", "annotated")
    repository.commit("two")
    repository.git("branch", "old/release")  # ls-remote lists it too when asked for `release`
    assert mirror.update(bare, str(repository.path), ref) == commit
    assert mirror.update(bare, str(repository.path), ref, known=commit) == commit


@pytest.mark.parametrize("ref", ["release", "heads/release", "refs/heads/release", None])
def test_asking_finds_the_same(repository: Repository, bare: Path, tmp_path: Path, ref: str | None) -> None:
    repository.commit("one")
    repository.git("branch", "a/release")
    repository.git("branch", "release")
    repository.commit("two")
    assert mirror.ask(tmp_path, str(repository.path), ref) == mirror.update(bare, str(repository.path), ref)


def test_a_branch_takes_precedence_over_a_tag_of_the_same_name(repository: Repository, bare: Path) -> None:
    repository.commit("one")
    repository.git("tag", "v1")
    repository.git("checkout", "--quiet", "-b", "v1")
    tip = repository.commit("two")
    repository.git("checkout", "--quiet", "main")
    assert mirror.update(bare, str(repository.path), "v1") == tip


def test_a_rewritten_branch_is_followed(repository: Repository, bare: Path) -> None:
    repository.commit("one")
    repository.commit("two")
    mirror.update(bare, str(repository.path), "main")
    repository.git("reset", "--quiet", "--hard", "HEAD~1")
    other = repository.commit("three")
    assert mirror.update(bare, str(repository.path), "main") == other


def test_a_sha256_repository_is_mirrored(tmp_path: Path, bare: Path) -> None:
    path = tmp_path / "sha256"
    subprocess.run(["git", "init", "--quiet", "--object-format=sha256", str(path)], check=True)
    subprocess.run(
        ["git", "-C", str(path), "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m1"],
        check=True,
    )
    tip = mirror.update(bare, str(path), None)
    assert tip is not None
    assert len(tip) == 64


def test_a_shallow_remote_is_mirrored(repository: Repository, bare: Path, tmp_path: Path) -> None:
    for subject in "abc":
        tip = repository.commit(subject)
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=2", f"file://{repository.path}", str(shallow)], check=True)
    assert mirror.update(bare, str(shallow), None) == tip


def test_an_unreachable_repository_is_reported_in_one_line(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "RETRY_AFTER_S", (0.0,))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"git://user:secret@127.0.0.1:{closed.getsockname()[1]}/x.git"
        with pytest.raises(Trouble, match=r"cannot fetch git://127\.0\.0\.1") as caught:
            mirror.update(bare, url, None)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_path_without_repository_is_reported_in_one_line(tmp_path: Path, bare: Path) -> None:
    with pytest.raises(Trouble, match="does not appear to be a git repository"):
        mirror.update(bare, str(tmp_path / "nowhere"), None)


def _zero_length_ref(bare: Path) -> None:
    (bare / "refs" / "tracked" / "head").write_bytes(b"")


def _stale_locks(bare: Path) -> None:
    (bare / "refs" / "tracked" / "head.lock").write_bytes(b"")
    (bare / "config.lock").write_bytes(b"")
    (bare / "shallow.lock").write_bytes(b"")


def _no_objects(bare: Path) -> None:
    shutil.rmtree(bare / "objects")
    (bare / "objects").mkdir()


def _emptied_head(bare: Path) -> None:
    (bare / "HEAD").write_bytes(b"")


def _garbage_config(bare: Path) -> None:
    (bare / "config").write_bytes(b"\xff[[")


def _a_file(bare: Path) -> None:
    shutil.rmtree(bare)
    bare.touch()


def _a_link_to_nowhere(bare: Path) -> None:
    shutil.rmtree(bare)
    bare.symlink_to("nowhere")


DAMAGES = (_zero_length_ref, _stale_locks, _no_objects, _emptied_head, _garbage_config, _a_file, _a_link_to_nowhere)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_mirror_is_fetched_again(repository: Repository, bare: Path, damage: object) -> None:
    repository.commit("one")
    mirror.update(bare, str(repository.path), None)
    damage(bare)  # type: ignore[operator]
    tip = repository.commit("two")
    assert mirror.update(bare, str(repository.path), None) == tip
    assert git.run_git(bare, "rev-list", "--count", mirror.TRACKED) == "2"


def test_a_mirror_is_kept_small(repository: Repository, bare: Path) -> None:
    repository.commit("one")
    mirror.update(bare, str(repository.path), None)
    for name, value in (
        ("fetch.unpackLimit", "1"),
        ("gc.autoPackLimit", "3"),
    ):  # one pack per fetch, and a low limit of packs
        git.run_git(bare, "config", name, value)
    for number in range(9):
        repository.commit(str(number), {str(number): str(number)})
        mirror.update(bare, str(repository.path), None)
    assert 1 <= len(list(bare.glob("objects/pack/*.pack"))) <= 4


def test_a_silent_server_is_given_up(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "FETCH_TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Trouble, match="not done after 1 s"):
        mirror.update(bare, f"git://127.0.0.1:{silent.getsockname()[1]}/x.git", None)


def test_a_gitconfig_that_refuses_bare_repositories_does_no_harm(
    repository: Repository, bare: Path, sealed: Path
) -> None:
    root = repository.commit("one")
    (sealed / ".gitconfig").write_text("[safe]\n\tbareRepository = explicit\n")
    assert mirror.update(bare, str(repository.path), None) == root
    assert history.merge(bare, root).subject == "one"
    assert history.resolve(bare, [root[:9]])[0].sha == root


def counting_git(directory: Path, monkeypatch: pytest.MonkeyPatch, complaint: str, failures: int) -> Path:
    """Put a git first on PATH whose first fetches fail. Returns the file that gets a byte for each fetch."""
    real, count = shutil.which("git"), directory / "count"
    (directory / "bin").mkdir()
    script = directory / "bin" / "git"
    script.write_text(
        f"""#!/bin/sh
case " $* " in *" fetch "*)
    printf x >> {count}
    [ "$(wc -c < {count})" -gt {failures} ] || {{ echo "{complaint}" >&2; exit 128; }}
esac
exec {real} "$@"
"""
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(mirror, "RETRY_AFTER_S", (0.01, 0.01))
    return count


@pytest.mark.parametrize(
    "complaint",
    [
        "fatal: unable to access 'https://x/': Could not resolve host: x",
        "ssh: connect to host x port 22: Connection timed out",
        "fatal: unable to access 'https://x/': The requested URL returned error: 503",
        "error: RPC failed; curl 56 GnuTLS recv error (-54)",
        "fatal: the remote end hung up unexpectedly",
    ],
)
def test_a_transient_network_error_is_retried(
    repository: Repository, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: str
) -> None:
    tip = repository.commit("one")
    count = counting_git(tmp_path, monkeypatch, complaint, 2)
    assert mirror.update(bare, str(repository.path), None) == tip
    assert count.read_text() == "xxx"
    count.unlink()
    (tmp_path / "bin" / "git").write_text((tmp_path / "bin" / "git").read_text().replace("-gt 2", "-gt 3"))
    with pytest.raises(Trouble, match="cannot fetch"):
        mirror.update(bare, str(repository.path), None)
    assert count.read_text() == "xxx"


@pytest.mark.parametrize(
    "complaint",
    ["fatal: Authentication failed for 'https://x/'", "remote: Repository not found.", "git@x: Permission denied"],
)
def test_a_permanent_error_is_not_retried(
    repository: Repository, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, complaint: str
) -> None:
    repository.commit("one")
    count = counting_git(tmp_path, monkeypatch, complaint, 9)
    with pytest.raises(Trouble, match="cannot fetch"):
        mirror.update(bare, str(repository.path), None)
    assert count.read_text() == "x"


@pytest.mark.parametrize(("answer", "tidied"), [("touch tidied; exit", True), ("", False)])
def test_an_ended_git_may_clean_up_but_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, tidied: bool
) -> None:
    """A git that gets SIGKILL at once would leave its lock, which fails every later call."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "git"
    script.write_text(f"#!/bin/sh\ntrap '{answer}' TERM\n: >begun\nwhile :; do sleep 0.05; done\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "GRACE_S", 1.0)
    with pytest.raises(git.GitError, match="not done after"):
        git.run_git(tmp_path, "fetch", timeout_s=1.0)
    assert (tmp_path / "begun").exists()
    assert (tmp_path / "tidied").exists() == tidied


def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Make a helper of git's for URLs that begin with slow::, and have each fetch call it."""
    place = tmp_path / "bin" / "git-remote-slow"
    place.parent.mkdir()
    place.write_text(f"#!/bin/sh\n{script}\n")
    place.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.parent}:{os.environ['PATH']}")
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "bare")], check=True)


def fetch(tmp_path: Path, timeout_s: float) -> None:
    git.run_git(tmp_path / "bare", "fetch", "slow::x", access=Access("slow::x"), timeout_s=timeout_s)


def test_a_helper_in_a_session_of_its_own_ends_with_its_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds git's outputs open: the tick waited as long as it lived."""
    left = tmp_path / "left"
    helper(tmp_path, monkeypatch, f"setsid sh -c 'echo $$ >{left}; exec sleep 1000' & exec sleep 1000")
    monkeypatch.setattr(git, "GRACE_S", 0.5)
    with pytest.raises(git.GitError, match="not done after 2 s"):
        fetch(tmp_path, 2.0)
    assert processes.resident(int(left.read_text())) == 0


def test_what_a_helper_leaves_behind_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / "left"
    helper(tmp_path, monkeypatch, f"setsid sleep 1000 >&2 & echo $! >{left}; echo fatal: no such place >&2; exit 1")
    try:
        with pytest.raises(git.GitError, match="fatal: no such place"):
            fetch(tmp_path, 60.0)
    finally:
        os.kill(int(left.read_text()), signal.SIGKILL)


def test_an_endless_answer_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, "exec yes >&2")
    monkeypatch.setattr(git, "MOST_BYTES", 2 << 20)
    with pytest.raises(git.GitError, match="wrote more than 2 MB of answers"):
        fetch(tmp_path, 60.0)


# -- a git that fails is no damaged mirror


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ('[user]\n\tname = "open\n', "bad config line 2 in file .*/.gitconfig; correct that setting"),
        (
            "[fetch]\n\tunpackLimit = few\n",
            r"'fetch\.unpacklimit'.*; correct fetch\.unpacklimit in /.*/\.gitconfig; the",
        ),
        ("[core]\n\tcompression = 99\n", r"compression level 99; correct core\.compression in /.*/\.gitconfig; the"),
        ("[core]\n\tsharedRepository = 0077\n", r"0077.*; correct core\.sharedrepository in /.*/\.gitconfig; the"),
        ("[core]\n\tcreateObject = x\n", r"creation: x; correct core\.createobject in /.*/\.gitconfig; the"),
        ("[fetch]\n\tnegotiationAlgorithm = x\n", r"'x'; correct fetch\.negotiationalgorithm in /.*/\.gitconfig; the"),
        ("[safe]\n\tbareRepository = x\n", r"correct safe\.barerepository in /.*/\.gitconfig; the"),
        # git 2.39 crashes of it.
        ("[core]\n\tnotesRef\n", r"; (give a value to|correct) core\.notesref in /.*/\.gitconfig; the"),
        ("[include]\n\tpath = ~/.gitconfig\n", "include"),
        (
            "[protocol]\n\tallow = never\n",
            r"transport 'file' not allowed; correct protocol\.allow in /.*/\.gitconfig; the",
        ),
        ('[protocol "file"]\n\tallow = never\n', r"transport 'file' not allowed; correct protocol\.file\.allow in /"),
        ("kill -9 $$", "git fetch: ended by SIGKILL; SIGKILL ended it: is there enough memory"),
        ("exit 137", "git fetch: exit 137; SIGKILL ended it"),
        ("exit 129", "git fetch: exit 129; the next tick"),  # git's own, for a command line that it does not know
        ("ulimit -v 9000", "raise `ulimit -v`|install it"),
        ("ulimit -n 3", "raise `ulimit -n`|cannot fetch"),
        ("echo 'fatal: cannot open x: Permission denied' >&2; exit 128", "let the user that cron runs as"),
        ("echo 'fatal: something new' >&2; exit 128", "fatal: something new; the next tick tries again"),
        ("exit 1", "git fetch: exit 1; the next tick"),
        ("touch $0.lock $HOME/../*/cache/repository.git/refs/tracked/head.lock; kill -TERM $$", "SIGTERM ended it"),
    ],
)
def test_a_git_that_fails_costs_no_mirror(
    repository: Repository,
    bare: Path,
    tmp_path: Path,
    sealed: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    told: str,
) -> None:
    repository.commit("one")
    mirror.update(bare, str(repository.path), None)
    (bare / "ours").touch()
    tip = repository.commit("two")
    script = tmp_path / "bin" / "git"
    if kind.startswith("["):
        (sealed / ".gitconfig").write_text(kind)
    else:
        real = shutil.which("git")
        script.parent.mkdir()
        script.write_text(
            f'#!/bin/sh\ncase "$*" in *fetch*|*for-each-ref*|*rev-list*) {kind};; esac\nexec {real} "$@"\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(Trouble, match=told) as trouble:
        mirror.update(bare, str(repository.path), None)
    assert "\n" not in str(trouble.value)
    assert (bare / "ours").exists()
    script.unlink(missing_ok=True)
    (sealed / ".gitconfig").unlink(missing_ok=True)
    assert mirror.update(bare, str(repository.path), None) == tip
    assert (bare / "ours").exists()


def test_locks_of_a_git_that_was_killed_cost_no_mirror(repository: Repository, bare: Path) -> None:
    repository.commit("one")
    mirror.update(bare, str(repository.path), None)
    for name in ("ours", "refs/tracked/head.lock", "shallow.lock", "config.lock"):
        (bare / name).touch()
    tip = repository.commit("two")
    assert mirror.update(bare, str(repository.path), None) == tip
    assert (bare / "ours").exists()


def test_what_a_killed_check_left_is_removed_by_a_later_one(repository: Repository, tmp_path: Path) -> None:
    tip = repository.commit("one")
    cache = tmp_path / "cache"
    for name in (".check-old/repository.git/objects", ".check-new/repository.git", "other"):
        (cache / name).mkdir(parents=True)
    for name in (".check-old", "other"):
        os.utime(cache / name, (0, 0))
    assert mirror.ask(cache, str(repository.path), None) == tip
    assert sorted(path.name for path in cache.iterdir()) == [".check-new", "other"]


def put_git_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gc: str) -> None:
    """Have a git found first whose gc is these lines of shell."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "git"
    script.write_text(f'#!/bin/sh\nif [ "$1" = gc ]; then {gc}; fi\nexec {shutil.which("git")} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def test_a_mirror_that_cannot_be_tidied_up_is_a_warning(
    repository: Repository,
    bare: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tip = repository.commit("one")
    put_git_before(tmp_path, monkeypatch, gc="exit 3")
    assert mirror.update(bare, str(repository.path), None) == tip
    assert "cannot tidy up the mirror" in caplog.text


def test_a_mirror_that_takes_long_to_tidy_up_holds_no_merge_up(
    repository: Repository,
    bare: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A gc that ends only by SIGKILL leaves its pid, by which the next one would take it for running."""
    tip = repository.commit("one", {"file": "text"})
    left = ("gc.pid", "objects/pack/tmp_pack_x", "objects/pack/.tmp-1-pack-x.pack")
    slow = f"trap '' TERM; echo $$ $(hostname) >gc.pid; touch {' '.join(left[1:])}; touch begun; exec sleep 1234"
    with monkeypatch.context() as patch:
        put_git_before(tmp_path, patch, gc=slow)
        patch.setattr(mirror, "GC_TIMEOUT_S", 1.0)
        patch.setattr(git, "GRACE_S", 0.1)
        assert mirror.update(bare, str(repository.path), None) == tip
    assert f"cannot tidy up the mirror {bare}: git gc: not done after 1 s" in caplog.text
    assert (bare / "begun").exists()
    assert not [name for name in left if (bare / name).exists()]
    caplog.clear()
    tip = repository.commit("two")
    assert mirror.update(bare, str(repository.path), None) == tip
    assert caplog.text == ""


def test_a_mirror_that_is_too_large_for_a_gc_is_kept_small_all_the_same(
    repository: Repository,
    bare: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    repository.commit("large", {f"{number}": f"{number}\n" * number for number in range(200)})
    mirror.update(bare, str(repository.path), None)
    (large,) = bare.glob("objects/pack/*.pack")
    git.run_git(bare, "config", "fetch.unpackLimit", "1")  # a pack for each fetch
    put_git_before(tmp_path, monkeypatch, gc=f"echo gc >>{tmp_path}/begun; exec sleep 1234")
    monkeypatch.setattr(mirror, "GC_TIMEOUT_S", 2.0)
    for number in range(12):
        tip = repository.commit(str(number), {"file": str(number)})
        assert mirror.update(bare, str(repository.path), None) == tip
    assert (tmp_path / "begun").read_text() == "gc\n"  # once
    assert caplog.text.count("cannot tidy up") == 1
    assert len(list(bare.glob("objects/pack/*.pack"))) <= 4
    assert large.exists()
    assert mirror.update(bare, str(repository.path), None, known=tip) == tip
    git.run_git(bare, "fsck", "--full")


def test_a_mirror_whose_gc_fails_at_once_is_not_taken_for_too_large(
    repository: Repository, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_git_before(tmp_path, monkeypatch, gc=f"echo gc >>{tmp_path}/begun; exit 1")
    for number in range(2):
        tip = repository.commit(str(number))
        assert mirror.update(bare, str(repository.path), None) == tip
    assert (tmp_path / "begun").read_text() == "gc\ngc\n"


def test_a_home_that_is_kept_in_git_is_left_alone(repository: Repository, sealed: Path) -> None:
    tip = repository.commit("one")
    home = Repository(sealed / "dotfiles")
    (home.path / ".git").rename(sealed / ".git")
    bare = sealed / ".cache" / "repository.git"
    mirror.update(bare, str(repository.path), None)
    (bare / "HEAD").write_bytes(b"")
    assert mirror.update(bare, str(repository.path), None) == tip
    assert (bare / "HEAD").read_text()
    assert not (sealed / ".git" / "refs" / "tracked").exists()


def test_the_lines_that_matter_are_shown() -> None:
    told = {
        "warning: redirecting to https://x/\nremote: \nremote: ====\nremote: The project was moved.\n"
        "fatal: Authentication failed for 'https://x/'\n": "remote: The project was moved.; "
        "fatal: Authentication failed for 'https://x/'",
        "git@x: Permission denied (publickey).\nfatal: Could not read from remote repository.\n\n"
        "Please make sure you have the correct access rights\nand the repository exists.\n": "git@x: Permission denied "
        "(publickey).",
        "All use is logged.\nHost key verification failed.\r\nfatal: Could not read from remote repository.\n": "Host "
        "key verification failed.",
        "error: inflate: data stream error\nfatal: index-pack failed\nfatal: the remote end hung up unexpectedly\n": ""
        "error: inflate: data stream error",
        "fatal: the remote end hung up unexpectedly\n": "fatal: the remote end hung up unexpectedly",
        "".join(f"error: unable to create file {name}: X\n" for name in "abcd"): "error: unable to create file a: X; "
        "error: unable to create file b: X; error: unable to create file d: X",
        "Segmentation fault\n": "Segmentation fault",
        "warning: unable to access '/x/.gitconfig': Permission denied\nfatal: unknown error occurred while reading the "
        "configuration files\n": "warning: unable to access '/x/.gitconfig': Permission denied; fatal: unknown error "
        "occurred while reading the configuration files",
        f"error: unable to create file {'x' * 400}: File name too long": "error: unable to create file "
        f"{'x' * 111}...{'x' * 130}: File name too long",
        "": "git fetch: exit 128",
    }
    assert {said: str(git.failure("fetch", 128, said)) for said in told} == told


by_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@by_root
def test_the_cure_that_git_names_is_kept(repository: Repository, bare: Path) -> None:
    repository.commit("one")
    os.chown(repository.path / ".git", 65534, 65534)
    with pytest.raises(Trouble, match=r"dubious ownership.*git config --global --add safe\.directory .*tracked/\.git"):
        mirror.update(bare, str(repository.path), None)
    with pytest.raises(Trouble, match=r"safe\.directory"):
        mirror.ask(bare.parent.parent, f"file://{repository.path}", "main")


@by_root
def test_a_mirror_of_another_user_is_told_and_kept(repository: Repository, bare: Path) -> None:
    tip = repository.commit("one")
    mirror.update(bare, str(repository.path), None)
    os.chown(bare, 65534, 65534)
    with pytest.raises(Trouble, match=f"{bare} belongs to another user: chown it .*or remove it"):
        mirror.update(bare, str(repository.path), None)
    os.chown(bare, os.geteuid(), -1)
    assert mirror.update(bare, str(repository.path), None) == tip


@pytest.fixture
def foreign_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The path of a tracked repository, on a machine whose git finds another owner everywhere."""
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = shutil.which("git")
    wrapper.write_text(f'#!/bin/sh\nexport GIT_TEST_ASSUME_DIFFERENT_OWNER=1\nexec "{real}" "$@"\n')
    wrapper.chmod(0o755)
    tracked = Repository(tmp_path / "tracked")
    (tmp_path / "gitconfig").write_text(f'[safe]\ndirectory = "{tracked.path}/.git"\ndirectory = "{tracked.path}"\n')
    tracked.commit("one", {"file": "text"})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(git, "_made_here", set())
    return tracked.path


def test_a_mount_that_shows_another_owner_is_no_trouble(foreign_mount: Path, bare: Path, tmp_path: Path) -> None:
    tip = mirror.update(bare, str(foreign_mount), None)

    assert tip
    merge = history.merge(bare, tip)
    path = tmp_path / "clones of ours" / "run"
    with checkout.checked_out(bare, merge, path, mark=tmp_path / "mark", origin=""):
        assert (path / "file").read_text() == "text"
    assert not list(bare.parent.glob(".owner-*"))


def test_only_what_is_ours_is_trusted_there(foreign_mount: Path, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    with pytest.raises(Trouble, match=r"dubious ownership.*safe\.directory"):
        mirror.update(bare, str(foreign_mount), None)


@by_root
@pytest.mark.parametrize("owner", [65534, 12345])
def test_a_mirror_of_another_owner_than_ours_is_not_trusted(foreign_mount: Path, bare: Path, owner: int) -> None:
    mirror.update(bare, str(foreign_mount), None)
    git._made_here.clear()
    os.chown(bare, owner, -1)

    with pytest.raises(Trouble, match=f"{bare} belongs to another user"):
        mirror.update(bare, str(foreign_mount), None)


@pytest.mark.parametrize("when", ["the first fetch", "nothing new", "something new"])
def test_a_git_that_does_nothing_and_says_so_to_nobody_is_trouble(
    repository: Repository, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    tip = repository.commit("one")
    if when != "the first fetch":
        mirror.update(bare, str(repository.path), None)
    if when == "something new":
        repository.commit("two")
    broken = tmp_path / "broken" / "git"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\nexit 0\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{broken.parent}:{os.environ['PATH']}")

    with pytest.raises(Trouble, match=r"git (init|rev-parse) answered '', as git does not: is .*broken/git a wrapper"):
        mirror.update(bare, str(repository.path), None, known=tip)


@pytest.mark.parametrize(
    ("url", "rule", "asked"),
    [
        ("https://example.org/a/b", ("https://127.0.0.1:1/", "https://example.org/"), "https://127.0.0.1:1/a/b"),
        ("https://example.org/a/b", ("https://me:t0ps3cret@127.0.0.1:1/", "https://example.org/"), "127.0.0.1:1/a/b"),
        ("https://u:pw@example.org/a/b", ("ssh://git@127.0.0.1:1/", "https://example.org/"), "git@127.0.0.1:1/a/b"),
        ("short:a/b", ("/nowhere/", "short:"), "/nowhere/a/b"),
    ],
)
def test_the_url_that_a_setting_of_git_makes_of_ours_is_named(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, rule: tuple[str, str], asked: str
) -> None:
    (tmp_path / "gitconfig").write_text(f'[url "{rule[0]}"]\n\tinsteadOf = {rule[1]}\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setattr(mirror, "RETRY_AFTER_S", ())

    for look in (lambda: mirror.update(bare, url, None), lambda: mirror.ask(tmp_path, url, None)):
        with pytest.raises(Trouble, match=rf"for which git asks \S*{asked} \(url\.<base>\.insteadOf") as caught:
            look()
        assert not any(secret in str(caught.value) for secret in ("t0ps3cret", "u:pw", "pw@"))


def test_the_url_is_named_too_where_the_branch_is_missing_there(
    repository: Repository, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.commit("one")
    (tmp_path / "gitconfig").write_text(f'[url "{repository.path}"]\n\tinsteadOf = https://example.org/a\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))

    with pytest.raises(Trouble, match=rf"for which git asks {repository.path} .*: no branch gone there"):
        mirror.update(bare, "https://example.org/a", "gone")
