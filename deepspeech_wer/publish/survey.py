"""What is on the server: the manifests, and a listing of every directory that has, or will have, files of ours."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan
from deepspeech_wer.publish.plan import INDEX, MANIFEST, NEXT, OLD, STATE, UNTOUCHED, Manifest, Plan, Seen
from deepspeech_wer.publish.report import Options
from deepspeech_wer.publish.web_root import WebRoot
from deepspeech_wer.records import Owner
from deepspeech_wer.sftp import files
from deepspeech_wer.sftp.files import Attributes
from deepspeech_wer.sftp.pipeline import Task
from deepspeech_wer.text import plain

FEW = 64  # so many directories are always listed
MANIFEST_BYTES = 64  # per file, compressed
CHECKED_EVERY = 8  # publishes: then one in so many of the directories that seem untouched is listed all the same
CHANGING = (MANIFEST, NEXT)  # with every publish

Listings = dict[str, dict[str, Attributes] | None]  # directory -> name -> attributes; None: no such directory


class Survey(NamedTuple):
    """What was on the server before."""

    current: Manifest | None
    unfinished: Manifest | None  # of a publish that was cut short
    seen: Seen  # every file
    directories: Collection[str]
    root_names: frozenset[str]
    in_the_way: Sequence[str] = ()  # files where directories are to be, and directories where files are
    manifest: bytes = b""  # the current one, as the server has it
    before: Sequence[Attributes | None] = ()  # states of CHANGING, taken first: if they still hold, so does all above


def survey(root: WebRoot, options: Options, paths: Sequence[str], newest: Collection[str] = ()) -> Survey:
    """Look at the server, in two round trips; more are needed where directories are many, or long, or vanished.

    `paths` are to be published; `newest` of them are likely to be new. Raises Trouble for another tracker's web root.
    """
    wanted = plan.directories(paths)
    few, recent = sum("/" in path for path in wanted) <= FEW, set(plan.directories(newest))
    first = [path for path in wanted if few or "/" not in path or path in recent]
    sizes = {**Counter(path.rpartition("/")[0] for path in (*paths, *wanted)), MANIFEST: len(paths) * MANIFEST_BYTES}
    listing = _listing(root, ["", STATE, OLD, *first], sizes)
    manifests = {path: files.read_file(root.path(path), sizes.get(path, 0)) for path in CHANGING}
    before = files.states([root.path(path) for path in CHANGING])  # these two keys are no paths of ours
    found = root.run(("read", {f"{STATE}/": before, **listing, **manifests, "/": root.ask_limits()}))
    listings: Listings = {path: found[path] for path in listing}
    if (top := listings[""]) is None:
        raise Trouble(f"{root}: no such directory: make it on the server, or correct ds_website_server_root")
    current, unfinished = (_manifest(root, path, found[path]) for path in CHANGING)
    if options.owner is not None and not options.take_over:
        _check_owner(root, options.owner, (current, unfinished))
    owned = [path for manifest in (current, unfinished) if manifest for path in (*manifest.files, *manifest.kept)]
    more = [path for path in plan.directories([*paths, *owned]) if not _is_known(path, listings)]
    settled = unfinished is None and len(more) > FEW
    untouched = _untouched(root, more, listings, current) if current and settled else set[str]()
    listings |= root.run(("read", _listing(root, [path for path in more if path not in untouched], sizes)))
    there = {
        f"{directory}/{name}" if directory else name: attributes
        for directory, entries in listings.items()
        for name, attributes in (entries or {}).items()
    }
    seen = {path: attributes for path, attributes in there.items() if not attributes.is_directory}
    directories = {directory for directory, names in listings.items() if names is not None} | untouched
    in_the_way = [path for path in wanted if path in seen and path not in directories]
    in_the_way += [path for path in paths if path in there and path not in seen]
    if current and untouched:  # there all is as the manifest says: nothing more is known of the files
        ours = (path for path in (*current.files, *current.kept) if path.rpartition("/")[0] in untouched)
        seen |= dict.fromkeys(ours, UNTOUCHED)
    states = found[f"{STATE}/"]
    return Survey(current, unfinished, seen, directories, frozenset(top), in_the_way, found[MANIFEST] or b"", states)


def check_root(root: WebRoot, found: Survey, todo: Plan, *, adopt: bool) -> None:
    """The rule of 2016 for a web root: it is empty, or has .htaccess and index.htm, or is ours. Raises Trouble."""
    if STATE in found.seen and STATE not in found.directories:
        raise Trouble(
            f"{root.server}: {root.path(STATE)}: expected a directory; nothing was touched: move it away there"
        )
    names = found.root_names - {STATE}
    ours = found.current is not None or found.unfinished is not None
    of_2016 = not ours and {".htaccess", INDEX} <= names
    if not names or adopt:
        return
    if not ours and not of_2016:
        alone = f"put an empty {INDEX} beside it" if names == {".htaccess"} else ""
        cure = alone or "is it the right one (ds_website_server_root)? If so: publish --adopt"
        raise Trouble(
            f"{root}: holds {_listed(sorted(names))}: expected an empty directory, or one with .htaccess and {INDEX}, "
            f"or a site published from here; nothing was touched: {cure}"
        )
    if foreign := [*(path for path in todo.foreign if not (of_2016 and path == INDEX)), *found.in_the_way]:
        told = "not published from here, and in the way; nothing was touched. To replace it: publish --adopt"
        raise Trouble(f"{root}: {_listed(foreign)}: {told}")


def _check_owner(root: WebRoot, owner: Owner, manifests: Sequence[Manifest | None]) -> None:
    """Raise Trouble where another tracker has published. A web root of an older release has no owner."""
    for manifest in manifests:
        if manifest is not None and manifest.owner not in ("", owner.id):
            found = plain(f"{manifest.owner_name[:200]}, id {manifest.owner[:8]}")  # the server may be hostile
            raise Trouble(
                f"{root}: belongs to another tracker: found {found}; expected this one, {owner.name}, id "
                f"{owner.id[:8] or 'not made yet'}; nothing was touched. Set ds_website_server_root to a directory of "
                "its own; or, to replace what the other published: publish --take-over"
            )


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(name if name.isprintable() else repr(name) for name in names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _is_known(path: str, listings: Listings) -> bool:
    """Whether a directory has been listed, or is missing from its parent's listing."""
    parent, _, name = path.rpartition("/")
    return path in listings or (parent in listings and name not in (listings[parent] or {}))


