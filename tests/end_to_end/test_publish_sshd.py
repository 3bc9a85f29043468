"""Publishing to a real OpenSSH server on loopback."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.configuration.settings import Website
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan, publisher, survey, web_root_lock
from deepspeech_wer.publish.web_root import WebRoot
from deepspeech_wer.sftp import files
from tests.end_to_end.publishing import files_of, leftovers, load_page, published, put, version, write, write_page
from tests.end_to_end.sshd import Sshd, running_sshd


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
    write_page(directory, "v1")
    write(directory, {"js/hyper.js": "data 1", "runs/Ä 1.js": "run"})
    return directory


class TestSite:
    def test_all_files_arrive_under_their_names_and_no_others(self, site: Path, server: Sshd) -> None:
        report = put(site, server.website)
        assert published(server.root) == {path: (site / path).read_bytes() for path in files_of(site)}
        assert sorted(report.sent) == sorted(files_of(site))
        assert report.sent[-1] == "index.htm"

    def test_again_sends_nothing_then_only_what_changed(self, site: Path, server: Sshd) -> None:
        put(site, server.website)
        assert leftovers(server.root) == []
        before = {file: file.stat().st_mtime_ns for file in server.root.rglob("*")}
        report = put(site, server.website)
        assert (report.sent, report.removed, report.size, report.kept) == ((), (), 0, 5)
        assert {file: file.stat().st_mtime_ns for file in server.root.rglob("*")} == before
        write(site, {"js/hyper.js": "data 2"})
        assert put(site, server.website).sent == ("js/hyper.js",)
        assert published(server.root)["js/hyper.js"] == b"data 2"

    def test_the_files_of_earlier_pages_stay_for_minutes(
        self, site: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(site, server.website)
        [first] = server.root.glob("js/index.*.js")
        for number in range(2, 6):
            write_page(site, f"v{number}")
            assert put(site, server.website).removed == ()
        assert first.read_text() == "v1"
        assert len([*server.root.glob("js/index.*.js")]) == 5
        monkeypatch.setattr(plan, "KEPT_S", 0)
        write_page(site, "v6")
        assert len(put(site, server.website).removed) == 4
        assert {file.read_text() for file in server.root.glob("js/index.*.js")} == {"v5", "v6"}

    def test_modes_whatever_the_umask(self, site: Path, tmp_path: Path) -> None:
        with running_sshd(tmp_path / "sshd", umask=0o077) as server:
            put(site, server.website)
            for file in server.root.rglob("*"):
                mode = 0o755 if file.is_dir() else 0o644
                expected = mode & 0o770 if ".deepspeech_wer" in file.parts else mode  # that is nobody else's business
                assert stat.S_IMODE(file.stat().st_mode) == expected, file

    @pytest.mark.parametrize("umask", ["0022", "0077"])
    def test_a_server_that_sets_no_modes(self, site: Path, tmp_path: Path, umask: str) -> None:
        options = (f"Subsystem sftp internal-sftp -u {umask} -P setstat,fsetstat",)
        with running_sshd(tmp_path / "sshd", options=options, sftp=False) as server:
            told = [note for note in put(site, server.website).notes if "sets no modes" in note]
            paths = [server.root / path for path in files_of(site)]
            if umask == "0022":
                assert not told
                assert all(path.stat().st_mode & 0o444 == 0o444 for path in paths)
            else:
                [note] = told
                assert re.search(r"/web root/.* has 0700, not 0644: .* -u 0022 or take away -P", note)
            version(site, 2)
            assert put(site, server.website).sent

    def test_a_dry_run_says_what_and_why_and_changes_nothing(
        self, site: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plan, "KEPT_S", 0)
        report = put(site, server.website, dry_run=True)
        assert "send    index.htm (" in report.lines[-1]
        assert report.lines[-1].endswith(": new")
        assert list(server.root.iterdir()) == []
        put(site, server.website)
        [old] = server.root.glob("js/index.*.js")
        write_page(site, "v2")
        put(site, server.website)
        write_page(site, "v3")
        write(site, {"runs/new.js": ""})
        [style] = server.root.glob("css/app.*.css")
        style.unlink()
        (server.root / "js/hyper.js").write_text("damaged")
        before = published(server.root)
        lines = put(site, server.website, dry_run=True).lines
        assert published(server.root) == before
        for line in (
            f"send    css/{style.name} (0 bytes): missing on the server",
            "send    js/hyper.js (6 bytes): differs on the server",
            f"send    index.htm ({(site / 'index.htm').stat().st_size} bytes): changed",
            "send    runs/new.js (0 bytes): new",
            f"remove  {old.relative_to(server.root)}: in no page for some minutes",
        ):
            assert line in lines

    def test_names_with_a_leading_dot_or_beyond_utf8(self, site: Path, server: Sshd) -> None:
        write(site, {"runs/.hidden": "1", "runs/\udcff": "latin", "runs/a b'\"$`;": "quotes"})
        put(site, server.website)
        assert published(server.root)["runs/\udcff"] == b"latin"
        assert not put(site, server.website).sent

    @pytest.mark.parametrize("link", [False, True])
    def test_a_root_relative_to_the_login_directory_or_a_symbolic_link(
        self, site: Path, server: Sshd, tmp_path: Path, link: bool
    ) -> None:
        root = os.path.relpath(server.root, Path("~" + server.user).expanduser())
        if link:
            (tmp_path / "link").symlink_to(server.root)
            root = str(tmp_path / "link")
        put(site, replace(server.website, server_root=root + "/"))
        assert "index.htm" in published(server.root)
        assert leftovers(server.root) == []

    def test_two_sites_side_by_side(self, site: Path, server: Sshd) -> None:
        for name in ("english", "deutsch"):
            (server.root / name).mkdir()
            put(site, replace(server.website, server_root=f"{server.root}/{name}"))
        assert published(server.root / "english") == published(server.root / "deutsch")

    def test_many_files_some_alike(self, site: Path, server: Sshd) -> None:
        """The manifest of so many is larger than one request may be; files alike in content may differ in time."""
        for number in range(6_000):
            write(site, {f"runs/{number % 7}/{number}": f"{number % 5_990} x"})
            os.utime(site / f"runs/{number % 7}/{number}", (1e9 + number, 1e9 + number))
        put(site, server.website)
        assert (server.root / ".deepspeech_wer/manifest.json.gz").stat().st_size > 256 * 1024
        assert not put(site, server.website).sent

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

    @pytest.mark.parametrize("path", ["js", "index.htm", "js/hyper.js"])
    @pytest.mark.parametrize("is_ours", [False, True])
    def test_a_file_in_the_place_of_a_directory_or_the_reverse_is_kept_beside(
        self, site: Path, server: Sshd, path: str, is_ours: bool
    ) -> None:
        theirs = path if path == "js" else f"{path}/theirs"
        if is_ours:
            put(site, server.website)
            (server.root / path).rename(server.root / "away")
        index = {} if is_ours or path == "index.htm" else {"index.htm": "x"}
        write(server.root, {theirs: "x", ".htaccess": "x", **index})
        with pytest.raises(Trouble, match=rf"{path}.*: not published from here, and in the way; .* publish --adopt"):
            put(site, server.website)
        assert published(server.root)[theirs] == b"x"
        report = put(site, server.website, adopt=True)
        there = published(server.root)
        [kept] = [name for name in there if name.startswith(f"{path}.before-")]
        assert there[kept] == b"x"
        assert any(f"{server.root}/{path}: not ours: kept as {path}.before-" in note for note in report.notes)
        assert there["js/hyper.js"] == b"data 1"
        assert put(site, server.website).sent == ()

    @pytest.mark.parametrize("adopt", [False, True])
    @pytest.mark.parametrize("is_ours", [False, True])
    @pytest.mark.parametrize("kind", ["file", "dangling link", "pipe"])
    def test_no_directory_in_the_place_of_the_state(
        self, site: Path, server: Sshd, kind: str, is_ours: bool, adopt: bool
    ) -> None:
        state = server.root / plan.STATE
        if is_ours:
            put(site, server.website)
            state.rename(server.root.parent / "away")
        make = {"file": Path.touch, "dangling link": lambda path: path.symlink_to("/nowhere"), "pipe": os.mkfifo}
        make[kind](state)
        before = published(server.root)
        version(site, 2)
        with pytest.raises(Trouble, match=f"{plan.STATE}: expected a directory; nothing was touched: move it away"):
            put(site, server.website, adopt=adopt)
        assert published(server.root) == before
        state.rename(server.root.parent / "theirs")
        assert put(site, server.website, adopt=is_ours).sent

    def test_of_the_state_only_what_is_ours_is_removed(self, site: Path, server: Sshd) -> None:
        theirs = {f"{plan.STATE}/{name}": "theirs" for name in ("old/notes.txt", "my.partial", "lock.stale", "README")}
        put(site, server.website)
        write(server.root, theirs)
        ours = ("old/" + "a" * 64, "next.json.gz." + "b" * 16 + ".partial", "lock." + "c" * 16 + ".stale")
        write(server.root, {f"{plan.STATE}/{name}": "" for name in ours})
        version(site, 2)
        put(site, server.website)
        assert {path: (server.root / path).read_text() for path in theirs} == theirs
        assert not [name for name in ours if (server.root / plan.STATE / name).exists()]

    @pytest.mark.parametrize("adopt", [False, True], ids=["2016", "adopt"])
    def test_what_it_replaces_is_kept_beside_and_named(self, site: Path, server: Sshd, adopt: bool) -> None:
        theirs = {".htaccess": "h", "index.htm": "theirs", **({"js/hyper.js": "of others"} if adopt else {})}
        write(server.root, theirs)
        dry = put(site, server.website, adopt=adopt, dry_run=True)
        assert len(dry.notes) == len(theirs) - 1
        assert len(published(server.root)) == len(theirs)
        report = put(site, server.website, adopt=adopt)
        there = published(server.root)
        for path, content in theirs.items():
            kept = [name for name in there if name.startswith(f"{path}.before-")]
            if path == ".htaccess":
                assert (kept, there[path]) == ([], b"h")
                continue
            [name] = kept
            assert there[name] == content.encode()
            assert there[path] != content.encode()
            assert f"{server.root}/{path}: not ours: kept as {name}" in report.notes
        assert put(site, server.website).sent == ()
        version(site, 2)
        assert not put(site, server.website).notes
        assert len([name for name in published(server.root) if ".before-" in name]) == len(theirs) - 1


class TestManyDirectories:
    """With thousands of run directories, those that nothing happened to are not listed every time."""

    @pytest.fixture
    def many(self, site: Path, server: Sshd) -> Path:
        for number in range(survey.FEW + 20):
            write(site, {f"runs/{number}/hyper.json": "{}", f"runs/{number}/out.log": "log"})
        put(site, server.website)
        time.sleep(1.1)  # the server's clock must be past the second in which the directories were made
        write(site, {"js/hyper.js": "data 2"})
        put(site, server.website)
        return site

    def listed(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The run directories that are listed from now on."""
        paths: list[str] = []
        original = files.list_directory

        def heard(path: str, expected: int) -> object:
            paths.append(path)
            return original(path, expected)

        monkeypatch.setattr(files, "list_directory", heard)
        return paths

    def test_few_are_listed(self, many: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
        listed = self.listed(monkeypatch)
        assert not put(many, server.website).sent
        assert len([path for path in listed if "/runs/" in path]) <= publisher.NEWEST

    def test_a_run_more_takes_one_look(self, many: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its directory, and that of the run before, were written last: they are listed before all is known."""
        looks: list[list[str]] = []
        original = survey._listing

        def heard(root: WebRoot, directories: list[str], sizes: dict[str, int]) -> object:
            looks.append(list(directories))
            return original(root, directories, sizes)

        monkeypatch.setattr(survey, "_listing", heard)
        for name in ("x", "y"):
            looks.clear()
            write(many, {f"runs/{name}/hyper.json": "{}"})
            assert put(many, server.website).sent == (f"runs/{name}/hyper.json",)
            assert [bool(directories) for directories in looks] == [True, False]

    def test_what_went_missing_is_noticed(self, many: Path, server: Sshd) -> None:
        (server.root / "runs/7/out.log").unlink()
        shutil.rmtree(server.root / "runs/8")
        assert sorted(put(many, server.website).sent) == ["runs/7/out.log", "runs/8/hyper.json", "runs/8/out.log"]
        assert not put(many, server.website).sent

    def test_what_was_written_into_is_noticed_in_its_turn(
        self, many: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (server.root / "runs/7/out.log").write_text("damaged")
        assert not put(many, server.website).sent
        monkeypatch.setattr(survey, "CHECKED_EVERY", 1)
        assert put(many, server.website).sent == ("runs/7/out.log",)


class TestRefused:
    """What travels together with a request that is refused is carried out all the same: it must do no harm."""

    @pytest.fixture
    def website(self, server: Sshd, tmp_path: Path) -> Website:
        """Version 1 has been published, and version 2, as long and of the same second, is to be."""
        self.site = tmp_path / "versions"
        version(self.site, 1)
        put(self.site, server.website)
        version(self.site, 2)
        for path in files_of(self.site):
            os.utime(self.site / path, ns=(1_480_000_001_000_000_016,) * 2)
        return server.website

    @pytest.mark.parametrize("path", ["index.htm", "js/hyper.js", "runs/2.js"])
    def test_a_file_that_cannot_be_put_in_place(
        self, server: Sshd, website: Website, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        """Neither its stage nor a later one pretends that it was: the manifest still means the page that is there."""
        before = published(server.root)
        aside = server.root.parent / "aside"

        def then_somebody_makes_a_directory(*looked: Any) -> survey.Survey:
            found = survey.survey(*looked)
            if path in before:
                (server.root / path).rename(aside)
            write(server.root / path, {"in the way": ""})
            return found

        with monkeypatch.context() as patch:
            patch.setattr(publisher, "survey", then_somebody_makes_a_directory)
            with pytest.raises(Trouble, match=f"cannot put in place .*{path} .*something else has that name"):
                put(self.site, website)
        shutil.rmtree(server.root / path)
        if path in before:
            aside.rename(server.root / path)
        assert load_page(server.root) == "version 1 "
        put(self.site, website)
        assert load_page(server.root) == "version 2 "
        assert published(server.root)["js/hyper.js"] == (self.site / "js/hyper.js").read_bytes()
        assert leftovers(server.root) == []

    def test_a_file_that_cannot_be_removed(
        self, server: Sshd, website: Website, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It stays known as ours, and the next publish tries again."""
        monkeypatch.setattr(plan, "KEPT_S", 0)
        put(self.site, website)
        there = published(server.root)
        [kept] = [
            path
            for path in there
            if path.startswith("js/index.") and b"version 1 " in there[path] and path not in files_of(self.site)
        ]
        mount = ["mount", "--bind", str(server.root / kept), str(server.root / kept)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount one file on another")
        version(self.site, 3)
        try:
            with pytest.raises(Trouble, match=f"cannot remove .*{kept}"):
                put(self.site, website)
        finally:
            subprocess.run(["umount", server.root / kept], check=True)
        assert load_page(server.root) == "version 3 "
        assert put(self.site, website).removed == (kept,)
        assert leftovers(server.root) == []

    @pytest.mark.parametrize(
        ("denied", "told"),
        [
            ("remove", ["cannot remove .*/lock", "cannot take away .*/lock"]),
            ("remove,rename,rmdir", ["cannot remove .*/lock", "cannot take away .*/lock"]),
            ("remove,posix-rename", ["cannot put in place .*/js/hyper.js", "cannot take away .*/lock"]),
            ("remove,posix-rename,rename", ["cannot put in place .*/next.json.gz", "cannot take away .*/lock"]),
        ],
    )
    def test_a_user_who_may_not_remove(
        self, server: Sshd, website: Website, tmp_path: Path, denied: str, told: list[str]
    ) -> None:
        """The more is published, the more is left there: so, once that is known, nothing more is written."""
        options = (f"Subsystem sftp internal-sftp -P {denied}",)
        with running_sshd(tmp_path / "sshd", options=options, sftp=False) as strict:
            for number, message in enumerate(told, 2):
                version(self.site, number)
                with pytest.raises(
                    Trouble, match=rf"{message} \(Permission denied\): .* -P of the server's sftp-server"
                ):
                    put(self.site, replace(strict.website, server_root=website.server_root))
            left = set(server.root.rglob("*"))
            version(self.site, 9)
            for again in (put, lambda _, there: publisher.refresh("js/hyper.js", b"later", there)):
                with pytest.raises(Trouble, match=r"cannot remove .*/lock\.[0-9a-f]+\.partial \(Permission denied\)"):
                    again(self.site, replace(strict.website, server_root=website.server_root))
            assert set(server.root.rglob("*")) == left
        assert put(self.site, website).sent

    def test_a_refused_publish_takes_its_draft_away(self, server: Sshd, website: Website) -> None:
        (server.root / web_root_lock.LOCK).write_text('{"host": "elsewhere", "machine": "another"}')
        version(self.site, 2)
        before = set(server.root.rglob("*"))
        with pytest.raises(Trouble, match="is publishing there"):
            put(self.site, website, lock_wait_s=0.1)
        assert set(server.root.rglob("*")) == before

    @pytest.mark.parametrize("denied", ["", " -P rename", " -P posix-rename"])
    def test_a_dead_lock_is_taken_away_by_either_way_to_rename(
        self, website: Website, tmp_path: Path, denied: str
    ) -> None:
        lock = Path(website.server_root) / web_root_lock.LOCK
        options = (f"Subsystem sftp internal-sftp{denied}",)
        with running_sshd(tmp_path / "sshd", options=options, sftp=False) as server:
            lock.touch()
            os.utime(lock, (1e9, 1e9))
            assert put(self.site, replace(server.website, server_root=website.server_root)).sent

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can log in as another")
    def test_a_dead_lock_of_another_user_in_a_sticky_directory(self, site: Path) -> None:
        with tempfile.TemporaryDirectory(dir="/run") as place, running_sshd(Path(place) / "sshd") as server:
            (server.root / plan.STATE).mkdir()
            (server.root / web_root_lock.LOCK).touch()
            os.utime(server.root / web_root_lock.LOCK, (1e9, 1e9))
            for path, mode in ((Path(place), 0o755), (server.root, 0o1777), (server.root / plan.STATE, 0o1777)):
                path.chmod(mode)
            with pytest.raises(Trouble, match=r"cannot take away .*/lock \(Permission denied\): .* sticky bit"):
                put(site, replace(server.website, username="nobody"))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can log in as another")
    @pytest.mark.parametrize("denied", ["", " -P hardlink"])
    def test_a_file_of_another_user_in_a_sticky_directory_is_kept_before_it_can_be_replaced(
        self, site: Path, denied: str
    ) -> None:
        options = (f"Subsystem sftp internal-sftp{denied}",)
        with (
            tempfile.TemporaryDirectory(dir="/run") as place,
            running_sshd(Path(place) / "sshd", options=options, sftp=False) as server,
        ):
            write(server.root, {".htaccess": "", "index.htm": "theirs"})
            for path, mode in ((Path(place), 0o755), (server.root, 0o1777)):
                path.chmod(mode)
            website = replace(server.website, username="nobody")
            with pytest.raises(Trouble, match=r"cannot put in place .*/index.htm \(Permission denied\): .* sticky bit"):
                put(site, website)
            assert (server.root / "index.htm").read_text() == "theirs"
            server.root.chmod(0o777)
            assert put(site, website).sent
            [kept] = server.root.glob("index.htm.before-*")
            assert kept.read_text() == "theirs"
            assert published(server.root)["index.htm"] == (site / "index.htm").read_bytes()

    def test_a_user_who_may_not_rename(self, tmp_path: Path) -> None:
        """Nothing of the site is made before the web root is known as ours: said as often as it is tried."""
        version(tmp_path / "site", 1)
        options = ("Subsystem sftp internal-sftp -P rename,posix-rename",)
        with running_sshd(tmp_path / "sshd", options=options, sftp=False) as strict:
            for _ in range(2):
                with pytest.raises(Trouble, match=r"cannot put in place .*next.json.gz \(Permission denied\)"):
                    put(tmp_path / "site", strict.website)
            assert published(strict.root) == {}
