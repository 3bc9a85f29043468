"""What is on the server: its manifests, and a listing of every directory that holds, or is to hold, files of ours."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan, remote
from deepspeech_wer.publish.pipeline import Task
from deepspeech_wer.publish.plan import INDEX, MANIFEST, NEXT, OLD, STATE, Manifest, Plan, Seen
from deepspeech_wer.publish.remote import Attributes
from deepspeech_wer.publish.server import Server, some


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


def look(server: Server, files: Sequence[str]) -> Found:
    """Three round trips, four where the manifest knows of directories that the site does not. Raises Trouble."""
    manifests, listings = _read(server, [MANIFEST, NEXT], ["", STATE, OLD, *plan.directories(files)])
    root = listings[""]
    if root is None:
        raise Trouble(
            f"{server.name}: {server.path()}: no such directory: make it on the server, or correct "
            "ds_website_server_root"
        )
    current, unfinished = (_manifest(server, path, manifests[path]) for path in (MANIFEST, NEXT))
    owned = [path for manifest in (current, unfinished) if manifest for path in (*manifest.files, *manifest.kept)]
    more = [path for path in plan.directories(owned) if path not in listings]
    listings |= _read(server, [], more)[1]
    return Found(current, unfinished, *_seen(listings), frozenset(root))


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


def _read(
    server: Server, files: Sequence[str], directories: Sequence[str]
) -> tuple[dict[str, bytes | None], dict[str, dict[str, Attributes] | None]]:
    tasks: dict[str, Task[bytes | dict[str, Attributes] | None]] = {
        **{path: remote.list_directory(server.path(path)) for path in directories},
        **{path: remote.read_file(server.path(path)) for path in files},
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
