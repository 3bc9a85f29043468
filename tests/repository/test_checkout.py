"""Separate checkouts, and wiping that never removes anything else."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
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


def test_a_checkout_on_a_disk_that_became_read_only_is_told_as_that_and_removed_later(
    cache: Path, merge: Merge, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "none", str(disk)], check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    path = disk / "clone" / "checkout"
    try:
        cure = "Read-only file system: mount it writable, or set another path$"
        with pytest.raises(Trouble, match=f"cannot remove the checkout {path}: {cure}"):  # noqa: SIM117
            with checked_out(cache, merge, path, origin=""):
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        checkouts.wipe(cache / "mark.json")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_checkout_that_cannot_even_be_renamed_is_left_and_told(
    cache: Path, merge: Merge, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "clones" / "checkout"
    try:
        with checked_out(cache, merge, path, origin=""):
            if subprocess.run(["chattr", "+i", str(path)], check=False).returncode:
                pytest.skip("this user or file system has no immutable files")
        assert (path / "model.py").exists()
        assert f"cannot remove the checkout, which is now {path}: " in caplog.text
        assert not (cache / "mark.json").exists()
        with checked_out(cache, merge, path.with_name("next"), origin=""):
            pass
    finally:
        subprocess.run(["chattr", "-i", str(path)], check=False)


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


# -- settings of the user's, and files that come out as committed all the same

SETTINGS = {
    "line ends": "[core]\n\tautocrlf = input\n\teol = crlf\n\tsafecrlf = true\n",
    "a file of attributes": "[core]\n\tattributesFile = ~/attributes\n",
    "the file of attributes that git looks for": "",
    "an included file": '[includeIf "gitdir:/"]\n\tpath = ~/included\n',
    "hooks": "[core]\n\thooksPath = ~/hooks\n",
    "a template": "[init]\n\ttemplateDir = ~/template\n",
    "a monitor of files": "[core]\n\tfsmonitor = ~/hooks/post-checkout\n",
    "protocols": "[protocol]\n\tallow = never\n",
    "one protocol": '[protocol "file"]\n\tallow = never\n',
    "no shallow sources": "[clone]\n\trejectShallow = true\n",
    "another name for the remote": "[clone]\n\tdefaultRemoteName = upstream\n",
    "another place": '[url "https://127.0.0.1:1/"]\n\tinsteadOf = /\n',
    "submodules": "[submodule]\n\trecurse = true\n",
    "a slip": "[core\n",
}


def tree(directory: Path) -> dict[str, object]:
    """Every file and link of a work tree, by name."""
    found: dict[str, object] = {}
    for path in directory.rglob("*"):
        name = path.relative_to(directory)
        if name.parts[0] != ".git" and not path.is_dir():
            mode = path.lstat().st_mode & 0o100
            found[str(name)] = path.readlink() if path.is_symlink() else (mode, path.read_bytes())
    return found


@pytest.fixture
def odd(repository: Repository, cache: Path, tmp_path: Path) -> tuple[Merge, dict[str, object]]:
    """A commit with all that settings could change, in a shallow mirror; and its files."""
    repository.commit("root", {"left.txt": "left"})
    repository.write({".gitattributes": "*.txt text=auto\n*.lm filter=big\n", "a.txt": "a\nb\n", "b.lm": "pointer\n"})
    repository.write({"crlf.csv": "a\r\nb\r\n", "bin/job": "#!/bin/sh\n"})
    (repository.path / "link").symlink_to("a.txt")
    repository.commit("odd")
    shallow = Repository(tmp_path / "shallow")
    shallow.git("fetch", "--quiet", "--depth=1", f"file://{repository.path}", "main")
    shallow.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    return fetched(shallow, cache), tree(repository.path)


def put_settings(home: Path, text: str, touched: Path) -> None:
    (home / ".gitconfig").write_text(text)
    (home / "included").write_text("[core]\n\tautocrlf = true\n\tsymlinks = false\n")
    (home / "attributes").write_text("* text eol=crlf\n* filter=evil\n")
    (home / ".config" / "git").mkdir(parents=True)
    if not text:
        (home / ".config" / "git" / "attributes").write_text("* text eol=crlf\n")
    for hooks in ("hooks", "template/hooks"):
        (home / hooks).mkdir(parents=True)
        for name in ("post-checkout", "reference-transaction", "pre-auto-gc"):
            (home / hooks / name).write_text(f"#!/bin/sh\ntouch {touched}\n")
            (home / hooks / name).chmod(0o755)


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_of_the_user_change_no_file(
    odd: tuple[Merge, dict[str, object]], cache: Path, tmp_path: Path, sealed: Path, kind: str
) -> None:
    commit, files = odd
    put_settings(sealed, SETTINGS[kind], tmp_path / "touched")
    path = tmp_path / "clone" / "run"
    with checked_out(cache, commit, path, origin="https://example.com/x.git"):
        assert tree(path) == files
        config = (path / ".git" / "config").read_text()
        assert not list((path / ".git").glob("hooks/*"))
    assert 'remote "origin"]\n\turl = https://example.com/x.git' in config
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "variables",
    [
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.autocrlf", "GIT_CONFIG_VALUE_0": "true"},
        {"GIT_CONFIG_PARAMETERS": "'core.symlinks=false' 'core.eol=crlf'"},
        {"GIT_CONFIG_GLOBAL": "{home}/included"},
        {"GIT_CONFIG_SYSTEM": "{home}/included", "GIT_CONFIG_NOSYSTEM": "0"},
        {"GIT_TEMPLATE_DIR": "{home}/template"},
        {"XDG_CONFIG_HOME": "{home}"},
        {"GIT_ALLOW_PROTOCOL": "https"},
        {"GIT_WORK_TREE": "{home}", "GIT_INDEX_FILE": "{home}/index"},
    ],
    ids=lambda variables: next(iter(variables)),
)
def test_settings_in_the_environment_change_no_file(
    odd: tuple[Merge, dict[str, object]],
    cache: Path,
    tmp_path: Path,
    sealed: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    commit, files = odd
    put_settings(sealed, "[user]\n\tname = A\n", tmp_path / "touched")
    (sealed / "git").mkdir()
    (sealed / "git" / "config").write_text((sealed / "included").read_text())
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(home=sealed))
    with checked_out(cache, commit, tmp_path / "clone" / "run", origin="x") as checkout:
        assert tree(checkout.path) == files
    assert not (tmp_path / "touched").exists()


def test_a_job_can_fetch_what_is_left_out(repository: Repository, cache: Path, tmp_path: Path) -> None:
    """Large files by a filter of its own, submodules from beside the remote; nothing in the clone forbids it."""
    part = Repository(tmp_path / "part")
    part.commit("root", {"words": "words"})
    repository.commit("root", {".gitattributes": "*.lm filter=lfs\n", "a.lm": "pointer\n"})
    repository.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", "../part", "part")
    repository.commit("a part")
    path = tmp_path / "clone" / "run"
    with checked_out(cache, fetched(repository, cache), path, origin=str(repository.path)):
        assert (path / "a.lm").read_text() == "pointer\n"
        assert list((path / "part").iterdir()) == []
        kept = git(path, "config", "--local", "--list", "--name-only").split()
        assert not [name for name in kept if not name.startswith(("core.", "remote.origin.", "branch."))]
        assert "core.hookspath" not in kept
        git(path, "config", "filter.lfs.smudge", "tr a-z A-Z")
        (path / "a.lm").unlink()
        git(path, "checkout", "--", "a.lm")
        git(path, "-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--init")
        assert (path / "a.lm").read_text() == "POINTER\n"
        assert (path / "part" / "words").read_text() == "words"


# -- what is wrong here, and no fault of the merge


def put_git(directory: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Put a git first on PATH that does something before it is the real one; `$*` are its arguments."""
    real = shutil.which("git")
    (directory / "bin").mkdir()
    script = directory / "bin" / "git"
    script.write_text(f'#!/bin/sh\n{before}\nexec {real} "$@"\n')
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory / 'bin'}:{os.environ['PATH']}")


