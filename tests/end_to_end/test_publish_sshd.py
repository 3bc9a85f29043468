"""Publishing to a real OpenSSH server on loopback."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from sshd import Sshd, generate_key, running_sshd

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import Report, publish
from deepspeech_wer.settings import Website

PAGE = '<!DOCTYPE html><script src="js/index.js"></script><link rel="stylesheet" href="css/app.css">'


@pytest.fixture(scope="module")
def module_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def server(module_sshd: Sshd, tmp_path: Path) -> Sshd:
    """The module's server with a web root of the test's own."""
    root = tmp_path / "web root ü"
    root.mkdir()
    return replace(module_sshd, root=root, website=replace(module_sshd.website, server_root=str(root)))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    directory = tmp_path / "site"
    write(
        directory,
        {"js/index.js": "v1", "js/hyper.js": "data 1", "css/app.css": "", "runs/Ä 1.js": "run", "index.htm": PAGE},
    )
    return directory


def write(site: Path, files: dict[str, str | bytes]) -> None:
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content.encode() if isinstance(content, str) else content)


def put(site: Path, website: Website, **options: object) -> Report:
    files = sorted(str(file.relative_to(site)) for file in site.rglob("*") if file.is_file())
    return publish(site, files, website, retry_after_s=(), **options)  # type: ignore[arg-type]


def published(root: Path) -> dict[str, bytes]:
    """Everything in the web root but the state directory."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and ".deepspeech_wer" not in file.parts
    }


class TestSite:
    def test_all_files_arrive_under_their_names_and_the_index_names_hashed_ones(self, site: Path, server: Sshd) -> None:
        report = put(site, server.website)
        there = published(server.root)
        for path in ("js/index.js", "js/hyper.js", "css/app.css", "runs/Ä 1.js"):
            assert there[path] == (site / path).read_bytes()
        index = there["index.htm"].decode()
        hashed = index.split('src="')[1].split('"')[0]
        assert hashed.startswith("js/index.") and there[hashed] == b"v1"
        assert report.sent[-1] == "index.htm"
        assert len(report.sent) == len(there) == 7

    def test_again_sends_nothing_then_only_what_changed(self, site: Path, server: Sshd) -> None:
        put(site, server.website)
        before = {file: file.stat().st_mtime_ns for file in server.root.rglob("*")}
        report = put(site, server.website)
        assert (report.sent, report.removed, report.size, report.kept) == ((), (), 0, 7)
        assert {file: file.stat().st_mtime_ns for file in server.root.rglob("*")} == before
        write(site, {"js/hyper.js": "data 2"})
        assert put(site, server.website).sent == ("js/hyper.js",)
        assert published(server.root)["js/hyper.js"] == b"data 2"

    def test_the_files_of_the_page_before_stay_for_one_publish(self, site: Path, server: Sshd) -> None:
        put(site, server.website)
        [old] = server.root.glob("js/index.*.js")
        write(site, {"js/index.js": "v2"})
        assert put(site, server.website).removed == ()
        assert old.read_text() == "v1"
        write(site, {"js/index.js": "v3"})
        assert put(site, server.website).removed == (str(old.relative_to(server.root)),)
        assert not old.exists()

    def test_modes_whatever_the_umask(self, site: Path, tmp_path: Path) -> None:
        with running_sshd(tmp_path / "sshd", umask=0o077) as server:
            put(site, server.website)
            for file in server.root.rglob("*"):
                assert stat.S_IMODE(file.stat().st_mode) == (0o755 if file.is_dir() else 0o644), file

    def test_a_dry_run_says_what_and_why_and_changes_nothing(self, site: Path, server: Sshd) -> None:
        report = put(site, server.website, dry_run=True)
        assert "send    index.htm (" in report.lines[-1]
        assert report.lines[-1].endswith(": new")
        assert list(server.root.iterdir()) == []

    def test_progress_ends_at_the_total(self, site: Path, server: Sshd) -> None:
        seen: list[tuple[int, int]] = []
        report = put(site, server.website, progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (report.size, report.size)

    def test_inside_a_chroot(self, site: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root may chroot")
        # not below /tmp: sshd wants a path in which nobody else may write
        with tempfile.TemporaryDirectory(dir="/run") as directory, running_sshd(Path(directory), chroot=True) as server:
            put(site, server.website)
            assert "index.htm" in published(server.root)
            assert not put(site, server.website).sent


class TestWebRoot:
    def test_an_unknown_directory_is_not_made(self, site: Path, server: Sshd) -> None:
        with pytest.raises(Trouble, match=r"/none: no such directory: make it"):
            put(site, replace(server.website, server_root=f"{server.root}/none"))
        assert not (server.root / "none").exists()

    @pytest.mark.parametrize("files", [{"precious.txt": "x"}, {"index.htm": "x"}, {".htaccess": "x"}])
    def test_somebody_elses_directory_is_not_touched(
        self, site: Path, server: Sshd, files: dict[str, str | bytes]
    ) -> None:
        write(server.root, files)
        with pytest.raises(Trouble, match=r"expected an empty directory.*nothing was touched"):
            put(site, server.website)
        assert published(server.root) == dict.fromkeys(files, b"x")
        assert len(list(server.root.iterdir())) == 1

    def test_htaccess_and_index_as_in_2016(self, site: Path, server: Sshd) -> None:
        write(server.root, {".htaccess": "x", "index.htm": "x", "other.txt": "x"})
        put(site, server.website)
        there = published(server.root)
        assert there["other.txt"] == there[".htaccess"] == b"x"
        assert there["index.htm"] != b"x"

    def test_a_file_in_the_way_is_replaced_only_with_adopt(self, site: Path, server: Sshd) -> None:
        write(server.root, {".htaccess": "x", "index.htm": "x", "js/hyper.js": "x"})
        with pytest.raises(Trouble, match=r"js/hyper.js: not published from here.*--adopt"):
            put(site, server.website)
        assert published(server.root)["js/hyper.js"] == b"x"
        put(site, server.website, adopt=True)
        assert published(server.root)["js/hyper.js"] == b"data 1"


class TestKeys:
    @pytest.mark.parametrize("key_type", ["ecdsa", "rsa"])  # ed25519 is used by all others
    def test_key_types(self, site: Path, tmp_path: Path, key_type: str) -> None:
        with running_sshd(tmp_path / "sshd", key_type=key_type) as server:
            assert put(site, server.website).sent

    def test_an_unknown_host_is_refused_with_the_cure(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        with pytest.raises(Trouble, match=rf"unknown host.*ssh-keyscan -p {server.port} 127.0.0.1 >> ") as trouble:
            put(site, replace(server.website, known_hosts=tmp_path / "empty"))
        assert "\n" not in str(trouble.value)
        assert published(server.root) == {}

    def test_a_changed_host_key_is_refused(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        public = generate_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
        (tmp_path / "changed").write_text(f"[127.0.0.1]:{server.port} {public}")
        with pytest.raises(Trouble, match=r"none of those on record.*ssh-keygen -R '\[127.0.0.1\]:"):
            put(site, replace(server.website, known_hosts=tmp_path / "changed"))
        assert published(server.root) == {}

    def test_a_key_that_the_server_does_not_know(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        with pytest.raises(Trouble, match=r"refuses .*authorized_keys"):
            put(site, replace(server.website, privkey=generate_key(tmp_path / "stranger", "ed25519")))
