"""Tasks on the server's files: each a generator for Pipeline.run (see pipeline.py)."""

from __future__ import annotations

import dataclasses
import stat
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import pipeline as sftp
from deepspeech_wer.publish.pipeline import Ask, Body, Refused, Reply, Request, Task, string

T = TypeVar("T")

READ_BYTES = 32 * 1024
WRITE_BYTES = 32 * 1024  # the most that every server must take in one request
NAMES_A_REPLY = 100  # of a listing, with OpenSSH
REREAD_AT_ONCE = 1024  # ends of writes, 32 MB apart: the memory that they take is bounded
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
    reread: bool = False  # whether to look into what the server says it has written


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
    handle, can_reread = yield from _open_new(path, source.reread)
    try:
        return (yield from _fill(path, names, handle, dataclasses.replace(source, reread=can_reread)))
    except (Refused, Trouble, OSError):
        yield Ask([Request(sftp.CLOSE, handle), *(Request(sftp.REMOVE, string(name)) for name in (path, *names))])
        raise


def _open_new(path: str, reread: bool) -> Task[tuple[bytes, bool]]:
    """(handle, whether it can be read from too): servers in front of an object store open for one of both."""
    for reading in (_READ, 0) if reread else (0,):
        flags = reading | _WRITE | _CREATE | _EXCLUSIVE  # exclusive: never through a link that somebody laid there
        [opened] = yield Ask([Request(sftp.OPEN, string(path) + struct.pack(">I", flags) + _packed(mode=UNFINISHED))])
        if opened.kind == sftp.HANDLE:
            break
    return string(checked(opened).blob()), bool(reading)


def _fill(path: str, names: Sequence[str], handle: bytes, source: Source) -> Task[tuple[Attributes, list[bool]]]:
    offset, batch, ends = 0, list[Request](), list[tuple[int, bytes]]()
    for chunk in source.chunks:
        if source.reread and (said := chunk.rstrip(b"\0")):
            ends.append((offset + len(said) - 1, said[-1:]))
        batch.append(Request(sftp.WRITE, handle + struct.pack(">Q", offset) + string(chunk)))
        offset += len(chunk)
        if len(batch) * len(chunk) >= sftp.FLUSH_BYTES:
            for reply in (yield Ask(batch, lag=source.in_flight // len(chunk))):
                checked(reply)
            batch = []
        if len(ends) == REREAD_AT_ONCE:
            yield from _reread(handle, batch, ends)
            batch, ends = [], []
    if ends:
        yield from _reread(handle, batch, ends)
        batch = []
    # on the handle, for the server's umask takes bits away at open; draft-ietf-secsh-filexfer-02 keeps their order
    replies = yield Ask(
        [
            *batch,
            Request(sftp.FSETSTAT, handle + _packed(mode=source.mode, mtime=source.mtime)),
            Request(sftp.FSTAT, handle),
            Request(sftp.CLOSE, handle),
            *_links(path, names),  # to one file, so it matters not whether its content is there already
        ]
    )
    linked = [_is_ok(replies.pop()) for _ in names][::-1]
    *written, stamped, stated, closed = replies
    for reply in (*written, closed):
        checked(reply)
    try:
        checked(stamped)
        found = attributes(checked(stated))
    except Refused:
        found = yield from _stamp_apart(path, source)
    if found.size not in (None, offset):
        raise Refused(sftp.FAILURE, f"stored {found.size} of {offset} bytes")
    return found, linked


def _reread(handle: bytes, writes: Sequence[Request], ends: Sequence[tuple[int, bytes]]) -> Task[None]:
    """Wait for `writes` and all before them, then raise Refused where one of `ends`, bytes at offsets, is not there.

    `ends` are the last bytes of the writes, but for zeros.

    proftpd 1.3.8 says OK to a write of which the disk took only a part, and where room is made meanwhile, the next one
    leaves a hole. A hole reads as zeros, so one byte tells whether a write was whole.
    """
    for reply in (yield Ask(writes)):
        checked(reply)
    replies = yield Ask([Request(sftp.READ, handle + struct.pack(">QI", at, 1)) for at, _ in ends])
    for (at, said), reply in zip(ends, replies, strict=True):
        if reply.kind != sftp.DATA or Body(reply.body).blob() != said:
            raise Refused(sftp.FAILURE, f"byte {at} was said to be stored and is not: is the disk or the quota full?")


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
    return [_is_ok(reply) for reply in replies]


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
    return [Request(sftp.EXTENDED, start + string(target)) for target in targets]


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
