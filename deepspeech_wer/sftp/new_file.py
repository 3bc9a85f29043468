"""Writing a new file on the server, and checking that it was written."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from deepspeech_wer.errors import Trouble
from deepspeech_wer.sftp import pipeline as sftp
from deepspeech_wer.sftp.files import CREATE, EXCLUSIVE, READ, WRITE, Attributes, attributes, checked, is_status, packed
from deepspeech_wer.sftp.pipeline import Ask, Body, Packet, Refused, Task, string

UNFINISHED = 0o600  # mode of a file that is being written
WRITES_IN_FLIGHT = 64  # of one file, unanswered: with 32 KB each, what a channel of OpenSSH's buffers
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
    name = string(path)
    [opened] = yield Ask([Packet(sftp.OPEN, name + struct.pack(">I", flags) + packed(mode=UNFINISHED))])
    handles = [string(checked(opened, sftp.HANDLE).blob())]  # to be closed exactly once: servers reuse handle numbers
    try:
        size, last = yield from _write_chunks(handles[0], chunks)
        if reread:
            yield from _reread(path, handles, last)
        # The mode is set once more, since the server's umask cleared bits at open.
        stamps = [Packet(sftp.SETSTAT, name + packed(mode=mode, mtime=mtime)), Packet(sftp.STAT, name)]
        *written, stamped, stated = yield Ask([*_closes(handles), *stamps])
        for reply in written:
            checked(reply)
        if not is_status(stamped, sftp.OK):  # a server that cannot set both together: each alone, as far as it can
            apart = [Packet(sftp.SETSTAT, name + change) for change in (packed(mode=mode), packed(mtime=mtime))]
            *_, stated = yield Ask([*apart, Packet(sftp.STAT, name)])
        found = attributes(checked(stated))
        if found.size not in (None, size):
            raise Refused(sftp.FAILURE, f"stored {found.size} of {size} bytes")
        return found
    except (Refused, Trouble, OSError):
        yield Ask([*_closes(handles), Packet(sftp.REMOVE, name)])
        raise


def _write_chunks(handle: bytes, chunks: Iterable[bytes]) -> Task[tuple[int, list[tuple[int, int]]]]:
    """Returns the size, and place and value of each write's last byte that is not zero. Leaves some replies to come."""
    size, last = 0, list[tuple[int, int]]()
    for chunk in chunks:
        request = Packet(sftp.WRITE, handle + struct.pack(">Q", size) + string(chunk))
        for reply in (yield Ask([request], lag=WRITES_IN_FLIGHT)):
            checked(reply)
        if end := len(chunk.rstrip(b"\0")):
            last.append((size + end - 1, chunk[end - 1]))
        size += len(chunk)
    return size, last


def _reread(path: str, handles: list[bytes], last: list[tuple[int, int]]) -> Task[None]:
    """Raises Refused where the file does not hold the expected bytes. Its handle is then one for reading, if any.

    Servers built on Go's pkg/sftp treat a READ of a handle opened for writing as a write of zeros.
    """
    reading = Packet(sftp.OPEN, string(path) + struct.pack(">II", READ, 0))
    *written, opened = yield Ask([*_closes(handles), reading])
    if opened.kind == sftp.HANDLE:  # otherwise the server does not allow reading
        handles.append(string(Body(opened.body).blob()))
    for reply in written:
        checked(reply)
    for start in range(0, len(last) if handles else 0, READS_AT_ONCE):
        some = last[start : start + READS_AT_ONCE]
        replies = yield Ask([Packet(sftp.READ, handles[0] + struct.pack(">QI", offset, 1)) for offset, _ in some])
        for (offset, byte), reply in zip(some, replies, strict=True):
            if reply.kind != sftp.DATA or Body(reply.body).blob() != bytes([byte]):
                raise Refused(sftp.FAILURE, f"byte {offset} was said to be stored and is not")


def _closes(handles: list[bytes]) -> list[Packet]:
    """The requests that close the handles, which leave the list."""
    closes = [Packet(sftp.CLOSE, handle) for handle in handles]
    handles.clear()
    return closes
