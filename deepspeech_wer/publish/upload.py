"""Carrying out a plan: every file is written beside its place, then renamed; data first, index.htm last.

Before the first rename nothing that visitors see has changed: a full disk, a quota or a broken connection leaves the
site as it was. After it only renames are left; `next` and a listing tell the next publish which of them were done.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path

from deepspeech_wer import clock
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import copied, plan, sources
from deepspeech_wer.publish.copied import Copied
from deepspeech_wer.publish.plan import INDEX, MANIFEST, NEXT, OLD, STATE, Entries, Manifest, Plan
from deepspeech_wer.publish.survey import Survey
from deepspeech_wer.publish.web_root import Stage, WebRoot
from deepspeech_wer.publish.web_root_lock import LOCK, Lock
from deepspeech_wer.sftp import files
from deepspeech_wer.sftp.files import Attributes, Span
from deepspeech_wer.sftp.pipeline import RMDIR, Refused, Task

Counted = Callable[[Iterable[bytes | Span]], Iterator[bytes | Span]]

STATE_MODE_MASK = 0o770  # the state directory is for those who publish, not for everybody


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
        """Files of others that ours replace, and where they stay."""
        return {path: f"{path}.before-{self.stamp}" for path in self.todo.foreign}

    @property
    def size(self) -> int:
        """Bytes to send. What a killed publish had sent, and what the server kept for a rollback, is there already."""
        absent = [step.path for step in self.todo.send if self.site and self.beside(step.path) not in self.found.seen]
        return sum(self.wanted[path].size - (self.copied[path].size if path in self.copied else 0) for path in absent)


def upload(work: Work, draft: str, lock: Lock) -> Manifest:
    """Returns the manifest that the server now has. Raises Trouble, Lost.

    `draft` is where the new manifest was written. It becomes `next` before any other file is made: from then on the web
    root is known as ours, and its files can be identified.
    """
    root, manifest = work.root, work.manifest
    sending = [step.path for step in work.todo.send]
    before = [_renames(root, {NEXT: draft})]
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
        manifest = replace(manifest, times=False)
        draft, writing = write_draft(replace(work, manifest=manifest))
        root.run(("write", {draft: writing}))
        root.run(_renames(root, {NEXT: draft}))
    root.run(("keep", {path: _keep(root, path, aside) for path, aside in work.replaced.items()}))
    root.run(_renames(root, {path: work.beside(path) for path in sending if path != INDEX}))
    _finish(work, manifest, lock, {INDEX: work.beside(INDEX)} if INDEX in sending else {})
    return manifest


def make_directories(root: WebRoot, found: Survey, paths: Sequence[str]) -> list[Stage]:
    """The stages that make the missing directories above the paths, parents first."""

    def make(path: str) -> Task[None]:
        is_state = path.split("/", 1)[0] == STATE
        return files.make_directory(root.path(path), root.modes[1] & STATE_MODE_MASK if is_state else root.modes[1])

    missing = [path for path in plan.directories(paths) if path not in found.directories]
    levels = groupby(missing, key=lambda path: path.count("/"))
    return [("make", {path: make(path) for path in level}) for _, level in levels]


def probe(work: Work) -> None:
    """Write the new manifest and remove it again, to see whether publishing could. Raises Trouble."""
    root, found = work.root, work.found
    draft, writing = write_draft(work)
    root.run(*make_directories(root, found, [draft]), ("write", {draft: writing}))
    root.run(("remove", {draft: files.remove(root.path(draft))}))
    if STATE not in found.directories:
        root.run(("remove", {STATE: files.discard(root.path(STATE), RMDIR)}))


def write_draft(work: Work) -> tuple[str, Task[Attributes]]:
    """A name for the new manifest until `upload` renames it, and the task that writes it there."""
    root, path, data = work.root, f"{NEXT}.{secrets.token_hex(8)}.partial", plan.dump(work.manifest)
    return path, _write_manifest(root, root.path(path), data, work.found.manifest if root.can_copy else b"")


def _write_manifest(root: WebRoot, path: str, data: bytes, before: bytes) -> Task[Attributes]:
    """Write a manifest, of which the server copies what the one before begins with: megabytes with 10,000 runs."""
    mode, reread = root.modes[0] & STATE_MODE_MASK, not root.is_openssh
    same = copied.common_start(before, data)
    blocks = [data[start : start + files.BLOCK_BYTES] for start in range(0, len(data), files.BLOCK_BYTES)]
    if same >= copied.LARGE:
        new = data[same:]
        parts = (new[start : start + files.BLOCK_BYTES] for start in range(0, len(new), files.BLOCK_BYTES))
        source = root.path(MANIFEST)
        with suppress(Refused):  # another publisher replaced it meanwhile, perhaps
            return (
                yield from files.write(
                    path, [Span(0, same), *parts], mode=mode, mtime=None, reread=reread, source=source
                )
            )
    return (yield from files.write(path, blocks, mode=mode, mtime=None, reread=reread))


def _counting(work: Work) -> Counted:
    """A function through which the contents of all files pass, so that it can tell the progress."""
    done, total = 0, work.size

    def counted(chunks: Iterable[bytes | Span]) -> Iterator[bytes | Span]:
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
    file, planned, how = work.site / path, work.wanted[path], work.copied.get(path)
    if how:
        some = counted(copied.chunks(file, planned, how, files.BLOCK_BYTES))
        with suppress(Refused):  # it is sent whole
            written = yield from files.write(
                root.path(beside),
                some,
                mode=root.modes[0],
                mtime=entry.mtime,
                reread=False,
                source=root.path(how.source),
            )
            return written.mtime in (None, entry.mtime)
    chunks = counted(sources.chunks(file, planned, files.BLOCK_BYTES))
    written = yield from files.write(
        root.path(beside), chunks, mode=root.modes[0], mtime=entry.mtime, reread=not root.is_openssh
    )
    return written.mtime in (None, entry.mtime)


def _keep(root: WebRoot, path: str, aside: str) -> Task[None]:
    """Give what others put there another name, and leave it in its place where the server can."""
    if not root.can("hardlink") or not (yield from files.link(root.path(path), root.path(aside))):
        yield from files.replace(root.path(path), root.path(aside), atomic=root.can("posix-rename"))


def _renames(root: WebRoot, places: Mapping[str, str]) -> Stage:
    return "put in place", {
        target: files.replace(root.path(source), root.path(target), atomic=root.can("posix-rename"))
        for target, source in places.items()
    }


def _finish(work: Work, manifest: Manifest, lock: Lock, index: Mapping[str, str]) -> None:
    """Put index.htm in its place, and remove what is no longer needed and what killed publishes left.

    The manifest comes after that: earlier it would describe a page that was refused, or forget files that could not be
    removed. Files that every publish would find again are removed together with its renaming.
    """
    root, seen = work.root, work.found.seen
    previous = {plan.old(entry.sha256) for entry in manifest.previous.values() if entry}
    known = [step.path for step in work.todo.remove]
    used = {work.beside(path) for path in work.leftovers if path in manifest.files}
    left = [name for names in work.leftovers.values() for name in names if name not in used]
    state = [path for path in seen if path.startswith(f"{STATE}/") and path not in previous]
    stray = [path for path in state if path.startswith(f"{OLD}/") or path.endswith((".partial", ".stale"))]
    touched = plan.directories(known)
    needed = set(plan.directories([*manifest.files, *manifest.kept])) if touched else set()
    empty = [path for path in reversed(touched) if path not in needed]
    root.run(
        _renames(root, index),
        ("remove", {path: files.remove(root.path(path)) for path in known}),
        ("remove", {path: files.discard(root.path(path)) for path in left}),
        ("remove", {path: files.discard(root.path(path), RMDIR) for path in empty}),
    )
    root.run(
        ("remove", {path: files.remove(root.path(path)) for path in stray}),
        _renames(root, {MANIFEST: NEXT}),
        ("remove", {LOCK: lock.release}),
    )
