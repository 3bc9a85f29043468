"""Host keys in known_hosts files."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import known_hosts

KEY, OTHER = base64.b64encode(b"a key").decode(), base64.b64encode(b"another").decode()


@pytest.fixture
def lookup(tmp_path: Path) -> Callable[..., list[tuple[bytes, str]]]:
    def look(text: str, host: str = "web.example.org", port: int = 22) -> list[tuple[bytes, str]]:
        (tmp_path / "known_hosts").write_text(text)
        keys = known_hosts.lookup(host, port, [tmp_path / "missing", tmp_path / "known_hosts"])
        return [(key.blob, key.marker) for key in keys]

    return look


@pytest.mark.parametrize(
    ("names", "port", "found"),
    [
        ("web.example.org", 22, True),
        ("WEB.Example.org", 22, True),
        ("other,web.example.org", 22, True),
        ("*.example.org", 22, True),
        ("web.example.o?g", 22, True),
        ("*.example.org,!web.example.org", 22, False),
        ("[web.example.org]:2222", 22, False),
        ("[web.example.org]:2222", 2222, True),
        ("[*.example.org]:2222", 2222, True),
        ("web.example.org", 2222, True),
        ("[web.example.org]:22", 2222, False),
        ("web.example.org.evil", 22, False),
        ("webxexample.org", 22, False),
    ],
)
def test_names(lookup: Callable[..., list[object]], names: str, port: int, found: bool) -> None:
    assert bool(lookup(f"{names} ssh-ed25519 {KEY} a comment\n", port=port)) is found


@pytest.mark.parametrize("port", [22, 2222])
def test_hashed_names_as_ssh_keygen_makes_them(tmp_path: Path, port: int) -> None:
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF6gAnQa6kRvCgpsMn9ZeXnPlBSOGpHzGH6BQxAAAAAA"
    file = tmp_path / "known_hosts"
    file.write_text(f"{known_hosts.name_of('web.example.org', port)} {public}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
    assert file.read_text().startswith("|1|")
    assert len(known_hosts.lookup("Web.Example.org", port, [file])) == 1
    assert not known_hosts.lookup("web.example.org", port + 1, [file]) or port == 22


def test_all_keys_of_a_host_count_and_bad_lines_do_not(lookup: Callable[..., list[tuple[bytes, str]]]) -> None:
    text = (
        "# web.example.org ssh-rsa comment\n\nweb.example.org\nweb.example.org ssh-rsa not/base64!\n"
        "|1|x|y ssh-rsa AAAA\n"
        f"other ssh-rsa {OTHER} of\x0bweb.example.org ssh-rsa {KEY}\u2028web.example.org ssh-rsa {KEY}\n"  # one line
        f"@cert-authority *.example.org ssh-rsa {OTHER}\nweb.example.org ssh-rsa {OTHER}\n"
        f"web.example.org ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {KEY}\n"
    )
    assert lookup(text) == [
        (b"another", "@cert-authority"),
        (b"another", ""),
        (b"a key", ""),
        (b"a key", "@revoked"),
    ]


@pytest.mark.parametrize(
    ("first", "found"),
    [
        (f"[web.example.org]:2222 ssh-rsa {OTHER}\n", [b"another"]),
        (f"[*]:2222 ssh-rsa {OTHER}\n", [b"another"]),
        (f"[web.example.org]:2223 ssh-rsa {OTHER}\n", [b"a key"]),
        (f"@revoked [web.example.org]:2222 ssh-rsa {OTHER}\n", [b"another", b"a key"]),
        (f"@cert-authority [web.example.org]:2222 ssh-rsa {OTHER}\n", [b"another", b"a key"]),
    ],
)
def test_the_bare_name_counts_only_where_that_with_the_port_has_no_key(
    lookup: Callable[..., list[tuple[bytes, str]]], first: str, found: list[bytes]
) -> None:
    keys = lookup(f"web.example.org ssh-ed25519 {KEY}\n{first}", port=2222)
    assert [blob for blob, _ in keys] == found


def test_a_revoked_key_is_never_allowed() -> None:
    good, revoked = known_hosts.HostKey("k", b"1"), known_hosts.HostKey("k", b"1", "@revoked")
    assert known_hosts.allows([good], b"1")
    assert not known_hosts.allows([good], b"2")
    assert not known_hosts.allows([good, revoked], b"1")
    assert not known_hosts.allows([known_hosts.HostKey("k", b"1", "@cert-authority")], b"1")
    assert not known_hosts.allows([], b"1")


def test_a_file_that_cannot_be_read_is_told_only_where_it_is_needed(tmp_path: Path) -> None:
    unread = tmp_path / ("x" * 300)  # root may read what others may not, but not this
    (tmp_path / "known_hosts").write_text(f"web.example.org ssh-ed25519 {KEY}\n@cert-authority * ssh-ed25519 {KEY}\n")
    files = [unread, tmp_path / "known_hosts"]
    assert known_hosts.allows(known_hosts.lookup("web.example.org", 22, files), b"a key")
    with pytest.raises(
        Trouble, match=f"other.example.org port 22: unknown host, and {unread}: cannot be read: .* long"
    ):
        known_hosts.lookup("other.example.org", 22, files)
