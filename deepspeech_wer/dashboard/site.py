"""Runs -> site directory. Files that need no change are not touched, so that publishing sees what is new.

Whatever the browser loads together with index.htm has its content's hash in its name (js/page.<hash>.js): somebody who
opens the page while it is being published, or whose browser keeps old files, never gets files of two versions.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from deepspeech_wer import run_table
from deepspeech_wer.configuration.settings import PublishedLogs
from deepspeech_wer.dashboard.assets import (
    INDEX,
    MANIFEST,
    MANIFEST_VERSION,
    manifest_pieces,
    noted,
    read_manifest,
    references,
    run_files,
)
from deepspeech_wer.dashboard.assets import files_of as noted_files
from deepspeech_wer.dashboard.badge import NAME as BADGE
from deepspeech_wer.dashboard.badge import svg
from deepspeech_wer.dashboard.bundle import bundled
from deepspeech_wer.dashboard.details import DETAILS, FILES, Files, details, files_in, regular_files
from deepspeech_wer.dashboard.feed import NAME as FEED
from deepspeech_wer.dashboard.feed import atom
from deepspeech_wer.dashboard.heard import EDITS, Heard, record_without_paths
from deepspeech_wer.dashboard.heard import as_seen as transcripts_as_seen
from deepspeech_wer.dashboard.hyper_js import line
from deepspeech_wer.dashboard.hyper_js import write as write_hyper
from deepspeech_wer.dashboard.judged import Judged
from deepspeech_wer.dashboard.literal import fingerprint
from deepspeech_wer.dashboard.logs import NAMES, WHOLE, shown
from deepspeech_wer.dashboard.masked_json import as_seen, trimmed
from deepspeech_wer.dashboard.news import Known
from deepspeech_wer.dashboard.project import Project
from deepspeech_wer.dashboard.scripts import VERSION, index_js, merges_js, run_js
from deepspeech_wer.dashboard.spliced import Mark
from deepspeech_wer.errors import Trouble
from deepspeech_wer.files import LARGE, PARTIAL, is_partial, link_or_copy, open_file, remove_partial, write_atomically
from deepspeech_wer.files import read as read_file
from deepspeech_wer.records import Run
from deepspeech_wer.run_table import Table

WEBSITE = Path(__file__).parent.parent / "website"
_LAST_RULE = b"form-action 'none'"  # of the content security policy in index.htm
INDEX_JS = "js/index.js"  # as index.htm calls it; what the page opens from

log = logging.getLogger(__name__)


def _files_of(runs: Table) -> Iterable[Files]:
    return (files_in(run.directory) for run in runs)


def build(
    runs: Sequence[Run],
    site: Path,
    *,
    project: Project,
    line: Callable[[Run], bytes] = line,
    whole: Callable[[Run], Run] = lambda run: run,
    files: Callable[[Table], Iterable[Files]] = _files_of,
    mark: Callable[[str], Mark | None] = lambda _: None,
    logs: PublishedLogs = WHOLE,
    judged: Judged | None = None,
    heard: Heard | None = None,
    looked_at: Callable[[Sequence[str]], Iterable[str]] = list,
) -> dict[str, Any]:
    """Bring `site` up to date: first per-run files, data and page, then index.htm; then remove what is not needed.

    Returns the manifest.

    `line` returns a run's line of js/hyper.js, `whole` the run with all of the job's record; it may raise Trouble, and
    the run is then left out. `files` returns those of the runs' directories. With the `mark` of each line,
    js/hyper.js is copied from the one before, as far as it has them. `logs` says which logs visitors see; the caller
    leaves other quotes of them out of `runs`. Of the ids, `looked_at` returns those of the runs whose built files may
    be others than this program made. The site works at any moment; after an interruption the next call
    completes it.
    """
    for directory in ("js", "runs"):
        (site / directory).mkdir(parents=True, exist_ok=True)
    before, heard = read_manifest(site), heard or Heard()
    ordered = run_table.of(runs).in_order()
    made = _build_runs(ordered, _Source(whole, files, looked_at, logs, heard), site, before["runs"])
    ordered = ordered.only([place for place, name in enumerate(ordered.column("id")) if name in made])
    sets = _build_sets(heard, made, site, logs)
    judged = judged or Judged()
    own = ordered.own  # the page shows a re-training with the run that it repeats
    write_hyper(site / "js/hyper.js", ordered, line, mark)
    merges = _written(site / "js/merges.js", *merges_js(own, judged))
    known = Known(judged.record, ordered.find, logs, judged.heads)
    _write_changed(site / FEED, atom(ordered, known, project))
    _write_changed(site / BADGE, svg(own, judged.headline and judged.headline[0], project))
    names, of_page = _build_page(partial(index_js, own, project, merges, judged), project, site, before)
    after = {"version": MANIFEST_VERSION, "page": names, **of_page, "sets": sets, "runs": made}
    if made != before["runs"]:
        os.sync()  # before the manifest lists them; flushing 10,000 files one by one takes a minute
    # Earlier versions of this program made js/index.js.
    _remove((_changed_files(before, after) | {INDEX_JS}) - _changed_files(after, before), site)
    _write_manifest(site, after)
    return after


def _build_page(
    make_data: Callable[[], bytes], project: Project, site: Path, before: Mapping[str, Any]
) -> tuple[list[str], dict[str, Any]]:
    """Write the files of the page, then index.htm. Return their names, and what to note of the page.

    `make_data` returns js/index.js. It is called here so that no caller keeps the bytes. `before` is the manifest.
    """
    new = _unless_only_looked_at(make_data(), before["page"], site)
    page, files, of_page = _page({INDEX_JS: new, **_static_files()}, project, before)
    if not files.keys() <= set(before["page"]):  # noted first, so that the next build removes them after a crash
        _write_manifest(site, {**before, "page": [*before["page"], *files]})
    for name, content in files.items():
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        _write_changed(site / name, content)
    _write_changed(site / INDEX, page)
    return list(files), of_page


class _Source(NamedTuple):
    """What the files of a run are made of."""

    whole: Callable[[Run], Run]
    files: Callable[[Table], Iterable[Files]]
    looked_at: Callable[[Sequence[str]], Iterable[str]]
    logs: PublishedLogs
    heard: Heard


def _build_runs(runs: Table, source: _Source, site: Path, before: Mapping[str, str]) -> dict[str, str]:
    """Build the files of runs, and return what to note of each.

    Archived runs do not change: one that was built from the same files is not read again. Somebody may have removed
    some of what was built.
    """
    made = {}
    start = f" {VERSION}.{DETAILS} {source.logs.mode} "
    heard, files = source.heard.stamp, source.files(runs)
    looked_at = set(source.looked_at(runs.column("id")))
    with _Published(site) as published:
        for place, (name, (names, digest)) in enumerate(zip(runs.column("id"), files, strict=True)):
            stamp = f"{start}{digest} {heard(name)}".rstrip()
            last = before.get(name, "")
            if last.endswith(stamp) and (name not in looked_at or published.holds(name, last)):
                made[name] = last
                continue
            try:
                made[name] = noted(_build_anew(runs[place], names, source, site), stamp[1:])
            except Trouble as trouble:
                log.warning("skipping a run: %s", trouble)
    return made


def _build_anew(run: Run, names: str, source: _Source, site: Path) -> list[str]:
    """Build the files of a run, and return which ones its directory has. Raises Trouble if it cannot be read.

    `names` are those of the archived files, see `details.Files`.
    """
    hidden = NAMES if source.logs.mode == "none" else ()
    there = set(names.split("/")) - set(hidden)
    files = [name for name in FILES if name in there]
    remove_partial(site / "runs" / run.id)
    if run.rerun_of is None and source.heard.edits(run.id):
        files.append(EDITS)
    _build_run(source.whole(run), regular_files(run.directory), files, source, site)
    return files


class _Published:
    """Tells whether the files of runs are still in the site. A run's script is written after its directory's files."""

    def __init__(self, site: Path) -> None:
        self._runs = site / "runs"

    def __enter__(self) -> _Published:
        self._descriptor = os.open(self._runs, os.O_RDONLY | os.O_DIRECTORY)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def holds(self, run: str, last: str) -> bool:
        """Return whether a run's directory has what was noted of it."""
        script = f"{run}.js"
        try:
            # A directory's time changes with the names in it, and a look at it takes a quarter of the time.
            changed_at = self._time(run)
            if changed_at <= self._time(script):
                return True
            with os.scandir(self._runs / run) as entries:
                there = {entry.name for entry in entries}
            is_whole = there.issuperset(noted_files(last)) and not any(is_partial(name) for name in there)
            if is_whole:  # somebody added a file, or the clock was set back: the next look need not list it again
                os.utime(script, ns=(changed_at, changed_at), dir_fd=self._descriptor)
        except OSError:
            return False
        return is_whole

    def _time(self, name: str) -> int:
        return os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mtime_ns


