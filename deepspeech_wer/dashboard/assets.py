"""What has to be published, and in which order."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from deepspeech_wer.dashboard.badge import NAME as BADGE
from deepspeech_wer.dashboard.feed import NAME as FEED
from deepspeech_wer.dashboard.literal import fingerprint, javascript
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import LARGE, read

INDEX = Path("index.htm")
# Fixed names: others link to the first two, and js/hyper.js is the contract of 2016.
DATA = (Path(FEED), Path(BADGE), Path("js/hyper.js"), Path("js/merges.js"), Path("js/now.js"))
MANIFEST = Path(".manifest.json")  # not published: what `build` made, and from what
MANIFEST_VERSION = 3
_TOGETHER = 1000  # runs in a piece of the manifest
_TAGS = {"link": "href", "script": "src", "img": "src"}
_LOADED_LINKS = {"stylesheet", "icon", "preload", "modulepreload"}  # other links are addresses for people and feeds


Reference = tuple[str, str, bool]  # an address in a page, the local file, whether the browser loads it with the page


def assets(index: Path) -> list[Path]:
    """Return the local files that index.htm needs, relative to its directory. Raises Trouble for one outside of it."""
    return list(dict.fromkeys(Path(path) for _, path, _ in references(index.read_bytes(), index)))


def references(content: bytes, index: Path) -> list[Reference]:
    """Return each local file that a page names. `index` is its name in messages. Raises Trouble."""
    from bs4 import BeautifulSoup  # slow to import, and not needed in an idle tick

    found = []
    page = BeautifulSoup(content, "html.parser")
    for tag in page.find_all(list(_TAGS)):
        address = str(tag.get(_TAGS[tag.name]) or "")
        path = _local(address, index)
        if path:
            is_loaded = tag.name != "link" or not _LOADED_LINKS.isdisjoint(tag.get_attribute_list("rel"))
            found.append((address, path.as_posix(), is_loaded))
    return found


def site_files(site: Path) -> list[Path]:
    """Return all files to publish, relative to `site`, in an order in which the page works at any moment."""
    return list(map(Path, site_names(site)))


def site_names(site: Path) -> list[str]:
    """Return the same as text: 60,000 paths of 10,000 runs take long to make, and much memory."""
    if not (site / INDEX).is_file():
        raise Trouble(f"{site}: no index.htm: expected a built site, run `deepspeech-wer merge`")
    manifest = read_manifest(site)
    return [*manifest.get("sets", ()), *run_files(manifest), *_of_page(site, manifest)]


def count(site: Path, manifest: dict[str, Any]) -> int:
    """Return how many these are."""
    # A run has a script, and files if its first word is not empty, with a slash between any two.
    of_runs = [1 if run[:1] == " " else 2 + run.count("/", 0, run.find(" ")) for run in manifest["runs"].values()]
    return len(manifest.get("sets", ())) + sum(of_runs) + len(_of_page(site, manifest))


def _of_page(site: Path, manifest: dict[str, Any]) -> list[str]:
    data = [path for path in DATA if (site / path).is_file()]
    needed = [path for path in _noted(site, manifest) if path not in data]
    return list(map(str, (*needed, *data, INDEX)))


def _noted(site: Path, manifest: dict[str, Any]) -> list[Path]:
    """Return what index.htm needs, as the build noted it if that is its page."""
    if manifest.get("index") == fingerprint(read(site / INDEX)):
        return list(map(Path, manifest["assets"]))
    return assets(site / INDEX)


def read_manifest(site: Path) -> dict[str, Any]:
    """Return what `build` noted. A missing or damaged manifest reads as empty: then everything is built again.

    Its "runs" are what `noted` made, by the ids of runs.
    """
    try:
        manifest = json.loads(read(site / MANIFEST, LARGE))
        if manifest["version"] == 1:  # of an earlier release, as the next
            manifest["runs"] = {name: noted(run["files"], run["stamp"]) for name, run in manifest["runs"].items()}
        elif manifest["version"] == MANIFEST_VERSION:
            names, all_noted = manifest.pop("names"), manifest["runs"]
            manifest["runs"] = (
                dict(zip(map(sys.intern, names.split("/")), all_noted.split("\n"), strict=True)) if names else {}
            )
        if manifest["version"] <= MANIFEST_VERSION and all(type(run) is str for run in manifest["runs"].values()):
            return {**manifest, "version": MANIFEST_VERSION}
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
        pass
    return {"version": MANIFEST_VERSION, "page": [], "runs": {}}


def manifest_pieces(manifest: dict[str, Any]) -> Iterator[bytes]:
    """Yield what the file of a manifest holds. Of the runs it has two texts, which take less time than a record."""
    runs = manifest["runs"]
    yield javascript({name: value for name, value in manifest.items() if name != "runs"})[:-1].encode()
    for name, texts, between in (("names", list(runs), "/"), ("runs", list(runs.values()), "\n")):
        yield f',"{name}":"'.encode()
        for start in range(0, len(texts), _TOGETHER):  # at once, they would be in memory three times
            piece = f"{between if start else ''}{between.join(texts[start : start + _TOGETHER])}"
            yield javascript(piece)[1:-1].encode()
        yield b'"'
    yield b"}"


def noted(files: Iterable[str], stamp: str) -> str:
    """Return what the manifest says of a run: a text, since 10,000 lists and dictionaries take long and much memory.

    `files` are those of its directory to publish, `stamp` tells what they and its script were made from.
    """
    return f"{'/'.join(files)} {stamp}"


def files_of(run: str) -> list[str]:
    """Return the files that `noted` was given."""
    return list(filter(None, run.partition(" ")[0].split("/")))


def run_files(manifest: dict[str, Any]) -> Iterator[str]:
    """Yield the per-run files, which no scan of index.htm can find; each run's script after what it links to."""
    for name, run in manifest["runs"].items():
        yield from (f"runs/{name}/{file}" for file in files_of(run))
        yield f"runs/{name}.js"


def _local(address: str, index: Path) -> Path | None:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    path = PurePosixPath(unquote(parts.path))
    if path.is_absolute() or ".." in path.parts:
        raise Trouble(f"{index}: {address}: outside of the site, expected an address relative to the page")
    return Path(path)