def _untouched(root: WebRoot, directories: Sequence[str], listings: Listings, current: Manifest) -> set[str]:
    """The directories in which nothing was made, removed or renamed since the manifest was written.

    Their own mtimes, in the listings of their parents, say so; all times are the server's. They do not tell of a file
    whose content was changed in place, so now and then a part of the directories is listed all the same.
    """
    written = (listings[STATE] or {}).get(MANIFEST.removeprefix(f"{STATE}/"))
    if not root.is_openssh or written is None or written.mtime is None:  # other servers' times may mean nothing
        return set()
    turn, pause = divmod(current.generation, CHECKED_EVERY)
    found = set()
    for path in directories:
        parent, _, name = path.rpartition("/")
        there = (listings.get(parent) or {}).get(name)
        due = not pause and (zlib.crc32(path.encode("utf-8", "surrogateescape")) - turn) % CHECKED_EVERY == 0
        if there and there.is_directory and there.mtime and there.mtime < written.mtime and not due:
            found.add(path)
    return found


def _listing(root: WebRoot, directories: Iterable[str], sizes: Mapping[str, int]) -> dict[str, Task[Any]]:
    return {path: files.list_directory(root.path(path), sizes.get(path, 0)) for path in directories}


def _manifest(root: WebRoot, path: str, data: bytes | None) -> Manifest | None:
    try:
        return None if data is None else plan.parse(data)
    except ValueError as error:
        cure = "it says which files are ours, so nothing was touched; move it away there, and publish with --adopt"
        raise Trouble(f"{root.server}: {root.path(path)}: {error}: {cure}") from error
