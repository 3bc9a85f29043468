"""Writing a new file on the server, and checking that it was written."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepspeech_wer.errors import Trouble
from deepspeech_wer.sftp import pipeline as sftp
from deepspeech_wer.sftp.files import CREATE, EXCLUSIVE, READ, WRITE, Attributes, attributes, checked, packed
from deepspeech_wer.sftp.pipeline import Ask, Body, Refused, Reply, Request, Task, string

UNFINISHED = 0o600  # mode of a file that is being written
BYTES_IN_FLIGHT = 2 * 1024 * 1024  # of one file, unanswered: what a channel of OpenSSH's buffers
READS_AT_ONCE = 1024


@dataclass(frozen=True)
class Source:
    """What a file is to hold."""

    chunks: Iterable[bytes]
    mode: int
    mtime: int | None
    reread: bool = False  # whether to check what the server says it has written


def write(path: str, source: Source) -> Task[Attributes]:
    """Make a file that must not exist yet, and return what the server then says of it.

    Every reply is checked; after an error the unfinished file is removed. Mode and mtime are set last: a file with the
    right size, mode and mtime is whole, whatever its name. Raises Refused, and whatever reading the source raises.
    """
    flags = WRITE | CREATE | EXCLUSIVE  # exclusive: do not follow a link that somebody put there
    [opened] = yield Ask([Request(sftp.OPEN, string(path) + struct.pack(">I", flags) + packed(mode=UNFINISHED))])
    handles = [string(checked(opened).blob())]  # to be closed exactly once: servers reuse handle numbers
    try:
        fill = _fill_and_reread if source.reread else _fill
        return (yield from fill(path, handles, source))
    except (Refused, Trouble, OSError):
        yield Ask([*_closes(handles), Request(sftp.REMOVE, string(path))])
        raise


def _fill(path: str, handles: list[bytes], source: Source) -> Task[Attributes]:
    [handle] = handles
    size, last_writes = yield from _write_chunks(handle, source.chunks)
    # The mode is set on the handle, since the server's umask cleared bits at open. The draft guarantees that requests
    # on one handle are carried out in order.
    *written, stamped, stated, closed = yield Ask(
        [
            *last_writes,
            Request(sftp.FSETSTAT, handle + packed(mode=source.mode, mtime=source.mtime)),
            Request(sftp.FSTAT, handle),
            *_closes(handles),
        ]
    )
    for reply in (*written, closed):
        checked(reply)
    return (yield from _stamped(path, source, size, stamped, stated))


def _fill_and_reread(path: str, handles: list[bytes], source: Source) -> Task[Attributes]:
    """`_fill` for servers that report success for failed writes. Raises Refused where such a write lost data.

    proftpd 1.3.8 says OK to a write of which the disk took only a part; if there is room again for the next write, a
    hole remains. A hole reads as zeros, so the last byte of each write that is not zero tells whether the write was
    whole. It is read through a second handle: servers built on Go's pkg/sftp treat a READ of a handle opened for
    writing as a write of zeros.
    """
    offsets, expected = array("Q"), bytearray()  # 3 MB for a file of 10 GB

    def noted() -> Iterator[bytes]:
        offset = 0
        for chunk in source.chunks:
            if end := len(chunk.rstrip(b"\0")):
                offsets.append(offset + end - 1)
                expected.append(chunk[end - 1])
            offset += len(chunk)
            yield chunk

    size, last_writes = yield from _write_chunks(handles[0], noted())
    reading = Request(sftp.OPEN, string(path) + struct.pack(">II", READ, 0))
    *written, closed, opened = yield Ask([*last_writes, *_closes(handles), reading])
    if opened.kind == sftp.HANDLE:  # otherwise the server does not allow reading
        handles.append(string(Body(opened.body).blob()))
    for reply in (*written, closed):
        checked(reply)
    for handle in handles:
        yield from _compare(handle, offsets, expected)
    *_, stamped, stated = yield Ask(
        [
            *_closes(handles),
            Request(sftp.SETSTAT, string(path) + packed(mode=source.mode, mtime=source.mtime)),
            Request(sftp.STAT, string(path)),
        ]
    )
    return (yield from _stamped(path, source, size, stamped, stated))


def _write_chunks(handle: bytes, chunks: Iterable[bytes]) -> Task[tuple[int, list[Request]]]:
    """Returns the number of bytes, and the last writes, which the caller is to send."""
    offset, batch = 0, list[Request]()
    for chunk in chunks:
        batch.append(Request(sftp.WRITE, handle + struct.pack(">Q", offset) + string(chunk)))
        offset += len(chunk)
        if len(batch) * len(chunk) >= sftp.FLUSH_BYTES:
            for reply in (yield Ask(batch, lag=BYTES_IN_FLIGHT // len(chunk))):
                checked(reply)
            batch = []
    return offset, batch


def _compare(handle: bytes, offsets: Sequence[int], expected: Sequence[int]) -> Task[None]:
    """Raises Refused where the file does not hold the expected byte at one of the offsets."""
    for start in range(0, len(offsets), READS_AT_ONCE):
        some = offsets[start : start + READS_AT_ONCE]
        replies = yield Ask([Request(sftp.READ, handle + struct.pack(">QI", offset, 1)) for offset in some])
        for offset, byte, reply in zip(some, expected[start:], replies, strict=False):
            if reply.kind != sftp.DATA or Body(reply.body).blob() != bytes([byte]):
                raise Refused(sftp.FAILURE, f"byte {offset} was said to be stored and is not")


def _closes(handles: list[bytes]) -> list[Request]:
    """The requests that close the handles, which leave the list."""
    closes = [Request(sftp.CLOSE, handle) for handle in handles]
    handles.clear()
    return closes


def _stamped(path: str, source: Source, size: int, stamped: Reply, stated: Reply) -> Task[Attributes]:
    """Check the replies to setting mode and mtime and to asking for the attributes, and return the attributes."""
    try:
        checked(stamped)
        found = attributes(checked(stated))
    except Refused:
        found = yield from _stamp_apart(path, source)
    if found.size not in (None, size):
        raise Refused(sftp.FAILURE, f"stored {found.size} of {size} bytes")
    return found


def _stamp_apart(path: str, source: Source) -> Task[Attributes]:
    """For a server that cannot set mode and mtime together, or on a handle: each alone, as far as it can."""
    *_, stated = yield Ask(
        [
            Request(sftp.SETSTAT, string(path) + packed(mode=source.mode)),
            Request(sftp.SETSTAT, string(path) + packed(mtime=source.mtime)),
            Request(sftp.STAT, string(path)),
        ]
    )
    return attributes(checked(stated))
