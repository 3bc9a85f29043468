"""An ssh agent, asked with a time limit. Source: draft-ietf-sshm-ssh-agent."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator

_IDENTITIES, _SIGN = 11, 13  # requests; the answer to each is one higher
_LARGEST = 256 * 1024  # bytes of an answer, as in OpenSSH


class SshAgent:
    """A connection to an agent. Its methods raise OSError, or ValueError for an answer that is none of an agent's."""

    def __init__(self, path: str, timeout_s: float) -> None:
        """Connect to the agent's socket. Each question may take `timeout_s`, however slowly its answer drips in."""
        self._timeout_s = timeout_s
        self._line = socket.socket(socket.AF_UNIX)
        try:
            self._line.settimeout(timeout_s)
            self._line.connect(path)
        except OSError:
            self._line.close()
            raise

    def close(self) -> None:
        self._line.close()

    def held(self) -> list[bytes]:
        """The public keys whose private ones it holds."""
        answer = self._ask(_IDENTITIES)
        return list(_strings(answer[4:]))[::2]  # after their number; the others are comments

    def sign(self, key: bytes, data: bytes, flags: int) -> bytes:
        """The signature of data by one of the keys; `flags` choose the hash for RSA."""
        request = b"".join(struct.pack(">I", len(field)) + field for field in (key, data))
        [signature] = _strings(self._ask(_SIGN, request + struct.pack(">I", flags)))
        return signature

    def _ask(self, kind: int, body: bytes = b"") -> bytes:
        self._deadline = time.monotonic() + self._timeout_s
        self._line.settimeout(self._timeout_s)
        self._line.sendall(struct.pack(">IB", len(body) + 1, kind) + body)
        (size,) = struct.unpack(">I", self._read(4))
        if not 0 < size <= _LARGEST:
            raise ValueError("its answer is none of an ssh agent's")
        answer = self._read(size)
        if answer[0] != kind + 1:
            raise ValueError("it refuses")
        return answer[1:]

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            self._line.settimeout(max(self._deadline - time.monotonic(), 0.001))
            part = self._line.recv(size - len(data))
            if not part:
                raise ConnectionResetError("it closed the connection")
            data += part
        return data


def _strings(data: bytes) -> Iterator[bytes]:
    while data:
        if len(data) < 4 or len(data) < (end := 4 + int.from_bytes(data[:4], "big")):
            raise ValueError("its answer ends too early")
        yield data[4:end]
        data = data[end:]
