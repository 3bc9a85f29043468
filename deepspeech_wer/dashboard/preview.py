"""A web server on localhost that shows a site as a web host would."""

from __future__ import annotations

import functools
import http.server
import io
from typing import BinaryIO

from deepspeech_wer.errors import Trouble


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves index.htm for `/`, like Apache's `DirectoryIndex index.htm`. Logs nothing."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        if self.path.split("?")[0] == "/":
            self.path = "/index.htm"
        return super().send_head()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is inherited
        pass


def preview(directory: str, port: int) -> http.server.ThreadingHTTPServer:
    """Bind a server to 127.0.0.1. Port 0: any free one. The caller serves. Raises Trouble if the port is in use."""
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=directory))
    except OSError as error:
        raise Trouble(f"port {port}: {error.strerror}: choose another with --port") from None