AT_CHECKOUT = 'case " $* " in *" checkout "*) {}; esac'


@pytest.mark.parametrize(
    ("before", "told"),
    [
        (AT_CHECKOUT.format("kill -9 $$"), "ended by SIGKILL; SIGKILL ended it: is there enough memory"),
        (AT_CHECKOUT.format("exit 137"), "SIGKILL ended it"),
        (AT_CHECKOUT.format("exit 0"), "git checkout answered '', as git does not"),
        (AT_CHECKOUT.format('echo "error: unknown option x" >&2; exit 129'), "x; git 2.32 or newer is needed"),
        (AT_CHECKOUT.format("kill -SEGV $$"), "ended by SIGSEGV"),
        (AT_CHECKOUT.format("kill -XCPU $$"), "SIGXCPU ended it"),
        (AT_CHECKOUT.format("ulimit -v 9000"), "raise `ulimit -v`|install it"),
        (AT_CHECKOUT.format("ulimit -f 1"), "SIGXFSZ|ulimit -f"),
        (AT_CHECKOUT.format("ulimit -n 4"), "raise `ulimit -n`"),
        (AT_CHECKOUT.format("echo 'error: unable to write file a: Disk quota exceeded' >&2; exit 1"), "quota"),
        (AT_CHECKOUT.format("echo 'fatal: write error: Input/output error' >&2; exit 128"), "look at `dmesg`"),
        (AT_CHECKOUT.format("echo 'error: open(\"a\"): Key has expired' >&2; exit 128"), "kinit"),
        (AT_CHECKOUT.format("echo 'fatal: cannot stat .: Structure needs cleaning' >&2; exit 128"), "look at `dmesg`"),
        (AT_CHECKOUT.format("echo 'git: 2: git-x: not found' >&2; exit 127"), "install it, or name its directory"),
        (AT_CHECKOUT.format("echo 'fatal: something new' >&2; exit 128"), "something new; the next tick tries again"),
        (AT_CHECKOUT.format("echo \"error: unable to create file a: File name too long\" >&2; test -e $HOME/once || "
                            "{ touch $HOME/once; exit 1; }"), "File name too long; the next tick tries again"),
        ("case \" $* \" in *\" clone \"*) ulimit -n 3;; esac", "."),
    ],
)  # fmt: skip
def test_a_git_that_fails_for_reasons_of_the_machine_is_trouble(
    repository: Repository, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str, told: str
) -> None:
    repository.commit("root", {"a": "a", "large": "x" * 100_000})
    commit = fetched(repository, cache)
    put_git(tmp_path, monkeypatch, before)
    with (
        pytest.raises(Trouble, match=told) as trouble,
        checked_out(cache, commit, tmp_path / "clone" / "run", origin="x"),
    ):
        pass
    assert not isinstance(trouble.value, checkouts.CannotCheckOut)
    assert "\n" not in str(trouble.value)
    (tmp_path / "bin" / "git").unlink()
    with checked_out(cache, commit, tmp_path / "clone" / "run", origin="x") as checkout:  # from the same mirror
        assert (checkout.path / "a").exists()