def _build_run(run: Run, found: dict[str, os.stat_result], files: Iterable[str], source: _Source, site: Path) -> None:
    ends = {log.name: log for log in shown(run, found, source.logs)}
    (site / "runs" / run.id).mkdir(exist_ok=True)
    sizes = {}
    for name in files:
        edits = source.heard.edits(run.id) if name == EDITS else None
        if edits:
            _put_as_seen(edits, site / "runs" / run.id / name, source.logs)
            continue
        data = ends[name].data if name in ends else as_seen(run.directory / name, source.logs)
        sizes[name] = found[name].st_size if data is None else len(data)
        if data is None:
            link_or_copy(run.directory / name, site / "runs" / run.id / name)
        else:
            _put(data, site / "runs" / run.id / name)
    more = details(run, found, sizes, [log.end for log in ends.values()])
    heard = source.heard.record(run.id)
    more["heard"] = heard and record_without_paths(heard, lambda text: trimmed(text, source.logs))
    _put(run_js(run, more), site / "runs" / f"{run.id}.js")


def _build_sets(heard: Heard, runs: Iterable[str], site: Path, logs: PublishedLogs) -> list[str]:
    """Link the test sets of runs. Their names come from their content, so those that are there stay.

    What names an utterance may be a path of this machine, and a transcript may be anything. They are trimmed whatever
    ds_publish_logs says: it may change while the set stays.
    """
    wanted = heard.sets(runs)
    for name, source in wanted.items():
        target = site / name
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            _put_as_seen(source, target, logs)
    return list(wanted)


