"""What pysftp gets wrong, put right against servers of four makes (see hosts.py), each with a umask of 077."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan
from deepspeech_wer.publish.publisher import publish, rollback
from deepspeech_wer.publish.report import Options
from tests.end_to_end.hosts import KINDS, WebHost, running
from tests.end_to_end.proxy import bad_network
from tests.end_to_end.publishing import files_of, leftovers, load_page, published, put, version, write
from tests.end_to_end.sshd import HOST, add, generate_key, running_agent


@pytest.fixture(scope="module", params=KINDS)
def shared_host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebHost]:
    with running(request.param, tmp_path_factory.mktemp(request.param)) as host:
        yield host


@pytest.fixture
def host(shared_host: WebHost) -> WebHost:
    return shared_host.fresh()


@pytest.fixture
def site(tmp_path: Path) -> Path:
    version(tmp_path / "site", 1)
    return tmp_path / "site"


@pytest.fixture
def small(host: WebHost) -> Iterator[WebHost]:
    """A web root on a disk of 600 KB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(host.root)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
    try:
        yield host
    finally:
        subprocess.run(["umount", "-l", host.root], check=True)


class TestKeys:
    @pytest.mark.parametrize(
        "options",
        [("ed25519",), ("ecdsa", "-b", "384"), ("rsa", "-b", "3072", "-m", "PEM")],
        ids=lambda given: given[0],
    )
    def test_any_kind_by_path(self, site: Path, host: WebHost, tmp_path: Path, options: tuple[str, ...]) -> None:
        website = host.authorize(generate_key(tmp_path / "key", options[0], "", *options[1:]))
        assert put(site, website).sent

    def test_a_passphrase_right_wrong_and_missing_and_a_public_key(
        self, site: Path, host: WebHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        website = host.authorize(generate_key(tmp_path / "key", "ed25519", "open sesame"))
        with pytest.raises(Trouble, match=r"/key: has a passphrase: set ds_website_privkey_passphrase"):
            put(site, website)
        with pytest.raises(Trouble, match=r"/key: ds_website_privkey_passphrase does not open it"):
            put(site, replace(website, privkey_passphrase="close sesame"))
        with pytest.raises(Trouble, match=r"/key.pub: is a public key: give the private one"):
            put(site, replace(website, privkey=tmp_path / "key.pub"))
        caplog.set_level(logging.DEBUG)
        logging.getLogger("paramiko").setLevel(logging.DEBUG)  # as somebody may who looks for a fault
        assert put(site, replace(website, privkey_passphrase="open sesame")).sent
        private = (tmp_path / "key").read_text().splitlines()[1]
        assert not [line for line in caplog.text.splitlines() if "sesame" in line or private in line]

    def test_a_key_that_the_server_refuses(self, site: Path, host: WebHost, tmp_path: Path) -> None:
        with pytest.raises(Trouble, match=r"refuses .*/stranger: add the public key to"):
            put(site, replace(host.website, privkey=generate_key(tmp_path / "stranger", "ed25519")))

    def test_an_agent_that_holds_it(
        self, site: Path, host: WebHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert host.website.privkey
        with running_agent(tmp_path / "agent") as agent:
            add(agent, generate_key(tmp_path / "another", "ecdsa"), host.website.privkey)  # the first is refused
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
            assert put(site, replace(host.website, privkey=None)).sent

    def test_an_rsa_key_of_an_agent(
        self, site: Path, host: WebHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        website = host.authorize(generate_key(tmp_path / "key", "rsa"))
        with running_agent(tmp_path / "agent") as agent:
            add(agent, tmp_path / "key")
            monkeypatch.setenv("SSH_AUTH_SOCK", str(agent))
            assert put(site, replace(website, privkey=None)).sent


class TestKnownHosts:
    @pytest.mark.parametrize("name", ["[LocalHost]:{port}", "[local*]:{port}", "x,localhost", "hashed"])
    def test_every_way_to_name_a_host(self, site: Path, host: WebHost, name: str) -> None:
        port = host.website.server_port
        pattern = "[localhost]:{port}" if name == "hashed" else name
        website = host.knowing(f"{pattern.format(port=port)} {host.public_keys()['ssh-ed25519']}\n")
        if name == "hashed":
            subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(website.known_hosts)], check=True, capture_output=True)
        assert put(site, replace(website, server_fqdn="LOCALHOST")).sent

    @pytest.mark.parametrize("kind", ["ssh-ed25519", "ssh-rsa"])
    def test_a_stale_key_first_and_lines_of_others_that_cannot_be_read(
        self, site: Path, host: WebHost, tmp_path: Path, kind: str
    ) -> None:
        """And the server is asked for the kind that is on record, whichever it would rather show."""
        stale = generate_key(tmp_path / "stale", "rsa").with_suffix(".pub").read_text()
        name = f"[{HOST}]:{host.website.server_port}"
        lines = (
            f"broken\n{name}\n@cert-authority * {stale}@revoked other.example.org {stale}"
            f"{name} {stale}{name} {host.public_keys()[kind]}\n"
        )
        assert put(site, host.knowing(lines)).sent

    def test_an_unknown_host_a_changed_key_and_a_revoked_one(
        self, site: Path, host: WebHost, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        other = generate_key(tmp_path / "other", "ed25519").with_suffix(".pub").read_text()
        name = f"[{HOST}]:{host.website.server_port}"
        ours = f"{name} {host.public_keys()['ssh-ed25519']}\n"
        said = []
        for lines, message in (
            ("", r"unknown host.*ssh-keyscan -p \d+ 127.0.0.1 >> "),
            (f"{name} {other}", r"none of those on record.*ssh-keygen -R '\[127.0.0.1\]:"),
            (f"{ours}@revoked * {host.public_keys()['ssh-ed25519']}\n", "revokes"),
        ):
            with pytest.raises(Trouble, match=message) as trouble:
                put(site, host.knowing(lines))
            said.append(str(trouble.value))
        assert not any(key.split()[1] in f"{said}{caplog.text}" for key in (other, *host.public_keys().values()))
        assert not any("\n" in text for text in said)
        assert published(host.root) == {}


class TestNetwork:
    @pytest.mark.parametrize("after", [0, 1_500, 20_000])
    def test_a_black_hole(self, site: Path, host: WebHost, after: int) -> None:
        """pysftp waits for ever for a server that vanishes in the middle of a transfer."""
        with bad_network(host.website.server_port) as network:
            network.swallow_after = after
            started = time.monotonic()
            with pytest.raises(Trouble, match=r"silent|failed|lost"):
                put(site, host.also_at(network.port), timeout_s=0.7)
            assert time.monotonic() - started < 60
        host.wait_for_sessions_to_end()
        put(site, host.website)
        assert load_page(host.root) == "version 1 "

    def test_a_connection_killed_during_put_is_tried_again_and_resumes(self, site: Path, host: WebHost) -> None:
        write(site, {"runs/first": os.urandom(300_000), "runs/second": os.urandom(3_000_000)})
        with bad_network(host.website.server_port) as network:
            network.cut_after = 2_000_000
            report = put(site, host.also_at(network.port), retry_after_s=(0.1, 0.5))
            assert network.cut_after is None
        assert report.size >= 3_000_000
        assert published(host.root)["runs/second"] == (site / "runs/second").read_bytes()
        assert load_page(host.root) == "version 1 "
        assert leftovers(host.root) == []

    def test_six_at_a_time_each_with_its_own_web_root(self, site: Path, host: WebHost) -> None:
        """One pysftp client hangs when six threads use it."""
        roots = [host.fresh() for _ in range(6)]
        failures: list[Exception] = []

        def publish(one: WebHost) -> None:
            try:
                put(site, one.website)
            except Exception as error:  # noqa: BLE001 - told by the test
                failures.append(error)

        threads = [threading.Thread(target=publish, args=(one,)) for one in roots]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert [load_page(one.root) for one in roots] == ["version 1 "] * 6


class TestFilesOfOthers:
    def test_one_in_the_place_of_the_state_is_told_and_stays(self, site: Path, host: WebHost) -> None:
        write(host.root, {plan.STATE: "theirs"})
        for adopt in (False, True):
            with pytest.raises(Trouble, match=rf"/\{plan.STATE}.*: .*move it away"):
                put(site, host.website, adopt=adopt)
        assert [path.name for path in host.root.iterdir()] == [plan.STATE]

    def test_one_in_the_place_of_a_directory_is_kept_beside(self, site: Path, host: WebHost) -> None:
        put(site, host.website)
        shutil.rmtree(host.root / "js")
        write(host.root, {"js": "theirs"})
        with pytest.raises(Trouble, match=": js: not published from here, and in the way; nothing was touched"):
            put(site, host.website)
        assert (host.root / "js").read_text() == "theirs"
        put(site, host.website, adopt=True)
        assert [path.read_text() for path in host.root.glob("js.before-*")] == ["theirs"]
        assert load_page(host.root) == "version 1 "


class TestFullDisk:
    def test_the_old_site_stays_whole_and_the_next_publish_goes_through(self, site: Path, small: WebHost) -> None:
        put(site, small.website)
        before = published(small.root)
        version(site, 2, size=40_000)
        with pytest.raises(Trouble, match="is the disk or the quota full"):
            put(site, small.website)
        assert {path: data for path, data in published(small.root).items() if not path.endswith(".partial")} == before
        version(site, 3)
        put(site, small.website)
        assert load_page(small.root) == "version 3 "
        assert leftovers(small.root) == []

    def test_one_that_is_full_for_a_moment_leaves_no_zeros_in_a_file(self, site: Path, small: WebHost) -> None:
        """pysftp's pipelined put says nothing then, and leaves zeros where writes failed."""
        put(site, small.website)
        write(site, {"runs/big": os.urandom(500_000)})
        (small.root / "hog").write_bytes(bytes(400_000))

        def make_room() -> None:
            """Once writing has begun to fail."""
            for _ in range(2000):
                if shutil.disk_usage(small.root).free < 8192:
                    break
                time.sleep(0.0005)
            (small.root / "hog").unlink()

        thread = threading.Thread(target=make_room)
        thread.start()
        with contextlib.suppress(Trouble):
            put(site, small.website)
        thread.join()
        assert published(small.root).get("runs/big") in (None, (site / "runs/big").read_bytes())
        put(site, small.website)
        assert published(small.root)["runs/big"] == (site / "runs/big").read_bytes()
        assert leftovers(small.root) == []


class TestFiles:
    def test_modes_whatever_the_umask_and_atomic_replacement(
        self, site: Path, host: WebHost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(plan, "KEPT_S", 0)
        removed = []
        for number in (1, 2, 3):
            version(site, number)
            report = put(site, host.website)
            assert report.notes == ()  # posix-rename and times are there
            assert load_page(host.root) == f"version {number} "
            assert published(host.root).keys() >= set(files_of(site))
            assert leftovers(host.root) == []
            assert not put(site, host.website).sent
            removed.append(len(report.removed))
        assert removed == [0, 0, 2]  # what version 1 alone had: its script and its style
        for file in host.root.rglob("*"):
            mode = 0o755 if file.is_dir() else 0o644
            if ".deepspeech_wer" in file.parts and file.parent.name != "old":
                mode &= 0o770  # that is nobody else's business
            assert stat.S_IMODE(file.stat().st_mode) == mode, file

    def test_modes_of_the_operators_choice(self, site: Path, host: WebHost) -> None:
        put(site, replace(host.website, modes=(0o640, 0o2750)))
        assert stat.S_IMODE((host.root / "index.htm").stat().st_mode) == 0o640
        assert stat.S_IMODE((host.root / "js").stat().st_mode) == 0o2750
        assert not put(site, replace(host.website, modes=(0o640, 0o2750))).sent

    def test_names_of_every_kind(self, site: Path, host: WebHost, monkeypatch: pytest.MonkeyPatch) -> None:
        """Composed and decomposed, beyond UTF-8, with blanks, quotes, a leading dot or dash, and as long as may be."""
        monkeypatch.setattr(plan, "KEPT_S", 0)
        names = [
            "\u00c4",
            "A\u0308",
            "\udcff latin",
            "a b'\"$`;&",
            ".hidden",
            "-rf",
            "*?[x]",
            "x" * 200,
            "\u65e5\u672c",
            "\u65e5\u672c" * 42,  # 252 bytes
        ]
        for number, name in enumerate(names):
            write(site, {f"runs/{name}/{name}": str(number)})
        put(site, host.website)
        there = published(host.root)
        assert [there.get(f"runs/{name}/{name}") for name in names] == [str(i).encode() for i in range(len(names))]
        assert not put(site, host.website).sent
        shutil.rmtree(site / "runs")
        put(site, host.website)
        write(site, {"js/hyper.js": "other"})
        put(site, host.website)
        assert not [path for path in published(host.root) if path.startswith("runs/")]

    def test_a_broken_link_in_the_site(self, site: Path, host: WebHost) -> None:
        (site / "runs/broken").symlink_to("nowhere")
        with pytest.raises(Trouble, match=r"runs/broken: expected a regular file, found something else"):
            publish(site, ["runs/broken", *files_of(site)], host.website, Options(retry_after_s=()))
        assert published(host.root) == {}

    def test_there_and_back_again(self, site: Path, host: WebHost) -> None:
        put(site, host.website)
        version(site, 2)
        put(site, host.website)
        for expected in ("version 1 ", "version 2 ", "version 1 "):
            report = rollback(host.website)
            assert report.size == 0
            assert load_page(host.root) == expected
        assert leftovers(host.root) == []
