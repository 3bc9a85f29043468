"""Relays between sshd and sftp-server, and kills both with SIGKILL after a given number of changes.

    python -I relay.py FILE SFTP_SERVER [ARGUMENT...]

FILE holds the number; without it nothing is ended. A change is a request that makes, writes, names or removes a file.
One request is on its way at a time, so the server is killed having done these and no more. Where the number is odd, the
client learns of the last one; where it is even, it does not.
"""

import os
import signal
import struct
import subprocess
import sys
from pathlib import Path

OPEN, WRITE, SETSTAT, FSETSTAT, REMOVE, MKDIR, RENAME, EXTENDED = 3, 6, 9, 10, 13, 14, 18, 200


def packet(stream):
    """Read the next message with its length; empty at the end of the stream."""
    length = stream.read(4)
    return length + stream.read(struct.unpack(">I", length)[0]) if len(length) == 4 else b""


def changes(request):
    """Return whether a message asks to change a file."""
    kind = request[4]
    if kind == OPEN:
        start = 13 + struct.unpack(">I", request[9:13])[0]
        return bool(struct.unpack(">I", request[start : start + 4])[0] & 0x02)
    return kind in (WRITE, SETSTAT, FSETSTAT, REMOVE, MKDIR, RENAME) or (
        kind == EXTENDED and b"limits" not in request[:40]
    )


def main(file, command):
    left = int(file.read_text()) if file.exists() else -1
    tell_the_last = left % 2 == 1
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        while request := packet(sys.stdin.buffer):
            server.stdin.write(request)
            server.stdin.flush()
            reply = packet(server.stdout)
            left -= changes(request)
            if left != 0 or tell_the_last:
                sys.stdout.buffer.write(reply)
                sys.stdout.buffer.flush()
            if left == 0:
                for pid in (server.pid, os.getppid(), os.getpid()):
                    os.kill(pid, signal.SIGKILL)
        server.stdin.close()


main(Path(sys.argv[1]), sys.argv[2:])
