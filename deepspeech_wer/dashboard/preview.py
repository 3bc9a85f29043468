"""A web server on this machine that shows a site as a web host would."""

from __future__ import annotations

import functools
import http.server
import io
from typing import BinaryIO

from deepspeech_wer.errors import Trouble


class _Handler(http.server.SimpleHTTPRequestHandler):
    """`index.htm` is the index, as with Apache's `DirectoryIndex index.htm`; nothing is logged."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        if self.path.split("?")[0] == "/":
            self.path = "/index.htm"
        return super().send_head()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        pass


def preview(directory: str, port: int) -> http.server.ThreadingHTTPServer:
    """A server on 127.0.0.1, on any free port for 0. The caller serves. Raises Trouble if the port is taken."""
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=directory))
    except OSError as error:
        raise Trouble(f"port {port}: {error.strerror}: choose another with --port") from None