@pytest.mark.parametrize("command", ["rev-parse", "rev-list", "log", "diff-tree"])
@pytest.mark.parametrize("instead", ["exit 0", "echo a wrapper 1.0"])
def test_a_git_that_answers_as_no_git_does_is_trouble(
    repository: Repository, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, instead: str
) -> None:
    repository.commit("root", {"a": "a"})
    tip = repository.merge("one")
    commit = fetched(repository, cache)
    put_git(tmp_path, monkeypatch, f'case " $* " in *" {command} "*) {instead}; esac')

    def read() -> None:
        mirror.tip(cache / "repository.git")
        assert history.read(cache / "repository.git", tip, commit.parents[0]).new == (tip,)
        history.changed(cache / "repository.git", history.merge(cache / "repository.git", tip))

    if (command, instead) in (("diff-tree", "exit 0"), ("rev-list", "exit 0")):  # as where there is nothing
        return
    with pytest.raises(Trouble, match=r"as git does not: is .*/bin/git a wrapper|cannot read the mirror") as trouble:
        read()
    assert "\n" not in str(trouble.value)
    assert (cache / "repository.git").exists()
    (tmp_path / "bin" / "git").unlink()
    read()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mount a file system of its own; by its options."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(options: str) -> Path:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=False)
        if done.returncode:
            pytest.skip("only root can mount")
        return place

    yield mount
    subprocess.run(["umount", "--lazy", str(place)], stderr=subprocess.DEVNULL, check=False)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("size=200k", "make room there"),  # the clone itself has no room
        ("size=900k", "make room there"),  # the clone has, its files have not
        ("nr_inodes=25", "No space left on device.*make room there, or inodes"),
        ("nr_inodes=60", "No space left on device.*make room there|no inodes left"),
        ("ro", "Read-only file system"),
    ],
)
def test_no_room_no_inodes_or_no_writing_is_trouble(
    repository: Repository, cache: Path, tmp_path: Path, small: Callable[[str], Path], options: str, told: str
) -> None:
    content = random.Random(1).randbytes(600_000).hex()[:600_000]
    repository.commit("root", {"large": content, **{f"d/{number}": "x" for number in range(60)}})
    commit = fetched(repository, cache)
    place = small(options)
    with (
        pytest.raises(Trouble, match=told) as trouble,
        checked_out(cache, commit, place / "clone" / "run", origin="x"),
    ):
        pass
    assert not isinstance(trouble.value, checkouts.CannotCheckOut)
    assert list(place.iterdir()) == []
    with checked_out(cache, commit, tmp_path / "elsewhere" / "run", origin="x") as checkout:
        assert len(list((checkout.path / "d").iterdir())) == 60


