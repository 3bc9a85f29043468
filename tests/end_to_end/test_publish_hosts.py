"""Publishing to a second SFTP implementation, with and without what OpenSSH has and others lack; and rolling back."""

from __future__ import annotations

import hashlib
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer.configuration.settings import Website
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan
from deepspeech_wer.publish.publisher import rollback
from deepspeech_wer.publish.report import Options
from tests.end_to_end.other_server import (
    EXTENSIONS,
    Haunted,
    HidingDotFiles,
    Host,
    Quota,
    ReadOnly,
    WithoutModes,
    WithoutTimes,
    running_host,
)
from tests.end_to_end.publishing import files_of, leftovers, load_page, published, put, version, write
from tests.end_to_end.sshd import running_sshd


@pytest.fixture
def site(tmp_path: Path) -> Path:
    version(tmp_path / "site", 1)
    return tmp_path / "site"


def three_versions(site: Path, website: Website, root: Path) -> list[tuple[str, ...]]:
    """Publish three versions, each twice; what was removed."""
    removed = []
    for number in (1, 2, 3):
        version(site, number)
        report = put(site, website)
        assert load_page(root) == f"version {number} "
        assert published(root).keys() >= set(files_of(site))
        assert leftovers(root) == []
        assert not put(site, website).sent
        removed.append(report.removed)
    return removed


def test_as_it_comes(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "KEPT_S", 0)
    with running_host(tmp_path / "host") as (website, root):
        removed = three_versions(site, website, root)
        assert [len(paths) for paths in removed] == [0, 0, 2]  # what version 1 alone had: its script and its style
        for file in root.rglob("*.js"):
            assert stat.S_IMODE(file.stat().st_mode) == 0o644


def test_without_posix_rename_and_links(site: Path, tmp_path: Path) -> None:
    with running_host(tmp_path / "host", without=EXTENSIONS) as (website, root):
        assert any("posix-rename" in note for note in put(site, website).notes)
        assert not put(site, website).notes
        three_versions(site, website, root)
        with pytest.raises(Trouble, match="cannot link files"):
            rollback(website)


def test_what_others_put_there_is_kept_without_links_too(site: Path, tmp_path: Path) -> None:
    with running_host(tmp_path / "host", without=EXTENSIONS) as (website, root):
        (root / "index.htm").write_text("theirs")
        put(site, website, adopt=True)
        [kept] = root.glob("index.htm.before-*")
        assert kept.read_text() == "theirs"
        assert (root / "index.htm").read_text() != "theirs"


@pytest.mark.parametrize("kind", [WithoutTimes, WithoutModes])
def test_without_setting_attributes(site: Path, tmp_path: Path, kind: type[Host]) -> None:
    with running_host(tmp_path / "host", kind) as (website, root):
        assert any("keeps no times" in note for note in put(site, website).notes)
        three_versions(site, website, root)


def test_without_the_right_to_write(site: Path, tmp_path: Path) -> None:
    with running_host(tmp_path / "host", ReadOnly) as (website, root):
        with pytest.raises(Trouble, match="give that user the right"):
            put(site, website)
        assert list(root.iterdir()) == []


@pytest.mark.parametrize("left", [0, 100, 400, 3000, 20_000, 30_000])
def test_a_quota(site: Path, tmp_path: Path, left: int) -> None:
    with running_host(tmp_path / "host", Quota) as (website, root):
        put(site, website)
        before = published(root)
        Quota.left = left
        version(site, 2)
        with pytest.raises(Trouble, match=r"\(quota exceeded\).*is the disk or the quota full"):
            put(site, website)
        assert {path: data for path, data in published(root).items() if not path.endswith(".partial")} == before
        assert not (root / ".deepspeech_wer" / "lock").exists()  # nor is anybody kept waiting
        Quota.left = 10**6
        put(site, website)
        assert load_page(root) == "version 2 "
        assert leftovers(root) == []


