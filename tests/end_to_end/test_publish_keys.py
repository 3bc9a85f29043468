"""Whose key opens which server, and which server is believed: against a real OpenSSH server on loopback."""

from __future__ import annotations

import base64
import contextlib
import gc
import logging
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deepspeech_wer.configuration.settings import Website
from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import known_hosts
from tests.end_to_end.publishing import published, put, version
from tests.end_to_end.sshd import Sshd, add, free_port, generate_key, require, running_agent, running_sshd
from tests.waiting import until


@pytest.fixture(scope="module")
def module_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    directory = tmp_path_factory.mktemp("sshd")
    ecdsa, rsa = generate_key(directory / "ecdsa", "ecdsa"), generate_key(directory / "rsa", "rsa")
    with running_sshd(directory / "server", options=(f"HostKey {ecdsa}", f"HostKey {rsa}")) as server:
        yield server


@pytest.fixture
def server(module_sshd: Sshd, tmp_path: Path) -> Sshd:
    root = tmp_path / "root"
    root.mkdir()
    return replace(module_sshd, root=root, website=replace(module_sshd.website, server_root=str(root)))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    version(tmp_path / "site", 1)
    return tmp_path / "site"


def authorized(server: Sshd, key: Path) -> Website:
    """The server lets that key in as well."""
    with (server.key.parent / "authorized_keys").open("ab") as stream:
        stream.write(Path(f"{key}.pub").read_bytes())
    return replace(server.website, privkey=key)


def greet(listening: socket.socket, said: bytes) -> None:
    """Accept one connection, say something to it and nothing more."""
    line, _ = listening.accept()
    with line, contextlib.suppress(ConnectionResetError):
        line.sendall(said)
        line.shutdown(socket.SHUT_WR)
        while line.recv(9999):  # to close it with anything unread would take back what was said
            pass


def public_key(key: Path) -> None:
    """Write the public half of a key without passphrase beside it."""
    key.chmod(0o600)
    show = [require("ssh-keygen", "openssh-client"), "-y", "-f", str(key)]
    done = subprocess.run(show, check=False, capture_output=True, text=True)
    if done.returncode:  # before OpenSSH 9.6 it did not know this container of ed25519
        der = ["pkey", "-in", str(key), "-pubout", "-outform", "DER"]
        raw = subprocess.run([require("openssl", "openssl"), *der], check=True, capture_output=True).stdout[-32:]
        blob = b"\0\0\0\x0bssh-ed25519\0\0\0 " + raw
    text = done.stdout or f"ssh-ed25519 {base64.b64encode(blob).decode()}\n"
    Path(f"{key}.pub").write_text(text)


def certify(authority: Path, key: Path, user: str) -> Path:
    """The certificate of a key, beside it."""
    sign = [require("ssh-keygen", "openssh-client"), "-q", "-s", str(authority), "-I", "test", "-n", user, f"{key}.pub"]
    subprocess.run(sign, check=True)
    return Path(f"{key}-cert.pub")


