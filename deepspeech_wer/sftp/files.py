"""Tasks that read and change files on the server, for Pipeline.run (see pipeline.py)."""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from deepspeech_wer.sftp import pipeline as sftp
from deepspeech_wer.sftp.pipeline import Ask, Body, Packet, Refused, Task, string

T = TypeVar("T")

READ_BYTES = 32 * 1024
WRITE_BYTES = 32 * 1024  # what every server must take in one request
NAMES_A_REPLY = 100  # in OpenSSH's listings

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


def checked(reply: Packet) -> Body:
    """The body of a reply. Raises Refused where the reply is an error."""
    body = Body(reply.body)
    if reply.kind == sftp.STATUS:
        code = body.number()
        if code != sftp.OK:
            text = body.text() if body.left() >= 4 else ""
            raise Refused(code, "".join(c if c.isprintable() else "?" for c in text)[:200] or f"error {code}")
    return body


def is_status(reply: Packet, code: int) -> bool:
    return reply.kind == sftp.STATUS and Body(reply.body).number() == code


def list_directory(path: str, expected: int = 0) -> Task[dict[str, Attributes] | None]:
    """Names and attributes, without `.` and `..`. None where there is no such directory. Raises Refused.

    Requests for `expected` entries are sent at once, so that 10,000 of them take one round trip and not ten.
    """
    [opened] = yield Ask([Packet(sftp.OPENDIR, string(path))])
    if is_status(opened, sftp.NO_SUCH_FILE):
        return None
    handle = string(checked(opened).blob())
    found, ended = dict[str, Attributes](), False
    ahead = (expected + len((".", ".."))) // NAMES_A_REPLY + 2  # and one for its end
    while not ended:
        replies = yield Ask([Packet(sftp.READDIR, handle)] * ahead)
        if is_status(replies[0], sftp.NO_SUCH_FILE):  # asyncssh says only here that there is no such directory
            return None
        ended = any(_add_names(reply, found) for reply in replies)
        ahead = min(ahead, 16) * 2
    yield Ask([Packet(sftp.CLOSE, handle)], forget=True)
    return {name: attributes for name, attributes in found.items() if name not in (".", "..")}


def read_file(path: str, expected: int = 0) -> Task[bytes | None]:
    """A whole file; `expected` bytes are asked for at once. None where there is no such file. Raises Refused."""
    [opened] = yield Ask([Packet(sftp.OPEN, string(path) + struct.pack(">II", READ, 0))])
    if is_status(opened, sftp.NO_SUCH_FILE):
        return None
    handle, data, ended = string(checked(opened).blob()), bytearray(), False
    ahead = expected // READ_BYTES + 2
    while not ended:
        starts = range(len(data), len(data) + ahead * READ_BYTES, READ_BYTES)
        reads = [Packet(sftp.READ, handle + struct.pack(">QI", at, READ_BYTES)) for at in starts]
        *replies, stated = yield Ask([*reads, Packet(sftp.FSTAT, handle)])
        # the size saves the round trip of one more READ, which would only say that this was the end
        ended = _add_data(replies, data) or (
            stated.kind == sftp.ATTRS and attributes(Body(stated.body)).size == len(data)
        )
        ahead = min(ahead, 32) * 2
    yield Ask([Packet(sftp.CLOSE, handle)], forget=True)
    return bytes(data)


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
    if atomic:
        replies = yield Ask([Packet(sftp.EXTENDED, string("posix-rename@openssh.com") + names)])
    else:
        replies = yield Ask([Packet(sftp.REMOVE, string(target)), Packet(sftp.RENAME, names)])
    checked(replies[-1])


def remove(path: str) -> Task[None]:
    """Remove a file, if there is one. Raises Refused."""
    [reply] = yield Ask([Packet(sftp.REMOVE, string(path))])
    if not is_status(reply, sftp.NO_SUCH_FILE):
        checked(reply)


def discard(path: str) -> Task[None]:
    """Remove a file if that is possible."""
    yield Ask([Packet(sftp.REMOVE, string(path))])


def make_directory(path: str, mode: int) -> Task[None]:
    """Make a directory with this mode whatever the umask, unless it exists. Raises Refused."""
    made, stated = yield Ask([Packet(sftp.MKDIR, string(path) + packed(mode=mode)), Packet(sftp.STAT, string(path))])
    try:
        checked(made)
    except Refused:
        if stated.kind == sftp.ATTRS and attributes(Body(stated.body)).is_directory:
            return
        raise
    if stat.S_IMODE(attributes(checked(stated)).mode or mode) != mode:
        yield Ask([Packet(sftp.SETSTAT, string(path) + packed(mode=mode))])


def remove_directory(path: str) -> Task[None]:
    """Remove a directory if it is empty; otherwise do nothing."""
    yield Ask([Packet(sftp.RMDIR, string(path))])


def attributes(body: Body) -> Attributes:
    """Read an ATTRS field."""
    flags = body.number()
    size = body.number(8) if flags & _SIZE else None
    if flags & _OWNER:
        body.number(8)
    mode = body.number() if flags & _MODE else None
    mtime = body.number(8) & 0xFFFFFFFF if flags & _TIMES else None  # atime, mtime
    for _ in range(body.number() if flags & _EXTENDED else 0):
        body.blob()
        body.blob()
    return Attributes(size, mtime, mode)


def packed(*, mode: int | None = None, mtime: int | None = None) -> bytes:
    """An ATTRS field that sets these."""
    flags = (_MODE if mode is not None else 0) | (_TIMES if mtime is not None else 0)
    values = [value for value in (mode, mtime, mtime) if value is not None]  # the first time is atime
    return struct.pack(f">I{len(values)}I", flags, *values)


def _add_names(reply: Packet, found: dict[str, Attributes]) -> bool:
    """Add a READDIR reply's entries to `found`. True at the directory's end."""
    if reply.kind != sftp.NAME:
        return _is_end(reply)
    body = Body(reply.body)
    for _ in range(body.number()):
        name = body.text()
        body.blob()  # as `ls -l` would show it
        found[name] = attributes(body)
    return False


def _add_data(replies: list[Packet], data: bytearray) -> bool:
    """Add READ replies to `data`. True at the file's end.

    After a short reply the next ones leave a gap, so what follows is read again.
    """
    for reply in replies:
        if reply.kind != sftp.DATA:
            return _is_end(reply)
        part = Body(reply.body).blob()
        data += part
        if len(part) < READ_BYTES:
            return False
    return False


def _is_end(reply: Packet) -> bool:
    if is_status(reply, sftp.EOF):
        return True
    checked(reply)
    raise Refused(sftp.FAILURE, "an answer of the wrong kind")
