"""Publishing when things go wrong: connections break, servers fall silent, disks fill up, two come at a time."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer.configuration.settings import Website
from deepspeech_wer.errors import Trouble
from deepspeech_wer.machine import processes
from deepspeech_wer.publish import publisher
from deepspeech_wer.publish import web_root_lock as lock
from deepspeech_wer.publish.publisher import publish
from deepspeech_wer.publish.survey import Survey
from deepspeech_wer.sftp.pipeline import Halted
from tests.end_to_end.proxy import Network, bad_network
from tests.end_to_end.publishing import (
    constructed,
    files_of,
    leftovers,
    load_page,
    published,
    put,
    version,
    visited,
    write,
)
from tests.end_to_end.sshd import Sshd, free_port, running_sshd
from tests.waiting import until

PRELUDE = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import PosixPath
from deepspeech_wer.configuration.settings import Website
from deepspeech_wer.sftp.pipeline import Halted
from tests.end_to_end.publishing import put
"""


@pytest.fixture(scope="module")
def module_sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture(scope="module")
def network(module_sshd: Sshd) -> Iterator[Network]:
    """A way to the module's server that can be made worse."""
    with bad_network(module_sshd.port) as network:
        module_sshd.also_at(network.port)
        yield network


@pytest.fixture
def server(module_sshd: Sshd, tmp_path: Path) -> Sshd:
    root = tmp_path / "root"
    root.mkdir()
    return replace(module_sshd, root=root, website=replace(module_sshd.website, server_root=str(root)))


@pytest.fixture
def bad_way(server: Sshd, network: Network) -> Iterator[Website]:
    """The server, reached through `network`."""
    yield replace(server.website, server_port=network.port)
    network.cut_after = network.swallow_after = network.call_after = None


@pytest.fixture
def site(tmp_path: Path) -> Path:
    version(tmp_path / "site", 1)
    return tmp_path / "site"


@pytest.mark.parametrize("after", [2_000, 6_000, 50_000, 500_000, 1_400_000])
def test_the_publisher_is_killed(
    site: Path, server: Sshd, network: Network, bad_way: Website, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    for number in range(500):
        write(site, {f"runs/{number}.js": str(number) * 1000})
    code = f"{PRELUDE}put(PosixPath({str(site)!r}), {constructed(bad_way)})"
    reached = threading.Event()
    network.call_after, network.call = after, reached.set
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) as process:
        assert reached.wait(60)
        process.kill()
    server.wait_for_sessions_to_end()
    monkeypatch.setattr(lock, "UNSIGNED_STALE_S", -1.0)  # killed before it wrote who it is
    put(site, server.website, lock_wait_s=0)  # the dead one's lock holds nobody up
    assert load_page(server.root) == "version 1 "
    assert leftovers(server.root) == []
    assert published(server.root).keys() >= set(files_of(site))


def test_a_dropped_connection_is_tried_again(site: Path, server: Sshd, network: Network, bad_way: Website) -> None:
    network.cut_after = 20_000
    assert put(site, bad_way, retry_after_s=(0.1,)).sent
    assert network.cut_after is None
    assert load_page(server.root) == "version 1 "


def test_a_stop_is_heard_while_sending(site: Path, server: Sshd, network: Network, bad_way: Website) -> None:
    stopped = threading.Event()
    network.call_after, network.call = 20_000, stopped.set
    with pytest.raises(Halted):
        put(site, bad_way, is_stopped=stopped.is_set)
    assert not (server.root / lock.LOCK).exists()
    put(site, server.website, lock_wait_s=0)
    assert load_page(server.root) == "version 1 "
    assert leftovers(server.root) == []


def test_a_stop_is_heard_in_a_pause(site: Path, server: Sshd) -> None:
    with pytest.raises(Halted):
        put(site, server.also_at(free_port()), retry_after_s=(60,), is_stopped=lambda: True)


