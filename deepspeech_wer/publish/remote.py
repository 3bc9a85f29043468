"""Tasks on the server's files: each a generator for Pipeline.run (see pipeline.py)."""

from __future__ import annotations

import stat
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import pipeline as sftp
from deepspeech_wer.publish.pipeline import Ask, Body, Refused, Reply, Request, Task, string

T = TypeVar("T")

READ_BYTES = 32 * 1024
WRITE_BYTES = 32 * 1024  # the most that every server must take in one request
NAMES_A_REPLY = 100  # of a listing, with OpenSSH
LOOKS_AT_ONCE = 1024
UNFINISHED = 0o600  # mode of a file that is being written
BYTES_IN_FLIGHT = 4 * 1024 * 1024  # of one file, unanswered: twice what a channel of OpenSSH's buffers

_READ, _WRITE, _CREATE, _EXCLUSIVE = 0x01, 0x02, 0x08, 0x20
_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 0x01, 0x02, 0x04, 0x08, 0x80000000
_USUAL = struct.Struct(">QIIIII")  # size, uid, gid, permissions, atime, mtime


class Attributes(NamedTuple):
    """What a server says of a file. Servers may leave out any of it."""

    size: int | None
    mode: int | None
    mtime: int | None  # whole seconds

    def is_directory(self) -> bool:
        return self.mode is not None and stat.S_ISDIR(self.mode)


@dataclass(frozen=True)
class Source:
    """What a file is to hold."""

    chunks: Iterable[bytes]
    mode: int
    mtime: int | None
    in_flight: int = BYTES_IN_FLIGHT
    reread: bool = False  # whether to look at what the server says it has written


def checked(reply: Reply) -> Body:
    """The body of a reply that is no error. Raises Refused."""
    body = Body(reply.body)
    if reply.kind == sftp.STATUS:
        code = body.number()
        if code != sftp.OK:
            text = body.text() if body.left() >= 4 else ""
            raise Refused(code, "".join(c if c.isprintable() else "?" for c in text)[:200] or f"error {code}")
    return body


def list_directory(path: str, expected: int = 0) -> Task[dict[str, Attributes] | None]:
    """Names and attributes, less `.` and `..`. None where nothing is there. Raises Refused.

    `expected` entries are asked for at once, so that ten thousand of them take one round trip and not ten.
    """
    try:
        [opened] = yield Ask([Request(sftp.OPENDIR, string(path))])
        handle = string(checked(opened).blob())
        ahead = (expected + len((".", ".."))) // NAMES_A_REPLY + 2  # and one for its end
        found = yield from _entries(handle, ahead)  # asyncssh tells only here that there is no such directory
    except Refused as refusal:
        if refusal.code == sftp.NO_SUCH_FILE:
            return None
        raise
    yield Ask([Request(sftp.CLOSE, handle)], forget=True)
    return found


def _entries(handle: bytes, ahead: int) -> Task[dict[str, Attributes]]:
    found: dict[str, Attributes] = {}
    while True:
        replies = yield Ask([Request(sftp.READDIR, handle)] * ahead)
        ended = [_names(reply, found) for reply in replies]
        if any(ended):
            return {name: attributes for name, attributes in found.items() if name not in (".", "..")}
        ahead = min(ahead, 16) * 2


def read_file(path: str, expected: int = 0) -> Task[bytes | None]:
    """A whole file, of which `expected` bytes are asked for at once. None where nothing is there. Raises Refused."""
    [opened] = yield Ask([Request(sftp.OPEN, string(path) + struct.pack(">II", _READ, 0))])
    try:
        handle = string(checked(opened).blob())
    except Refused as refusal:
        if refusal.code == sftp.NO_SUCH_FILE:
            return None
        raise
    data = bytearray()
    ahead = expected // READ_BYTES + 2
    while True:
        starts = range(len(data), len(data) + ahead * READ_BYTES, READ_BYTES)
        reads = [Request(sftp.READ, handle + struct.pack(">QI", at, READ_BYTES)) for at in starts]
        *replies, stated = yield Ask([*reads, Request(sftp.FSTAT, handle)])
        # the size saves asking once more only to be told that this was the end
        if _append(replies, data) or (stated.kind == sftp.ATTRS and attributes(Body(stated.body)).size == len(data)):
            break
        ahead = min(ahead, 32) * 2
    yield Ask([Request(sftp.CLOSE, handle)], forget=True)
    return bytes(data)


