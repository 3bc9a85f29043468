"""The TCP connection to a web host, made while paramiko is still being imported, which takes longer than most trips.

So importing this loads no paramiko. Source: RFC 4253, 4.2: neither side need wait for the other's identification.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from deepspeech_wer.errors import Trouble
from deepspeech_wer.settings import Website
from deepspeech_wer.sftp import background

IDENTIFICATION = "SSH-2.0-deepspeech_wer"


class Dropped(Trouble):
    """The network or the server went away: the same call may succeed in a moment."""


@contextmanager
def called(website: Website, timeout_s: float) -> Iterator[Future[Line]]:
    """The line to the server, or a Dropped, in a moment. It is closed with the block."""
    # in the background: whoever gives up, for want of a key say, does not wait for a host that does not answer
    call = background.begun(lambda: _line(website.server_fqdn, website.server_port, timeout_s))
    try:
        yield call
    finally:
        call.add_done_callback(_hang_up)


class Line(socket.socket):
    """A connection on which the server has been told who is here; paramiko's own first line goes nowhere.

    It acknowledges at once: sshd holds a second small packet back until the first is acknowledged (Nagle), and Linux
    waits 40 ms with that for something to send along. Logging in is a series of just such packets.
    """

    _introduced = False

    def introduce(self) -> None:
        """Say who is here: the server's first message can then be there when paramiko is."""
        self.sendall(_FIRST_LINE)
        self._introduced = True

    def send(self, data: bytes, flags: int = 0) -> int:  # type: ignore[override]
        if self._introduced and data == _FIRST_LINE:
            self._introduced = False
            return len(data)
        return super().send(data, flags)

    def recv(self, size: int, flags: int = 0) -> bytes:
        data = super().recv(size, flags)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # holds for a few packets only
        return data


_FIRST_LINE = f"{IDENTIFICATION}\r\n".encode()


def reason(error: BaseException) -> str:
    """What an error says, for a message of one line."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())


def _line(host: str, port: int, timeout_s: float) -> Line:
    deadline = time.monotonic() + timeout_s
    try:
        connection = socket.create_connection((host, port), timeout=timeout_s)
    except socket.gaierror as error:
        raise Dropped(f"{host}: no address known for this name ({error.strerror}): check it and the network") from error
    except OSError as error:
        waited = timeout_s if time.monotonic() >= deadline else 0
        problem = f"no answer within {waited:g} s" if waited else reason(error)
        raise Dropped(f"{host} port {port}: cannot connect: {problem}") from error
    line = Line(fileno=connection.detach())
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Without it, writes into a black hole go on for a quarter of an hour.
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1000))
    try:
        line.introduce()
    except OSError as error:
        line.close()
        raise Dropped(f"{host} port {port}: the connection failed: {reason(error)}") from error
    return line


def _hang_up(call: Future[Line]) -> None:
    if call.exception() is None:
        call.result().close()