def test_retries_are_bounded_and_counted(site: Path, server: Sshd) -> None:
    nobody = server.also_at(free_port())
    with pytest.raises(Trouble, match=r"cannot connect: Connection refused \(3 tries\)"):
        put(site, nobody, retry_after_s=(0.01, 0.01))


def test_a_host_without_address(site: Path, server: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    known.write_text(server.known_hosts.read_text().replace(server.host, "no.such.host.invalid"))
    website = replace(server.website, server_fqdn="no.such.host.invalid", known_hosts=known)
    with pytest.raises(Trouble, match=r"no address known for this name .* ssh -G no\.such\.host\.invalid tells"):
        put(site, website)


class TestSilence:
    """pysftp waits 135 s for a host that is not there, and for ever for one that vanishes in the middle."""

    def test_a_host_that_is_not_there(self, site: Path, server: Sshd) -> None:
        """Nor says no: as one whose queue of connections is full, it drops what asks for another."""
        with socket.create_server((server.host, 0), backlog=0) as listener, contextlib.ExitStack() as queue:
            for _ in range(3):
                waiting = queue.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(listener.getsockname())
            with pytest.raises(Trouble, match=r"cannot connect: no answer within 0.3 s"):
                put(site, server.also_at(listener.getsockname()[1]), timeout_s=0.3)

    def test_a_server_that_accepts_and_says_nothing(self, site: Path, server: Sshd) -> None:
        with socket.create_server((server.host, 0)) as listener:
            website = server.also_at(listener.getsockname()[1])
            started = time.monotonic()
            with pytest.raises(
                Trouble, match=r"timed out; no SSH server greeted: .* If so, the server hangs, or a firewall"
            ):
                put(site, website, timeout_s=0.5)
            assert time.monotonic() - started < 60

    @pytest.mark.parametrize("after", [1_000, 2_000, 3_000, 5_000, 20_000, 36_000])
    def test_a_black_hole_in_the_middle(
        self, site: Path, server: Sshd, network: Network, bad_way: Website, after: int
    ) -> None:
        """The first two are in the middle of the key exchange, where paramiko waits for ever."""
        network.swallow_after = after
        started = time.monotonic()
        with pytest.raises(Trouble, match=r"silent|failed|lost"):
            put(site, bad_way, timeout_s=0.7)
        assert time.monotonic() - started < 60
        network.swallow_after = None
        server.kill_sessions()
        put(site, server.website, lock_wait_s=10)
        assert load_page(server.root) == "version 1 "


class TestFullDisk:
    @pytest.fixture
    def small(self, server: Sshd) -> Iterator[Sshd]:
        """A web root of 200 KB."""
        if os.geteuid() != 0:
            pytest.skip("only root may mount a small file system")
        mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(server.root)]
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
        if mounted.returncode:
            pytest.skip(f"cannot mount a small file system: {mounted.stderr.strip()}")
        try:
            yield server
        finally:
            subprocess.run(["umount", "-l", server.root], check=True)

    def test_the_old_site_stays_whole_and_the_next_publish_goes_through(self, site: Path, small: Sshd) -> None:
        put(site, small.website)
        before = published(small.root)
        version(site, 2, size=20_000)
        with pytest.raises(Trouble, match="is the disk or the quota full"):
            put(site, small.website)
        assert {path: data for path, data in published(small.root).items() if not path.endswith(".partial")} == before
        version(site, 3)
        put(site, small.website)
        assert load_page(small.root) == "version 3 "
        assert leftovers(small.root) == []

    def test_a_probe_finds_it_out_and_leaves_nothing(self, site: Path, small: Sshd) -> None:
        assert put(site, small.website, dry_run=True, probe=True).sent
        assert list(small.root.iterdir()) == []
        (small.root / ".htaccess").touch()
        with contextlib.suppress(OSError):
            (small.root / "index.htm").write_bytes(bytes(300_000))
        put(site, small.website, dry_run=True)
        with pytest.raises(Trouble, match="is the disk or the quota full"):
            put(site, small.website, dry_run=True, probe=True)

    def test_not_a_byte_left(self, site: Path, small: Sshd) -> None:
        put(site, small.website)
        with contextlib.suppress(OSError), (small.root / "hog").open("wb") as hog:
            while True:
                hog.write(bytes(4096))
                hog.flush()
        version(site, 2)
        with pytest.raises(Trouble, match="is the disk or the quota full"):
            put(site, small.website)
        assert load_page(small.root) == "version 1 "
        (small.root / "hog").unlink()
        put(site, small.website)
        assert load_page(small.root) == "version 2 "


