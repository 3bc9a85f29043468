"""A visitor of the published page: a web server for the web root on loopback, and Debian's Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from tests.end_to_end.sshd import HOST, require

SWITCHES = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--window-size=1280,1200"),
)


@contextlib.contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory until the block ends. Yields its address."""
    with ThreadingHTTPServer((HOST, 0), partial(_Quiet, directory=str(directory))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://{HOST}:{server.server_port}"
        server.shutdown()
        thread.join()


def document(address: str, *expected: str, picture: Path | None = None, timeout_s: float = 20) -> str:
    """The page's document once its scripts have put all that is expected into it, and a picture of it.

    Fails where the page reports an error of its own.
    """
    with _chromium() as browser:
        browser.get(address)
        deadline = time.monotonic() + timeout_s
        while missing := [text for text in expected if text not in browser.page_source]:
            assert time.monotonic() < deadline, f"not on {address}: {missing}; there is: {browser.page_source[:5000]}"
            time.sleep(0.1)
        if picture:
            browser.save_screenshot(str(picture))
        errors = [entry["message"] for entry in browser.get_log("browser") if "favicon.ico" not in entry["message"]]
        assert not errors, errors
        return str(browser.page_source)


def all_the_data(web_root: Path) -> list[dict[str, Any]]:
    """Parse the records in js/hyper.js."""
    name, _, rest = (web_root / "js" / "hyper.js").read_text("utf-8").partition("window.ALL_THE_DATA = ")
    assert rest, f"no ALL_THE_DATA in {name[:200]}"
    records: list[dict[str, Any]] = json.JSONDecoder().raw_decode(rest)[0]
    return records


@contextlib.contextmanager
def _chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = require("chromium", "chromium")
    driver = require("chromedriver", "chromium-driver")
    with tempfile.TemporaryDirectory(prefix="wer-chromium-", ignore_cleanup_errors=True) as home:
        for switch in (*SWITCHES, f"--user-data-dir={home}/profile"):
            options.add_argument(switch)
        service = Service(driver, env={"PATH": os.environ["PATH"], "HOME": home})
        with webdriver.Chrome(options=options, service=service) as browser:
            yield browser


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass
