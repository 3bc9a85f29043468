"""What to change on the server: the wanted files compared with its manifest and with what is really there. Pure.

The manifest, kept on the server, records which files are ours and what they hold. It is written as `next` before the
first change and renamed after the last one, so the next publish can identify whatever a killed one left behind.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from deepspeech_wer.errors import Trouble
from deepspeech_wer.places import BEAT
from deepspeech_wer.records import Owner
from deepspeech_wer.sftp.files import Attributes

VERSION = 1
_TOGETHER = 256  # files, which are compressed without a look at others
STATE = ".deepspeech_wer"  # directory in the web root for what visitors do not need
MANIFEST = f"{STATE}/manifest.json.gz"
NEXT = f"{STATE}/next.json.gz"
OLD = f"{STATE}/old"  # replaced files of the version before, named by their hash, for a rollback
INDEX = "index.htm"
_NO_NAMES = {"", ".", ".."}  # in a path
NOT_OURS = "replaces a file that was not ours"
KEPT_S = 600  # so long can a visitor's page go on loading the files of its version
# Older programs wrote a leading dot, and no token.
_TEMPORARY = re.compile(r"((?:.*/)?)\.?(.+)\.[0-9a-f]{16}(?:\.[0-9a-f]{12})?\.partial", re.DOTALL)
UNTOUCHED = Attributes(None, None)  # of files in directories where nothing seems to have changed
_LOG = re.compile(r"(runs/[^/]+)/(?:out|err)\.log")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class Entry(NamedTuple):
    """What one file holds."""

    sha256: str
    size: int
    mtime_ns: int  # of the local file; the server keeps whole seconds

    @property
    def mtime(self) -> int:
        """As the server keeps it: SFTP 3 has no time before 1970 and none after 2106."""
        return min(max(self.mtime_ns // 1_000_000_000, 0), 0xFFFFFFFF)


Entries = Mapping[str, Entry]  # by path
Seen = Mapping[str, Attributes]  # files on the server, by path


class Manifest(NamedTuple):
    """Which files on the server are ours."""

    generation: int = 0
    files: Mapping[str, Entry] = {}  # the site
    kept: Mapping[str, Entry] = {}  # of versions before, for visitors who still load them
    previous: Mapping[str, Entry | None] = {}  # what changed files were before; None: absent
    times: bool = True  # False: this server does not keep the times that we set
    left: Mapping[str, int] = {}  # when the kept files left the site, in seconds of the epoch
    owner: str = ""  # the id of the tracker that publishes here; empty: of an older release
    owner_name: str = ""  # for people


class Plan(NamedTuple):
    """What a publish does. Nothing to do: `send` and `remove` are empty and `manifest` is None."""

    send: Mapping[str, str] = {}  # path -> why
    remove: Mapping[str, str] = {}
    manifest: Manifest | None = None  # to be written when all is done

    @property
    def foreign(self) -> list[str]:
        """Files that are not ours, where files of ours would go."""
        return [path for path, why in self.send.items() if why == NOT_OURS]


def make(
    wanted: Entries,
    current: Manifest | None,
    unfinished: Manifest | None,
    seen: Seen,
    now: float = 0,
    owner: Owner | None = None,
) -> Plan:
    """Compare the wanted files with the server. `seen` holds every file in the directories that matter. `owner` is who
    publishes; None leaves the web root to whom it belongs.
    """
    known = [manifest for manifest in (unfinished, current) if manifest is not None]
    same = {} if current is None or unfinished is not None or current.kept.keys() & wanted.keys() else current.files
    send = {
        path: why
        for path, entry in wanted.items()  # nearly all are neither looked at nor changed
        if not (seen.get(path) is UNTOUCHED and same.get(path) is entry) and (why := _why(path, entry, known, seen))
    }
    changed = current is None or unfinished is not None or bool(_differing(current.files, wanted))
    is_owned = owner is None or (current is not None and current.owner == owner.id)
    if not changed and not send and is_owned:
        return Plan()
    manifest, remove = current, dict[str, str]()
    if changed:
        manifest, remove = _following(wanted, current or Manifest(), unfinished or Manifest(), seen, int(now))
    if manifest is not None and owner is not None and not (is_owned and manifest is current):
        manifest = manifest._replace(owner=owner.id, owner_name=owner.name)
    return Plan(send, remove, manifest)


def version_before(manifest: Manifest) -> dict[str, Entry]:
    """The files of the version that `manifest` replaced."""
    return {path: entry for path, entry in {**manifest.files, **manifest.previous}.items() if entry is not None}


def old(sha256: str) -> str:
    """Where a replaced file with this content is kept."""
    return f"{OLD}/{sha256}"


def holds(manifest: Manifest, path: str, seen: Seen) -> bool:
    """Whether the server has a file as the manifest says."""
    return path in manifest.files and path in seen and _fits(manifest.files[path], seen[path], times=manifest.times)


def outgoing(paths: Iterable[str], manifest: Manifest, seen: Seen) -> dict[str, str]:
    """Where to keep files that a new version replaces, each with its path: those that are what the manifest says."""
    same = {old(manifest.files[path].sha256): path for path in paths if holds(manifest, path, seen)}
    return {kept: path for kept, path in same.items() if kept not in seen}


def temporary(path: str, sha256: str, token: str) -> str:
    """Where a file is written before it is renamed: beside its place, under a name that only this publish uses. After
    an interrupted publish, some servers hide the unfinished file but keep its name taken.
    """
    return f"{_stem(path)}.{sha256[:16]}.{token}.partial"


def leftovers(seen: Iterable[str], ours: Iterable[str]) -> dict[str, list[str]]:
    """The temporary files that are seen beside the places of our files: path -> their names."""
    found: dict[str, list[str]] = {}
    for name in seen:
        # The test of the ending is cheap; the pattern tries every dot of each of 60,000 names.
        if name.endswith(".partial") and (match := _TEMPORARY.fullmatch(name)):
            found.setdefault(f"{match[1]}{match[2]}", []).append(name)
    return {path: found[_stem(path)] for path in (ours if found else ()) if _stem(path) in found}


def _stem(path: str) -> str:
    directory, slash, name = path.rpartition("/")
    start = name.encode("utf-8", "surrogateescape")[:200]  # of the 255 bytes that a file system takes
    return f"{directory}{slash}{start.decode('utf-8', 'surrogateescape')}"


def directories(paths: Iterable[str]) -> list[str]:
    """All directories above the paths, parents before children, without the root itself."""
    found = set[str]()
    while paths := {path.rpartition("/")[0] for path in paths} - found:
        found |= paths
    return sorted(found - {""}, key=lambda path: (path.count("/"), path))


def dump(manifest: Manifest) -> bytes:
    """As stored on the server; `zcat` shows it."""
    # Files come first, and what is compressed of them depends on few others: two manifests then begin with the same
    # bytes, up to the first file that differs.
    rest = {"version": VERSION, **manifest._asdict()}
    files = rest.pop("files").items()
    entries = [f'{json.dumps(path)}:["{one.sha256}",{one.size},{one.mtime_ns}]' for path, one in files]
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    data = packer.compress(b'{"files":{')
    for start in range(0, len(entries), _TOGETHER):
        text = ",".join(entries[start : start + _TOGETHER])
        data += packer.compress(f"{',' if start else ''}{text}".encode()) + packer.flush(zlib.Z_FULL_FLUSH)
    return data + packer.compress(f"}},{json.dumps(rest, separators=(',', ':'))[1:]}".encode()) + packer.flush()


def parse(data: bytes) -> Manifest:
    """Read a manifest. Raises ValueError with what is wrong with it."""
    try:
        record = json.loads(zlib.decompressobj(31).decompress(data, 1 << 30))
    except (zlib.error, ValueError, RecursionError) as error:
        raise ValueError(f"is no gzipped JSON ({error})") from error
    version = record.get("version") if isinstance(record, dict) else None
    if version != VERSION:
        raise ValueError(f"has version {version!r}, expected {VERSION}")
    try:
        return Manifest(
            int(record["generation"]),
            {path: _entry(path, entry) for path, entry in record["files"].items()},
            {path: _entry(path, entry) for path, entry in record["kept"].items()},
            {path: None if entry is None else _entry(path, entry) for path, entry in record["previous"].items()},
            record["times"] is True,
            {path: int(left) for path, left in record.get("left", {}).items()},  # older programs wrote none
            str(record.get("owner", "")),
            str(record.get("owner_name", "")),
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"lacks or misuses {error}") from error


def check_path(path: str) -> None:
    """Raises Trouble for a path that could lead out of the web root, or that names no file in it."""
    if "\0" in path or not _NO_NAMES.isdisjoint(path.split("/")) or path.split("/", 1)[0] == STATE:
        raise Trouble(f"cannot publish {path!r}: expected the path of a file below the site, written with /")


def _why(path: str, entry: Entry, known: Sequence[Manifest], seen: Seen) -> str:
    """Why a file must be sent; empty where the server has it."""
    there = seen.get(path)
    if there is None:
        return "missing on the server" if any(path in manifest.files for manifest in known) else "new"
    if len(known) == 1 and known[0].files.get(path) is entry and path not in known[0].kept:  # the entry is its own
        return "" if _fits(entry, there, times=known[0].times) else "differs on the server"
    records = [(files[path], one.times) for one in known for files in (one.files, one.kept) if path in files]
    if not records:
        return NOT_OURS
    fitting = {record.sha256 for record, times in records if _fits(record, there, times=times)}
    if fitting == {entry.sha256}:
        return ""
    # Two entries that both fit: a killed publish left either version, and size and time do not tell which.
    return "changed" if fitting else "differs on the server"


def _fits(record: Entry, there: Attributes, *, times: bool) -> bool:
    return there.size in (None, record.size) and (not times or there.mtime in (None, record.mtime))


def _following(
    wanted: Entries, current: Manifest, unfinished: Manifest, seen: Seen, now: int
) -> tuple[Manifest, dict[str, str]]:
    """The manifest after this publish, and what can be removed: files that left the site some minutes ago.

    Those of the version before stay, for a rollback. Where logs are withdrawn, none stay: their pages quote them too.
    """
    before = {**current.files, **unfinished.files}
    older = {**unfinished.kept, **current.kept}
    past = {path: entry for path, entry in {**older, **before}.items() if path not in wanted and path in seen}
    known = {**unfinished.left, **current.left}
    left = {path: now if path in before else known.get(path, 0) for path in past}
    withdraws = any(_withdraws(one.files, wanted) for one in (current, unfinished))
    kept = {path: past[path] for path in past if not withdraws and (path in before or abs(now - left[path]) < KEPT_S)}
    why = "withdrawn with the logs" if withdraws else "in no page for some minutes"
    remove = {path: why for path in past if path not in kept}
    # a file that is not sent again keeps the mtime that it has on the server
    changed = _differing(before, wanted)
    files = {path: entry if path in changed else before[path] for path, entry in wanted.items()}
    left = {path: left[path] for path in kept}
    previous = {} if withdraws else _differing(current.files, files)
    previous.pop(BEAT, None)  # replaced between publishes: no version has a former content of it
    after = current._replace(generation=current.generation + 1, files=files, kept=kept, previous=previous, left=left)
    return after, remove


def _withdraws(before: Entries, wanted: Entries) -> bool:
    """Whether a log of a run that stays is published no longer, or with other content (ds_publish_logs)."""
    changed = (path for path in _differing(before, wanted) if path in before)
    return any(log and f"{log[1]}.js" in wanted for log in map(_LOG.fullmatch, changed))


def _differing(before: Entries, after: Entries) -> dict[str, Entry | None]:
    pairs = ((path, entry, after.get(path)) for path, entry in before.items())
    changed = {path: old for path, old, new in pairs if new is not old and (new is None or new.sha256 != old.sha256)}
    return {**changed, **{path: None for path in after if path not in before}}


def _entry(path: str, record: Any) -> Entry:
    sha256, size, mtime_ns = record
    # the server may be hostile: nothing in its manifest may lead out of the web root
    if not _SHA256.fullmatch(sha256) or not _NO_NAMES.isdisjoint(path.split("/")):
        raise TypeError(f"the entry of {path!r}")
    return Entry(sha256, int(size), int(mtime_ns))
