"""A web server on loopback that records what is posted, as GitHub, GitLab and chat services would, and can misbehave.

It serves a git repository too (`git http-backend`), so that a tracker can take both from one host, as with GitLab.
"""

from __future__ import annotations

import http.server
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HANGS, DRIPS = -1, -2  # instead of a code: never answers; a byte now and then


@dataclass(frozen=True)
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> dict[str, Any]:
        decoded: dict[str, Any] = json.loads(self.body)
        return decoded


@dataclass
class Receiver:
    """What was posted, and how to answer: `codes` holds the next answers, `code` all later ones."""

    url: str = ""
    code: int = 201
    codes: list[int] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    text: str = ""
    got: list[Posted] = field(default_factory=list)
    arrived: threading.Event = field(default_factory=threading.Event)
    end: threading.Event = field(default_factory=threading.Event)
    repository: Path | None = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        return [one.message for one in self.got]

    def taken(self) -> list[dict[str, Any]]:
        """Return the messages so far, and forget them."""
        found = self.messages
        self.got.clear()
        return found


@contextmanager
def serving(it: Receiver) -> Iterator[Receiver]:
    """Serve until the end of the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if it.repository and urlsplit(self.path).path.endswith("git-upload-pack"):
                self._git(body)
                return
            code = it.codes.pop(0) if it.codes else it.code
            it.got.append(Posted(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            it.arrived.set()
            if code == HANGS:
                it.end.wait(60)
                self.close_connection = True
                return
            if code == DRIPS:
                with suppress(OSError):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n")
                    while not it.end.wait(0.05):
                        self.wfile.write(b"x")
                self.close_connection = True
                return
            self.send_response(code)
            for name, value in {"Location": "/elsewhere", "Content-Length": str(len(it.text)), **it.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(it.text.encode())

        def do_GET(self) -> None:
            self._git(b"")

        def _git(self, body: bytes) -> None:
            parts = urlsplit(self.path)
            environment = {
                "PATH": os.environ["PATH"],
                "GIT_PROJECT_ROOT": str(it.repository),
                "GIT_HTTP_EXPORT_ALL": "1",
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": "safe.directory",
                "GIT_CONFIG_VALUE_0": "*",
                "PATH_INFO": parts.path[parts.path.index(".git") + 4 :],
                "QUERY_STRING": parts.query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers["Content-Type"] or "",
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers["Content-Encoding"] or "",
                "GIT_PROTOCOL": self.headers["Git-Protocol"] or "",
            }
            done = subprocess.run(
                ["git", "http-backend"], env=environment, input=body, capture_output=True, check=False, timeout=60
            )
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().splitlines()]
            code = next((int(value[:3]) for name, value in lines if name == "Status"), 200)
            self.send_response(code)
            for name, value in lines:
                if name != "Status":
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        it.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield it
        finally:
            it.end.set()
            server.shutdown()
            thread.join(60)


def unused_port() -> int:
    """Return a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
