"""Tasks on the server's files: each a generator for Pipeline.run (see pipeline.py)."""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from deepspeech_wer.sftp import pipeline as sftp
from deepspeech_wer.sftp.pipeline import Ask, Body, Refused, Reply, Request, Task, string

T = TypeVar("T")

READ_BYTES = 32 * 1024
WRITE_BYTES = 32 * 1024  # the most that every server must take in one request
NAMES_A_REPLY = 100  # of a listing, with OpenSSH
BYTES_IN_FLIGHT = 4 * 1024 * 1024  # of one file, unanswered: twice what a channel of OpenSSH's buffers

READ, WRITE, CREATE, EXCLUSIVE = 0x01, 0x02, 0x08, 0x20  # for what a file is opened
_SIZE, _OWNER, _MODE, _TIMES, _EXTENDED = 0x01, 0x02, 0x04, 0x08, 0x80000000
_USUAL = struct.Struct(">QIIIII")  # size, uid, gid, permissions, atime, mtime


class Attributes(NamedTuple):
    """What a server says of a file. Servers may leave out any of it."""

    size: int | None
    mode: int | None
    mtime: int | None  # whole seconds

    def is_directory(self) -> bool:
        return self.mode is not None and stat.S_ISDIR(self.mode)


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
    [opened] = yield Ask([Request(sftp.OPEN, string(path) + struct.pack(">II", READ, 0))])
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
    replies = yield Ask(link_requests(source, targets))
    return links_made(replies, len(targets))


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
    made, stated = yield Ask([Request(sftp.MKDIR, string(path) + packed(mode=mode)), Request(sftp.STAT, string(path))])
    try:
        checked(made)
    except Refused:
        if stated.kind == sftp.ATTRS and attributes(Body(stated.body)).is_directory():
            return False
        raise
    if stat.S_IMODE(attributes(checked(stated)).mode or mode) != mode:
        yield Ask([Request(sftp.SETSTAT, string(path) + packed(mode=mode))])
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


def packed(*, mode: int | None = None, mtime: int | None = None) -> bytes:
    """An ATTRS field that sets these."""
    flags = (_MODE if mode is not None else 0) | (_TIMES if mtime is not None else 0)
    data = struct.pack(">I", flags)
    if mode is not None:
        data += struct.pack(">I", mode)
    if mtime is not None:
        data += struct.pack(">II", mtime, mtime)
    return data


def link_requests(source: str, targets: Sequence[str]) -> list[Request]:
    """What gives a file more names, and asks whether it has them; for `links_made`."""
    start = string("hardlink@openssh.com") + string(source)
    pairs = [(Request(sftp.EXTENDED, start + string(name)), Request(sftp.STAT, string(name))) for name in targets]
    return [request for pair in pairs for request in pair]


def links_made(replies: list[Reply], count: int) -> list[bool]:
    """Take the replies to `link_requests` of so many names off the end: which are there.

    rclone's server says OK to a link and makes none.
    """
    asked = replies[len(replies) - 2 * count :]
    del replies[len(replies) - 2 * count :]
    return [_is_ok(made) and found.kind == sftp.ATTRS for made, found in zip(asked[::2], asked[1::2], strict=True)]


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