def write_new(path: str, source: Source) -> Task[Attributes]:
    """Make a file that is not there yet, and return what the server then says of it. See write_linked."""
    found, _ = yield from write_linked(path, [], source)
    return found


def write_linked(path: str, names: Sequence[str], source: Source) -> Task[tuple[Attributes, list[bool]]]:
    """Make a file that is not there yet, and give it more names, as `link` does.

    Every reply is looked at; on an error the half-made file is removed again. Mode and mtime are set last, so that a
    file with the right size, mode and mtime is whole, whatever its name. Raises Refused, and whatever reading the
    source raises.
    """
    flags = _WRITE | _CREATE | _EXCLUSIVE  # exclusive: never through a link that somebody laid there
    [opened] = yield Ask([Request(sftp.OPEN, string(path) + struct.pack(">I", flags) + _packed(mode=UNFINISHED))])
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
            Request(sftp.FSETSTAT, handle + _packed(mode=source.mode, mtime=source.mtime)),
            Request(sftp.FSTAT, handle),
            *_closes(handles),
            *_links(path, names),  # to one file, so it matters not whether its content is there already
        ]
    )
    linked = _linked([replies.pop() for _ in range(2 * len(names))][::-1])
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
    reading = Request(sftp.OPEN, string(path) + struct.pack(">II", _READ, 0))
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
            Request(sftp.SETSTAT, string(path) + _packed(mode=source.mode, mtime=source.mtime)),
            Request(sftp.STAT, string(path)),
            *_links(path, names),
        ]
    )
    linked = _linked([replies.pop() for _ in range(2 * len(names))][::-1])
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
            Request(sftp.SETSTAT, string(path) + _packed(mode=source.mode)),
            Request(sftp.SETSTAT, string(path) + _packed(mtime=source.mtime)),
            Request(sftp.STAT, string(path)),
        ]
    )
    return attributes(checked(stated))


def state(path: str) -> Task[Attributes | None]:
    """What a path (a link followed) is. None where nothing is there. Raises Refused."""
    [found] = yield from states([path])
    return found


def states(paths: Sequence[str]) -> Task[list[Attributes | None]]:
    """`state` of each."""
    replies = yield Ask([Request(sftp.STAT, string(path)) for path in paths])
    found: list[Attributes | None] = []
    for reply in replies:
        try:
            found.append(attributes(checked(reply)))
        except Refused as refusal:
            if refusal.code != sftp.NO_SUCH_FILE:
                raise
            found.append(None)
    return found


def link(source: str, targets: Sequence[str]) -> Task[list[bool]]:
    """Give a file more names (OpenSSH's hardlink). False for each that the server cannot, or that is taken."""
    replies = yield Ask(_links(source, targets))
    return _linked(replies)


def replace(source: str, target: str, *, atomic: bool) -> Task[None]:
    """Rename over whatever is there. Raises Refused.

    SFTP 3 has no such thing: its RENAME refuses an existing target. OpenSSH's posix-rename does it in one step;
    without it the target is away for the moment between two requests that travel together.
    """
    names = string(source) + string(target)
    if atomic:
        replies = yield Ask([Request(sftp.EXTENDED, string("posix-rename@openssh.com") + names)])
    else:
        replies = yield Ask([Request(sftp.REMOVE, string(target)), Request(sftp.RENAME, names)])
    checked(replies[-1])


