"""A publish from the first look at the server to the last rename. Imported only where one is made."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import pipeline, plan, remote
from deepspeech_wer.publish import site as sites
from deepspeech_wer.publish.connection import Dropped, connected, where
from deepspeech_wer.publish.pipeline import Lost, Pipeline, Refused, Task
from deepspeech_wer.publish.plan import INDEX, MANIFEST, NEXT, STATE, Entry, Manifest, Plan, Seen
from deepspeech_wer.publish.remote import Attributes, Source
from deepspeech_wer.publish.report import Report
from deepspeech_wer.settings import Website

FILES_AT_ONCE = 64  # handles that any server has to spare


@dataclass(frozen=True)
class Options:
    """How to publish."""

    dry_run: bool
    adopt: bool
    progress: Callable[[int, int], None] | None
    timeout_s: float


@dataclass(frozen=True)
class Server:
    """An open session, and what its other end can do."""

    session: Pipeline
    website: Website

    @property
    def atomic(self) -> bool:
        """Whether a file can be replaced in one step."""
        return self.session.extensions.get("posix-rename@openssh.com") == "1"

    def path(self, path: str) -> str:
        """The server's path of a file in the web root."""
        root = self.website.server_root
        return f"{root.rstrip('/')}/{path}" if path else root

    def run(self, what: str, tasks: Mapping[str, Task[remote.T]]) -> dict[str, remote.T]:
        """Run one task per path; the first refusal becomes Trouble that names its path."""
        named = [_named(self.path(path), what, task) for path, task in tasks.items()]
        return dict(zip(tasks, self.session.run(named, at_once=FILES_AT_ONCE), strict=True))


@dataclass(frozen=True)
class Found:
    """What was on the server before."""

    current: Manifest | None
    unfinished: Manifest | None
    seen: dict[str, Seen]
    directories: frozenset[str]
    root_names: frozenset[str]


def publish(
    site: Path, files: Sequence[str], website: Website, options: Options, retry_after_s: Sequence[float]
) -> Report:
    """See deepspeech_wer.publish.publish."""
    started = time.monotonic()
    for wait_s in (*retry_after_s, None):
        try:
            return _publish_once(site, files, website, options, started)
        except Dropped as error:
            if wait_s is None:
                tries = len(retry_after_s) + 1
                raise Trouble(f"{error} (tried {tries} times; what was sent is not sent again)") from error
            time.sleep(wait_s)
    raise AssertionError("unreachable")


def _publish_once(site: Path, files: Sequence[str], website: Website, options: Options, started: float) -> Report:
    with connected(website, timeout_s=options.timeout_s) as connection:
        channel = connection.open_sftp()
        try:
            server = Server(Pipeline(channel), website)
            found = _look(server, files)
            wanted = sites.read(site, files, _records(found))
            todo = plan.make(
                {path: local.entry for path, local in wanted.items()}, found.current, found.unfinished, found.seen
            )
            _check(server, found, todo, adopt=options.adopt)
            if not options.dry_run and todo.manifest is not None:
                _carry_out(server, found, wanted, todo, todo.manifest, options.progress)
            return _report(todo, wanted, started, options, server)
        except Lost as error:
            raise Dropped(f"{where(website)}: {error}") from error


def _look(server: Server, files: Sequence[str]) -> Found:
    """Read the manifests and list every directory that holds, or is to hold, files of ours."""
    directories = ["", *plan.directories(files)]
    manifests, listings = _read(server, [MANIFEST, NEXT], directories)
    if listings[""] is None:
        raise Trouble(
            f"{where(server.website)}: {server.path('')}: no such directory: "
            "make it on the server, or correct ds_website_server_root"
        )
    current, unfinished = (_manifest(server, path, manifests[path]) for path in (MANIFEST, NEXT))
    owned = [path for manifest in (current, unfinished) if manifest for path in (*manifest.files, *manifest.kept)]
    more = [path for path in plan.directories(owned) if path not in listings]
    listings.update(_read(server, [], more)[1])
    return Found(current, unfinished, *_seen(listings), frozenset(listings[""]))


