"""A web server on loopback that fails as real ones do, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar


@dataclass
class Site:
    """What is served, and how well."""

    files: dict[str, bytes] = field(default_factory=dict)
    knows_ranges: bool = True
    etag: str | None = '"v1"'
    headers: dict[str, str] = field(default_factory=dict)  # more of them, with each file
    cuts: list[int] = field(default_factory=list)  # after so many bytes the next answers break off
    statuses: list[int] = field(default_factory=list)  # the next answers are these, without a file
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # (path, Range)
    sent: int = 0  # bytes of files
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    site: ClassVar[Site]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site, name, wanted = self.site, self.path.rsplit("/", 1)[-1], self.headers.get("Range")
        site.asked.append((self.path, wanted))
        content = site.files.get(name)
        status = site.statuses.pop(0) if site.statuses else 200 if content is not None else 404
        if status != 200 or content is None:
            self._head(status, {"Content-Length": "0"})
            return
        start = self._start(wanted)
        if start >= len(content) > 0:
            self._head(416, {"Content-Length": "0", "Content-Range": f"bytes */{len(content)}"})
            return
        headers = {"Content-Length": str(len(content) - start)} | ({"ETag": site.etag} if site.etag else {})
        headers |= site.headers
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if start else 200, headers)
        body = content[start:]
        if site.cuts:
            body = body[: site.cuts.pop(0)]
            self.close_connection = True
        site.sent += len(body)
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        """Which version it has; not remembered, since nothing is fetched."""
        content = self.site.files.get(self.path.rsplit("/", 1)[-1])
        headers = {"Content-Length": str(len(content or b""))} | ({"ETag": self.site.etag} if self.site.etag else {})
        self._head(404 if content is None else 200, headers)

    def _start(self, wanted: str | None) -> int:
        found = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        same = self.headers.get("If-Range", self.site.etag) == self.site.etag
        return int(found[1]) if found and self.site.knows_ranges and same else 0

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:  # a client that has gone
        pass


@contextlib.contextmanager
def serving(**how: Any) -> Iterator[Site]:
    """A site that is up."""
    site = Site(**how)
    handler = type("Handler", (_Handler,), {"site": site})
    with _Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        site.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
