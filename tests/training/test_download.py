"""Downloads from a real server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import random
import shutil
import socket
import sys
from pathlib import Path

import pytest
from web_server import Site, serving

from deepspeech_wer.errors import Trouble, UsageTrouble
from deepspeech_wer.training.importers.tools import download
from deepspeech_wer.training.importers.tools.download import RemoteFile, fetch

CONTENT = random.Random(1).randbytes(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "FIRST_WAIT", 0.001)


@pytest.fixture
def site(site: Site) -> Site:
    site.files["speech.tar.gz"] = CONTENT
    return site


def remote(site: Site, sha256: str | None = SHA256) -> RemoteFile:
    return RemoteFile(f"{site.url}/corpora/speech.tar.gz", sha256)


def test_a_file_is_fetched_once(site: Site, tmp_path: Path) -> None:
    path = fetch(remote(site), tmp_path / "new")
    again = fetch(remote(site), tmp_path / "new")

    assert path == again == tmp_path / "new" / "speech.tar.gz"
    assert path.read_bytes() == CONTENT
    assert site.asked == [("/corpora/speech.tar.gz", None)]
    assert [one.name for one in path.parent.iterdir()] == ["speech.tar.gz"]


@pytest.mark.parametrize("sha256", [SHA256, None])
def test_a_broken_connection_is_resumed_where_it_broke(site: Site, tmp_path: Path, sha256: str | None) -> None:
    site.cuts = [20 * download.CHUNK, 10 * download.CHUNK]

    path = fetch(remote(site, sha256), tmp_path)

    assert path.read_bytes() == CONTENT
    wanted = [f"bytes={20 * download.CHUNK}-", f"bytes={30 * download.CHUNK}-"]
    assert site.asked == [("/corpora/speech.tar.gz", one) for one in (None, *wanted)]
    assert site.sent == len(CONTENT)  # no byte twice


def test_an_interrupted_download_is_resumed_by_the_next_training(site: Site, tmp_path: Path) -> None:
    site.cuts = [1_000_000, *[0] * (download.ATTEMPTS - 1)]
    with pytest.raises(Trouble, match=r"5 times in a row: check the network, .*; [\d,]+ bytes are kept"):
        fetch(remote(site), tmp_path)
    kept = (tmp_path / "speech.tar.gz.partial").stat().st_size
    assert 1_000_000 - download.CHUNK <= kept <= 1_000_000
    assert not (tmp_path / "speech.tar.gz").exists()
    site.asked.clear()

    assert fetch(remote(site), tmp_path).read_bytes() == CONTENT
    assert site.asked == [("/corpora/speech.tar.gz", f"bytes={kept}-")]


def test_gzip_declared_as_content_encoding_is_not_decoded(tmp_path: Path) -> None:
    archive = gzip.compress(CONTENT)
    with serving(files={"a.tar.gz": archive}, headers={"Content-Encoding": "x-gzip"}, cuts=[1_000_000]) as site:
        path = fetch(RemoteFile(f"{site.url}/a.tar.gz", hashlib.sha256(archive).hexdigest()), tmp_path)

    assert path.read_bytes() == archive


def test_a_server_without_ranges_sends_all_again(site: Site, tmp_path: Path) -> None:
    site.knows_ranges, site.cuts = False, [1_000_000]

    assert fetch(remote(site), tmp_path).read_bytes() == CONTENT
    assert site.sent == 1_000_000 + len(CONTENT)


def test_a_file_that_changed_meanwhile_is_not_mixed_with_the_old(site: Site, tmp_path: Path) -> None:
    site.cuts = [1_000_000, *[0] * (download.ATTEMPTS - 1)]
    with pytest.raises(Trouble):
        fetch(remote(site, None), tmp_path)
    site.files["speech.tar.gz"], site.etag = CONTENT[::-1], '"v2"'

    assert fetch(remote(site, None), tmp_path).read_bytes() == CONTENT[::-1]


def test_without_hash_and_version_nothing_is_resumed(site: Site, tmp_path: Path) -> None:
    site.etag, site.cuts = None, [1_000_000]

    assert fetch(remote(site, None), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == [None, None]


def test_a_resumed_download_with_a_wrong_hash_starts_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / "speech.tar.gz.partial").write_bytes(b"?" * 1_000_000)

    assert fetch(remote(site), tmp_path).read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == ["bytes=1000000-", None]


@pytest.mark.parametrize("beyond", [0, 10])
def test_a_partial_file_that_is_complete_or_too_long_is_handled(site: Site, tmp_path: Path, beyond: int) -> None:
    (tmp_path / "speech.tar.gz.partial").write_bytes(CONTENT + b"?" * beyond)

    assert fetch(remote(site), tmp_path).read_bytes() == CONTENT
    assert len(site.asked) == (2 if beyond else 1)


def test_another_hash_than_the_published_is_refused(site: Site, tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=f"speech.tar.gz: its SHA-256 is {SHA256}, expected 0{{64}}: removed") as caught:
        fetch(remote(site, "0" * 64), tmp_path)

    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert len(site.asked) == 1


def test_an_existing_file_is_verified_too(site: Site, tmp_path: Path) -> None:
    (tmp_path / "speech.tar.gz").write_bytes(b"something else")

    with pytest.raises(Trouble, match=r"speech\.tar\.gz: its SHA-256 is .*: remove it"):
        fetch(remote(site), tmp_path)
    assert site.asked == []


def test_without_a_published_hash_that_of_the_first_download_is_required(site: Site, tmp_path: Path) -> None:
    path = fetch(remote(site, None), tmp_path)
    assert (tmp_path / "speech.tar.gz.sha256").read_text() == f"{SHA256}  speech.tar.gz\n"
    path.write_bytes(b"?")

    with pytest.raises(Trouble, match=f"expected {SHA256}"):
        fetch(remote(site, None), tmp_path)


def test_an_escaped_path_leads_nowhere(site: Site, tmp_path: Path) -> None:
    assert RemoteFile(f"{site.url}/%2e%2e%2fspeech.tar.gz").name == "speech.tar.gz"
    for name in ("%2e%2e", ".", "a/"):
        with pytest.raises(UsageTrouble, match="expected the address of a file"):
            fetch(RemoteFile(f"{site.url}/{name}"), tmp_path)


def test_a_busy_server_is_asked_again_but_not_for_a_missing_file(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    assert fetch(remote(site), tmp_path).read_bytes() == CONTENT

    with pytest.raises(Trouble, match=r"absent\.wav: HTTP 404 Not Found: .* ds_mirror_url"):
        fetch(RemoteFile(f"{site.url}/absent.wav"), tmp_path)
    assert len([path for path, _ in site.asked if path == "/absent.wav"]) == 1


def test_a_server_that_stays_busy_or_silent_is_given_up(site: Site, tmp_path: Path) -> None:
    site.statuses = [503] * 9
    with pytest.raises(Trouble, match="HTTP 503 Service Unavailable, 5 times in a row"):
        fetch(remote(site), tmp_path)
    assert len(site.asked) == 5

    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(Trouble, match=r"refused.*5 times in a row") as caught:
            fetch(RemoteFile(f"http://127.0.0.1:{nobody.getsockname()[1]}/a.wav"), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_mirror_uses_the_same_names(site: Site, tmp_path: Path) -> None:
    path = fetch(RemoteFile("https://speech.invalid/12/speech.tar.gz", SHA256), tmp_path, f"{site.url}/mirror/")

    assert path.read_bytes() == CONTENT
    assert site.asked == [("/mirror/speech.tar.gz", None)]


@pytest.mark.parametrize("how", ["{}", "file://{}"])
def test_a_mirror_on_the_disk_is_read_where_it_is(tmp_path: Path, how: str) -> None:
    (tmp_path / "my mirror").mkdir()
    (tmp_path / "my mirror" / "speech.tar.gz").write_bytes(CONTENT)
    mirror = how.format(tmp_path / "my mirror")

    path = fetch(RemoteFile("https://speech.invalid/speech.tar.gz", SHA256), tmp_path / "data", mirror)

    assert path == tmp_path / "my mirror" / "speech.tar.gz"
    with pytest.raises(Trouble, match=r"absent\.wav: does not exist: expected absent\.wav in .* ds_mirror_url names"):
        fetch(RemoteFile("https://speech.invalid/absent.wav"), tmp_path / "data", mirror)
    with pytest.raises(Trouble, match="expected 0000"):
        fetch(RemoteFile("https://speech.invalid/speech.tar.gz", "0" * 64), tmp_path / "data", mirror)


@pytest.mark.parametrize(("mirror", "said"), [("ftp://a/b", "expected http"), ("/no/such/place", "existing directory")])
def test_an_unusable_mirror_is_refused(tmp_path: Path, mirror: str, said: str) -> None:
    with pytest.raises(UsageTrouble, match=f"ds_mirror_url='{mirror}': .*{said}"):
        fetch(RemoteFile("https://speech.invalid/speech.tar.gz"), tmp_path, mirror)


def test_a_proxy_of_the_environment_is_asked(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", site.url)

    fetch(RemoteFile("http://speech.invalid/12/speech.tar.gz", SHA256), tmp_path)

    assert site.asked == [("http://speech.invalid/12/speech.tar.gz", None)]


def test_too_little_disk_space_is_reported_before_the_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))

    with pytest.raises(Trouble, match=r"disk full: speech\.tar\.gz needs 3,145,728 bytes, 1,000,000 bytes are free"):
        fetch(remote(site), tmp_path)
    assert not (tmp_path / "speech.tar.gz.partial").exists()


def test_a_disk_that_fills_up_keeps_what_is_there(site: Site, tmp_path: Path) -> None:
    # /dev/full is a disk that is always full.
    (tmp_path / "speech.tar.gz.partial").symlink_to("/dev/full")

    with pytest.raises(Trouble, match=r"disk full: speech\.tar\.gz needs more"):
        fetch(remote(site), tmp_path)


@pytest.mark.parametrize(
    "mirror",
    [
        "http://ada:hush/hush@127.0.0.1:9/x",
        "http://ada:hu@hush@127.0.0.1:9/x",
        "http://ada:hush@127.0.0.1:9/x?sig=hush",
        "http://127.0.0.1:9/x?token=hush",
        "ftp://ada:hush@mirror.invalid/x",
        "ada:hush@mirror.invalid/x",
    ],
)
def test_no_password_or_token_of_a_mirror_that_cannot_be_used_is_shown(
    tmp_path: Path, mirror: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    with pytest.raises(Trouble) as caught:
        fetch(RemoteFile("https://speech.invalid/speech.tar.gz"), tmp_path, mirror)
    assert "hush" not in str(caught.value) + capsys.readouterr().err


def test_a_password_in_the_address_is_never_shown(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mirror = site.url.replace("//", "//ada:secret@")
    with pytest.raises(Trouble) as caught:
        fetch(RemoteFile("https://speech.invalid/absent.wav"), tmp_path, mirror)

    assert "secret" not in str(caught.value) + capsys.readouterr().err
    assert site.url in str(caught.value)


def test_a_terminal_gets_a_progress_bar(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(remote(site), tmp_path / "log")
    assert capsys.readouterr().err == f"downloading {site.url}/corpora/speech.tar.gz to {tmp_path}/log\n"

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fetch(remote(site), tmp_path / "terminal")
    assert "speech.tar.gz:   0%" in capsys.readouterr().err