def _read(
    server: Server, files: Sequence[str], directories: Sequence[str]
) -> tuple[dict[str, bytes | None], dict[str, dict[str, Attributes] | None]]:
    tasks: dict[str, Task[bytes | dict[str, Attributes] | None]] = {
        **{path: remote.read_file(server.path(path)) for path in files},
        **{path: remote.list_directory(server.path(path)) for path in directories},
    }
    results = server.run("read", tasks)
    return {path: results[path] for path in files}, {path: results[path] for path in directories}  # type: ignore[misc]


def _seen(listings: Mapping[str, dict[str, Attributes] | None]) -> tuple[dict[str, Seen], frozenset[str]]:
    seen, directories = {}, set()
    for directory, entries in listings.items():
        if entries is None:
            continue
        directories.add(directory)
        for name, attributes in entries.items():
            if not attributes.is_directory():
                seen[f"{directory}/{name}" if directory else name] = Seen(attributes.size, attributes.mtime)
    return seen, frozenset(directories)


def _manifest(server: Server, path: str, data: bytes | None) -> Manifest | None:
    if data is None:
        return None
    try:
        return plan.parse(data)
    except ValueError as error:
        if path == NEXT:  # cut short by a kill: it says nothing, and `current` holds
            return None
        raise Trouble(
            f"{where(server.website)}: {server.path(path)}: {error}: it says which files are ours, so nothing was "
            "touched; remove it on the server and publish with --adopt"
        ) from error


def _records(found: Found) -> dict[str, Entry]:
    return dict(found.current.files) if found.current else {}


def _check(server: Server, found: Found, todo: Plan, *, adopt: bool) -> None:
    """The web root rules. Raises Trouble with what is in the way."""
    names = found.root_names - {STATE}
    of_2016 = {".htaccess", INDEX} <= names
    if not names or adopt:
        return
    if found.current is None and found.unfinished is None and not of_2016:
        raise Trouble(
            f"{where(server.website)}: {server.path('')}: holds {_some(sorted(names))}: expected an empty directory, "
            f"or one with .htaccess and {INDEX}, or a site published from here; nothing was touched. Is it the "
            "right one (ds_website_server_root)? If so: publish --adopt"
        )
    foreign = [path for path in todo.foreign if not (of_2016 and path == INDEX and found.current is None)]
    if foreign:
        raise Trouble(
            f"{where(server.website)}: {server.path('')}: {_some(foreign)}: not published from here, and in the way; "
            "nothing was touched. To replace it: publish --adopt"
        )


