"""Carrying out a plan: every file is written beside its place, then renamed; data first, index.htm last.

Before the first rename nothing that visitors see has changed: a full disk, a quota or a broken connection leaves the
site as it was. After it only renames are left; `next` and a listing tell the next publish which of them were done.
"""

from __future__ import annotations

import secrets
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

from deepspeech_wer import clock
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan
from deepspeech_wer.publish.plan import INDEX, MANIFEST, NEXT, OLD, STATE, Manifest, Plan
from deepspeech_wer.publish.sources import Source
from deepspeech_wer.publish.survey import Survey
from deepspeech_wer.publish.web_root import Stage, WebRoot
from deepspeech_wer.publish.web_root_lock import LOCK, Lock
from deepspeech_wer.sftp import files, new_file
from deepspeech_wer.sftp.files import Attributes
from deepspeech_wer.sftp.pipeline import Task

STATE_MODE_MASK = 0o770  # the state directory is for those who publish, not for everybody


@dataclass(frozen=True)
class Work:
    """A plan and all that is needed to carry it out."""

    root: WebRoot
    found: Survey
    wanted: Mapping[str, Source]
    todo: Plan
    manifest: Manifest
    progress: Callable[[int, int], None] | None
    leftovers: Mapping[str, Sequence[str]]  # temporary files of publishes that were cut
    stamp: str = field(default_factory=lambda: clock.stamp(clock.COMPACT))
    token: str = field(default_factory=lambda: secrets.token_hex(plan.TOKEN_BYTES))

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
        sending = {step.path for step in self.todo.send}
        return {path: f"{path}.before-{self.stamp}" for path in self.todo.foreign if path in sending}

    @property
    def size(self) -> int:
        """Bytes to send."""
        return sum(self.wanted[step.path].entry.size for step in self.todo.send if self.wanted[step.path].file)


def upload(work: Work, draft: str, lock: Lock) -> tuple[Manifest, int]:
    """Returns the manifest that the server now has, and the bytes of files sent. Raises Trouble, Lost.

    `draft` is where the new manifest was written. It becomes `next` before any other file is made: from then on the web
    root is known as ours, and its files can be identified.
    """
    root, manifest = work.root, work.manifest
    sending = [step.path for step in work.todo.send]
    before = [_renames(root, {NEXT: draft})]
    if work.found.current is None and work.found.unfinished is None:  # a refusal must not leave files of nobody
        root.run(*before)
        before = []
    counter = _Counter(work.progress, work.size)
    tasks = {
        **{path: _write(work, path, counter) for path in sending},
        **{kept: files.link(root.path(path), root.path(kept)) for path, kept in _outgoing(work, sending)},
    }
    results = root.run(*before, *make_directories(root, work.found, sending), ("write", tasks))
    if manifest.times and not all(results[path] for path in sending):
        manifest = replace(manifest, times=False)
        root.run(("write", {draft: write_state(root, draft, plan.dump(manifest))}))
        root.run(_renames(root, {NEXT: draft}))
    root.run(("keep", {path: _keep(root, path, aside) for path, aside in work.replaced.items()}))
    root.run(_renames(root, {path: work.beside(path) for path in sending if path != INDEX}))
    _finish(work, manifest, lock, {INDEX: work.beside(INDEX)} if INDEX in sending else {})
    return manifest, counter.sent


def make_directories(root: WebRoot, found: Survey, paths: Sequence[str]) -> list[Stage]:
    """The stages that make the missing directories above the paths, parents first."""
    missing = [path for path in plan.directories(paths) if path not in found.directories]
    return [
        ("make", {path: files.make_directory(root.path(path), _mode(root, path, 1)) for path in level})
        for _, level in groupby(missing, key=lambda path: path.count("/"))
    ]


def probe(root: WebRoot, found: Survey) -> None:
    """Write a file and remove it again, to see whether publishing could. Raises Trouble."""
    path = f"{STATE}/{secrets.token_hex(8)}.partial"
    root.run(*make_directories(root, found, [path]), ("write", {path: write_state(root, path, b"?" * 4096)}))
    root.run(("remove", {path: files.remove(root.path(path))}))
    if STATE not in found.directories:
        root.run(("remove", {STATE: files.remove_directory(root.path(STATE))}))


