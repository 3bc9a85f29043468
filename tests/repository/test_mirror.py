"""Fetching into the mirror, with real git."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.repository import git, history, mirror
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
