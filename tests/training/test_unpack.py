"""Archives, good and hostile."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from web_server import Site

from deepspeech_wer.errors import Trouble
from deepspeech_wer.training.importers.tools import download, unpack
from deepspeech_wer.training.importers.tools.download import RemoteFile


def file(name: str, content: bytes = b"speech", kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname, member.mode = len(content), kind, link, 0o6777
    return member


def archive(path: Path, *members: tarfile.TarInfo, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for member in members:
            tar.addfile(member, io.BytesIO(b"speech"[: member.size].ljust(member.size)))
    return path


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz", "w"])
def test_files_and_directories_come_out_without_their_permissions(tmp_path: Path, mode: str) -> None:
    members = (file("c/", b"", tarfile.DIRTYPE), file("c/d/a.wav"), file("./b.txt"), file("c/../e.txt"))

    unpack.unpack(archive(tmp_path / "a.tar.gz", *members, mode=mode), tmp_path / "out")

    names = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*"))
    assert names == ["b.txt", "c", "c/d", "c/d/a.wav", "e.txt"]
    assert (tmp_path / "out" / "c" / "d" / "a.wav").read_bytes() == b"speech"
    assert (tmp_path / "out" / "c" / "d" / "a.wav").stat().st_mode & 0o6022 == 0


def test_of_members_of_one_name_the_last_counts(tmp_path: Path) -> None:
    twice = archive(tmp_path / "a.tar.gz", file("c/a.wav", b"early"), file("c", b"", tarfile.DIRTYPE), file("c/a.wav"))
    unpack.unpack(twice, tmp_path / "out")
    assert (tmp_path / "out" / "c" / "a.wav").read_bytes() == b"speech"


HOSTILE = {
    "climbs": file("a/../../evil"),
    "absolute": file("/tmp/evil"),
    "link out": file("a", b"", tarfile.SYMTYPE, "../evil"),
    "absolute link": file("a", b"", tarfile.SYMTYPE, "/etc/passwd"),
    "hard link out": file("a", b"", tarfile.LNKTYPE, "../evil"),
    "device": file("a", b"", tarfile.CHRTYPE),
    "pipe": file("a", b"", tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("member", HOSTILE.values(), ids=HOSTILE)
def test_a_member_outside_the_target_or_a_device_is_refused_in_one_line(
    tmp_path: Path, member: tarfile.TarInfo
) -> None:
    (tmp_path / "in").mkdir()
    path = archive(tmp_path / "in" / "a.tar.gz", file("good"), member)

    with pytest.raises(Trouble, match=f"^{path}: {member.name} (leaves the archive|is a device): expected") as caught:
        unpack.unpack(path, tmp_path / "in" / "out")

    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "in", path]


def test_links_inside_are_left_out_and_nothing_is_written_through_one(tmp_path: Path) -> None:
    members = (
        file("d/a"),
        file("link", b"", tarfile.SYMTYPE, "d"),
        file("d/hard", b"", tarfile.LNKTYPE, "d/a"),
        file("link/b"),
    )

    unpack.unpack(archive(tmp_path / "a.tar.gz", *members), tmp_path / "out")

    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]
    assert (tmp_path / "out" / "link" / "b").is_file()
    assert not (tmp_path / "out" / "d" / "hard").exists()


def test_an_archive_that_grows_absurdly_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "ALLOWANCE", 1000)
    path = archive(tmp_path / "a.tar.gz", file("zeros", bytes(5_000_000)))

    with pytest.raises(Trouble, match=r"a\.tar\.gz: zeros \(5,000,000 bytes\) is more than the disk has room for, or"):
        unpack.unpack(path, tmp_path / "out")
    assert sorted(tmp_path.iterdir()) == [path]


def header_spoilt(tar: bytes) -> bytes:
    """Of the second member: its checksum."""
    return tar[: 1024 + 150] + b"77" + tar[1024 + 152 :]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[::-1],
        lambda whole: whole[:50] + b"?" * 40 + whole[90:],
        lambda whole: whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:],
        lambda whole: gzip.compress(header_spoilt(gzip.decompress(whole))),
        lambda whole: gzip.compress(gzip.decompress(whole)[: 2 * 1024]),
    ],
    ids=["cut", "other", "scratched", "checksum", "second header", "cut between two"],
)
def test_a_damaged_archive_is_named(tmp_path: Path, spoil: Callable[[bytes], bytes]) -> None:
    path = archive(tmp_path / "a.tar.gz", *(file(f"f{number}") for number in range(50)))
    path.write_bytes(spoil(path.read_bytes()))

    with pytest.raises(Trouble, match=r"a\.tar\.gz: is damaged: .*") as caught:
        unpack.unpack(path, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_hash_of_a_file_that_is_no_archive_is_not_recorded(tmp_path: Path) -> None:
    """A hotel's login page, say: the right file must be taken when it comes."""
    (tmp_path / "mirror").mkdir()
    remote, mirror = RemoteFile("https://speech.invalid/speech.tar.gz"), str(tmp_path / "mirror")
    (tmp_path / "mirror" / "speech.tar.gz").write_text("<html>Please log in")
    with pytest.raises(Trouble, match="is damaged"):
        unpack.obtain(remote, tmp_path, mirror)
    archive(tmp_path / "mirror" / "speech.tar.gz", file("a"))
    assert (unpack.obtain(remote, tmp_path, mirror) / "a").is_file()


