"""Carrying out a plan: every file is written beside its place, then renamed; data first, index.htm last.

Before the first rename nothing that visitors see has changed: a full disk, a quota or a broken connection leaves the
site as it was. After it only renames are left; `next` and a listing tell the next publish which of them were done.
"""

from __future__ import annotations

import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from itertools import groupby
from pathlib import Path

from deepspeech_wer import clock, delta
from deepspeech_wer.delta import Span
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan, sources
from deepspeech_wer.publish.plan import INDEX, MANIFEST, NEXT, OLD, STATE, Entries, Manifest, Plan
from deepspeech_wer.publish.sources import Copied
from deepspeech_wer.publish.survey import Survey
from deepspeech_wer.publish.web_root import Stage, WebRoot
from deepspeech_wer.publish.web_root_lock import LOCK, Lock
from deepspeech_wer.sftp import files
from deepspeech_wer.sftp.files import Attributes, Content
from deepspeech_wer.sftp.pipeline import RMDIR, Task

_STRAY = re.compile(rf"{OLD}/[0-9a-f]{{64}}|{STATE}/(?:lock|next\.json\.gz)\.[0-9a-f]{{16}}\.(?:partial|stale)")
Counted = Callable[[Content], Iterator[bytes | Span]]


@dataclass(frozen=True)
class Work:
    """A plan and all that is needed to carry it out."""

    root: WebRoot
    found: Survey
    wanted: Entries
    site: Path | None  # where the wanted files are; None: the server kept them, for a rollback
    todo: Plan
    manifest: Manifest
    progress: Callable[[int, int], None] | None
    leftovers: Mapping[str, Sequence[str]]  # temporary files of publishes that were cut
    copied: Mapping[str, Copied] = field(default_factory=dict)  # what the server makes of its own files
    stamp: str = field(default_factory=lambda: clock.stamp(clock.COMPACT))
    token: str = field(default_factory=lambda: secrets.token_hex(6))

    def beside(self, path: str) -> str:
        """Where a file is written before it is renamed. If that is seen, the whole file is there already."""
        entry = self.manifest.files[path]
        whole = Attributes(entry.size, entry.mtime, stat.S_IFREG | self.root.modes[0])  # these are set last
        for left in self.leftovers.get(path, ()) if self.manifest.times else ():
            if f".{entry.sha256[:16]}." in left and self.found.seen[left] == whole:
                return left
        return plan.temporary(path, entry.sha256, self.token)

    @property
    def replaced(self) -> dict[str, str]:
        """Files and directories of others that ours replace, and where they stay."""
        return {path: f"{path}.before-{self.stamp}" for path in (*self.todo.foreign, *self.found.in_the_way)}

    @property
    def size(self) -> int:
        """Bytes to send. What a killed publish had sent, and what the server kept for a rollback, is there already."""
        absent = [path for path in self.todo.send if self.site and self.beside(path) not in self.found.seen]
        return sum(self.wanted[path].size - (self.copied[path].size if path in self.copied else 0) for path in absent)


def upload(work: Work, draft: str, lock: Lock) -> Manifest:
    """Returns the manifest that the server now has. Raises Trouble, Lost. `draft` is where the new one was written. It
    becomes `next` before any other file is made: from then on the web root and its files are known as ours.
    """
    root, manifest = work.root, work.manifest
    sending = list(work.todo.send)
    aside = dict(work.replaced)
    moved = {path: root.replace(path, aside.pop(path)) for path in work.found.in_the_way}  # to make ours there
    root.run(("set aside", {path: _keep(root, path, name) for path, name in aside.items()}))  # while known as theirs
    before = [("set aside", moved), _renames(root, {NEXT: draft})]
    if work.found.current is None and work.found.unfinished is None:
        root.run(before.pop())  # at once: a refusal must not leave files of nobody
    counted, current = _counting(work), work.found.current
    changed = [path for path in sending if path in manifest.previous and current is not manifest]
    outgoing = plan.outgoing(changed if root.can("hardlink") else [], current or Manifest(), work.found.seen)
    tasks = {
        **{path: _write(work, path, counted) for path in sending},
        **{kept: files.link(root.path(path), root.path(kept)) for kept, path in outgoing.items()},
    }
    results = root.run(*before, *make_directories(root, work.found, sending), ("write", tasks))
    if manifest.times and not all(results[path] for path in sending):
        manifest = manifest._replace(times=False)
        draft, writing = write_draft(replace(work, manifest=manifest))
        root.run(("write", {draft: writing}))
        root.run(_renames(root, {NEXT: draft}))
    root.run(_renames(root, {path: work.beside(path) for path in sending if path != INDEX}))
    _finish(work, manifest, lock, {INDEX: work.beside(INDEX)} if INDEX in sending else {})
    return manifest


