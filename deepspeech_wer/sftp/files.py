"""Tasks that read and change files on the server, for Pipeline.run (see pipeline.py)."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from deepspeech_wer.delta import Span
from deepspeech_wer.errors import Trouble
from deepspeech_wer.sftp import pipeline as sftp
from deepspeech_wer.sftp.pipeline import Ask, Body, Packet, Refused, Task, string
from deepspeech_wer.text import plain

Content: TypeAlias = Iterable[bytes | Span]

BLOCK_BYTES = 32 * 1024  # what every server must read or write in one request
NAMES_A_REPLY = 100  # in OpenSSH's listings
WRITES_IN_FLIGHT = 64  # of one file, unanswered: with a block each, what a channel of OpenSSH's buffers
READS_AT_ONCE = 1024  # of single bytes
UNFINISHED = 0o100  # set in the mode of a file that is written: where no mode can be set, visitors read it all the same

READ, WRITE, CREATE, EXCLUSIVE = 0x01, 0x02, 0x08, 0x20  # flags of OPEN
_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 0x01, 0x02, 0x04, 0x08, 0x80000000


class Attributes(NamedTuple):
    """What the server says of a file. It may leave out any of these."""

    size: int | None
    mtime: int | None  # whole seconds
    mode: int | None = None  # with the file's type

    @property
    def is_directory(self) -> bool:
        return self.mode is not None and stat.S_ISDIR(self.mode)


def checked(reply: Packet, kind: int | None = None) -> Body:
    """The body of a reply. Raises Refused where the reply is an error, or not of the kind that must come."""
    body = Body(reply.body)
    if reply.kind == sftp.STATUS and (code := body.number()) != sftp.OK:
        text = body.text() if body.left() >= 4 else ""
        raise Refused(code, plain(text)[:200] or f"error {code}")
    if kind not in (None, reply.kind):
        raise Refused(sftp.FAILURE, "an answer of the wrong kind")
    return body


def is_status(reply: Packet, code: int) -> bool:
    """Whether this is the answer. To proftpd, a path below a file is a failure; to OpenSSH, no such file."""
    is_absent = reply.kind == sftp.STATUS and b"not a directory" in reply.body.lower()
    return reply.kind == sftp.STATUS and code == (sftp.NO_SUCH_FILE if is_absent else Body(reply.body).number())


def list_directory(path: str, expected: int = 0) -> Task[dict[str, Attributes] | None]:
    """Names and attributes, without `.` and `..`. None where there is no such directory. Raises Refused. Requests for
    `expected` entries are sent at once, so that 10,000 of them take one round trip and not ten.
    """
    [opened] = yield Ask([Packet(sftp.OPENDIR, string(path))])
    if is_status(opened, sftp.NO_SUCH_FILE):
        return None
    handle = string(checked(opened, sftp.HANDLE).blob())
    found, ended = dict[str, Attributes](), False
    ahead = (expected + len((".", ".."))) // NAMES_A_REPLY + 2  # and one for its end
    while not ended:
        replies = yield Ask([Packet(sftp.READDIR, handle)] * ahead)
        if is_status(replies[0], sftp.NO_SUCH_FILE):  # asyncssh says only here that there is no such directory
            return None
        for reply in replies:
            if ended := is_status(reply, sftp.EOF):
                break
            names = checked(reply, sftp.NAME)
            count = names.number()
            if ended := not count:  # a reply without names is the end to OpenSSH's client, too
                break
            for _ in range(count):
                name = names.text()
                names.blob()  # as `ls -l` would show it
                found[name] = attributes(names)
        ahead = min(ahead, 16) * 2
    yield Ask([Packet(sftp.CLOSE, handle)], forget=True)
    return {name: attributes for name, attributes in found.items() if name not in (".", "..")}


def read_file(path: str, expected: int = 0) -> Task[bytes | None]:
    """A whole file; `expected` bytes are asked for at once. None where there is no such file. Raises Refused."""
    [opened] = yield Ask([Packet(sftp.OPEN, string(path) + struct.pack(">II", READ, 0))])
    if is_status(opened, sftp.NO_SUCH_FILE):
        return None
    handle, data, ended = string(checked(opened, sftp.HANDLE).blob()), bytearray(), False
    ahead = expected // BLOCK_BYTES + 2
    while not ended:
        starts = range(len(data), len(data) + ahead * BLOCK_BYTES, BLOCK_BYTES)
        reads = [Packet(sftp.READ, handle + struct.pack(">QI", at, BLOCK_BYTES)) for at in starts]
        *replies, stated = yield Ask([*reads, Packet(sftp.FSTAT, handle)])
        for reply in replies:
            if ended := is_status(reply, sftp.EOF):
                break
            part = checked(reply, sftp.DATA).blob()
            data += part
            if len(part) < BLOCK_BYTES:  # the next ones leave a gap, so what follows is read again
                break
        # the size saves the round trip of one more READ, which would only say that this was the end
        ended = ended or (stated.kind == sftp.ATTRS and attributes(Body(stated.body)).size == len(data))
        if not ended and len(data) == starts.start:
            raise Refused(sftp.FAILURE, f"no byte after {len(data)}, and no end of the file")
        ahead = min(ahead, 32) * 2
    yield Ask([Packet(sftp.CLOSE, handle)], forget=True)
    return bytes(data)


def write(
    path: str, chunks: Content, *, mode: int, mtime: int | None, reread: bool, source: str | None = None
) -> Task[Attributes]:
    """Make a file that must not exist yet, and return what the server then says of it.

    The server copies spans from the file `source` (copy-data, of OpenSSH 9.0). Every reply is checked; after an error
    the unfinished file is removed. Mode and mtime are set last: a file with the right size, mode and mtime is whole,
    whatever its name. Raises Refused, and whatever reading `chunks` raises.

    `reread` is for servers that report success for failed writes. proftpd 1.3.8 says OK to a write of which the disk
    took only a part; if there is room again for the next write, a hole remains. A hole reads as zeros, so the last byte
    of each write that is not zero tells whether the write was whole.
    """
    flags = WRITE | CREATE | EXCLUSIVE  # exclusive: do not follow a link that somebody put there
    name = string(path)
    [opened] = yield Ask([Packet(sftp.OPEN, name + struct.pack(">I", flags) + packed(mode=mode | UNFINISHED))])
    handles = [string(checked(opened, sftp.HANDLE).blob())]  # to be closed exactly once: servers reuse handle numbers
    try:
        if source is not None:
            [opened] = yield Ask([Packet(sftp.OPEN, string(source) + struct.pack(">II", READ, 0))])
            handles.append(string(checked(opened, sftp.HANDLE).blob()))
        size, last = yield from _write_chunks(handles, chunks)
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


def states(paths: Sequence[str]) -> Task[list[Attributes | None]]:
    """The attributes of files, following links; None where there is no such file. Raises Refused."""
    replies = yield Ask([Packet(sftp.STAT, string(path)) for path in paths])
    return [None if is_status(reply, sftp.NO_SUCH_FILE) else attributes(checked(reply)) for reply in replies]


def link(source: str, target: str) -> Task[bool]:
    """Give a file a second name (OpenSSH's hardlink). False where the server cannot, or the name is taken."""
    names = string("hardlink@openssh.com") + string(source) + string(target)
    made, stated = yield Ask([Packet(sftp.EXTENDED, names), Packet(sftp.STAT, string(target))])
    # rclone's server says OK to a link and makes none
    return is_status(made, sftp.OK) and stated.kind == sftp.ATTRS


def replace(source: str, target: str, *, atomic: bool) -> Task[None]:
    """Rename over an existing file. Raises Refused.

    SFTP 3 cannot: its RENAME refuses an existing target. OpenSSH's posix-rename replaces it in one step; without it the
    target is missing between two requests that travel together.
    """
    names = string(source) + string(target)
    at_once = [Packet(sftp.EXTENDED, string("posix-rename@openssh.com") + names)]
    apart = [Packet(sftp.REMOVE, string(target)), Packet(sftp.RENAME, names)]
    *removed, reply = yield Ask(at_once if atomic else apart)
    if not is_status(reply, sftp.OK) and removed and not is_status(removed[0], sftp.NO_SUCH_FILE):
        checked(removed[0])  # the reason
    checked(reply)


def remove(path: str) -> Task[None]:
    """Remove a file, if there is one. Raises Refused."""
    [reply] = yield Ask([Packet(sftp.REMOVE, string(path))])
    if not is_status(reply, sftp.NO_SUCH_FILE):
        checked(reply)


def discard(path: str, kind: int = sftp.REMOVE) -> Task[None]:
    """Remove a file, or with RMDIR an empty directory, if that is possible."""
    yield Ask([Packet(kind, string(path))])


def make_directory(path: str, mode: int) -> Task[None]:
    """Make a directory with this mode whatever the umask, unless it exists. Raises Refused."""
    made, stated = yield Ask([Packet(sftp.MKDIR, string(path) + packed(mode=mode)), Packet(sftp.STAT, string(path))])
    if not is_status(made, sftp.OK) and stated.kind == sftp.ATTRS and attributes(Body(stated.body)).is_directory:
        return
    checked(made)
    if stat.S_IMODE(attributes(checked(stated)).mode or mode) != mode:
        yield Ask([Packet(sftp.SETSTAT, string(path) + packed(mode=mode))])


def attributes(body: Body) -> Attributes:
    """Read an ATTRS field."""
    flags = body.number()
    size = body.number(8) if flags & _SIZE else None
    if flags & _OWNER:
        body.number(8)
    mode = body.number() if flags & _MODE else None
    mtime = body.number(8) & 0xFFFFFFFF if flags & _TIMES else None  # atime, mtime
    for _ in range(2 * body.number() if flags & _EXTENDED else 0):
        body.blob()
    return Attributes(size, mtime, mode)


def packed(*, mode: int | None = None, mtime: int | None = None) -> bytes:
    """An ATTRS field that sets these."""
    flags = (_MODE if mode is not None else 0) | (_TIMES if mtime is not None else 0)
    values = [value for value in (mode, mtime, mtime) if value is not None]  # the first time is atime
    return struct.pack(f">I{len(values)}I", flags, *values)


def _write_chunks(handles: list[bytes], chunks: Content) -> Task[tuple[int, list[tuple[int, int]]]]:
    """Returns the size, and place and value of each write's last byte that is not zero. Leaves some replies to come.

    `handles` are that of the file and, if there are spans, that of the one they are copied from.
    """
    handle, size, last = handles[0], 0, list[tuple[int, int]]()
    for chunk in chunks:
        at = handle + struct.pack(">Q", size)
        if isinstance(chunk, Span):
            request = Packet(sftp.EXTENDED, string("copy-data") + handles[1] + struct.pack(">QQ", *chunk) + at)
            size += chunk.size
        else:
            request = Packet(sftp.WRITE, at + string(chunk))
            if end := len(chunk.rstrip(b"\0")):
                last.append((size + end - 1, chunk[end - 1]))
            size += len(chunk)
        for reply in (yield Ask([request], lag=WRITES_IN_FLIGHT)):
            checked(reply)
    return size, last


def _reread(path: str, handles: list[bytes], last: list[tuple[int, int]]) -> Task[None]:
    """Raises Refused where the file does not hold the expected bytes. Its handle is then one for reading, if any.

    Servers built on Go's pkg/sftp treat a READ of a handle opened for writing as a write of zeros.
    """
    *written, opened = yield Ask([*_closes(handles), Packet(sftp.OPEN, string(path) + struct.pack(">II", READ, 0))])
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
    """Return the requests that close the handles, and empty the list."""
    closes = [Packet(sftp.CLOSE, handle) for handle in handles]
    handles.clear()
    return closes
