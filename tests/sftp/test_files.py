"""A new file on a server that may not tell the truth."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from deepspeech_wer.sftp import files, pipeline
from deepspeech_wer.sftp.pipeline import Pipeline, Refused, string
from tests.sftp.scripted import Talk, status


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


def test_a_failed_write_is_noticed_and_its_file_removed() -> None:
    """pysftp's pipelined put throws these replies away: the file then holds zeros, and nobody is told."""
    seen: list[int] = []

    def answer(kind: int, number: int, _: bytes) -> list[bytes]:
        seen.append(kind)
        if kind == pipeline.OPEN:
            return [struct.pack(">BI", pipeline.HANDLE, number) + string("h")]
        return [status(number, pipeline.FAILURE if kind == pipeline.WRITE and seen.count(kind) == 2 else pipeline.OK)]

    with pytest.raises(Refused):
        Pipeline(Talk(answer)).one(files.write("f", [b"x"] * 5, mode=0o644, mtime=0, reread=False))
    assert seen.count(pipeline.CLOSE) == 1
    assert seen[-1] == pipeline.REMOVE


@pytest.mark.parametrize("lost", [0, 1, 9])
def test_a_write_cut_short_that_the_server_calls_whole_is_noticed(lost: int) -> None:
    """As proftpd does where the disk is full for a moment: a hole of zeros, and the size is right."""
    server = Storing(lambda at, data: data[: len(data) - lost] if at == 10 else data)
    chunks = [b"a" * 10, b"b" * 8 + b"\0\0", b"\0" * 10, b"c" * 10]
    task = files.write("f", chunks, mode=0o644, mtime=0, reread=True)
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
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Servers built on Go's pkg/sftp take a READ of a handle that writes for a write of zeros."""
    monkeypatch.setattr(files, "READS_AT_ONCE", 3)
    server = Storing()
    task = files.write("f", [b"xxxxx"] * 4, mode=0o644, mtime=0, reread=True)
    assert Pipeline(Talk(server)).one(task).size == 20
    assert server.read == [(b"r", 4), (b"r", 9), (b"r", 14), (b"r", 19)]
    assert server.kinds.index(pipeline.SETSTAT) > max(n for n, k in enumerate(server.kinds) if k == pipeline.READ)
    assert sorted(server.closed) == [b"r", b"w"]


def test_a_server_that_opens_nothing_for_reading_is_written_to() -> None:
    server = Storing(readable=False)
    task = files.write("f", [b"xxxxx"], mode=0o644, mtime=0, reread=True)
    assert Pipeline(Talk(server)).one(task).size == 5
    assert server.read == []
    assert server.closed == [b"w"]


def test_a_listing_ends_with_a_reply_without_names() -> None:
    """OpenSSH's client takes it for the end. It was asked again for ever."""
    one = struct.pack(">I", 1) + string("index.htm") + string("-rw-r--r-- index.htm") + struct.pack(">I", 0)
    bodies = iter([one])

    def answer(kind: int, number: int, _: bytes) -> list[bytes]:
        if kind == pipeline.OPENDIR:
            return [struct.pack(">BI", pipeline.HANDLE, number) + string("h")]
        if kind == pipeline.READDIR:
            return [struct.pack(">BI", pipeline.NAME, number) + next(bodies, struct.pack(">I", 0))]
        return [status(number, pipeline.OK)]

    assert Pipeline(Talk(answer)).one(files.list_directory("site")) == {"index.htm": files.Attributes(None, None)}


def test_a_read_that_brings_nothing_before_the_end_of_a_file_is_refused() -> None:
    """It was asked again for ever; and what came until then is no whole file."""
    server = Storing()
    server.stored += b"x" * 10

    def answer(kind: int, number: int, body: bytes) -> list[bytes]:
        if kind == pipeline.FSTAT:
            return [struct.pack(">BIIQ", pipeline.ATTRS, number, 1, 20)]
        return server(kind, number, body)

    with pytest.raises(Refused, match="no byte after 10, and no end of the file"):
        Pipeline(Talk(answer)).one(files.read_file("manifest.json"))