def test_interrupted_unpacking_starts_over(tmp_path: Path) -> None:
    (tmp_path / "speech.partial" / "left").mkdir(parents=True)
    (tmp_path / "mirror").mkdir()
    archive(tmp_path / "mirror" / "speech.tar.gz", file("a"))

    directory = unpack.obtain(RemoteFile("https://speech.invalid/speech.tar.gz"), tmp_path, str(tmp_path / "mirror"))

    assert directory == tmp_path / "speech"
    assert [path.name for path in directory.iterdir()] == ["a"]
    (tmp_path / "mirror" / "speech.tar.gz").unlink()  # no longer needed
    assert unpack.obtain(RemoteFile("https://speech.invalid/speech.tar.gz"), tmp_path, "") == directory


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_damage_deep_in_a_compressed_archive_is_reported_as_damage(tmp_path: Path, mode: str) -> None:
    member = tarfile.TarInfo("noise")
    noise = random.Random(1).randbytes(3_000_000)
    member.size = len(noise)
    path = tmp_path / "a.tar"
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        tar.addfile(member, io.BytesIO(noise))
    whole = path.read_bytes()
    path.write_bytes(whole[:-500_000] + bytes(100) + whole[-499_900:])

    with pytest.raises(unpack.Damaged, match=r"a\.tar: is damaged: "):
        unpack.unpack(path, tmp_path / "out")


def test_a_bug_while_unpacking_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(unpack, "_place", broken)
    with pytest.raises(ValueError, match="a bug"):
        unpack.unpack(archive(tmp_path / "a.tar.gz", file("a")), tmp_path / "out")


@pytest.mark.parametrize(
    ("is_near", "cure"), [(True, "put the right file there"), (False, "remove it, and it is downloaded again")]
)
def test_removing_is_advised_only_where_the_archive_can_be_fetched_again(
    site: Site, tmp_path: Path, is_near: bool, cure: str
) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "speech.tar.gz").write_bytes(b"damaged")
    site.files["speech.tar.gz"] = b"damaged"
    mirror = str(tmp_path / "mirror") if is_near else site.url

    with pytest.raises(Trouble, match=rf"speech\.tar\.gz: is damaged: .*: {cure}$"):
        unpack.obtain(RemoteFile("https://speech.invalid/speech.tar.gz"), tmp_path / "data", mirror)


def test_the_next_release_over_an_archive_is_noticed_before_it_counts(tmp_path: Path) -> None:
    remote, mirror = RemoteFile("https://speech.invalid/speech.tar.gz"), str(tmp_path / "mirror")
    (tmp_path / "mirror").mkdir()
    path = archive(tmp_path / "mirror" / "speech.tar.gz", file("old"))
    first = path.read_bytes()
    target = unpack.obtain(remote, tmp_path / "data", mirror)
    path.write_bytes(first)  # the same, copied again: another time
    assert unpack.obtain(remote, tmp_path / "data", mirror) == target

    archive(path, file("new"))
    said = r"speech\.tar\.gz: is not the archive that .*speech was unpacked from: .* move speech away .*archive away$"
    for _ in range(2):
        with pytest.raises(Trouble, match=said):
            unpack.obtain(remote, tmp_path / "data", mirror)

    target.rename(tmp_path / "aside")
    assert [one.name for one in unpack.obtain(remote, tmp_path / "data", mirror).iterdir()] == ["new"]
    path.unlink()
    assert unpack.obtain(remote, tmp_path / "data", mirror) == target


def test_an_unchanged_archive_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remote, mirror = RemoteFile("https://speech.invalid/speech.tar.gz"), str(tmp_path / "mirror")
    (tmp_path / "mirror").mkdir()
    archive(tmp_path / "mirror" / "speech.tar.gz", file("a"))
    for _ in range(2):
        unpack.obtain(remote, tmp_path / "data", mirror)
    monkeypatch.setattr(download, "file_sha256", lambda path: pytest.fail(f"{path} is read again"))

    unpack.obtain(remote, tmp_path / "data", mirror)


@pytest.mark.parametrize(("etag", "more", "said"), [('"v2"', b"", 'validator "v2"'), (None, b"+", "size ")])
def test_the_next_release_on_the_server_is_told_and_the_present_one_is_used(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], etag: str | None, more: bytes, said: str
) -> None:
    content = archive(tmp_path / "speech.tar.gz", file("a")).read_bytes()
    site.files["speech.tar.gz"] = content
    remote = RemoteFile(f"{site.url}/speech.tar.gz")
    target = unpack.obtain(remote, tmp_path / "data", "")
    assert unpack.obtain(remote, tmp_path / "data", "") == target
    assert "another version" not in capsys.readouterr().err

    site.etag, site.files["speech.tar.gz"] = etag, content + more
    assert unpack.obtain(remote, tmp_path / "data", "") == target

    told = capsys.readouterr().err
    assert f"{remote.url}: the server has another version now ({said}" in told
    assert "set ds_dataset_path to a new directory" in told
    assert len(site.asked) == 1  # it is downloaded once
    site.files.clear()
    assert unpack.obtain(remote, tmp_path / "data", "") == target
    assert capsys.readouterr().err == ""