class TestOurKey:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [
            ("ed25519", ()),
            ("ecdsa", ()),
            ("ecdsa", ("-b", "521", "-m", "PEM")),
            ("rsa", ()),
            ("rsa", ("-m", "PEM")),
        ],
    )
    def test_kinds_and_formats(
        self, site: Path, server: Sshd, tmp_path: Path, kind: str, options: tuple[str, ...]
    ) -> None:
        assert put(site, authorized(server, generate_key(tmp_path / "key", kind, "", *options))).sent

    @pytest.mark.parametrize("kind", ["ed25519", "rsa"])
    def test_passphrase(
        self, site: Path, server: Sshd, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        website = authorized(server, generate_key(tmp_path / "key", kind, "open sesame"))
        with pytest.raises(Trouble, match=r"/key: has a passphrase: set ds_website_privkey_passphrase"):
            put(site, website)
        with pytest.raises(Trouble, match=r"/key: ds_website_privkey_passphrase does not open it") as wrong:
            put(site, replace(website, privkey_passphrase="close sesame"))
        caplog.set_level(logging.DEBUG)
        assert put(site, replace(website, privkey_passphrase="open sesame")).sent
        assert "sesame" not in f"{wrong.value}{caplog.text}"

    @pytest.mark.parametrize("secret", ["", "öpen sesame"])
    @pytest.mark.parametrize(
        ("kind", "command"),
        [
            ("ed25519", "genpkey -algorithm ed25519"),  # PKCS#8
            ("P-384", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384"),
            ("RSA", "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"),
            ("P-256 with its parameters before it", "ecparam -name prime256v1 -genkey"),  # SEC1
            ("P-521", "ecparam -name secp521r1 -genkey -noout"),
        ],
    )
    def test_keys_made_by_openssl(
        self, site: Path, server: Sshd, tmp_path: Path, kind: str, command: str, secret: str
    ) -> None:
        key, openssl = tmp_path / "key", require("openssl", "openssl")
        subprocess.run([openssl, *command.split(), "-out", key], check=True, capture_output=True)
        public_key(key)
        if secret:
            box = ["pkcs8", "-topk8", "-passout", f"pass:{secret}", "-in", str(key), "-out", f"{tmp_path}/box"]
            subprocess.run([openssl, *box], check=True)
            (tmp_path / "box").replace(key)
        assert put(site, replace(authorized(server, key), privkey_passphrase=secret or None)).sent, kind

    @pytest.mark.parametrize("options", ["-aes128", "-aes256", "-des3"])
    def test_pkcs1_with_a_passphrase(self, site: Path, server: Sshd, tmp_path: Path, options: str) -> None:
        key, openssl = tmp_path / "key", require("openssl", "openssl")
        subprocess.run([openssl, "genrsa", "-traditional", "-out", key, "2048"], check=True, capture_output=True)
        public_key(key)
        box = ["-traditional", options, "-passout", "pass:tulip", "-in", str(key), "-out", str(key)]
        subprocess.run([openssl, "rsa", *box], check=True, capture_output=True)
        assert b"Proc-Type: 4,ENCRYPTED" in key.read_bytes()
        assert put(site, replace(authorized(server, key), privkey_passphrase="tulip")).sent

    @pytest.mark.parametrize(
        "box",
        [
            "ec -aes256 -passout pass:tulip",  # SEC1
            "ec -des3 -passout pass:tulip",
            "pkcs8 -topk8 -scrypt -passout pass:tulip",
            "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithSHA1 -passout pass:tulip",
            "pkcs8 -topk8 -v1 PBE-SHA1-3DES -passout pass:tulip",
        ],
    )
    def test_other_boxes_with_a_passphrase(self, site: Path, server: Sshd, tmp_path: Path, box: str) -> None:
        key, openssl = tmp_path / "key", require("openssl", "openssl")
        make = [openssl, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", key]
        subprocess.run(make, check=True, capture_output=True)
        public_key(key)
        subprocess.run([openssl, *box.split(), "-in", key, "-out", tmp_path / "box"], check=True, capture_output=True)
        (tmp_path / "box").replace(key)
        assert b"ENCRYPTED" in key.read_bytes()
        assert put(site, replace(authorized(server, key), privkey_passphrase="tulip")).sent

    @pytest.mark.parametrize("options", [(), ("-m", "PKCS8"), ("-m", "PEM")])
    @pytest.mark.parametrize(
        "change",
        [
            lambda text: text.replace("\n", "\r\n"),
            lambda text: f"\n\nBag Attributes\n    friendlyName: web\n{text}\n\n# end\n",
            lambda text: f"\ufeff{text.rstrip()}",
            lambda text: text.replace("\n", " \t\n"),
        ],
    )
    def test_what_stands_around_a_key(
        self, site: Path, server: Sshd, tmp_path: Path, change: Callable[[str], str], options: tuple[str, ...]
    ) -> None:
        key = generate_key(tmp_path / "key", "rsa", "tulip", *options)
        key.write_bytes(change(key.read_text()).encode())
        assert put(site, replace(authorized(server, key), privkey_passphrase="tulip")).sent

    def test_the_public_key_beside_it_may_be_of_another(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        website = authorized(server, generate_key(tmp_path / "key", "ecdsa"))
        shutil.copy(generate_key(tmp_path / "other", "ed25519").with_suffix(".pub"), tmp_path / "key.pub")
        assert put(site, website).sent

    @pytest.mark.parametrize("kind", ["ed25519", "rsa"])
    def test_a_certificate_beside_it(self, site: Path, tmp_path: Path, kind: str) -> None:
        authority, key = (generate_key(tmp_path / name, kind) for name in ("authority", "key"))
        with running_sshd(tmp_path / "server", options=(f"TrustedUserCAKeys {authority}.pub",)) as server:
            website = replace(server.website, privkey=key)
            with pytest.raises(Trouble, match=r"refuses .*/key: add the public key"):
                put(site, website)
            certificate = certify(authority, key, server.user)
            assert put(site, website).sent
            certificate.write_text(f"# of Tuesday\n\n  {certificate.read_text().rstrip()} ü")
            version(site, 2)
            assert put(site, website).sent

    @pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
    def test_a_certificate_in_an_agent(
        self, site: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        authority, key = (generate_key(tmp_path / name, kind) for name in ("authority", "key"))
        with (
            running_sshd(tmp_path / "server", options=(f"TrustedUserCAKeys {authority}.pub",)) as server,
            running_agent(tmp_path / "agent") as agent,
        ):
            certify(authority, key, server.user)
            add(agent, key)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
            assert put(site, replace(server.website, privkey=None)).sent

    @pytest.mark.parametrize("beside", ["of no use", "another's", "no certificate", "a directory"])
    def test_a_certificate_that_opens_nothing(self, site: Path, server: Sshd, tmp_path: Path, beside: str) -> None:
        key, other = (generate_key(tmp_path / name, "ed25519") for name in ("key", "other"))
        certificate = tmp_path / "key-cert.pub"
        if beside == "of no use":
            certify(other, key, server.user)
        elif beside == "another's":
            certify(key, other, server.user).replace(certificate)
        elif beside == "no certificate":
            certificate.write_text("ssh-ed25519-cert-v01@openssh.com AAAA\n")
        else:
            certificate.mkdir()
        version(site, 2)
        assert put(site, authorized(server, key)).sent

    @pytest.mark.parametrize(
        "cipher", ["aes128-ctr", "aes192-cbc", "3des-cbc", "aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com"]
    )
    def test_a_cipher_that_only_ssh_knows(
        self, site: Path, server: Sshd, tmp_path: Path, cipher: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ssh-keygen opens it. Without that, or with a wrong passphrase, it is told."""
        website = authorized(server, generate_key(tmp_path / "key", "ed25519", "tulip \u2603", "-Z", cipher))
        right = replace(website, privkey_passphrase="tulip \u2603")
        key, temporary = (tmp_path / "key").read_bytes(), tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))
        told = rf"cannot be read here \(.*{cipher}.*ssh-keygen -p -f '.*/key' writes it"
        with pytest.raises(Trouble, match=told):
            put(site, replace(website, privkey_passphrase="rose"))
        with monkeypatch.context() as without, pytest.raises(Trouble, match=told):
            without.setenv("PATH", str(tmp_path))
            put(site, right)
        assert put(site, right).sent
        assert (tmp_path / "key").read_bytes() == key
        assert list(temporary.iterdir()) == []

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "cannot be read: No such file"),
            ("ssh-ed25519 AAAA x", "is a public key: give the private one"),
            ("", "is no private key that can be used"),
            ("PuTTY-User-Key-File-3: ssh-ed25519\n", "is no private.*PuTTY's own.*puttygen '.*' -O private-openssh"),
            ("-----BEGIN PUBLIC KEY-----\nc2VjcmV0\n-----END PUBLIC KEY-----\n", "is a public key"),
            ("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n", "is no private key"),
            ("-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n", "is no private key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n", "is no private key"),
        ],
    )
    def test_what_is_no_key(self, site: Path, server: Sshd, tmp_path: Path, content: str | None, message: str) -> None:
        if content is not None:
            (tmp_path / "key").write_text(content)
        with pytest.raises(Trouble, match=f"ds_website_privkey: .*/key: {message}") as trouble:
            put(site, replace(server.website, privkey=tmp_path / "key"))
        assert "c2VjcmV0" not in str(trouble.value)
        assert "\n" not in str(trouble.value)

    @pytest.mark.parametrize(
        ("option", "told"),
        [
            (
                'command="rsync --server ."',
                "offers no SFTP .*; a key with command= in authorized_keys allows that alone",
            ),
            ('from="192.0.2.1"', "its log names what forbids it: .*, from= in it"),
        ],
    )
    def test_a_key_that_is_restricted(self, site: Path, tmp_path: Path, option: str, told: str) -> None:
        """As that of a tracker of 2016 was, to rsync."""
        with running_sshd(tmp_path / "server") as server:
            file = tmp_path / "server" / "authorized_keys"
            file.write_text(f"restrict {file.read_text()}")
            assert put(site, server.website).sent
            file.write_text(f"{option},{file.read_text()}")
            with pytest.raises(Trouble, match=told):
                put(site, server.website)

    def test_a_key_that_the_server_does_not_know(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        with pytest.raises(Trouble, match=r"refuses .*/stranger: add the public key to .*authorized_keys"):
            put(site, replace(server.website, privkey=generate_key(tmp_path / "stranger", "ed25519")))

    @pytest.mark.parametrize("tries", [1, 2, 3, 6])
    def test_an_agent_without_keys_or_with_many(
        self, site: Path, tmp_path: Path, tries: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Those that the server did not want to try any more are offered over a new connection."""
        with (
            running_sshd(tmp_path / "few", options=(f"MaxAuthTries {tries}",)) as server,
            running_agent(tmp_path / "agent") as agent,
        ):
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
            website = replace(server.website, privkey=None)
            with pytest.raises(Trouble, match=r"agent \(SSH_AUTH_SOCK\) holds no key or is gone.* or ssh-add the key"):
                put(site, website)
            add(agent, *(generate_key(tmp_path / f"{number}", "ed25519") for number in range(7)))
            with pytest.raises(Trouble, match=r"refuses every key of the ssh agent that signs: add the public key"):
                put(site, website)
            assert put(site, replace(website, privkey=server.key)).sent
            add(agent, server.key)
            version(site, 2)
            assert put(site, website).sent

    def test_keys_of_an_agent_that_do_not_sign(
        self, site: Path, server: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As where nobody confirms their use, or their token is not plugged in: the next ones are offered."""
        website = replace(server.website, privkey=None)
        with running_agent(tmp_path / "agent") as agent:
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
            for number in range(2):  # without SSH_ASKPASS, the agent can ask nobody whether to sign
                add(agent, "-c", authorized(server, generate_key(tmp_path / f"{number}", "ed25519")).privkey)
            with pytest.raises(Trouble, match=r"agent \(SSH_AUTH_SOCK\) does not sign \(key cannot be used"):
                put(site, website)
            add(agent, generate_key(tmp_path / "stranger", "ed25519"))
            with pytest.raises(Trouble, match=r"refuses every key of the ssh agent that signs"):
                put(site, website)
            add(agent, server.key)
            assert put(site, website).sent

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # paramiko leaves its socket open
    @pytest.mark.parametrize(
        ("said", "told"),
        [
            (None, "holds no key or is gone"),
            ([], r"does not answer \(timed out\)"),
            ([b""], r"does not answer \(lost ssh-agent"),
            ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], r"does not answer \(timed out\)"),
            ([b"\0\0\0\1\5"], r"does not answer \(could not get keys"),
            (["its keys"], r"does not sign \(timed out\)"),
            (["its keys", b"\0\0\0\1\5"], r"does not sign \(key cannot be used"),
        ],
    )
    def test_an_agent_of_no_use_is_told_and_holds_up_nobody_who_names_a_key(
        self,
        site: Path,
        server: Sshd,
        tmp_path: Path,
        said: list[bytes | str] | None,
        told: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        blob = base64.b64decode(server.key.with_suffix(".pub").read_text().split()[1])
        keys = b"\14\0\0\0\1" + struct.pack(">I", len(blob)) + blob + b"\0\0\0\1k"
        answers = [struct.pack(">I", len(keys)) + keys if one == "its keys" else one for one in said or ()]
        monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
        with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as open_lines:

            def answer() -> None:
                line, _ = listening.accept()
                open_lines.enter_context(line)
                for one in answers:
                    line.recv(9999)
                    line.sendall(one) if one else line.shutdown(socket.SHUT_RDWR)

            thread = threading.Thread(target=answer)
            if said is not None:
                listening.bind(str(tmp_path / "agent"))
                listening.listen()
                thread.start()
            with pytest.raises(Trouble, match=rf"privkey: not set, and the ssh agent \(SSH_AUTH_SOCK\) {told}"):
                put(site, replace(server.website, privkey=None), timeout_s=6.0)
            if said is not None:
                thread.join()
            assert put(site, server.website, timeout_s=9.0).sent
        gc.collect()  # here, where its warning is expected

    @pytest.mark.parametrize("option", ["PubkeyAcceptedAlgorithms sk-ssh-ed25519@openssh.com", "AllowUsers nobody"])
    def test_a_server_that_forbids_a_right_key(self, site: Path, tmp_path: Path, option: str) -> None:
        with (
            running_sshd(tmp_path / "strict", options=(option,)) as server,
            pytest.raises(Trouble, match=rf"where both are right, its log names .*{option.split()[0]}"),
        ):
            put(site, server.website)

    def test_no_agent(self, site: Path, server: Sshd) -> None:
        with pytest.raises(
            Trouble,
            match=r"ds_website_privkey: not set, and the ssh agent .* is gone, as under cron: set it to a key file",
        ):
            put(site, replace(server.website, privkey=None))


class TestTheirKey:
    def lines(self, server: Sshd) -> dict[str, str]:
        """The server's host keys as in known_hosts, without the name."""
        scan = [require("ssh-keyscan", "openssh-client"), "-p", str(server.port), server.host]
        found = subprocess.run(scan, check=True, capture_output=True, text=True).stdout
        return {line.split()[1]: " ".join(line.split()[1:]) for line in found.splitlines() if not line.startswith("#")}

    def known(self, server: Sshd, text: str) -> Website:
        file = server.root.parent / "known_hosts"
        file.write_text(text)
        return replace(server.website, known_hosts=file)

    @pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
    def test_any_key_on_record_will_do(self, site: Path, server: Sshd, kind: str) -> None:
        assert put(site, self.known(server, f"[{server.host}]:{server.port} {self.lines(server)[kind]}\n")).sent

    def test_a_stale_rsa_line_first(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        stale = generate_key(tmp_path / "stale", "rsa").with_suffix(".pub").read_text()
        name = f"[{server.host}]:{server.port}"
        lines = f"broken line\n{name} {stale}{name} {self.lines(server)['ssh-ed25519']}\n"
        assert put(site, self.known(server, lines)).sent

    def test_hashed_and_in_the_home(self, site: Path, server: Sshd, sealed: Path) -> None:
        file = sealed / ".ssh/known_hosts"
        file.parent.mkdir()
        shutil.copy(server.known_hosts, file)
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
        assert server.host not in file.read_text()
        assert put(site, replace(server.website, known_hosts=None)).sent

    def test_in_the_second_file_of_the_home(self, site: Path, server: Sshd, sealed: Path) -> None:
        website = replace(server.website, known_hosts=None)
        (sealed / ".ssh").mkdir()
        (sealed / ".ssh/known_hosts").write_text("")
        with pytest.raises(Trouble, match="unknown host"):
            put(site, website)
        shutil.copy(server.known_hosts, sealed / ".ssh/known_hosts2")
        assert put(site, website).sent

    def test_known_to_the_whole_machine(self, site: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
        website = replace(server.website, known_hosts=None)
        with pytest.raises(Trouble, match="unknown host"):
            put(site, website)
        monkeypatch.setattr(known_hosts, "SYSTEM_WIDE", (Path("/nowhere"), server.known_hosts))
        assert put(site, website).sent

    def test_unknown(self, site: Path, server: Sshd, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with pytest.raises(Trouble, match=rf"unknown host.*ssh-keyscan -p {server.port} 127.0.0.1 >> .*known_hosts"):
            put(site, self.known(server, f"else.where {self.lines(server)['ssh-ed25519']}\n"))
        assert published(server.root) == {}

    def test_only_an_authority(self, site: Path, server: Sshd) -> None:
        line = f"@cert-authority * {self.lines(server)['ssh-ed25519']}\n"
        told = r"has a key of .*, only a @cert-authority \(certificates of hosts are not read\)\. Add it.*ssh-keyscan"
        with pytest.raises(Trouble, match=told):
            put(site, self.known(server, line))

    def test_the_name_with_the_port_comes_first(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        public = generate_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
        right = f"{server.host} {self.lines(server)['ssh-ed25519']}\n"
        assert put(site, self.known(server, right)).sent
        with pytest.raises(Trouble, match="none of those on record"):
            put(site, self.known(server, f"{right}[{server.host}]:{server.port} {public}"))

    def test_the_cure_for_a_changed_key_works(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        """Even where only the bare name has a line, and there is no ~/.ssh/known_hosts (ssh-keygen ignores $HOME)."""
        public = generate_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
        website = self.known(server, f"{server.host} {public}")
        with pytest.raises(Trouble, match="confirms a new key: ") as trouble:
            put(site, website)
        cure = str(trouble.value).partition("a new key: ")[2].replace(" -R ", f" -f {tmp_path}/none -R ")
        subprocess.run(["sh", "-c", cure], check=True, capture_output=True)
        assert put(site, website).sent

    def test_pipes_beside_the_key_and_in_the_place_of_the_configuration_are_not_waited_for(
        self, site: Path, server: Sshd, sealed: Path, tmp_path: Path
    ) -> None:
        key = tmp_path / "key"
        shutil.copy2(server.key, key)
        os.mkfifo(f"{key}-cert.pub")
        (sealed / ".ssh").mkdir(exist_ok=True)
        os.mkfifo(sealed / ".ssh/config")
        assert put(site, replace(server.website, privkey=key)).sent
        with pytest.raises(Trouble, match="cannot connect: Connection refused"):
            put(site, replace(server.website, privkey=key, server_port=free_port()), retry_after_s=())

    def test_an_alias_of_ssh(self, site: Path, server: Sshd, sealed: Path, tmp_path: Path) -> None:
        ran = tmp_path / "ran"
        lines = (f'Match exec "touch {ran}"', "User nobody", "Host web.invalid local*", f"HostName {server.host}")
        config = sealed / ".ssh/config"
        config.parent.mkdir()
        config.write_text("\n".join(lines))
        told = rf"~/.ssh/config, .* has hostname {server.host} for this name: set ds_website_server_fqdn"
        with pytest.raises(Trouble, match=f"web.invalid: no address known .*{told}"):
            put(site, replace(server.website, server_fqdn="web.invalid"))
        with pytest.raises(Trouble, match=f"unknown host: .*{told}"):
            put(site, replace(server.website, server_fqdn="localhost"))
        assert not ran.exists()

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ("Port 2222", "port 2222"),
            ("ProxyJump bastion", "proxyjump"),
            ("ProxyCommand nc -A ada:secret p 1", "proxycommand"),
        ],
    )
    def test_another_way_of_ssh_to_the_host(self, site: Path, server: Sshd, sealed: Path, line: str, told: str) -> None:
        config = sealed / ".ssh/config"
        config.parent.mkdir()
        config.write_text(f"Host {server.host}\n{line}\nUser www\n")
        with socket.socket() as closed:
            closed.bind((server.host, 0))
            nowhere = replace(server.website, server_port=closed.getsockname()[1])
            expected = (
                rf"cannot connect: Connection refused; ~/.ssh/config, which is not read here, has {told} for this"
            )
            with pytest.raises(Trouble, match=expected) as trouble:
                put(site, nowhere)
            assert "secret" not in str(trouble.value)
            config.write_text(f"Host {server.host}\nPort {nowhere.server_port}\nProxyCommand none\nProxyJump none\n")
            with pytest.raises(Trouble, match="cannot connect: Connection refused; the next publish"):
                put(site, nowhere)

    def test_changed(self, site: Path, server: Sshd, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        public = generate_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
        with pytest.raises(Trouble, match=r"none of those on record.*ssh-keygen -R '\[127.0.0.1\]:") as trouble:
            put(site, self.known(server, f"[{server.host}]:{server.port} {public}"))
        said = f"{trouble.value}{caplog.text}"
        assert not any(line.split()[1] in said for line in (public, *self.lines(server).values()))
        assert published(server.root) == {}

    def test_revoked(self, site: Path, server: Sshd) -> None:
        keys = self.lines(server)
        name = f"[{server.host}]:{server.port}"
        revoked = f"{name} {keys['ssh-ed25519']}\n@revoked * {keys['ssh-ed25519']}\n"
        with pytest.raises(Trouble, match="revokes"):
            put(site, self.known(server, revoked))
        # as ssh does, the key types on record and not revoked are asked for
        assert put(site, self.known(server, f"{revoked}{name} {keys['ssh-rsa']}\n")).sent

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                ("Ciphers aes128-cbc,aes256-cbc",),
                "no ciphers in common: .* aes128-cbc, aes256-cbc, all weak, and .*gcm",
            ),
            (
                ("MACs hmac-sha1", "Ciphers aes128-ctr"),
                "no digests in common: .* hmac-sha1, all weak, .* hmac-sha2-256",
            ),
            (("KexAlgorithms diffie-hellman-group14-sha1",), "no key exchange in common: .*14-sha1, all weak, .*25519"),
            (
                ("HostKeyAlgorithms ssh-rsa",),
                "no host keys in common: the server offers ssh-rsa, all weak, .* ssh-ed25",
            ),
            # newer ones, or such as paramiko lacks
            (
                ("KexAlgorithms sntrup761x25519-sha512",),
                "no key exchange .* offers sntrup761x25519-sha512 and .*25519-",
            ),
            (("KexAlgorithms curve25519-sha256",), "no key exchange .* offers curve25519-sha256 and .*25519-.*@libssh"),
            (("KexAlgorithms diffie-hellman-group18-sha512",), "no key exchange .* diffie-hellman-group18-sha512 and"),
            (
                ("Ciphers chacha20-poly1305@openssh.com",),
                "no ciphers .* chacha20-poly1305@openssh.com and .*aes256-gcm",
            ),
            (
                ("KexAlgorithms sntrup761x25519-sha512@openssh.com",),
                "no key exchange .* sntrup761x25519-sha512@openssh",
            ),
            (
                ("MACs umac-128-etm@openssh.com", "Ciphers aes128-ctr"),
                "no digests .* umac-128-etm@openssh.com and .*hmac-sha2-256-etm",
            ),
            (("MACs umac-128@openssh.com,hmac-sha1",), "no digests .* umac-128@openssh.com, hmac-sha1 and this client"),
        ],
    )
    def test_a_server_with_other_algorithms_only(
        self, site: Path, tmp_path: Path, options: tuple[str, ...], message: str
    ) -> None:
        rsa = f"HostKey {generate_key(tmp_path / 'rsa', 'rsa')}"
        with (
            running_sshd(tmp_path / "other", options=(*options, rsa)) as server,
            pytest.raises(
                Trouble, match=f"{message}.*: allow one of these on the server .sshd_config: {options[0].split()[0]}"
            ) as trouble,
        ):
            put(site, server.website)
        assert ("weak" in str(trouble.value)) == ("weak" in message)

    @pytest.mark.parametrize("kind", ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com", "ssh-ed448"])
    def test_a_server_with_another_kind_of_host_key_only(self, site: Path, server: Sshd, kind: str) -> None:
        lists = [
            "curve25519-sha256@libssh.org",
            kind,
            *["aes128-ctr"] * 2,
            *["hmac-sha2-256"] * 2,
            *["none"] * 2,
            "",
            "",
        ]
        packed = b"".join(struct.pack(">I", len(one)) + one.encode() for one in lists)
        body = b"\x14" + bytes(16) + packed + bytes(5)  # SSH_MSG_KEXINIT of RFC 4253
        padding = 8 - (len(body) + 5) % 8 + 8
        packet = struct.pack(">IB", len(body) + padding + 1, padding) + body + bytes(padding)
        with socket.create_server(("127.0.0.1", 0)) as other:
            website = server.also_at(other.getsockname()[1])
            thread = threading.Thread(target=greet, args=(other, b"SSH-2.0-other\r\n" + packet))
            thread.start()
            told = (
                rf"no host keys in common: the server offers {kind} and this client supports ssh-ed25519, .*HostKeyAlgo"
            )
            with pytest.raises(Trouble, match=told):
                put(site, website, timeout_s=5.0)
            thread.join()

    @pytest.mark.parametrize(
        "option",
        [
            "KexAlgorithms diffie-hellman-group16-sha512",
            "KexAlgorithms ecdh-sha2-nistp521",
            "Ciphers aes256-gcm@openssh.com",
            "Ciphers aes192-ctr",
            "MACs hmac-sha2-512",
        ],
    )
    def test_a_server_with_few_algorithms(self, site: Path, tmp_path: Path, option: str) -> None:
        with running_sshd(tmp_path / "few", options=(option,)) as server:
            assert put(site, server.website).sent

    def test_a_server_without_sftp(self, site: Path, tmp_path: Path) -> None:
        options = ("Subsystem nothing /bin/true",)
        with running_sshd(tmp_path / "plain", options=options, sftp=False) as server, pytest.raises(Trouble) as trouble:
            put(site, server.website)
        assert "offers no SFTP" in str(trouble.value)

    @pytest.mark.parametrize(
        ("script", "message"),
        [
            ("exit 1", "the server offers no SFTP .*: its sshd_config needs Subsystem sftp .* ChrootDirectory"),
            ("echo Welcome!; sleep 9", "the server offers no SFTP .*does its shell print at login"),
            ("kill -9 $PPID", "the (server closed the connection|connection was lost)"),  # its end of the connection
            ("printf '\\000\\000\\000'; kill -9 $PPID", "the (server closed the connection|connection was lost)"),
            ("sleep 9", "the server fell silent"),
        ],
    )
    def test_what_ends_before_the_greeting(self, site: Path, tmp_path: Path, script: str, message: str) -> None:
        program = tmp_path / "sftp-server"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        with running_sshd(tmp_path / "cut", options=(f"Subsystem sftp {program}",), sftp=False) as server:
            with pytest.raises(Trouble, match=message) as trouble:
                put(site, server.website, timeout_s=2.0)
            server.kill_sessions()
        assert ("offers no SFTP" in str(trouble.value)) == ("offers" in message)

    @pytest.mark.skipif(os.geteuid() != 0, reason="of root alone does sshd want a command after the login")
    def test_a_server_that_hangs_up_after_the_login(self, site: Path, tmp_path: Path) -> None:
        with running_sshd(tmp_path / "cut", options=("PermitRootLogin forced-commands-only",)) as server:
            for _ in range(5):  # how far we come differs
                with pytest.raises(Trouble, match="the next publish goes on from there") as trouble:
                    put(site, server.website)
                assert str(trouble.value).count(str(server.website)) == 1
                assert "EOFError" not in str(trouble.value)

    @pytest.mark.parametrize(
        "box",
        [
            "rsa -traditional -aes192",
            "rsa -traditional -camellia256",
            "rsa -traditional -aria128",
            "pkcs8 -topk8 -v2 camellia-128-cbc",
            "pkcs8 -topk8 -v2 aes-256-cbc -v2prf hmacWithMD5",
        ],
    )
    def test_a_cipher_that_only_openssl_knows_and_the_cure_where_there_is_no_ssh_keygen(
        self, site: Path, server: Sshd, tmp_path: Path, box: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plain, key = generate_key(tmp_path / "plain", "rsa", "", "-m", "PEM"), tmp_path / "key"
        convert = [require("openssl", "openssl"), *box.split(), "-passout", "pass:secret1", "-in", plain, "-out", key]
        subprocess.run(convert, check=True, capture_output=True)
        key.chmod(0o600)
        shutil.copy(f"{plain}.pub", f"{key}.pub")
        website = replace(authorized(server, key), privkey_passphrase="secret1")
        told = r"key: cannot be read here \([^)]*unknown [^)]*\): (ssh-keygen -p -f '.*/key') writes it anew"
        assert put(site, website).sent
        with monkeypatch.context() as without, pytest.raises(Trouble, match=re.compile(told, re.IGNORECASE)) as trouble:
            without.setenv("PATH", str(tmp_path))
            put(site, website)
        cure = str(trouble.value).partition(": ssh-keygen ")[2].partition(" writes it anew")[0]
        subprocess.run(f"ssh-keygen {cure} -P secret1 -N secret1", shell=True, check=True, capture_output=True)  # noqa: S602
        version(site, 2)
        assert put(site, website).sent

    @pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xa3\xff\x00" * 999, b"SSH\r\n"])
    def test_a_port_where_no_ssh_server_greets(self, site: Path, server: Sshd, said: bytes) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            website = server.also_at(other.getsockname()[1])
            thread = threading.Thread(target=greet, args=(other, said))
            thread.start()
            with pytest.raises(Trouble, match=r"greeted: is that its SSH port \(ds_website_server_port\)\?") as trouble:
                put(site, website, timeout_s=5.0)
            thread.join()
        assert f"127.0.0.1 port {website.server_port}: the connection failed: " in str(trouble.value)

    def test_a_server_that_turns_this_machine_away(self, site: Path, tmp_path: Path) -> None:
        options = ("PerSourceMaxStartups 1",)
        with running_sshd(tmp_path / "busy", options=options) as server, contextlib.ExitStack() as lines:

            def holds() -> bool:
                line = lines.enter_context(socket.create_connection((server.host, server.port)))
                return line.recv(4) == b"SSH-"

            until(holds)
            told = r"after 'Exceeded MaxStartups'; no SSH server greeted: .* server's log tells .*MaxStartups, or a ban"
            with pytest.raises(Trouble, match=told):
                put(site, server.website)

    @pytest.mark.parametrize("kind", ["sk-ssh-ed25519@openssh.com", "ssh-ed25519-cert-v01@openssh.com"])
    def test_a_server_without_a_key_of_the_kinds_that_it_offers(self, site: Path, tmp_path: Path, kind: str) -> None:
        with (
            running_sshd(tmp_path / "keyless", options=(f"HostKeyAlgorithms {kind}",)) as server,
            pytest.raises(Trouble, match=r"after its greeting: .* HostKeyAlgorithms may name no HostKey"),
        ):
            put(site, server.website)

    def test_the_environment_of_the_tests_has_no_agent(self) -> None:
        assert "SSH_AUTH_SOCK" not in os.environ
