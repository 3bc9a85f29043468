"""Many requests in flight, and what is no SFTP."""

from __future__ import annotations

import struct

import pytest

from deepspeech_wer.sftp import files, pipeline
from deepspeech_wer.sftp.pipeline import Ask, Halted, Lost, Packet, Pipeline, Refused, string
from tests.sftp.scripted import Talk, status


def test_replies_reach_who_asked_whatever_their_order() -> None:
    held: list[bytes] = []

    def answer(_: int, number: int, body: bytes) -> list[bytes]:
        held.append(struct.pack(">BI", pipeline.DATA, number) + body)
        return [held.pop() for _ in range(len(held))] if len(held) == 4 else []

    def task(name: bytes) -> pipeline.Task[list[bytes]]:
        replies = yield Ask([Packet(pipeline.STAT, name + b"1"), Packet(pipeline.STAT, name + b"2")])
        return [reply.body for reply in replies]

    assert Pipeline(Talk(answer)).run([task(b"a"), task(b"b")]) == [[b"a1", b"a2"], [b"b1", b"b2"]]


def test_the_first_failure_is_raised_after_those_under_way_have_ended() -> None:
    ended = []

    def task(code: int) -> pipeline.Task[None]:
        [reply] = yield Ask([Packet(pipeline.REMOVE, struct.pack(">I", code))])
        try:
            files.checked(reply)
        finally:
            ended.append(code)

    session = Pipeline(Talk(lambda _, number, body: [status(number, int.from_bytes(body, "big"), "no\x1b")]))
    with pytest.raises(Refused, match=r"no\\x1b") as refusal:
        session.run([task(code) for code in (4, 0, 3)], at_once=2)
    assert refusal.value.code == 4
    assert ended == [4, 0]


def test_after_an_interruption_nothing_is_waited_for() -> None:
    def task() -> pipeline.Task[None]:
        yield Ask([Packet(pipeline.REMOVE, b"")])

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
def test_what_is_no_sftp_is_told(hello: bytes, message: str) -> None:
    talk = Talk(lambda *_: [], hello)
    if hello != b"\x02\0\0\0\x02":
        talk.coming = bytearray(hello)
    with pytest.raises(Lost, match=message):
        Pipeline(talk)


def test_a_link_that_the_server_only_says_it_made_is_none() -> None:
    """As rclone's server does: what is not there would be put in place, and published."""

    def answer(kind: int, number: int, body: bytes) -> list[bytes]:
        if kind == pipeline.STAT and body == string("made"):
            return [struct.pack(">BI", pipeline.ATTRS, number) + bytes(4)]
        return [status(number, pipeline.NO_SUCH_FILE if kind == pipeline.STAT else pipeline.OK)]

    session = Pipeline(Talk(answer))
    assert session.one(files.link("f", "made"))
    assert not session.one(files.link("f", "said"))


def test_a_stop_ends_a_run_and_leaves_the_session_usable() -> None:
    """Whatever was asked for before is answered to nobody."""
    asked = list[bytes]()

    def answer(_: int, number: int, body: bytes) -> list[bytes]:
        asked.append(body)
        return [status(number, pipeline.OK)]

    session = Pipeline(Talk(answer), is_stopped=lambda: len(asked) >= 2)
    with pytest.raises(Halted):
        session.run([files.remove(name) for name in "abcd"], at_once=2)
    session.one(files.remove("lock"))
    assert asked[-1] == string("lock")
    assert string("d") not in asked


@pytest.mark.parametrize("count", [0, 99, 198, 300])
def test_a_listing_longer_than_expected(count: int) -> None:
    """The first answer to a further round of questions may be that this was the end."""
    left = [f"{n}" for n in range(count)]

    def answer(kind: int, number: int, _: bytes) -> list[bytes]:
        if kind == pipeline.OPENDIR:
            return [struct.pack(">BI", pipeline.HANDLE, number) + string("h")]
        names = [left.pop() for _ in range(min(99, len(left)))]
        if not names:
            return [status(number, pipeline.EOF)]
        entries = b"".join(string(name) + string("") + bytes(4) for name in names)
        return [struct.pack(">BII", pipeline.NAME, number, len(names)) + entries]

    assert len(Pipeline(Talk(answer)).one(files.list_directory("d")) or {}) == count
