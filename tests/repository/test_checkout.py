"""Separate checkouts, and wiping that never removes anything else."""

from __future__ import annotations

import os
import subprocess
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.records import Checkout, Merge
from deepspeech_wer.repository import checkout as checkouts
from deepspeech_wer.repository import history, mirror
from tests.conftest import Repository


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def merge(repository: Repository, cache: Path) -> Merge:
    repository.commit("root", {"model.py": "old", "bin/job": "#!/bin/sh\n"})
    tip = mirror.update(cache / "repository.git", str(repository.path), None)
    assert tip
    return history.resolve(cache / "repository.git", [tip])[0]


def checked_out(cache: Path, merge: Merge, path: Path, *, origin: str) -> AbstractContextManager[Checkout]:
    return checkouts.checked_out(cache / "repository.git", merge, path, mark=cache / "mark.json", origin=origin)


def crash_within(cache: Path, merge: Merge, path: Path) -> None:
    """Leave a checkout behind, like a killed process."""
    if (child := os.fork()) == 0:
        with checked_out(cache, merge, path, origin="x"):
            os._exit(0)
    os.waitpid(child, 0)
    assert (path / "model.py").exists()


def git(path: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(path), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def test_it_holds_the_merge_and_is_wiped(cache: Path, merge: Merge, tmp_path: Path) -> None:
    path = tmp_path / "a clone" / "here"
    with checked_out(cache, merge, path, origin="https://example.com/x.git") as checkout:
        assert (checkout.path / "model.py").read_text() == "old"
        assert git(path, "rev-parse", "HEAD") == merge.sha
        assert git(path, "remote", "get-url", "origin") == "https://example.com/x.git"
        assert git(path, "status", "--porcelain") == ""
        assert not (path / ".git" / "objects" / "info" / "alternates").exists()
    assert not path.exists()


def test_a_job_cannot_poison_the_mirror(repository: Repository, cache: Path, merge: Merge, tmp_path: Path) -> None:
    path, planted = tmp_path / "clone", tmp_path / "planted"
    with checked_out(cache, merge, path, origin="x"):
        hooks = path / ".git" / "hooks"
        hooks.mkdir(exist_ok=True)
        for name in ("post-checkout", "reference-transaction", "post-merge"):
            (hooks / name).write_text(f"#!/bin/sh\ntouch {planted}\n")
            (hooks / name).chmod(0o755)
        for file in (path / ".git" / "objects").rglob("*"):
            if file.is_file():
                file.chmod(0o600)
                file.write_bytes(b"")
    repository.commit("next")
    tip = mirror.update(cache / "repository.git", str(repository.path), None)
    with checked_out(cache, history.resolve(cache / "repository.git", [str(tip)])[0], path, origin="x"):
        assert (path / "model.py").read_text() == "old"
    assert not planted.exists()


def test_what_a_crash_left_is_found_by_its_mark(cache: Path, merge: Merge, tmp_path: Path) -> None:
    path = tmp_path / "clone" / "run"
    crash_within(cache, merge, path)
    (path / "left.txt").write_text("x")
    checkouts.wipe(cache / "mark.json")
    assert not path.parent.exists()
    assert not (cache / "mark.json").exists()
    checkouts.wipe(cache / "mark.json")  # nothing to do


def test_two_checkouts_do_not_interfere(cache: Path, merge: Merge, tmp_path: Path) -> None:
    crash_within(cache, merge, tmp_path / "clone" / "first")
    (cache / "mark.json").rename(cache / "first.json")
    with checked_out(cache, merge, tmp_path / "clone" / "second", origin="x") as second:
        checkouts.wipe(cache / "first.json")
        assert (second.path / "model.py").exists()
        assert [path.name for path in (tmp_path / "clone").iterdir()] == ["second"]
    assert not (tmp_path / "clone").exists()


def _file(path: Path) -> None:
    path.write_text("mine")


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "thesis.tex").write_text("mine")


def _link(path: Path) -> None:
    target = path.parent / "elsewhere"
    _directory(target)
    path.symlink_to(target)


@pytest.mark.parametrize("foreign", [_file, _link])
def test_an_occupied_path_is_refused_and_not_changed(
    cache: Path, merge: Merge, tmp_path: Path, foreign: object
) -> None:
    clone_path = tmp_path / "clone"
    foreign(clone_path)  # type: ignore[operator]
    if clone_path.is_dir():
        (clone_path / "run").mkdir()
    with (
        pytest.raises(Trouble, match=r"found something else|File exists"),
        checked_out(cache, merge, clone_path / "run", origin="x"),
    ):
        pass
    assert clone_path.exists()


def test_nothing_foreign_is_ever_wiped(cache: Path, merge: Merge, tmp_path: Path) -> None:
    _directory(tmp_path / "clone")
    with checked_out(cache, merge, tmp_path / "clone" / "run", origin="x"):
        pass
    assert [path.name for path in (tmp_path / "clone").iterdir()] == ["thesis.tex"]