def _put_as_seen(source: Path, target: Path, logs: PublishedLogs) -> None:
    seen = transcripts_as_seen(read_file(source, LARGE), lambda text: trimmed(text, logs))
    if seen is None:
        link_or_copy(source, target)
    else:
        _put(seen, target)


def _static_files() -> dict[str, bytes]:
    files = {path.relative_to(WEBSITE).as_posix(): path for path in sorted(WEBSITE.rglob("*")) if path.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name != INDEX.name and path.suffix != ".ts"}


def _page(
    files: Mapping[str, bytes], project: Project, before: Mapping[str, Any]
) -> tuple[bytes, dict[str, bytes], dict[str, Any]]:
    """Return index.htm; all other files of the page under the names that it gives them; what to note of it.

    Its scripts are one. `before` is the manifest: what the page names is not looked for again in the same page.
    """
    page, files = bundled((WEBSITE / INDEX).read_bytes(), files)
    page = page.replace(_LAST_RULE, _LAST_RULE + _media_rule(project.audio))
    template, hashed = fingerprint(page), {}
    named = before["references"] if before.get("template") == template else references(page, WEBSITE / INDEX)
    for address, name, is_loaded in named:
        if is_loaded:
            path = PurePosixPath(name)
            hashed[name] = path.with_name(f"{path.stem}.{fingerprint(files[name])}{path.suffix}").as_posix()
            page = page.replace(f'"{address}"'.encode(), f'"{hashed[name]}"'.encode())
    assets = list(dict.fromkeys(hashed.get(name, name) for _, name, _ in named))
    noted = {"template": template, "references": named, "index": fingerprint(page), "assets": assets}
    return page, {hashed.get(name, name): content for name, content in files.items()}, noted


def _media_rule(audio: str | None) -> bytes:
    """Return the rule of the content security policy that lets the page play recordings, from one place alone."""
    if not audio:
        return b""
    parts = urlsplit(audio)
    source = f"{parts.scheme}://{parts.netloc}" if parts.netloc else "'self'"
    return f"; media-src {source}".encode()


def _unless_only_looked_at(new: bytes, names: Iterable[str], site: Path) -> bytes:
    """Return the data built before where it differs in the first line alone, which tells when the tracker looked."""
    start, _, end = INDEX_JS.rpartition(".")
    rest = memoryview(new)[new.index(b"\n") + 1 :]
    for name in names:
        if name.startswith(f"{start}.") and name.endswith(f".{end}"):
            with suppress(FileNotFoundError, IsADirectoryError), open_file(site / name) as stream:
                first, size = stream.readline(), os.fstat(stream.fileno()).st_size
                if size - len(first) == len(rest) and stream.read() == rest:
                    return first + rest
    return new


def _write_manifest(site: Path, manifest: dict[str, Any]) -> None:
    _write_changed(site / MANIFEST, *manifest_pieces(manifest))


def _write_changed(path: Path, *data: bytes) -> None:
    """Write `path` unless it has this content already, which is these pieces: then its mtime stays as well."""
    with suppress(FileNotFoundError):
        if path.stat().st_size == sum(map(len, data)) and path.read_bytes() == b"".join(data):
            return
    write_atomically(path, data)


def _written(path: Path, *data: bytes) -> str:
    """Write `path` as `_write_changed` does, and return the fingerprint of its content."""
    _write_changed(path, *data)
    return fingerprint(*data)


def _put(data: bytes, target: Path) -> None:
    """Replace `target` without waiting for the disk."""
    beside = target.with_name(f".{target.name}.{os.getpid()}{PARTIAL}")
    beside.write_bytes(data)
    beside.replace(target)


def _changed_files(manifest: dict[str, Any], other: dict[str, Any]) -> set[str]:
    """Return the files of one manifest, except those of runs that are the same in the other."""
    runs = {name: run for name, run in manifest["runs"].items() if run != other["runs"].get(name)}
    return {*manifest["page"], *manifest.get("sets", ()), *run_files({"runs": runs})}


def _remove(names: Iterable[str], site: Path) -> None:
    for name in names:
        path = site / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            continue  # a damaged manifest must not reach out of the site
        path.unlink(missing_ok=True)
        if (
            path.parent.parent in (site / "runs", site / "sets")
            and path.parent.is_dir()
            and not any(path.parent.iterdir())
        ):
            path.parent.rmdir()