class TestTemporaryNames:
    """They are new each time: what a publish that was cut left behind may be invisible, and there all the same."""

    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Haunted, "taken", set())
        monkeypatch.setattr(Haunted, "cut", False)

    def test_a_server_that_never_gives_them_free(self, site: Path, tmp_path: Path) -> None:
        with running_host(tmp_path / "host", Haunted) as (website, root):
            for number in (1, 2):
                version(site, number)
                Haunted.cut = True
                for _ in range(2):
                    with pytest.raises(Trouble, match=r"lost|closed"):
                        put(site, website)
                Haunted.cut = False
                put(site, website)
                assert load_page(root) == f"version {number} "
                assert leftovers(root) == []

    def test_tried_again_within_one_publish(self, site: Path, tmp_path: Path) -> None:
        with running_host(tmp_path / "host", Haunted) as (website, root):
            Haunted.cut = True
            mended = threading.Timer(0.5, setattr, (Haunted, "cut", False))
            mended.start()
            put(site, website, retry_after_s=(1.0,))
            mended.join()
            assert load_page(root) == "version 1 "

    def test_whatever_the_name(self, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Haunted, "taken", Everything())
        with (
            running_host(tmp_path / "host", Haunted) as (website, _),
            pytest.raises(Trouble, match=r"\(File already exists\): something has that name") as trouble,
        ):
            put(site, website)
        assert "full" not in str(trouble.value)

    def test_a_server_that_hides_dot_files(self, site: Path, tmp_path: Path) -> None:
        write(site, {".well-known/a": "a", ".htaccess": "DirectoryIndex index.htm"})
        with running_host(tmp_path / "host", HidingDotFiles) as (website, root):
            for number in (1, 2, 3):
                version(site, number)
                put(site, website)
                assert load_page(root) == f"version {number} "
                assert leftovers(root) == []

    @pytest.mark.parametrize("name", ["runs/1.js.{}.0123456789ab.partial", "runs/.1.js.{}.partial"])
    def test_what_an_earlier_program_or_publish_left_is_used_or_removed(
        self, site: Path, tmp_path: Path, name: str
    ) -> None:
        with running_host(tmp_path / "host", HidingDotFiles if name[5] != "." else Host) as (website, root):
            put(site, website)
            version(site, 2)
            write(site, {"runs/1.js": "another"})
            sha256 = hashlib.sha256(b"another").hexdigest()[:16]
            write(root, {name.format(sha256): "anoth", name.format("f" * 16): "", f"runs/x.{'f' * 16}.partial": ""})
            put(site, website)
            assert (root / "runs/1.js").read_text() == "another"
            assert leftovers(root) == [f"runs/x.{'f' * 16}.partial"]  # beside no file of ours


class Everything(set[bytes]):
    """Contains whatever is asked for."""

    def __contains__(self, _: object) -> bool:
        return True


class TestRollback:
    @pytest.fixture(params=["asyncssh", "OpenSSH"])
    def host(self, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Website, Path]]:
        if request.param == "asyncssh":
            with running_host(tmp_path / "host") as found:
                yield found
        else:
            with running_sshd(tmp_path / "host") as server:
                yield server.website, server.root

    def test_there_and_back_again(self, site: Path, host: tuple[Website, Path]) -> None:
        website, root = host
        put(site, website)
        with pytest.raises(Trouble, match="nothing to roll back to"):
            rollback(website)
        first = {path: published(root)[path] for path in published(root)}
        version(site, 2)
        (site / "runs/1.js").unlink()
        put(site, website)
        second = published(root)
        assert "index.htm" in rollback(website, Options(dry_run=True)).lines[-1]
        report = rollback(website)
        assert report.sent[-1] == "index.htm"
        assert report.size == 0
        assert load_page(root) == "version 1 "
        assert {path: published(root)[path] for path in first} == first
        rollback(website)
        assert {path: published(root)[path] for path in second} == second
        assert load_page(root) == "version 2 "
        version(site, 3)
        put(site, website)
        assert load_page(root) == "version 3 "
        rollback(website)
        assert load_page(root) == "version 2 "
        assert leftovers(root) == []

    def test_a_run_that_was_removed_comes_back(self, site: Path, host: tuple[Website, Path]) -> None:
        website, root = host
        put(site, website)
        for number in (2, 3):
            version(site, number)
            put(site, website)
        (site / "runs/1.js").unlink()
        write(site, {"js/hyper.js": "other"})
        put(site, website)
        rollback(website)
        assert (root / "runs/1.js").read_text() == "version 1 "
        assert (root / "js/hyper.js").read_text() != "other"
