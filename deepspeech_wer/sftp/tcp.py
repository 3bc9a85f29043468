"""The TCP connection to a server, with time-outs."""

from __future__ import annotations

import socket
import time

from deepspeech_wer.errors import Trouble, innermost


class Dropped(Trouble):
    """The network or the server went away. The same call may succeed in a moment."""


def connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Connect. Raises Dropped."""
    deadline = time.monotonic() + timeout_s
    try:
        connection = socket.create_connection((host, port), timeout=timeout_s)
    except socket.gaierror as error:
        raise Dropped(f"{host}: no address known for this name ({error.strerror}): check it and the network") from error
    except OSError as error:
        problem = f"no answer within {timeout_s:g} s" if time.monotonic() >= deadline else innermost(error)
        raise Dropped(f"{host} port {port}: cannot connect: {problem}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # Without this, Linux retries writes into a black hole for 15 minutes.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout_s * 1000))
    return connection
