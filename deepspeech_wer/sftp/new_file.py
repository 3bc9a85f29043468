"""A new file on the server: written, looked at where the server's word is not enough, then given mode and time."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepspeech_wer.errors import Trouble
from deepspeech_wer.sftp import pipeline as sftp
from deepspeech_wer.sftp.files import (
    BYTES_IN_FLIGHT,
    CREATE,
    EXCLUSIVE,
    READ,
    WRITE,
    Attributes,
    attributes,
    checked,
    link_requests,
    links_made,
    packed,
)
from deepspeech_wer.sftp.pipeline import Ask, Body, Refused, Reply, Request, Task, string

UNFINISHED = 0o600  # mode of a file that is being written
LOOKS_AT_ONCE = 1024


@dataclass(frozen=True)
class Source:
    """What a file is to hold."""

    chunks: Iterable[bytes]
    mode: int
    mtime: int | None
    in_flight: int = BYTES_IN_FLIGHT
    reread: bool = False  # whether to look at what the server says it has written


def write(path: str, source: Source) -> Task[Attributes]:
    """Make a file that is not there yet, and return what the server then says of it. See write_linked."""
    found, _ = yield from write_linked(path, [], source)
    return found


def write_linked(path: str, names: Sequence[str], source: Source) -> Task[tuple[Attributes, list[bool]]]:
    """Make a file that is not there yet, and give it more names, as `link` does.

    Every reply is looked at; on an error the half-made file is removed again. Mode and mtime are set last, so that a
    file with the right size, mode and mtime is whole, whatever its name. Raises Refused, and whatever reading the
    source raises.
    """
    flags = WRITE | CREATE | EXCLUSIVE  # exclusive: never through a link that somebody laid there
    [opened] = yield Ask([Request(sftp.OPEN, string(path) + struct.pack(">I", flags) + packed(mode=UNFINISHED))])
    handles = [string(checked(opened).blob())]  # those to be closed; twice is once too often, for a server reuses them
    try:
        fill = _fill_and_look if source.reread else _fill
        return (yield from fill(path, names, handles, source))
    except (Refused, Trouble, OSError):
        yield Ask([*_closes(handles), *(Request(sftp.REMOVE, string(name)) for name in (path, *names))])
        raise


def _fill(path: str, names: Sequence[str], handles: list[bytes], source: Source) -> Task[tuple[Attributes, list[bool]]]:
    [handle] = handles
    size, last_writes = yield from _write_chunks(handle, source.chunks, source.in_flight)
    # on the handle, for the server's umask takes bits away at open; draft-ietf-secsh-filexfer-02 keeps their order
    replies = yield Ask(
        [
            *last_writes,
            Request(sftp.FSETSTAT, handle + packed(mode=source.mode, mtime=source.mtime)),
            Request(sftp.FSTAT, handle),
            *_closes(handles),
            *link_requests(path, names),  # to one file, so it matters not whether its content is there already
        ]
    )
    linked = links_made(replies, len(names))
    *written, stamped, stated, closed = replies
    for reply in (*written, closed):
        checked(reply)
    return (yield from _stamped(path, source, size, stamped, stated)), linked


def _fill_and_look(
    path: str, names: Sequence[str], handles: list[bytes], source: Source
) -> Task[tuple[Attributes, list[bool]]]:
    """`_fill` for a server whose OK may be none: raises Refused where a write, but for zeros at its end, is not whole.

    proftpd 1.3.8 says OK to a write of which the disk took only a part, and where room is made meanwhile, the next one
    leaves a hole. A hole reads as zeros, so the last byte that is none tells whether a write was whole. It is read on
    a handle of its own: servers built on Go's pkg/sftp take a READ of a handle that writes for a write of zeros.
    """
    offsets, said = array("Q"), bytearray()  # of 10 GB they are 3 MB

    def noted() -> Iterator[bytes]:
        offset = 0
        for chunk in source.chunks:
            if end := len(chunk.rstrip(b"\0")):
                offsets.append(offset + end - 1)
                said.append(chunk[end - 1])
            offset += len(chunk)
            yield chunk

    size, last_writes = yield from _write_chunks(handles[0], noted(), source.in_flight)
    reading = Request(sftp.OPEN, string(path) + struct.pack(">II", READ, 0))
    *written, closed, opened = yield Ask([*last_writes, *_closes(handles), reading])
    if opened.kind == sftp.HANDLE:  # else it cannot be looked into
        handles.append(string(Body(opened.body).blob()))
    for reply in (*written, closed):
        checked(reply)
    for handle in handles:
        yield from _look(handle, offsets, said)
    replies = yield Ask(
        [
            *_closes(handles),
            Request(sftp.SETSTAT, string(path) + packed(mode=source.mode, mtime=source.mtime)),
            Request(sftp.STAT, string(path)),
            *link_requests(path, names),
        ]
    )
    linked = links_made(replies, len(names))
    *_, stamped, stated = replies
    return (yield from _stamped(path, source, size, stamped, stated)), linked


def _write_chunks(handle: bytes, chunks: Iterable[bytes], in_flight: int) -> Task[tuple[int, list[Request]]]:
    """(bytes, the last writes of them, still to be asked)."""
    offset, batch = 0, list[Request]()
    for chunk in chunks:
        batch.append(Request(sftp.WRITE, handle + struct.pack(">Q", offset) + string(chunk)))
        offset += len(chunk)
        if len(batch) * len(chunk) >= sftp.FLUSH_BYTES:
            for reply in (yield Ask(batch, lag=in_flight // len(chunk))):
                checked(reply)
            batch = []
    return offset, batch


def _look(handle: bytes, offsets: Sequence[int], said: Sequence[int]) -> Task[None]:
    """Raise Refused where one of the bytes `said` is not at its offset."""
    for start in range(0, len(offsets), LOOKS_AT_ONCE):
        some = offsets[start : start + LOOKS_AT_ONCE]
        replies = yield Ask([Request(sftp.READ, handle + struct.pack(">QI", offset, 1)) for offset in some])
        for offset, byte, reply in zip(some, said[start:], replies, strict=False):
            if reply.kind != sftp.DATA or Body(reply.body).blob() != bytes([byte]):
                raise Refused(sftp.FAILURE, f"byte {offset} was said to be stored and is not")


def _closes(handles: list[bytes]) -> list[Request]:
    """What closes them; they are to be closed no more."""
    closes = [Request(sftp.CLOSE, handle) for handle in handles]
    handles.clear()
    return closes


def _stamped(path: str, source: Source, size: int, stamped: Reply, stated: Reply) -> Task[Attributes]:
    """What the server says of a file, from its replies to setting mode and time, and to asking for it."""
    try:
        checked(stamped)
        found = attributes(checked(stated))
    except Refused:
        found = yield from _stamp_apart(path, source)
    if found.size not in (None, size):
        raise Refused(sftp.FAILURE, f"stored {found.size} of {size} bytes")
    return found


def _stamp_apart(path: str, source: Source) -> Task[Attributes]:
    """For a server that cannot set mode and time at once, or on a handle: each for itself, as far as it can."""
    *_, stated = yield Ask(
        [
            Request(sftp.SETSTAT, string(path) + packed(mode=source.mode)),
            Request(sftp.SETSTAT, string(path) + packed(mtime=source.mtime)),
            Request(sftp.STAT, string(path)),
        ]
    )
    return attributes(checked(stated))