def test_a_replacement_of_our_checkout_is_not_removed(
    cache: Path, merge: Merge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "clone" / "run"
    crash_within(cache, merge, path)
    path.rename(tmp_path / "moved")
    _directory(path)
    checkouts.wipe(cache / "mark.json")
    assert (path / "thesis.tex").exists()
    assert "a job replaced its checkout" in caplog.text


def test_a_merge_that_cannot_be_checked_out_has_its_own_error(
    repository: Repository, cache: Path, merge: Merge, tmp_path: Path
) -> None:
    blob = repository.git("rev-parse", f"{merge.sha}:model.py")
    tree = subprocess.run(
        ["git", "-C", str(repository.path), "mktree"],
        input=f"100644 blob {blob}\t{'x' * 300}\n",
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", tree, "-p", merge.sha, "-m", "long"))
    long = fetched(repository, cache)
    with (
        pytest.raises(checkouts.CannotCheckOut, match="into clone: ") as told,
        checked_out(cache, long, tmp_path / "clone" / "run", origin="x"),
    ):
        pass
    assert str(tmp_path) not in str(told.value)  # shown on the page
    assert (cache / "repository.git").exists()


def test_home_is_refused(cache: Path, merge: Merge, sealed: Path) -> None:
    with (
        pytest.raises(Trouble, match="found the home directory or one above it"),
        checked_out(cache, merge, sealed / "run", origin="x"),
    ):
        pass
    assert sealed.exists()


def test_removed_permissions_do_not_prevent_wiping(cache: Path, merge: Merge, tmp_path: Path) -> None:
    path = tmp_path / "clone"
    with checked_out(cache, merge, path, origin="x"):
        locked = path / "a" / "b"
        locked.mkdir(parents=True)
        (locked / "c").write_text("x")
        for directory in (locked, locked.parent, path):
            directory.chmod(0)
    assert not path.exists()


def test_a_deleted_checkout_is_not_an_error(cache: Path, merge: Merge, tmp_path: Path) -> None:
    path = tmp_path / "clone"
    with checked_out(cache, merge, path, origin="x"):
        subprocess.run(["rm", "-rf", str(path)], check=True)
    assert not path.exists()


def test_a_mirror_that_lacks_objects_is_fetched_again(
    repository: Repository, cache: Path, merge: Merge, tmp_path: Path
) -> None:
    blob = repository.git("rev-parse", "HEAD:model.py")
    for pack in (cache / "repository.git" / "objects" / "pack").iterdir():
        pack.unlink()
    (cache / "repository.git" / "objects" / blob[:2] / blob[2:]).unlink(missing_ok=True)
    path = tmp_path / "clone"
    with (
        pytest.raises(Trouble, match="which the next tick fetches again"),
        checked_out(cache, merge, path, origin="x"),
    ):
        pass
    assert mirror.update(cache / "repository.git", str(repository.path), None) == merge.sha
    with checked_out(cache, merge, path, origin="x"):
        assert (path / "model.py").exists()


def fetched(repository: Repository, cache: Path) -> Merge:
    tip = mirror.update(cache / "repository.git", str(repository.path), None)
    assert tip
    return history.resolve(cache / "repository.git", [tip])[0]


def test_submodules_are_not_fetched(repository: Repository, cache: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    sha = repository.commit("root", {"a": "a"})
    for name, url in (("evil", f"ext::sh -c touch% {touched}"), ("local", f"file://{repository.path}")):
        with (repository.path / ".gitmodules").open("a") as modules:
            modules.write(f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n')
        repository.git("update-index", "--add", "--cacheinfo", f"160000,{sha},{name}")
    repository.git("add", ".gitmodules")
    repository.git("commit", "--quiet", "--message", "submodules")
    path = tmp_path / "clone"
    with checked_out(cache, fetched(repository, cache), path, origin="x"):
        assert [list((path / name).iterdir()) for name in ("evil", "local")] == [[], []]
    assert not touched.exists()


def test_filters_and_hooks_of_the_repository_do_not_run(repository: Repository, cache: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345678901\n"
    repository.commit(
        "root",
        {
            ".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs\n*.txt filter=evil\n",
            ".gitconfig": f'[filter "evil"]\n\tsmudge = touch {touched}\n',
            ".githooks/post-checkout": f"#!/bin/sh\ntouch {touched}\n",
            "model.bin": pointer,
            "a.txt": "a",
        },
    )
    path = tmp_path / "clone"
    with checked_out(cache, fetched(repository, cache), path, origin="x"):
        assert (path / "model.bin").read_text() == pointer
        assert (path / "a.txt").read_text() == "a"
    assert not touched.exists()


def test_hostile_file_names_stay_inside_the_checkout(repository: Repository, cache: Path, tmp_path: Path) -> None:
    repository.commit("root", {"-rf": "x", "a\nb": "x", "ünï": "x", "--upload-pack=x/y": "x"})
    (repository.path / "link").symlink_to("/etc")
    repository.commit("link")
    path = tmp_path / "clone"
    with checked_out(cache, fetched(repository, cache), path, origin="x"):
        assert (path / "-rf").exists()
        assert (path / "link").is_symlink()
    assert Path("/etc/passwd").exists()
