"""Writing a new file on the server, and checking that it was written."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Sequence

from deepspeech_wer.errors import Trouble
from deepspeech_wer.sftp import pipeline as sftp
from deepspeech_wer.sftp.files import CREATE, EXCLUSIVE, READ, WRITE, Attributes, attributes, checked, is_status, packed
from deepspeech_wer.sftp.pipeline import Ask, Body, Packet, Refused, Task, string

UNFINISHED = 0o600  # mode of a file that is being written
BYTES_IN_FLIGHT = 2 * 1024 * 1024  # of one file, unanswered: what a channel of OpenSSH's buffers
READS_AT_ONCE = 1024


def write(path: str, chunks: Iterable[bytes], *, mode: int, mtime: int | None, reread: bool) -> Task[Attributes]:
    """Make a file that must not exist yet, and return what the server then says of it.

    Every reply is checked; after an error the unfinished file is removed. Mode and mtime are set last: a file with the
    right size, mode and mtime is whole, whatever its name. Raises Refused, and whatever reading `chunks` raises.

    `reread` is for servers that report success for failed writes. proftpd 1.3.8 says OK to a write of which the disk
    took only a part; if there is room again for the next write, a hole remains. A hole reads as zeros, so the last byte
    of each write that is not zero tells whether the write was whole.
    """
    flags = WRITE | CREATE | EXCLUSIVE  # exclusive: do not follow a link that somebody put there
    [opened] = yield Ask([Packet(sftp.OPEN, string(path) + struct.pack(">I", flags) + packed(mode=UNFINISHED))])
    handles = [string(checked(opened).blob())]  # to be closed exactly once: servers reuse handle numbers
    try:
        offsets, expected = array("Q"), bytearray()  # of each write's last byte that is not zero
        size, writes = yield from _write_chunks(handles[0], chunks, offsets, expected)
        if reread:
            yield from _reread(path, handles, writes, offsets, expected)
            writes = []
        # The mode is set once more, since the server's umask cleared bits at open.
        stamp = Packet(sftp.SETSTAT, string(path) + packed(mode=mode, mtime=mtime))
        stating = Packet(sftp.STAT, string(path))
        *written, stamped, stated = yield Ask([*writes, *_closes(handles), stamp, stating])
        for reply in written:
            checked(reply)
        if not is_status(stamped, sftp.OK):
            stated = yield from _stamp_apart(path, mode, mtime)
        found = attributes(checked(stated))
        if found.size not in (None, size):
            raise Refused(sftp.FAILURE, f"stored {found.size} of {size} bytes")
        return found
    except (Refused, Trouble, OSError):
        yield Ask([*_closes(handles), Packet(sftp.REMOVE, string(path))])
        raise


def _write_chunks(
    handle: bytes, chunks: Iterable[bytes], offsets: array[int], expected: bytearray
) -> Task[tuple[int, list[Packet]]]:
    """Returns the number of bytes, and the last writes, which the caller is to send."""
    offset, batch = 0, list[Packet]()
    for chunk in chunks:
        batch.append(Packet(sftp.WRITE, handle + struct.pack(">Q", offset) + string(chunk)))
        if end := len(chunk.rstrip(b"\0")):
            offsets.append(offset + end - 1)
            expected.append(chunk[end - 1])
        offset += len(chunk)
        if len(batch) * len(chunk) >= sftp.FLUSH_BYTES:
            for reply in (yield Ask(batch, lag=BYTES_IN_FLIGHT // len(chunk))):
                checked(reply)
            batch = []
    return offset, batch


def _reread(
    path: str, handles: list[bytes], writes: list[Packet], offsets: Sequence[int], expected: Sequence[int]
) -> Task[None]:
    """Raises Refused where the file does not hold the expected bytes. Its handle is then one for reading, if any.

    Servers built on Go's pkg/sftp treat a READ of a handle opened for writing as a write of zeros.
    """
    reading = Packet(sftp.OPEN, string(path) + struct.pack(">II", READ, 0))
    *written, opened = yield Ask([*writes, *_closes(handles), reading])
    if opened.kind == sftp.HANDLE:  # otherwise the server does not allow reading
        handles.append(string(Body(opened.body).blob()))
    for reply in written:
        checked(reply)
    for start in range(0, len(offsets) if handles else 0, READS_AT_ONCE):
        some = offsets[start : start + READS_AT_ONCE]
        replies = yield Ask([Packet(sftp.READ, handles[0] + struct.pack(">QI", offset, 1)) for offset in some])
        for offset, byte, reply in zip(some, expected[start:], replies, strict=False):
            if reply.kind != sftp.DATA or Body(reply.body).blob() != bytes([byte]):
                raise Refused(sftp.FAILURE, f"byte {offset} was said to be stored and is not")


def _closes(handles: list[bytes]) -> list[Packet]:
    """The requests that close the handles, which leave the list."""
    closes = [Packet(sftp.CLOSE, handle) for handle in handles]
    handles.clear()
    return closes


def _stamp_apart(path: str, mode: int, mtime: int | None) -> Task[Packet]:
    """For a server that cannot set mode and mtime together: each alone, as far as it can. Returns the reply to STAT."""
    changes = [packed(mode=mode), packed(mtime=mtime)]
    *_, stated = yield Ask(
        [*(Packet(sftp.SETSTAT, string(path) + change) for change in changes), Packet(sftp.STAT, string(path))]
    )
    return stated