def make_directories(root: WebRoot, found: Survey, paths: Sequence[str]) -> list[Stage]:
    """The stages that make the missing directories above the paths, parents first."""
    missing = [path for path in plan.directories(paths) if path not in found.directories]
    levels = groupby(missing, key=lambda path: path.count("/"))
    return [
        ("make", {path: files.make_directory(root.path(path), root.mode(path, root.modes[1])) for path in level})
        for _, level in levels
    ]


def probe(work: Work) -> None:
    """Write the new manifest and remove it again, to see whether publishing could. Raises Trouble."""
    root, found = work.root, work.found
    draft, writing = write_draft(work)
    root.run(*make_directories(root, found, [draft]), ("write", {draft: writing}))
    root.run(("remove", {draft: files.remove(root.path(draft))}))
    if STATE not in found.directories:
        root.run(("remove", {STATE: files.discard(root.path(STATE), RMDIR)}))


def write_draft(work: Work) -> tuple[str, Task[Attributes]]:
    """A name for the new manifest until `upload` renames it, and the task to write it. The server copies its start."""
    path, data = f"{NEXT}.{secrets.token_hex(8)}.partial", plan.dump(work.manifest)
    same = delta.common_start(work.found.manifest, data) if work.root.can_copy else 0
    source = MANIFEST if same >= sources.LARGE else ""
    return path, work.root.write(path, _blocks(data), source=source, copied=[Span(0, same), *_blocks(data[same:])])


def _blocks(data: bytes) -> Iterator[bytes]:
    return iter(partial(BytesIO(data).read, files.BLOCK_BYTES), b"")


def _counting(work: Work) -> Counted:
    """A function through which the contents of all files pass, so that it can tell the progress."""
    done, total = 0, work.size

    def counted(chunks: Content) -> Iterator[bytes | Span]:
        nonlocal done
        for chunk in chunks:
            yield chunk
            done += 0 if isinstance(chunk, Span) else len(chunk)
            if work.progress:
                work.progress(done, total)

    return counted


def _write(work: Work, path: str, counted: Counted) -> Task[bool]:
    """Write a file beside its place. False if the server does not keep its mtime."""
    root, entry, beside = work.root, work.manifest.files[path], work.beside(path)
    if beside in work.found.seen:
        return True
    for left in work.leftovers.get(path, ()):  # now, since room may be short
        yield from files.discard(root.path(left))
    if work.site is None:
        if not (yield from files.link(root.path(plan.old(entry.sha256)), root.path(beside))):
            raise Trouble(f"{root.server}: {root.path(path)}: its former content is no longer on the server")
        return True
    read = partial(delta.read, work.site / path, work.wanted[path].sha256, files.BLOCK_BYTES)
    how = work.copied.get(path, Copied("", ()))
    written = yield from root.write(
        beside, counted(read()), mtime=entry.mtime, source=how.source, copied=counted(read(how.parts))
    )
    if written.mode is not None and root.modes[0] & ~written.mode & 0o444:
        root.unreadable = f"{root.path(path)} has {stat.S_IMODE(written.mode):04o}, not {root.modes[0]:04o}"
    return written.mtime in (None, entry.mtime)


def _keep(root: WebRoot, path: str, aside: str) -> Task[None]:
    """Keep what others put there under another name as well. A link needs their consent on most Linux servers."""
    if root.can("hardlink") and (yield from files.link(root.path(path), root.path(aside))):
        return
    data = yield from files.read_file(root.path(path))
    yield from root.replace(path, aside) if data is None else root.write(aside, _blocks(data))


def _renames(root: WebRoot, places: Mapping[str, str]) -> Stage:
    return "put in place", {target: root.replace(source, target) for target, source in places.items()}


def _finish(work: Work, manifest: Manifest, lock: Lock, index: Mapping[str, str]) -> None:
    """Put index.htm in its place, and remove what is no longer needed and what killed publishes left.

    The manifest comes after that: earlier it would describe a page that was refused, or forget files that could not be
    removed. Files that every publish would find again are removed together with its renaming.
    """
    root, seen = work.root, work.found.seen
    previous = {plan.old(entry.sha256) for entry in manifest.previous.values() if entry}
    used = {work.beside(path) for path in work.leftovers if path in manifest.files}
    left = [name for names in work.leftovers.values() for name in names if name not in used]
    stray = [path for path in seen if path not in previous and _STRAY.fullmatch(path)]
    touched = plan.directories(work.todo.remove)
    needed = set(plan.directories([*manifest.files, *manifest.kept])) if touched else set()
    empty = [path for path in reversed(touched) if path not in needed]
    root.run(
        _renames(root, index),
        ("remove", {path: files.remove(root.path(path)) for path in work.todo.remove}),
        ("remove", {path: files.discard(root.path(path)) for path in left}),
        ("remove", {path: files.discard(root.path(path), RMDIR) for path in empty}),
    )
    root.run(
        ("remove", {path: files.remove(root.path(path)) for path in stray}),
        _renames(root, {MANIFEST: NEXT}),
        ("remove", {LOCK: lock.release}),
    )
