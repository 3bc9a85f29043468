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

from deepspeech_wer import read_back
from deepspeech_wer.configuration.settings import Website
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


def served(site: Path, website: Website, url: str) -> tuple[str, ...]:
    """Publish a site, and read back what was sent."""
    report = put(site, website)
    return read_back.differences(url, report.shown, report.sent) if report.sent else ()


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
        assert served(site, website, url) == ()
        assert [path for path in asked if ".js" not in path] == ["/site/", "/site/index.htm"]
        [data] = site.glob("js/index.*.js")
        assert {f"/site/js/{data.name}", "/site/runs/1.js"} < set(asked)
        asked.clear()
        served(site, website, url)
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
        found = served(site, website, url)
    assert len(found) == len(expected)
    assert all(part in line for part, line in zip(expected, found, strict=True)), found
    assert all(line.isprintable() for line in found)


def test_nobody_answers(site: Path, host: tuple[Website, Path]) -> None:
    [line] = served(site, host[0], f"http://127.0.0.1:{free_port()}/")
    assert "no answer" in line
    assert "refused" in line


def to(address: str) -> Answer:
    return lambda *_: (302, b"", {"Location": address})


def test_an_address_that_is_none_is_told_as_no_answer(site: Path, host: tuple[Website, Path]) -> None:
    website, root = host
    with web_server(root, to("http://[::1")) as url:
        [line] = served(site, website, url)
    assert "no answer" in line
    version(site, 2)
    [line] = served(site, website, "http://www..example.com/")
    assert "no answer" in line


@pytest.mark.parametrize("path", ["/site/", "latest", "//{host}/x", "{url}/?fresh"])
def test_redirects_that_never_end(site: Path, host: tuple[Website, Path], path: str) -> None:
    website, root = host
    place: dict[str, str] = {}
    with web_server(root, lambda *_: (302, b"", {"Location": path.format(**place)})) as url:
        place |= {"url": url, "host": url.split("/")[2]}
        [line] = served(site, website, url)
    assert "no answer (more than 5 redirects)" in line


def test_a_redirect_on_the_same_host_is_followed(site: Path, host: tuple[Website, Path]) -> None:
    website, root = host

    def moved(path: str, root: Path) -> tuple[int, bytes, dict[str, str]]:
        new = path.replace("/site/", "/new/")
        return plain(path.replace("/new/", "/site/"), root) if "/new/" in path else (301, b"", {"Location": new})

    with web_server(root, moved) as url:
        assert served(site, website, url) == ()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_another_host_is_neither_asked_nor_quoted(site: Path, host: tuple[Website, Path], status: int) -> None:
    website, root = host
    asked: list[str] = []

    def private(path: str, _: Path) -> tuple[int, bytes, dict[str, str]]:
        asked.append(path)
        return 200, b"the token is tulip", {}

    with (
        web_server(root, private) as inside,
        web_server(root, lambda *_: (status, b"", {"Location": f"{inside}/metadata\x1b"})) as url,
    ):
        found = served(site, website, url)
    assert not asked
    assert all("redirects to another host, '127.0.0.1', which was not asked" in line for line in found)
    assert found
    assert "tulip" not in "".join(found)


@pytest.mark.parametrize(
    ("there", "same"),
    [
        ("https://Example.org/x", True),
        ("http://example.org:80/", True),
        ("http://www.example.org/", False),
        ("http://example.org:8080/", False),
        ("http://example.org@localhost/", False),
        ("http://169.254.169.254/latest", False),
        ("file:///etc/passwd", False),
    ],
)
def test_which_host_is_the_same(there: str, same: bool) -> None:
    assert (read_back._host(there) == read_back._host("http://example.org/site/")) == same


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
        [line] = served(site, website, url)
        ended.set()
    assert line.endswith("still being read after 0.3 s: is the web server that slow?")


def test_names_that_an_address_cannot_hold(site: Path, host: tuple[Website, Path]) -> None:
    website, root = host
    (site / "runs/1.js").unlink()
    write(site, {"runs/Ä ?#%41.js": "run"})
    with web_server(root, plain) as url:
        assert served(site, website, url) == ()
    assert "runs/Ä ?#%41.js" in files_of(site)