def remove(path: str) -> Task[bool]:
    """Remove a file. False where it was gone already. Raises Refused."""
    [reply] = yield Ask([Request(sftp.REMOVE, string(path))])
    try:
        checked(reply)
    except Refused as refusal:
        if refusal.code == sftp.NO_SUCH_FILE:
            return False
        raise
    return True


def make_directory(path: str, mode: int) -> Task[bool]:
    """Make a directory whose parent is there, with this mode whatever the umask. False where it was there already."""
    made, stated = yield Ask([Request(sftp.MKDIR, string(path) + _packed(mode=mode)), Request(sftp.STAT, string(path))])
    try:
        checked(made)
    except Refused:
        if stated.kind == sftp.ATTRS and attributes(Body(stated.body)).is_directory():
            return False
        raise
    if stat.S_IMODE(attributes(checked(stated)).mode or mode) != mode:
        yield Ask([Request(sftp.SETSTAT, string(path) + _packed(mode=mode))])
    return True


def remove_directory(path: str) -> Task[None]:
    """Remove a directory if it is empty; nothing happens where it is not."""
    yield Ask([Request(sftp.RMDIR, string(path))])


def attributes(body: Body) -> Attributes:
    """Read an ATTRS field."""
    flags = body.number()
    if flags == _SIZE | _OWNER | _MODE | _TIMES:  # what OpenSSH sends: taken at once, for listings of 20,000 files
        usual = body.fields(_USUAL)
        return Attributes(usual[0], usual[3], usual[5])
    size = body.number(8) if flags & _SIZE else None
    if flags & _OWNER:
        body.number(8)
    mode = body.number() if flags & _MODE else None
    mtime = body.number(8) & 0xFFFFFFFF if flags & _TIMES else None  # atime, mtime
    for _ in range(body.number() if flags & _EXTENDED else 0):
        body.blob()
        body.blob()
    return Attributes(size, mode, mtime)


def _packed(*, mode: int | None = None, mtime: int | None = None) -> bytes:
    flags = (_MODE if mode is not None else 0) | (_TIMES if mtime is not None else 0)
    data = struct.pack(">I", flags)
    if mode is not None:
        data += struct.pack(">I", mode)
    if mtime is not None:
        data += struct.pack(">II", mtime, mtime)
    return data


def _links(source: str, targets: Sequence[str]) -> list[Request]:
    start = string("hardlink@openssh.com") + string(source)
    pairs = [(Request(sftp.EXTENDED, start + string(name)), Request(sftp.STAT, string(name))) for name in targets]
    return [request for pair in pairs for request in pair]


def _linked(replies: Sequence[Reply]) -> list[bool]:
    """Which of `_links` are there: rclone's server says OK to a link and makes none."""
    return [_is_ok(made) and found.kind == sftp.ATTRS for made, found in zip(replies[::2], replies[1::2], strict=True)]


def _is_ok(reply: Reply) -> bool:
    return reply.kind == sftp.STATUS and Body(reply.body).number() == sftp.OK


def _names(reply: Reply, found: dict[str, Attributes]) -> bool:
    """Add a READDIR reply's entries to `found`. True at the directory's end."""
    if reply.kind != sftp.NAME:
        return _is_end(reply)
    body = Body(reply.body)
    for _ in range(body.number()):
        name = body.text()
        body.blob()  # as `ls -l` would show it
        found[name] = attributes(body)
    return False


def _append(replies: list[Reply], data: bytearray) -> bool:
    """Add READ replies to `data`. True at the file's end. After a short one the rest does not join: asked again."""
    for reply in replies:
        if reply.kind != sftp.DATA:
            return _is_end(reply)
        part = Body(reply.body).blob()
        data += part
        if len(part) < READ_BYTES:
            return False
    return False


def _is_end(reply: Reply) -> bool:
    try:
        checked(reply)
    except Refused as refusal:
        if refusal.code == sftp.EOF:
            return True
        raise
    raise Refused(sftp.FAILURE, "an answer of the wrong kind")
