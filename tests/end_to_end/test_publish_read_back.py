"""Reading back what was published: a real SFTP server, and web servers that are right, wrong, stale and down."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

from deepspeech_wer.publish import read_back
from deepspeech_wer.settings import Website
from tests.end_to_end.publishing import files_of, put, version, write
from tests.end_to_end.sshd import free_port, running_sshd

Answer = Callable[[str, Path], tuple[int, bytes, dict[str, str]]]


@pytest.fixture
def host(tmp_path: Path) -> Iterator[tuple[Website, Path]]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server.website, server.root


@pytest.fixture
def site(tmp_path: Path) -> Path:
    version(tmp_path / "site", 1)
    return tmp_path / "site"


def plain(path: str, root: Path) -> tuple[int, bytes, dict[str, str]]:
    """As a web server is to be: DirectoryIndex index.htm."""
    file = root / unquote(path.split("?")[0].removeprefix("/site/") or "index.htm")
    return (200, file.read_bytes(), {}) if file.is_file() else (404, b"no", {})


@contextlib.contextmanager
def web_server(root: Path, answer: Answer) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body, headers = answer(self.path, root)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/site"
        finally:
            server.shutdown()
            thread.join()


def packed(path: str, root: Path) -> tuple[int, bytes, dict[str, str]]:
    status, body, _ = plain(path, root)
    return status, gzip.compress(body), {"Content-Encoding": "gzip"}


def without_index(path: str, root: Path) -> tuple[int, bytes, dict[str, str]]:
    return (403, b"Forbidden", {}) if path == "/site/" else plain(path, root)


def with_listing(path: str, root: Path) -> tuple[int, bytes, dict[str, str]]:
    return (200, b"<title>Index of /site</title>\x1b", {}) if path.split("?")[0] == "/site/" else plain(path, root)


def cached(path: str, root: Path) -> tuple[int, bytes, dict[str, str]]:
    return plain(path, root) if "?" in path or "runs" in path else (200, b"last week's", {"Age": "604800"})


@pytest.mark.parametrize("answer", [plain, packed])
def test_all_is_well(site: Path, host: tuple[Website, Path], answer: Answer) -> None:
    website, root = host
    asked: list[str] = []

    def heard(path: str, root: Path) -> tuple[int, bytes, dict[str, str]]:
        asked.append(path)
        return answer(path, root)

    with web_server(root, heard) as url:
        assert put(site, website, url=url).differences == ()
        assert [path for path in asked if ".js" not in path] == ["/site/", "/site/index.htm"]
        [data] = site.glob("js/index.*.js")
        assert {f"/site/js/{data.name}", "/site/runs/1.js"} < set(asked)
        asked.clear()
        put(site, website, url=url)
        assert not asked  # nothing published, nothing asked


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (without_index, [": answers 403: set DirectoryIndex index.htm"]),
        (with_listing, [r": serves 30 bytes that begin '<title>Index of /site</title>\x1b', not the "]),
        (cached, [": a cache in between serves an older version (604800 s old)"] * 3),
        (lambda *_: (404, b"", {}), ["answers 404: set Dir", *["answers 404: does the web server show"] * 3]),
    ],
)
def test_what_is_served_instead(site: Path, host: tuple[Website, Path], answer: Answer, expected: list[str]) -> None:
    website, root = host
    with web_server(root, answer) as url:
        found = put(site, website, url=url).differences
    assert len(found) == len(expected)
    assert all(part in line for part, line in zip(expected, found, strict=True)), found
    assert all(line.isprintable() for line in found)


def test_nobody_answers(site: Path, host: tuple[Website, Path]) -> None:
    [line] = put(site, host[0], url=f"http://127.0.0.1:{free_port()}/").differences
    assert "no answer" in line
    assert "refused" in line


def to(address: str) -> Answer:
    return lambda *_: (302, b"", {"Location": address})


@pytest.mark.parametrize("answer", [to("http://a..b/"), to("http://[::1"), to("http://" + "a" * 64 + ".org/")])
def test_an_address_that_is_none_is_told_as_no_answer(site: Path, host: tuple[Website, Path], answer: Answer) -> None:
    website, root = host
    with web_server(root, answer) as url:
        [line] = put(site, website, url=url).differences
    assert "no answer" in line
    [line] = put(site, website, url="http://www..example.com/").differences or ("no answer: nothing was published",)
    assert "no answer" in line


def test_an_answer_that_drips_is_not_waited_for_for_ever(
    site: Path, host: tuple[Website, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    website, root = host
    monkeypatch.setattr(read_back, "PATIENCE_S", 0.3)
    ended = threading.Event()

    def dripping(*_: object) -> tuple[int, bytes, dict[str, str]]:
        ended.wait(20)
        return 200, b"", {}

    with web_server(root, dripping) as url:
        [line] = put(site, website, url=url).differences
        ended.set()
    assert line.endswith("still being read after 0.3 s: is the web server that slow?")


def test_names_that_an_address_cannot_hold(site: Path, host: tuple[Website, Path]) -> None:
    website, root = host
    (site / "runs/1.js").unlink()
    write(site, {"runs/Ä ?#%41.js": "run"})
    with web_server(root, plain) as url:
        assert put(site, website, url=url).differences == ()
    assert "runs/Ä ?#%41.js" in files_of(site)
