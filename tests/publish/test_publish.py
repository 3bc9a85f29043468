"""Publishing without a server: what is planned, whose key is believed, what a page loads, how SFTP is spoken."""

from __future__ import annotations

import base64
import gzip
import math
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import lock, plan, server
from deepspeech_wer.publish import site as sites
from deepspeech_wer.publish.plan import INDEX, Entry, Manifest, Seen
from deepspeech_wer.publish.report import Report
from deepspeech_wer.settings import Website
from deepspeech_wer.sftp import dial, files, known_hosts, new_file, pipeline
from deepspeech_wer.sftp.pipeline import Ask, Lost, Pipeline, Refused, Request, string
from tests.end_to_end.publishing import constructed

A, B = "a" * 64, "b" * 64
SECOND = 1_000_000_000
KEY, OTHER = base64.b64encode(b"a key").decode(), base64.b64encode(b"another").decode()


def test_importing_it_loads_no_paramiko() -> None:
    heavy = "{'paramiko', 'pysftp', 'requests', 'bs4'}"
    code = f"import sys, deepspeech_wer.publish.api; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_publishing_loads_nothing_that_it_does_not_use() -> None:
    unused = "{'invoke', 'asyncio', 'unittest'}"
    code = f"import sys, deepspeech_wer.publish.publisher; print(sorted({unused} & set(sys.modules))); import invoke"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