@pytest.mark.parametrize("damage", ["a lost file", "a file that rots"])
def test_a_file_that_the_mirror_lost_is_no_fault_of_the_merge(
    repository: Repository, cache: Path, merge: Merge, tmp_path: Path, damage: str
) -> None:
    blob = repository.git("rev-parse", "HEAD:model.py")
    mirrored = cache / "repository.git"
    for pack in (mirrored / "objects" / "pack").glob("*.pack"):  # each object in a file of its own
        aside = tmp_path / pack.name
        pack.rename(aside)
        pack.with_suffix(".idx").unlink()
        subprocess.run(["git", "-C", str(mirrored), "unpack-objects", "-q"], stdin=aside.open("rb"), check=True)
    file = mirrored / "objects" / blob[:2] / blob[2:]
    file.chmod(0o600)
    if damage == "a lost file":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:5] + b"rotten")
    with (
        pytest.raises(Trouble, match="which the next tick fetches again") as trouble,
        checked_out(cache, merge, tmp_path / "clone" / "run", origin="x"),
    ):
        pass
    assert not isinstance(trouble.value, checkouts.CannotCheckOut)
    assert mirror.update(mirrored, str(repository.path), None) == merge.sha
    with checked_out(cache, merge, tmp_path / "clone" / "run", origin="x") as checkout:
        assert (checkout.path / "model.py").read_text() == "old"


def tree_of(repository: Repository, entries: str) -> str:
    """A tree that git itself may refuse to make."""
    made = b""
    for line in entries.splitlines():
        mode, _, sha, name = line.replace("\t", " ").split(" ", 3)
        made += f"{mode} {name}\0".encode() + bytes.fromhex(sha)
    command = ["git", "-C", str(repository.path), "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    return subprocess.run(command, input=made, capture_output=True, check=True).stdout.decode().strip()


@pytest.mark.parametrize("name", ["x" * 300, "/".join(["d" * 250] * 20), f"{'y' * 256}/z", ".git/config", ".."])
def test_a_path_that_cannot_exist_is_the_fault_of_the_merge(
    repository: Repository, cache: Path, merge: Merge, tmp_path: Path, name: str
) -> None:
    kind, sha = "100644 blob", repository.git("rev-parse", f"{merge.sha}:model.py")
    for part in reversed(name.split("/")):
        sha = tree_of(repository, f"{kind} {sha}\t{part}\n")
        kind = "40000 tree"
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", sha, "-p", merge.sha, "-m", "x"))
    with (
        pytest.raises(checkouts.CannotCheckOut, match="cannot check out"),
        checked_out(cache, fetched(repository, cache), tmp_path / "clone" / "run", origin="x"),
    ):
        pass
    assert (cache / "repository.git").exists()


def test_a_checkout_whose_mark_a_job_removed_is_wiped(cache: Path, merge: Merge, tmp_path: Path) -> None:
    with checked_out(cache, merge, tmp_path / "clone" / "run", origin="x") as checkout:
        (cache / "mark.json").unlink()
    assert not checkout.path.exists()
