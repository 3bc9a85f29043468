"""Helpers for the tests of publishing: a small site, publishing it, and reading the web root."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from deepspeech_wer.configuration.settings import Website
from deepspeech_wer.publish.publisher import publish
from deepspeech_wer.publish.report import Options, Report


def write(site: Path, files: dict[str, str | bytes]) -> None:
    """Write files below a directory."""
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content.encode() if isinstance(content, str) else content)


def write_page(site: Path, script: str, style: str = "", comment: str = "") -> None:
    """Write index.htm and what it loads, under names with their content's hash, as the dashboard does."""
    for old in (*site.glob("js/index.*.js"), *site.glob("css/app.*.css")):
        old.unlink()
    js, css = (hashlib.sha256(content.encode()).hexdigest()[:8] for content in (script, style))
    page = f'<!DOCTYPE html><script src="js/index.{js}.js"></script><link rel="stylesheet" href="css/app.{css}.css">'
    write(site, {f"js/index.{js}.js": script, f"css/app.{css}.css": style, "index.htm": f"{comment}{page}"})


def version(site: Path, number: int, size: int = 1000) -> None:
    """Write version `number` of a site: the page and every file that it loads contain the number."""
    mark = f"version {number} "
    write_page(site, mark * size, f"/* {mark}*/", f"<!-- {mark}-->")
    write(site, {"js/hyper.js": mark * size * 2, f"runs/{number}.js": mark})
    for path in files_of(site):  # a second apart, as real versions are
        os.utime(site / path, (1_480_000_000 + number,) * 2)


def files_of(site: Path) -> list[str]:
    """Return all files of a site, index.htm last."""
    files = sorted(str(file.relative_to(site)) for file in site.rglob("*") if file.is_file())
    return [*(path for path in files if path != "index.htm"), "index.htm"]


def put(site: Path, website: Website, **options: object) -> Report:
    """Publish a site, without retries."""
    given: dict[str, object] = {"retry_after_s": (), "lock_wait_s": 10.0, **options}
    return publish(site, files_of(site), website, Options(**given))  # type: ignore[arg-type]


def constructed(website: Website) -> str:
    """The expression that makes it; its repr keeps the passphrase to itself."""
    return f"Website({', '.join(f'{name}={value!r}' for name, value in vars(website).items())})"


def published(root: Path) -> dict[str, bytes]:
    """Return everything in the web root except our state."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in root.rglob("*")
        if file.is_file() and ".deepspeech_wer" not in file.parts
    }


def leftovers(root: Path) -> list[str]:
    """Return what a finished publish must not leave: temporary files and the lock."""
    return [str(file.relative_to(root)) for file in root.rglob("*") if re.search(r"partial|stale|lock|next", file.name)]


def load_page(root: Path) -> str:
    """Load index.htm and what it names, like a browser. Returns the version, or "mixed: ..."."""
    index = (root / "index.htm").read_text()
    mark = re.search(r"version (\d+) ", index)
    for path in re.findall(r'(?:src|href)="([^"]+)"', index):
        try:
            text = (root / path).read_text()
        except FileNotFoundError:
            now = re.search(r"version (\d+) ", (root / "index.htm").read_text())
            if (
                mark and now and int(now[1]) > int(mark[1]) + 1
            ):  # the read was so slow that two publishes came in between
                return "outdated"
            return f"mixed: {path} is not there"
        if mark is None or mark[0] not in text:
            return f"mixed: {index} loads {text[:60]}"
    return mark[0] if mark else "no version"


class Visitor(threading.Thread):
    """Loads the page repeatedly, like a browser, and records the versions."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root, self.seen, self.stop = root, Counter[str](), threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            self.seen[load_page(self.root)] += 1
            time.sleep(0.0005)


@contextlib.contextmanager
def visited(root: Path) -> Iterator[Counter[str]]:
    """Load the page repeatedly until the block ends. Yields the record."""
    visitor = Visitor(root)
    visitor.start()
    try:
        yield visitor.seen
    finally:
        visitor.stop.set()
        visitor.join()