def _carry_out(
    server: Server,
    found: Found,
    wanted: Mapping[str, sites.Local],
    todo: Plan,
    manifest: Manifest,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Upload everything beside its place, then rename: data first, index.htm last, then the manifest."""
    _make_directories(server, found, [*manifest.files, NEXT])
    _write_state(server, NEXT, plan.dump(manifest))
    sending = [step.path for step in todo.send]
    _upload(server, found, {path: wanted[path] for path in sending}, manifest, progress)
    for stage in ([path for path in sending if path != INDEX], [path for path in sending if path == INDEX]):
        server.run(
            "put in place",
            {
                path: remote.replace(server.path(_beside(path, manifest)), server.path(path), atomic=server.atomic)
                for path in stage
            },
        )
    server.run(
        "put in place", {MANIFEST: remote.replace(server.path(NEXT), server.path(MANIFEST), atomic=server.atomic)}
    )
    _tidy(server, found, manifest, [step.path for step in todo.remove])


def _make_directories(server: Server, found: Found, paths: Sequence[str]) -> None:
    missing = [path for path in plan.directories(paths) if path not in found.directories]
    mode = server.website.modes[1]
    for depth in sorted({path.count("/") for path in missing}):
        level = [path for path in missing if path.count("/") == depth]
        server.run("make", {path: remote.make_directory(server.path(path), mode) for path in level})


def _write_state(server: Server, path: str, data: bytes) -> None:
    """Write a small file of our own state atomically."""
    beside = server.path(f"{path}.partial")
    source = Source((data,), server.website.modes[0], None)

    def task() -> Task[None]:
        yield from remote.remove(beside)
        yield from remote.write_new(beside, source)
        yield from remote.replace(beside, server.path(path), atomic=server.atomic)

    server.run("write", {path: task()})


def _upload(
    server: Server,
    found: Found,
    files: Mapping[str, sites.Local],
    manifest: Manifest,
    progress: Callable[[int, int], None] | None,
) -> None:
    total = sum(local.entry.size for local in files.values())
    done = 0

    def chunks(local: sites.Local) -> Iterator[bytes]:
        nonlocal done
        for chunk in local.chunks(remote.WRITE_BYTES):
            yield chunk
            done += len(chunk)
            if progress:
                progress(done, total)

    def task(path: str, local: sites.Local) -> Task[None]:
        beside, entry = _beside(path, manifest), manifest.files[path]
        there = found.seen.get(beside)
        if there is not None:
            if there == Seen(entry.size, entry.mtime):  # a killed publish got so far: the time is set last
                return
            yield from remote.remove(server.path(beside))
        source = Source(chunks(local), server.website.modes[0], entry.mtime)
        yield from remote.write_new(server.path(beside), source)

    server.run("write", {path: task(path, local) for path, local in files.items()})


def _tidy(server: Server, found: Found, manifest: Manifest, remove: Sequence[str]) -> None:
    """Remove what no visitor needs any more, and what a killed publish left beside its place."""
    left = [path for path in plan.temporaries(found.unfinished) if path in found.seen]
    used = {_beside(path, manifest) for path in manifest.files}
    gone = [*remove, *(path for path in left if path not in used)]
    server.run("remove", {path: remote.remove(server.path(path)) for path in gone})
    needed = set(plan.directories([*manifest.files, *manifest.kept, MANIFEST]))
    for directory in reversed(plan.directories(remove)):
        if directory not in needed:
            server.run("remove", {directory: remote.remove_directory(server.path(directory))})


def _beside(path: str, manifest: Manifest) -> str:
    return plan.temporary(path, manifest.files[path].sha256)


def _report(todo: Plan, wanted: Mapping[str, sites.Local], started: float, options: Options, server: Server) -> Report:
    lines = [f"send    {step.path} ({wanted[step.path].entry.size:,} bytes): {step.why}" for step in todo.send]
    lines += [f"remove  {step.path}: {step.why}" for step in todo.remove]
    notes = [] if server.atomic else [f"{where(server.website)}: no posix-rename: a file is away while it is replaced"]
    return Report(
        sent=tuple(step.path for step in todo.send),
        kept=todo.keep,
        removed=tuple(step.path for step in todo.remove),
        size=sum(wanted[step.path].entry.size for step in todo.send),
        seconds=time.monotonic() - started,
        lines=tuple(lines) if options.dry_run else (),
        notes=tuple(notes),
    )


def _named(path: str, what: str, task: Task[remote.T]) -> Task[remote.T]:
    """A task whose refusals say which file and what was tried."""
    try:
        return (yield from task)
    except Refused as refusal:
        _explain(path, what, refusal)
    except OSError as error:
        raise Trouble(f"{error.filename}: cannot be read: {error.strerror}: build the site again") from error


def _explain(path: str, what: str, refusal: Refused) -> NoReturn:
    cure = {
        pipeline.PERMISSION_DENIED: "give that user the right to write there",
        pipeline.NO_SUCH_FILE: "it went away meanwhile: publish again",
        pipeline.FAILURE: "is the disk or the quota full, or something else of that name there?",
    }.get(refusal.code, "the visitors still have the whole site as it was")
    raise Trouble(f"the server could not {what} {path} ({refusal.text}): {cure}") from refusal


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) if not name.isprintable() else name for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"
