"""Runs -> site directory. What is already right is not touched, so that publishing sees what is new."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from deepspeech_wer import archive
from deepspeech_wer.dashboard.assets import INDEX, MANIFEST, read_manifest, run_files
from deepspeech_wer.dashboard.details import FILES, details, regular_files
from deepspeech_wer.dashboard.project import Project
from deepspeech_wer.dashboard.scripts import (
    VERSION,
    fingerprint,
    hyper_js,
    index_js,
    javascript,
    merges_js,
    run_js,
)
from deepspeech_wer.files import PARTIAL, write_atomically
from deepspeech_wer.records import Run

WEBSITE = Path(__file__).parent.parent / "website"
_ADDRESS = re.compile(rb'((?:src|href)=")((?:js|css|vendor)/[^"?#]+)(")')


def build(runs: Sequence[Run], site: Path, *, project: Project) -> None:
    """Bring `site` up to date: per-run files, data and page first, index.htm last, then what is no longer needed goes.

    Interrupted at any moment the site works, and the next call finishes it.
    """
    for directory in ("js", "runs"):
        (site / directory).mkdir(parents=True, exist_ok=True)
    before = read_manifest(site)
    made = {run.id: _build_run(run, site, before["runs"].get(run.id)) for run in archive.in_order(runs)}
    page = _build_page(site)
    _build_data(runs, site, project)
    _write_changed(site / INDEX, _stamped((WEBSITE / INDEX).read_bytes(), site))
    after = {"version": VERSION, "page": page, "runs": made}
    if made != before["runs"]:
        os.sync()  # before the manifest says that they are there; to flush each of ten thousand alone takes a minute
    _remove(_files(before) - _files(after), site)
    _write_changed(site / MANIFEST, javascript(after).encode())


def _build_run(run: Run, site: Path, before: dict[str, Any] | None) -> dict[str, Any]:
    """Archived runs do not change: one that was built from the same files is left alone unread."""
    found = regular_files(run.directory)
    stamp = f"{VERSION} {sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in found.items())}"
    files = [name for name in FILES if name in found]
    made = {"stamp": fingerprint(stamp.encode()), "files": files}
    script = site / "runs" / f"{run.id}.js"
    if made != before or not script.exists() or not _holds(site / "runs" / run.id, files):
        (site / "runs" / run.id).mkdir(exist_ok=True)
        for name in files:
            _link(run.directory / name, site / "runs" / run.id / name)
        _put(run_js(run, details(run, found)), script)
    return made


def _holds(directory: Path, names: list[str]) -> bool:
    try:
        return set(names) <= {entry.name for entry in os.scandir(directory)}
    except FileNotFoundError:
        return False


def _build_page(site: Path) -> list[str]:
    """Copy the page's own files and return their names."""
    names = [path.relative_to(WEBSITE).as_posix() for path in sorted(WEBSITE.rglob("*")) if path.is_file()]
    names.remove(INDEX.name)
    for name in names:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        _write_changed(site / name, (WEBSITE / name).read_bytes())
    return names


def _build_data(runs: Sequence[Run], site: Path, project: Project) -> None:
    merges = merges_js(runs)
    _write_changed(site / "js/hyper.js", hyper_js(runs))
    _write_changed(site / "js/merges.js", merges)
    _write_changed(site / "js/index.js", index_js(runs, project, merges), same=_same_but_looked_at)


def _same_but_looked_at(old: bytes, new: bytes) -> bool:
    return old.partition(b"\n")[2] == new.partition(b"\n")[2]


def _stamped(page: bytes, site: Path) -> bytes:
    """Put each file's fingerprint behind its address: a browser that keeps old files never mixes them with new ones."""

    def stamp(match: re.Match[bytes]) -> bytes:
        data = (site / os.fsdecode(match[2])).read_bytes()
        return match[1] + match[2] + b"?" + fingerprint(data).encode() + match[3]

    return _ADDRESS.sub(stamp, page)


def _write_changed(path: Path, data: bytes, *, same: Callable[[bytes, bytes], bool] = bytes.__eq__) -> None:
    """Write `path` unless it already says the same: then its time of change stays too."""
    try:
        if same(path.read_bytes(), data):
            return
    except FileNotFoundError:
        pass
    write_atomically(path, data)


def _put(data: bytes, target: Path) -> None:
    """Replace `target` without waiting for the disk."""
    beside = target.with_name(f".{target.name}{PARTIAL}")
    beside.write_bytes(data)
    beside.replace(target)


def _link(source: Path, target: Path) -> None:
    """Make `target` the same file, or a copy of it where the file system has no hard links."""
    beside = target.with_name(f".{target.name}{PARTIAL}")
    beside.unlink(missing_ok=True)
    try:
        os.link(source, beside, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, beside, follow_symlinks=False)
    beside.replace(target)
    beside.unlink(missing_ok=True)  # rename(2) does nothing between two names of one file


def _files(manifest: dict[str, Any]) -> set[str]:
    return {*manifest["page"], *run_files(manifest)}


def _remove(names: Iterable[str], site: Path) -> None:
    for name in names:
        path = site / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            continue  # a damaged manifest must not reach out of the site
        path.unlink(missing_ok=True)
        if path.parent.parent == site / "runs" and path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
