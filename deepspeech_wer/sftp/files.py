"""Tasks that read and change files on the server, for Pipeline.run (see pipeline.py)."""

from __future__ import annotations

import stat
import struct
from collections.abc import Sequence
from typing import NamedTuple

from deepspeech_wer.errors import plain
from deepspeech_wer.sftp import pipeline as sftp
from deepspeech_wer.sftp.pipeline import Ask, Body, Packet, Refused, Task, string

BLOCK_BYTES = 32 * 1024  # what every server must read or write in one request
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
    return reply.kind == sftp.STATUS and Body(reply.body).number() == code


def list_directory(path: str, expected: int = 0) -> Task[dict[str, Attributes] | None]:
    """Names and attributes, without `.` and `..`. None where there is no such directory. Raises Refused.

    Requests for `expected` entries are sent at once, so that 10,000 of them take one round trip and not ten.
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
            for _ in range(names.number()):
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
    for _ in range(body.number() if flags & _EXTENDED else 0):
        body.blob()
        body.blob()
    return Attributes(size, mtime, mode)


def packed(*, mode: int | None = None, mtime: int | None = None) -> bytes:
    """An ATTRS field that sets these."""
    flags = (_MODE if mode is not None else 0) | (_TIMES if mtime is not None else 0)
    values = [value for value in (mode, mtime, mtime) if value is not None]  # the first time is atime
    return struct.pack(f">I{len(values)}I", flags, *values)
