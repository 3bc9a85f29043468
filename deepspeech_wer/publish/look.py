"""What is on the server: its manifests, and a listing of every directory that holds, or is to hold, files of ours."""

from __future__ import annotations

import stat
import zlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan
from deepspeech_wer.publish.plan import INDEX, MANIFEST, NEXT, OLD, STATE, Manifest, Plan, Seen
from deepspeech_wer.publish.server import Server, some
from deepspeech_wer.sftp import files as remote
from deepspeech_wer.sftp.files import Attributes
from deepspeech_wer.sftp.pipeline import Task

FEW = 64  # directories that are listed without a thought
MANIFEST_BYTES = 64  # a file, packed
CHECKED_EVERY = 8  # publishes: how often some directories that seem untouched are listed all the same
CHECKED_PARTS = 8  # and which part of them at a time


@dataclass(frozen=True)
class Found:
    """What was on the server before."""

    current: Manifest | None
    unfinished: Manifest | None  # of a publish that did not come to its end
    seen: Mapping[str, Seen]  # every file
    directories: frozenset[str]
    root_names: frozenset[str]

    @property
    def stamp(self) -> tuple[Seen | None, Seen | None]:
        """Differs after another publish."""
        return self.seen.get(MANIFEST), self.seen.get(NEXT)


def look(server: Server, files: Sequence[str], recent: Collection[str] = ()) -> Found:
    """Two round trips; more where directories are many, or long, or of files that vanished. Raises Trouble.

    `recent`: of many directories, a few in which something may have changed since the last publish.
    """
    wanted = plan.directories(files)
    deep = [path for path in wanted if "/" in path]
    first = wanted if len(deep) <= FEW else [path for path in wanted if "/" not in path or path in recent]
    sizes = {**_entries_expected([*files, *wanted]), MANIFEST: len(files) * MANIFEST_BYTES}
    manifests, listings = _read(server, [MANIFEST, NEXT], ["", STATE, OLD, *first], sizes)
    root = listings[""]
    if root is None:
        raise Trouble(
            f"{server.name}: {server.path()}: no such directory: make it on the server, or correct "
            "ds_website_server_root"
        )
    current, unfinished = (_manifest(server, path, manifests[path]) for path in (MANIFEST, NEXT))
    owned = [path for manifest in (current, unfinished) if manifest for path in (*manifest.files, *manifest.kept)]
    more = [path for path in plan.directories([*files, *owned]) if not _is_known(path, listings)]
    settled = current is not None and unfinished is None and len(more) > FEW
    trusted = _untouched(server, more, listings, current) if current and settled else frozenset[str]()
    listings |= _read(server, [], [path for path in more if path not in trusted], sizes)[1]
    seen, directories = _seen(listings)
    return Found(current, unfinished, {**_recorded(current, trusted), **seen}, directories | trusted, frozenset(root))


def _is_known(path: str, listings: Mapping[str, dict[str, Attributes] | None]) -> bool:
    """Whether a directory has been listed, or its parent has been, where it is missing."""
    parent, _, name = path.rpartition("/")
    return path in listings or (parent in listings and name not in (listings[parent] or {}))


def _untouched(
    server: Server, directories: Sequence[str], listings: Mapping[str, dict[str, Attributes] | None], current: Manifest
) -> frozenset[str]:
    """Those of many directories that need no listing.

    By their own times, which their parents' listings show, nothing in them came, went or was renamed since the manifest
    was written; both times are the server's. A file that was only written into does not show there, so now and then a
    part is listed all the same, a different one each time.
    """
    written = (listings[STATE] or {}).get(MANIFEST.removeprefix(f"{STATE}/"))
    if not server.is_openssh or written is None or written.mtime is None:  # elsewhere such times may mean nothing
        return frozenset()
    turn, pause = divmod(current.generation, CHECKED_EVERY)
    found = set()
    for path in directories:
        parent, _, name = path.rpartition("/")
        there = (listings.get(parent) or {}).get(name)
        due = not pause and (zlib.crc32(path.encode("utf-8", "surrogateescape")) - turn) % CHECKED_PARTS == 0
        if there and there.is_directory() and there.mtime and there.mtime < written.mtime and not due:
            found.add(path)
    return frozenset(found)


def _recorded(current: Manifest | None, directories: Collection[str]) -> dict[str, Seen]:
    """What the manifest says of the files in these directories, as if listed."""
    if current is None or not directories:
        return {}
    return {
        path: Seen(entry.size, entry.mtime)
        for path, entry in (*current.files.items(), *current.kept.items())
        if path.rpartition("/")[0] in directories
    }


def stamp(server: Server) -> Task[tuple[Seen | None, Seen | None]]:
    """`Found.stamp` as it is now."""
    now = yield from remote.states([server.path(path) for path in (MANIFEST, NEXT)])
    current, unfinished = (_as_seen(attributes) if attributes else None for attributes in now)
    return current, unfinished


def check(server: Server, found: Found, todo: Plan, *, adopt: bool) -> None:
    """The rules of 2016 for a web root: empty, or .htaccess and index.htm there, or ours. Raises Trouble."""
    names = found.root_names - {STATE}
    ours = found.current is not None or found.unfinished is not None
    of_2016 = not ours and {".htaccess", INDEX} <= names
    if not names or adopt:
        return
    if not ours and not of_2016:
        raise Trouble(
            f"{server.name}: {server.path()}: holds {some(sorted(names))}: expected an empty directory, or one with "
            f".htaccess and {INDEX}, or a site published from here; nothing was touched. Is it the right one "
            "(ds_website_server_root)? If so: publish --adopt"
        )
    foreign = [path for path in todo.foreign if not (of_2016 and path == INDEX)]
    if foreign:
        raise Trouble(
            f"{server.name}: {server.path()}: {some(foreign)}: not published from here, and in the way; nothing was "
            "touched. To replace it: publish --adopt"
        )


def _entries_expected(paths: Sequence[str]) -> dict[str, int]:
    return Counter(path.rpartition("/")[0] for path in paths)


def _read(
    server: Server, files: Sequence[str], directories: Sequence[str], sizes: Mapping[str, int]
) -> tuple[dict[str, bytes | None], dict[str, dict[str, Attributes] | None]]:
    tasks: dict[str, Task[bytes | dict[str, Attributes] | None]] = {
        **{path: remote.list_directory(server.path(path), sizes.get(path, 0)) for path in directories},
        **{path: remote.read_file(server.path(path), sizes.get(path, 0)) for path in files},
    }
    if "" in directories:
        tasks["/"] = server.ask_limits()  # no path of ours
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
                seen[f"{directory}/{name}" if directory else name] = _as_seen(attributes)
    return seen, frozenset(directories)


def _as_seen(attributes: Attributes) -> Seen:
    mode = attributes.mode
    return Seen(attributes.size, attributes.mtime, None if mode is None else stat.S_IMODE(mode))


def _manifest(server: Server, path: str, data: bytes | None) -> Manifest | None:
    if data is None:
        return None
    try:
        return plan.parse(data)
    except ValueError as error:
        raise Trouble(
            f"{server.name}: {server.path(path)}: {error}: it says which files are ours, so nothing was touched; "
            "remove it on the server and publish with --adopt"
        ) from error