def write_state(root: WebRoot, path: str, data: bytes) -> Task[Attributes]:
    """Write a file that visitors do not need."""
    size = root.limits.write_bytes
    chunks = (data[start : start + size] for start in range(0, len(data), size))  # a megabyte with 10,000 runs
    return new_file.write(root.path(path), chunks, mode=_mode(root, path, 0), mtime=None, reread=not root.is_openssh)


class _Counter:
    """Counts bytes, and reports them as progress."""

    def __init__(self, report: Callable[[int, int], None] | None, total: int) -> None:
        self._report, self._total, self._done = report, total, 0
        self.sent = 0

    def sending(self, source: Source, size: int) -> Iterator[bytes]:
        """The content of a file that is being sent."""
        for chunk in source.chunks(size):
            yield chunk
            self.sent += len(chunk)
            self.add(len(chunk))

    def add(self, size: int) -> None:
        self._done += size
        if self._report:
            self._report(self._done, self._total)


def _write(work: Work, path: str, counter: _Counter) -> Task[bool]:
    """Write a file beside its place. False if the server does not keep its mtime."""
    root, source, entry = work.root, work.wanted[path], work.manifest.files[path]
    beside = root.path(work.beside(path))
    if work.beside(path) in work.found.seen:
        counter.add(entry.size)
        return True
    for left in work.leftovers.get(path, ()):  # now, since room may be short
        yield from files.discard(root.path(left))
    if not source.file:
        if not (yield from files.link(root.path(plan.old(entry.sha256)), beside)):
            raise Trouble(f"{root.server}: {root.path(path)}: its former content is no longer on the server")
        return True
    chunks = counter.sending(source, root.limits.write_bytes)
    written = yield from new_file.write(
        beside, chunks, mode=root.modes[0], mtime=entry.mtime, reread=not root.is_openssh
    )
    return written.mtime in (None, entry.mtime)


def _keep(root: WebRoot, path: str, aside: str) -> Task[None]:
    """Give what others put there another name, and leave it in its place where the server can."""
    if not root.can("hardlink") or not (yield from files.link(root.path(path), root.path(aside))):
        yield from files.replace(root.path(path), root.path(aside), atomic=root.can("posix-rename"))


def _outgoing(work: Work, sending: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The files that a new version is about to replace, each with the name that keeps it for a rollback."""
    if not work.root.can("hardlink") or work.manifest is work.found.current:
        return
    for path in sending:
        sha256 = plan.holding(path, work.found.current, work.found.seen)
        if sha256 and path in work.manifest.previous and plan.old(sha256) not in work.found.seen:
            yield path, plan.old(sha256)


def _renames(root: WebRoot, sources: Mapping[str, str]) -> Stage:
    return "put in place", {
        target: files.replace(root.path(source), root.path(target), atomic=root.can("posix-rename"))
        for target, source in sources.items()
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
    stray = [
        *(path for path in seen if path.startswith(f"{OLD}/") and path not in previous),
        *(path for path in seen if path.startswith(f"{STATE}/") and path.endswith((".partial", ".stale"))),
    ]
    touched = plan.directories(step.path for step in work.todo.remove)
    needed = set(plan.directories([*manifest.files, *manifest.kept])) if touched else set()
    empty = [path for path in reversed(touched) if path not in needed]
    root.run(
        _renames(root, index),
        ("remove", {path: files.remove(root.path(path)) for path in known}),
        ("remove", {path: files.discard(root.path(path)) for path in left}),
        ("remove", {path: files.remove_directory(root.path(path)) for path in empty}),
    )
    root.run(
        ("remove", {path: files.remove(root.path(path)) for path in stray}),
        _renames(root, {MANIFEST: NEXT}),
        ("remove", {LOCK: lock.release}),
    )


def _mode(root: WebRoot, path: str, of_directory: int) -> int:
    mode = root.modes[of_directory]
    return mode & STATE_MODE_MASK if path.split("/", 1)[0] == STATE else mode