class TestTogether:
    def hold(self, server: Sshd, **changes: object) -> Path:
        file = server.root / lock.LOCK
        file.parent.mkdir(exist_ok=True)
        other = {"host": "elsewhere", "pid": 7, "machine": "another", "token": "t", "since": "2016-11-16T10:00:00Z"}
        file.write_text(json.dumps({**other, **changes}))
        return file

    def test_the_second_waits_a_bounded_time_and_says_who_holds_it(self, site: Path, server: Sshd) -> None:
        file = self.hold(server)
        with pytest.raises(Trouble, match=r"process 7 on elsewhere, since 2016-11-16T10:00:00Z, is publishing there"):
            put(site, server.website, lock_wait_s=0.2)
        assert file.exists()
        assert published(server.root) == {}

    def test_it_goes_on_when_the_first_is_done(self, site: Path, server: Sshd) -> None:
        file = self.hold(server)
        timer = threading.Timer(0.3, file.unlink)
        timer.start()
        put(site, server.website)
        timer.join()
        assert load_page(server.root) == "version 1 "

    @pytest.mark.parametrize("content", ["", "{", "[]", None])
    def test_a_silent_lock_goes_stale(self, site: Path, server: Sshd, content: str | None) -> None:
        file = self.hold(server)
        if content is not None:
            file.write_text(content)
        then = time.time() - lock.STALE_S - 5
        os.utime(file, (then, then))
        assert put(site, server.website, lock_wait_s=0).sent
        assert leftovers(server.root) == []

    def test_a_lock_of_the_future_goes_stale_unless_it_is_renewed(
        self, site: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The server's clock was set back after its holder was gone."""
        monkeypatch.setattr(lock, "AHEAD_S", 3.0)
        file = self.hold(server)
        os.utime(file, (time.time() + 1e6,) * 2)
        with pytest.raises(Trouble, match=r"last sign of life \d+ s ahead of the server's clock"):
            put(site, server.website, lock_wait_s=0)
        assert put(site, server.website, lock_wait_s=10).sent
        file = self.hold(server)
        os.utime(file, (time.time() + 1e6,) * 2)
        renewing = threading.Timer(0.5, lambda: os.utime(file))
        renewing.start()
        version(site, 2)
        with pytest.raises(Trouble, match=r"last sign of life \d s ago"):
            put(site, server.website, lock_wait_s=5)
        renewing.join()

    def test_a_directory_in_the_place_of_the_lock_is_told(self, site: Path, server: Sshd) -> None:
        (server.root / lock.LOCK).mkdir(parents=True)
        with pytest.raises(
            Trouble, match=r"cannot read .*lock .*If something else has that name, or its directory's, move it"
        ):
            put(site, server.website, lock_wait_s=0)

    def test_a_live_lock_is_kept_alive(self, site: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lock, "BEAT_S", 0.0)
        put(site, server.website)
        assert leftovers(server.root) == []

    def test_the_lock_of_a_dead_process_of_this_machine_holds_nobody_up(self, site: Path, server: Sshd) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            started = processes.start_time(process.pid)
            process.kill()
            until(lambda: _is_zombie(process.pid))  # it stays one if a container's first process reaps nothing
            self.hold(server, machine=lock.this_process()["machine"], pid=process.pid, started=started)
            assert put(site, server.website, lock_wait_s=0).sent

    def test_the_lock_of_a_live_process_of_this_machine_is_waited_for(self, site: Path, server: Sshd) -> None:
        with subprocess.Popen(["sleep", "60"]) as process:
            started = processes.start_time(process.pid)
            self.hold(server, machine=lock.this_process()["machine"], pid=process.pid, started=started)
            with pytest.raises(Trouble, match="is publishing there"):
                put(site, server.website, lock_wait_s=0.2)
            self.hold(server, machine=lock.this_process()["machine"], pid=process.pid, started="another boot:1")
            assert put(site, server.website, lock_wait_s=0).sent
            process.kill()

    def test_a_publish_that_ends_while_another_looks_is_no_stranger(
        self, site: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(site, server.website)
        version(site, 2)
        looks: list[Survey] = []

        def survey(*arguments: Any) -> Survey:
            """The first look reads the manifests, then the other publishes, then the directories are listed."""
            early = publisher_survey(*arguments)
            looks.append(early)
            if len(looks) > 1:
                return early
            put(site, server.website)
            late = publisher_survey(*arguments)
            return early._replace(seen=late.seen, root_names=late.root_names, directories=late.directories)

        publisher_survey = publisher.survey
        monkeypatch.setattr(publisher, "survey", survey)
        assert not put(site, server.website).sent
        assert load_page(server.root) == "version 2 "
        write(server.root, {"js/later.js": "by hand"})
        write(site, {"js/later.js": "published"})
        with pytest.raises(Trouble, match=r"js/later\.js: not published from here"):
            put(site, server.website)

    def test_two_at_a_time_both_come_through(self, site: Path, server: Sshd, tmp_path: Path) -> None:
        version(tmp_path / "other", 2)
        website = constructed(server.website)
        code = f"{PRELUDE}for site in sys.argv[1:] * 4: put(PosixPath(site), {website}, lock_wait_s=20)"
        put(site, server.website)
        commands = [[sys.executable, "-c", code, str(tmp_path / name)] for name in ("site", "other")]
        with (
            visited(server.root) as seen,
            subprocess.Popen(commands[0]) as one,
            subprocess.Popen(commands[1]) as other,
        ):
            pass
        assert (one.returncode, other.returncode) == (0, 0)
        assert set(seen) <= {"version 1 ", "version 2 "}
        assert leftovers(server.root) == []


def test_a_file_of_before_1970_is_published_once(site: Path, server: Sshd) -> None:
    os.utime(site / "runs" / "1.js", (-86_400, -86_400))
    put(site, server.website)
    assert (server.root / "runs" / "1.js").stat().st_mtime == 0
    assert put(site, server.website).sent == ()


def test_a_state_directory_that_cannot_be_read_is_named(site: Path, server: Sshd) -> None:
    (server.root / ".deepspeech_wer").symlink_to(".deepspeech_wer")  # root may read all but this
    with pytest.raises(Trouble, match=r"/root/\.deepspeech_wer: expected a directory"):
        put(site, server.website)
    assert [path.name for path in server.root.iterdir()] == [".deepspeech_wer"]


def test_a_missing_file_is_told(site: Path, server: Sshd) -> None:
    with pytest.raises(Trouble, match=r"absent\.js: cannot be published: No such file.*build the site again"):
        publish(site, ["absent.js"], server.website)
    assert not any(server.root.iterdir())


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_memory_stays_bounded_whatever_the_size(site: Path, server: Sshd) -> None:
    with (site / "big.bin").open("wb") as stream:
        stream.truncate(300_000_000)
    (site / "index.htm").unlink()
    code = (
        "import pathlib, re\n"
        "from deepspeech_wer.publish.publisher import publish\n"
        "from deepspeech_wer.configuration.settings import Website\nfrom pathlib import PosixPath\n"
        f"publish(pathlib.Path({str(site)!r}), ['big.bin'], {constructed(server.website)})\n"
        # not ru_maxrss, which begins with the peak of the process that started this one
        "print(re.search(r'VmHWM:\\s+(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert (server.root / "big.bin").stat().st_size == 300_000_000
    assert int(done.stdout) < 80_000  # KB; 40 of them are Python's and paramiko's