class TestDial:
    """A server here that only listens."""

    @pytest.fixture
    def listening(self) -> Iterator[tuple[socket.socket, Website]]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            yield listener, Website("u", "127.0.0.1", "/w", port, None, None, None, (0o644, 0o755))

    def test_the_server_learns_who_is_here_before_paramiko_is_loaded(
        self, listening: tuple[socket.socket, Website]
    ) -> None:
        listener, website = listening
        code = (
            "import sys; from deepspeech_wer.sftp import dial; from deepspeech_wer.settings import Website\n"
            f"with dial.called({constructed(website)}, 5) as call: call.result()\n"
            "print('paramiko' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        assert done.stdout == "False\n"
        with listener.accept()[0] as other:
            assert other.recv(100) == b"SSH-2.0-deepspeech_wer\r\n"
            assert not other.recv(100)  # and it hung up

    def test_it_is_told_once(self, listening: tuple[socket.socket, Website]) -> None:
        listener, website = listening
        with dial.called(website, 5) as call, listener.accept()[0] as other:
            call.result().send(b"SSH-2.0-deepspeech_wer\r\n")  # as paramiko does
            call.result().send(b"more")
            call.result().shutdown(socket.SHUT_WR)
            assert b"".join(iter(lambda: other.recv(100), b"")) == b"SSH-2.0-deepspeech_wer\r\nmore"

    def test_nobody_waits_for_a_line_that_is_not_wanted_any_more(self) -> None:
        started = time.monotonic()
        website = Website("u", "192.0.2.1", "/w", 22, None, None, None, (0o644, 0o755))  # RFC 5737: goes nowhere
        with dial.called(website, 60):
            pass
        assert time.monotonic() - started < 5


class TestPlan:
    def test_everything_is_new_on_an_empty_server(self) -> None:
        todo = plan.make({"js/a.js": Entry(A, 1, 0), INDEX: Entry(B, 2, 0)}, None, None, {})
        assert [(step.path, step.why) for step in todo.send] == [("js/a.js", "new"), (INDEX, "new")]
        assert todo.manifest is not None
        assert todo.manifest.generation == 1
        assert not todo.remove
        assert not todo.foreign

    def test_nothing_to_do(self) -> None:
        wanted = {"a": Entry(A, 1, 5 * SECOND)}
        todo = plan.make(wanted, Manifest(1, wanted), None, {"a": Seen(1, 5)})
        assert todo == plan.Plan((), (), 1, (), None)

    @pytest.mark.parametrize(
        ("seen", "why"),
        [
            ({}, "missing on the server"),
            ({"a": Seen(2, 5)}, "differs on the server"),
            ({"a": Seen(1, 6)}, "differs on the server"),
        ],
    )
    def test_damage_on_the_server_is_mended(self, seen: dict[str, Seen], why: str) -> None:
        wanted = {"a": Entry(A, 1, 5 * SECOND)}
        manifest = Manifest(3, wanted)
        todo = plan.make(wanted, manifest, None, seen)
        assert todo.send == (plan.Step("a", why),)
        assert todo.manifest == manifest  # the site is the same: no new generation

    def test_a_touched_local_file_is_not_sent_again(self) -> None:
        stored = Entry(A, 1, 5 * SECOND)
        todo = plan.make({"a": Entry(A, 1, 9 * SECOND)}, Manifest(1, {"a": stored}), None, {"a": Seen(1, 5)})
        assert todo.manifest is None

    def test_a_server_without_times_is_judged_by_sizes(self) -> None:
        wanted = {"a": Entry(A, 1, 5 * SECOND)}
        assert plan.make(wanted, Manifest(1, wanted, times=False), None, {"a": Seen(1, 99)}).manifest is None

    def test_what_vanishes_is_kept_for_one_publish_then_removed(self) -> None:
        old, new, third = ({name: Entry(A, 1, 0)} for name in ("old", "new", "third"))
        todo = plan.make(new, Manifest(1, old), None, {"old": Seen(1, 0)})
        assert todo.manifest == Manifest(2, new, old, {"old": old["old"], "new": None})
        assert plan.version_before(todo.manifest) == old
        assert not todo.remove
        todo = plan.make(third, todo.manifest, None, {"old": Seen(1, 0), "new": Seen(1, 0)})
        assert todo.manifest == Manifest(3, third, new, {"new": new["new"], "third": None})
        assert [step.path for step in todo.remove] == ["old"]

    def test_a_killed_publish_is_finished(self) -> None:
        current, aimed = (
            Manifest(1, {"a": Entry(A, 1, 0)}),
            Manifest(2, {"a": Entry(B, 1, SECOND), "b": Entry(B, 1, 0)}),
        )
        todo = plan.make(aimed.files, current, aimed, {"a": Seen(1, 1)})  # a was renamed, b was not
        assert [step.path for step in todo.send] == ["b"]
        todo = plan.make(aimed.files, current, aimed, {"a": Seen(1, 1), "b": Seen(1, 0)})  # only the manifest was not
        assert not todo.send
        assert todo.manifest is not None

    def test_two_records_that_fit_alike_are_not_trusted(self) -> None:
        current, aimed = Manifest(1, {"a": Entry(A, 1, 0)}), Manifest(2, {"a": Entry(B, 1, 0)})
        assert plan.make(aimed.files, current, aimed, {"a": Seen(1, 0)}).send == (plan.Step("a", "changed"),)

    def test_files_that_are_not_ours_are_named(self) -> None:
        todo = plan.make({"a": Entry(A, 1, 0), "b": Entry(A, 1, 0)}, None, None, {"a": Seen(1, 0), "other": Seen(1, 0)})
        assert todo.foreign == ("a",)
        assert "other" not in {step.path for step in todo.remove}

    def test_the_manifest_survives_the_way_to_the_server_and_back(self) -> None:
        manifest = Manifest(
            7,
            {"runs/ä b.js": Entry(A, 3, 1_700_000_000_123_456_789)},
            {"x": Entry(B, 0, 0)},
            {"a": None, "b": Entry(B, 1, 2)},
            times=False,
        )
        assert plan.parse(plan.dump(manifest)) == manifest
        assert plan.dump(manifest) == plan.dump(manifest)

    @pytest.mark.parametrize(
        "manifest",
        [
            Manifest(1, {"../../etc/x": Entry(A, 1, 0)}),
            Manifest(1, {"a": Entry("<hash>", 1, 0)}),
            Manifest(1, {"/etc": Entry(A, 1, 0)}),
            Manifest(math.inf),  # type: ignore[arg-type]
            Manifest(1, {"a": Entry(A, math.nan, 0)}),  # type: ignore[arg-type]
        ],
    )
    def test_a_hostile_manifest_is_refused(self, manifest: Manifest) -> None:
        with pytest.raises(ValueError, match="lacks or misuses"):
            plan.parse(plan.dump(manifest))

    @pytest.mark.parametrize(("seconds", "kept"), [(-1, 0), (1 << 32, (1 << 32) - 1), (1_480_000_000, 1_480_000_000)])
    def test_times_that_the_protocol_does_not_know_are_the_nearest_it_does(self, seconds: int, kept: int) -> None:
        assert Entry(A, 1, seconds * 1_000_000_000).mtime == kept

    @pytest.mark.parametrize("data", [b"", b"not gzip", plan.dump(Manifest())[:-12], gzip.compress(b"[" * 100_000)])
    def test_a_broken_manifest_is_refused(self, data: bytes) -> None:
        with pytest.raises(ValueError, match="JSON"):
            plan.parse(data)

    @pytest.mark.parametrize("path", ["", "/etc/passwd", "a/../b", "./a", "a//b", "a/", ".deepspeech_wer/x", "a\0"])
    def test_paths_that_leave_the_web_root_are_refused(self, path: str) -> None:
        with pytest.raises(Trouble, match="cannot publish"):
            plan.check_path(path)


class TestKnownHosts:
    @pytest.fixture
    def lookup(self, tmp_path: Path) -> Callable[..., list[tuple[bytes, bool]]]:
        def look(text: str, host: str = "web.example.org", port: int = 22) -> list[tuple[bytes, bool]]:
            (tmp_path / "known_hosts").write_text(text)
            keys = known_hosts.lookup(host, port, [tmp_path / "missing", tmp_path / "known_hosts"])
            return [(key.blob, key.revoked) for key in keys]

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
    def test_names(self, lookup: Callable[..., list[object]], names: str, port: int, found: bool) -> None:
        assert bool(lookup(f"{names} ssh-ed25519 {KEY} a comment\n", port=port)) is found

    @pytest.mark.parametrize("port", [22, 2222])
    def test_hashed_names_as_ssh_keygen_makes_them(self, tmp_path: Path, port: int) -> None:
        public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF6gAnQa6kRvCgpsMn9ZeXnPlBSOGpHzGH6BQxAAAAAA"
        file = tmp_path / "known_hosts"
        file.write_text(f"{known_hosts.name_of('web.example.org', port)} {public}\n")
        subprocess.run(["ssh-keygen", "-q", "-H", "-f", file], check=True, capture_output=True)
        assert file.read_text().startswith("|1|")
        assert len(known_hosts.lookup("Web.Example.org", port, [file])) == 1
        assert not known_hosts.lookup("web.example.org", port + 1, [file]) or port == 22

    def test_all_keys_of_a_host_count_and_bad_lines_do_not(
        self, lookup: Callable[..., list[tuple[bytes, bool]]]
    ) -> None:
        text = (
            "# web.example.org ssh-rsa comment\n\nweb.example.org\nweb.example.org ssh-rsa not/base64!\n"
            "|1|x|y ssh-rsa AAAA\n"
            f"@cert-authority *.example.org ssh-rsa {OTHER}\nweb.example.org ssh-rsa {OTHER}\n"
            f"web.example.org ssh-ed25519 {KEY}\n@revoked * ssh-ed25519 {KEY}\n"
        )
        assert lookup(text) == [(b"another", False), (b"a key", False), (b"a key", True)]

    def test_a_revoked_key_is_never_allowed(self) -> None:
        good, revoked = known_hosts.HostKey("k", b"1", False), known_hosts.HostKey("k", b"1", True)
        assert known_hosts.allows([good], b"1")
        assert not known_hosts.allows([good], b"2")
        assert not known_hosts.allows([good, revoked], b"1")
        assert not known_hosts.allows([], b"1")


class TestSite:
    def test_the_index_comes_last(self, tmp_path: Path) -> None:
        (tmp_path / "a.js").write_text("1")
        (tmp_path / INDEX).write_text("2")
        found = sites.read(tmp_path, sites.scan(tmp_path, [INDEX, "a.js"]), {})
        assert list(found) == ["a.js", INDEX]

    def test_a_file_that_changes_meanwhile_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_text("1")
        local = sites.read(tmp_path, sites.scan(tmp_path, ["a"]), {})["a"]
        (tmp_path / "a").write_text("2")
        with pytest.raises(Trouble, match="changed while"):
            list(local.chunks(10))

    def test_a_missing_file_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(Trouble, match=r"No such file.*build the site again"):
            sites.scan(tmp_path, ["a"])


class Talk:
    """A channel with a scripted server: called with (kind, number, body), answers packets."""

    def __init__(self, answer: Callable[[int, int, bytes], list[bytes]], hello: bytes = b"\x02\0\0\0\x03") -> None:
        self.answer = answer
        self.coming = bytearray(struct.pack(">I", len(hello)) + hello)
        self.sent = bytearray()

    def sendall(self, data: bytes) -> None:
        self.sent += data
        while len(self.sent) >= 4 and len(self.sent) >= 4 + int.from_bytes(self.sent[:4], "big"):
            size = int.from_bytes(self.sent[:4], "big")
            packet = bytes(self.sent[4 : 4 + size])
            del self.sent[: 4 + size]
            if packet[0] != pipeline.INIT:
                for reply in self.answer(packet[0], int.from_bytes(packet[1:5], "big"), packet[5:]):
                    self.coming += struct.pack(">I", len(reply)) + reply

    def recv(self, size: int) -> bytes:
        data = bytes(self.coming[: min(size, 7)])  # in crumbs: packets come in pieces
        del self.coming[: len(data)]
        return data


def status(number: int, code: int, text: str = "") -> bytes:
    return struct.pack(">BII", pipeline.STATUS, number, code) + string(text) + string("")


class Storing:
    """A scripted server of one file, written on the handle w and read on r; `takes` says what of a write it stores."""

    def __init__(self, takes: Callable[[int, bytes], bytes] = lambda _, data: data, *, readable: bool = True) -> None:
        self.takes, self.readable = takes, readable
        self.stored = bytearray()
        self.kinds, self.read = list[int](), list[tuple[bytes, int]]()
        self.opened, self.closed = list[bytes](), list[bytes]()

    def __call__(self, kind: int, number: int, body: bytes) -> list[bytes]:
        self.kinds.append(kind)
        handle, rest = body[4:5], body[5:]
        if kind == pipeline.OPEN:
            [flags] = struct.unpack_from(">I", rest)
            if flags & 3 == 1 and not self.readable:
                return [status(number, pipeline.PERMISSION_DENIED)]
            self.opened.append({1: b"r", 2: b"w"}[flags & 3])
            return [struct.pack(">BI", pipeline.HANDLE, number) + string(self.opened[-1])]
        if kind == pipeline.CLOSE:
            self.closed.append(handle)
        if kind == pipeline.WRITE:
            (at,), data = struct.unpack_from(">Q", rest), rest[12:]
            self.stored[at:] = bytes(at - len(self.stored)) + self.takes(at, data)
        if kind == pipeline.READ:
            at, size = struct.unpack(">QI", rest)
            self.read.append((handle, at))
            return [struct.pack(">BI", pipeline.DATA, number) + string(bytes(self.stored[at : at + size]))]
        if kind in (pipeline.FSTAT, pipeline.STAT):
            return [struct.pack(">BIIQ", pipeline.ATTRS, number, 1, len(self.stored))]
        return [status(number, pipeline.OK)]


class TestPipeline:
    def test_replies_reach_who_asked_whatever_their_order(self) -> None:
        held: list[bytes] = []

        def answer(_: int, number: int, body: bytes) -> list[bytes]:
            held.append(struct.pack(">BI", pipeline.DATA, number) + body)
            return [held.pop() for _ in range(len(held))] if len(held) == 4 else []

        def task(name: bytes) -> pipeline.Task[list[bytes]]:
            replies = yield Ask([Request(pipeline.STAT, name + b"1"), Request(pipeline.STAT, name + b"2")])
            return [reply.body for reply in replies]

        assert Pipeline(Talk(answer)).run([task(b"a"), task(b"b")]) == [[b"a1", b"a2"], [b"b1", b"b2"]]

    def test_what_is_forgotten_goes_with_what_is_asked_next(self) -> None:
        """A packet for each would cost the server one, and would look like one more round trip."""
        kinds, talk = list[int](), Talk(lambda kind, number, _: kinds.append(kind) or [status(number, pipeline.OK)])

        def task() -> pipeline.Task[None]:
            yield Ask([Request(pipeline.STAT, b"")])
            yield Ask([Request(pipeline.CLOSE, b"")], forget=True)

        line = Pipeline(talk)
        line.run([task(), task()])
        assert kinds == [pipeline.STAT] * 2
        line.one(task())
        assert kinds[2:] == [pipeline.CLOSE, pipeline.CLOSE, pipeline.STAT]

    def test_the_first_failure_is_raised_after_those_under_way_have_ended(self) -> None:
        ended = []

        def task(code: int) -> pipeline.Task[None]:
            [reply] = yield Ask([Request(pipeline.REMOVE, struct.pack(">I", code))])
            try:
                files.checked(reply)
            finally:
                ended.append(code)

        session = Pipeline(Talk(lambda _, number, body: [status(number, int.from_bytes(body, "big"), "no\x1b")]))
        with pytest.raises(Refused, match=r"no\?") as refusal:
            session.run([task(code) for code in (4, 0, 3)], at_once=2)
        assert refusal.value.code == 4
        assert ended == [4, 0]

    @pytest.mark.parametrize(("away_s", "unanswered"), [(0, 512 * 1024), (0.01, 1_250_000), (0.1, 4 * 1024 * 1024)])
    def test_as_much_is_sent_ahead_as_a_fast_line_holds(self, away_s: float, unanswered: int) -> None:
        class Far(Talk):
            def recv(self, size: int) -> bytes:
                if len(self.coming) == 21:  # the whole answer
                    time.sleep(away_s)
                return super().recv(size)

        session = Pipeline(Far(lambda _, number, __: [status(number, 0)]))
        website = Website("u", "h", "/w", 22, None, None, None, (0o644, 0o755))
        for _ in range(3):
            session.one(files.remove("a"))
        found = server.Server(session, website, True).bytes_in_flight
        assert unanswered <= found < unanswered * 1.5

    def test_after_an_interruption_nothing_is_waited_for(self) -> None:
        def task() -> pipeline.Task[None]:
            yield Ask([Request(pipeline.REMOVE, b"")])

        def stop(*_: object) -> list[bytes]:
            raise SystemExit(143)

        session = Pipeline(Talk(stop))
        with pytest.raises(SystemExit):
            session.one(task())
        with pytest.raises(Lost, match="interrupted"):
            session.one(task())

    @pytest.mark.parametrize(
        ("hello", "message"),
        [(b"", "closed"), (b"Welcome!\n", "no SFTP"), (b"\x02\0\0\0\x02", "version 3")],
    )
    def test_what_is_no_sftp_is_told(self, hello: bytes, message: str) -> None:
        talk = Talk(lambda *_: [], hello)
        if hello != b"\x02\0\0\0\x02":
            talk.coming = bytearray(hello)
        with pytest.raises(Lost, match=message):
            Pipeline(talk)

    def test_a_failed_write_is_noticed_and_its_file_removed(self) -> None:
        """pysftp's pipelined put throws these replies away: the file then holds zeros, and nobody is told."""
        seen: list[int] = []

        def answer(kind: int, number: int, _: bytes) -> list[bytes]:
            seen.append(kind)
            if kind == pipeline.OPEN:
                return [struct.pack(">BI", pipeline.HANDLE, number) + string("h")]
            return [
                status(number, pipeline.FAILURE if kind == pipeline.WRITE and seen.count(kind) == 2 else pipeline.OK)
            ]

        with pytest.raises(Refused):
            Pipeline(Talk(answer)).one(new_file.write("f", new_file.Source([b"x"] * 5, 0o644, 0)))
        assert seen[-2:] == [pipeline.CLOSE, pipeline.REMOVE]

    @pytest.mark.parametrize("lost", [0, 1, 9])
    def test_a_write_cut_short_that_the_server_calls_whole_is_noticed(self, lost: int) -> None:
        """As proftpd does where the disk is full for a moment: a hole of zeros, and the size is right."""
        server = Storing(lambda at, data: data[: len(data) - lost] if at == 10 else data)
        chunks = [b"a" * 10, b"b" * 8 + b"\0\0", b"\0" * 10, b"c" * 10]
        task = new_file.write("f", new_file.Source(chunks, 0o644, 0, reread=True))
        if lost < 3:  # of the two zeros nothing is lost: a hole reads as zeros
            assert Pipeline(Talk(server)).one(task).size == 40
            assert server.stored == b"".join(chunks)
        else:
            with pytest.raises(Refused, match="byte 17 was said to be stored and is not"):
                Pipeline(Talk(server)).one(task)
            assert server.kinds[-2:] == [pipeline.CLOSE, pipeline.REMOVE]
        assert len(server.stored) == 40
        assert sorted(server.closed) == sorted(server.opened) == [b"r", b"w"]

    def test_what_was_written_is_read_on_a_handle_of_its_own_before_it_counts_as_whole(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Servers built on Go's pkg/sftp take a READ of a handle that writes for a write of zeros."""
        monkeypatch.setattr(new_file, "LOOKS_AT_ONCE", 3)
        server = Storing()
        task = new_file.write("f", new_file.Source([b"xxxxx"] * 4, 0o644, 0, reread=True))
        assert Pipeline(Talk(server)).one(task).size == 20
        assert server.read == [(b"r", 4), (b"r", 9), (b"r", 14), (b"r", 19)]
        assert server.kinds.index(pipeline.SETSTAT) > max(n for n, k in enumerate(server.kinds) if k == pipeline.READ)
        assert sorted(server.closed) == [b"r", b"w"]

    def test_a_link_that_the_server_only_says_it_made_is_none(self) -> None:
        """As rclone's server does: what is not there would be put in place, and published."""

        def answer(kind: int, number: int, body: bytes) -> list[bytes]:
            if kind == pipeline.STAT and body == string("made"):
                return [struct.pack(">BI", pipeline.ATTRS, number) + bytes(4)]
            return [status(number, pipeline.NO_SUCH_FILE if kind == pipeline.STAT else pipeline.OK)]

        assert Pipeline(Talk(answer)).one(files.link("f", ["made", "said"])) == [True, False]

    def test_a_server_that_opens_nothing_for_reading_is_written_to(self) -> None:
        server = Storing(readable=False)
        task = new_file.write("f", new_file.Source([b"xxxxx"], 0o644, 0, reread=True))
        assert Pipeline(Talk(server)).one(task).size == 5
        assert server.read == []
        assert server.closed == [b"w"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (31_400, "31 KB"),
        (1_520, "1.5 KB"),
        (7_900_000, "7.9 MB"),
        (999_600, "1.0 MB"),
        (5_000_000_000, "5.0 GB"),
    ],
)
def test_summary(size: int, text: str) -> None:
    assert Report(("a",) * 4, 1200, (), size, 0.94).summary == f"4 of 1,204 files, {text}, 0.9 s"


FAILURE, NO_SUCH_FILE, DONE = (
    pipeline.Reply(pipeline.STATUS, struct.pack(">I", code) + string("") + string(""))
    for code in (pipeline.FAILURE, pipeline.NO_SUCH_FILE, pipeline.OK)
)
HANDLE = pipeline.Reply(pipeline.HANDLE, string(b"h"))


class Anywhere:
    """As much of a server as a lock asks of it."""

    name = "host"

    def path(self, path: str) -> str:
        return path


@pytest.mark.parametrize("vanished", [0, 1, 3])
def test_a_lock_given_back_while_it_is_looked_at_is_taken(vanished: int) -> None:
    answers = iter([FAILURE, NO_SUCH_FILE] * vanished + [HANDLE, DONE])
    taken: list[bytes] = []
    task = lock._take(Anywhere(), lock.holder("t"), taken)  # type: ignore[arg-type]
    with pytest.raises(StopIteration) as done:
        next(task)
        while True:
            task.send([next(answers)])
    assert done.value.value == string(b"h") == taken[0]
    assert next(answers, None) is None


def test_a_lock_that_cannot_be_made_is_told() -> None:
    task = lock._take(Anywhere(), lock.holder("t"), [])  # type: ignore[arg-type]
    next(task)
    with pytest.raises(Trouble, match=r"^host: cannot write .*/lock \("):
        for answer in [FAILURE, NO_SUCH_FILE] * 20:
            task.send([answer])
