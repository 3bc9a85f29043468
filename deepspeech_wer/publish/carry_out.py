"""Carrying a plan out: everything is written beside its place first, then renamed, data before index.htm.

Before the first rename nothing that visitors see has changed, so a full disk, a quota or a broken connection leaves the
site as it was. After it only renames are left, and the next publish knows from `next` and the listing which were done.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import plan
from deepspeech_wer.publish.lock import LOCK, Lock
from deepspeech_wer.publish.look import Found
from deepspeech_wer.publish.plan import INDEX, MANIFEST, NEXT, OLD, STATE, Manifest, Plan, Seen
from deepspeech_wer.publish.server import Server, Stage
from deepspeech_wer.publish.site import Local
from deepspeech_wer.sftp import files, new_file
from deepspeech_wer.sftp.new_file import Source
from deepspeech_wer.sftp.pipeline import Task

Progress = Callable[[int, int], None]
STATE_MODE_MASK = 0o770  # the state is nobody's business but that of those who publish


@dataclass(frozen=True)
class Work:
    """One plan, where it is carried out, and with what."""

    server: Server
    found: Found
    wanted: Mapping[str, Local]
    todo: Plan
    manifest: Manifest
    progress: Progress | None

    def beside(self, path: str) -> str:
        """Where a file is written before it gets its name."""
        return plan.temporary(path, self.manifest.files[path].sha256)


def carry_out(work: Work, draft: str, lock: Lock) -> tuple[Manifest, int]:
    """Returns the manifest that is then the server's, and the bytes of files sent. Raises Trouble, Lost.

    `draft`: where the new manifest has been written. It becomes `next` before anything of the site is made: from then
    on the web root is known as ours, and what is in it can be told.
    """
    server, manifest = work.server, work.manifest
    sending = [step.path for step in work.todo.send]
    before: list[Stage] = [("put in place", _replacements(server, {NEXT: draft}))]
    if work.found.current is None and work.found.unfinished is None:  # else a refusal leaves an unknown web root
        server.run_in_order(before)
        before = []
    before += directories_made(server, work.found, sending)
    counter = _Counter(work)
    keeps_times = _upload(work, sending, counter, before)
    if manifest.times and not keeps_times:
        manifest = replace(manifest, times=False)
        server.run("write", {draft: draft_next(server, draft, manifest)})
        server.run("put in place", _replacements(server, {NEXT: draft}))
    data = {path: work.beside(path) for path in sending if path != INDEX}
    server.run("put in place", _replacements(server, data))
    _finish(work, manifest, lock, _replacements(server, {INDEX: work.beside(INDEX)} if INDEX in sending else {}))
    return manifest, counter.sent


def directories_made(server: Server, found: Found, paths: Sequence[str]) -> list[Stage]:
    """The making of what is missing above the paths, parents first."""
    missing = [path for path in plan.directories(paths) if path not in found.directories]
    return [
        ("make", {path: files.make_directory(server.path(path), _mode(server, path, 1)) for path in level})
        for _, level in groupby(missing, key=lambda path: path.count("/"))
    ]


def probe(server: Server, found: Found) -> None:
    """Write a file and remove it again, to see whether a publish could. Raises Trouble."""
    path = f"{STATE}/{secrets.token_hex(8)}.partial"
    server.run_in_order(directories_made(server, found, [path]))
    source = Source((b"?" * 4096,), _mode(server, path, 0), None, reread=server.rereads)
    server.run("write", {path: new_file.write(server.path(path), source)})
    server.run("remove", {path: files.remove(server.path(path))})
    if STATE not in found.directories:
        server.run("remove", {STATE: files.remove_directory(server.path(STATE))})


def draft_next(server: Server, path: str, manifest: Manifest) -> Task[None]:
    """Write the manifest to a place of its own, to be renamed."""
    data, size = plan.dump(manifest), server.limits.write_bytes
    chunks = [data[start : start + size] for start in range(0, len(data), size)]  # of 10,000 runs it is a megabyte
    yield from new_file.write(server.path(path), Source(chunks, _mode(server, path, 0), None, reread=server.rereads))


def _upload(work: Work, sending: Sequence[str], counter: _Counter, before: Sequence[Stage]) -> bool:
    """Write all files beside their places, after `before`. False where this server does not keep the times we set."""
    same: dict[int, list[str]] = {}
    for path in sending:
        same.setdefault(id(work.wanted[path]), []).append(path)
    counter.total = sum(work.wanted[paths[0]].entry.size for paths in same.values())
    tasks = {
        **{paths[0]: _deliver(work, paths, counter) for paths in same.values()},
        **{plan.old(sha256): _save(work, path, sha256) for path, sha256 in _outgoing(work, sending)},
    }
    results = work.server.run_in_order([*before, ("write", tasks)])
    return all(results[path] for path in tasks)


class _Counter:
    """Tells the caller how far the upload is."""

    def __init__(self, work: Work) -> None:
        self._tell = work.progress
        self._done = 0
        self.total = 0
        self.sent = 0

    def chunks(self, local: Local, size: int) -> Iterator[bytes]:
        for chunk in local.chunks(size):
            yield chunk
            self.sent += len(chunk)
            self.count(len(chunk))

    def count(self, size: int) -> None:
        self._done += size
        if self._tell:
            self._tell(self._done, self.total)


def _deliver(work: Work, paths: Sequence[str], counter: _Counter) -> Task[bool]:
    """Write one content beside its first place, and link it beside the others. False if its time is not kept."""
    first, *others = paths
    names = [work.server.path(work.beside(other)) for other in others] if work.server.links else []
    kept, linked = yield from _write(work, first, names, counter)
    for other, done in zip(others, linked or [False] * len(others), strict=True):
        if not done:
            yield from _write(work, other, [], counter)
    return kept


def _write(work: Work, path: str, names: Sequence[str], counter: _Counter) -> Task[tuple[bool, list[bool]]]:
    server, local, entry = work.server, work.wanted[path], work.manifest.files[path]
    beside, there = server.path(work.beside(path)), work.found.seen.get(work.beside(path))
    if there is not None:
        if work.manifest.times and there == Seen(
            entry.size, entry.mtime, server.website.modes[0]
        ):  # these are set last
            counter.count(entry.size)
            return True, (yield from files.link(beside, names))
        yield from files.remove(beside)
    if local.stored:
        if (yield from files.link(server.path(plan.old(entry.sha256)), [beside])) == [False]:
            raise Trouble(f"{server.name}: {server.path(path)}: its former content is not on the server any more")
        return True, (yield from files.link(beside, names))
    chunks = counter.chunks(local, server.limits.write_bytes)
    source = Source(chunks, server.website.modes[0], entry.mtime, server.bytes_in_flight, server.rereads)
    written, linked = yield from new_file.write_linked(beside, names, source)
    return written.mtime in (None, entry.mtime), linked


def _outgoing(work: Work, sending: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What is about to be replaced by a new version, and its hash."""
    if not work.server.links or work.manifest is work.found.current:
        return
    for path in sending:
        sha256 = plan.holding(path, work.found.current, work.found.seen)
        if sha256 and plan.old(sha256) not in work.found.seen:
            yield path, sha256


def _save(work: Work, path: str, sha256: str) -> Task[bool]:
    """Give the version before a second name, for a rollback."""
    yield from files.link(work.server.path(path), [work.server.path(plan.old(sha256))])
    return True


def _replacements(server: Server, sources: Mapping[str, str]) -> dict[str, Task[None]]:
    return {
        target: files.replace(server.path(source), server.path(target), atomic=server.atomic)
        for target, source in sources.items()
    }


def _finish(work: Work, manifest: Manifest, lock: Lock, index: Mapping[str, Task[None]]) -> None:
    """Put `index` in its place, remove what nobody needs any more, and what killed publishes left.

    Only when all that is done the manifest, which would otherwise tell of a page that was refused, or forget what could
    not be removed; and the lock. With `index` travels what neither the page before nor the new one loads, with the
    manifest what every publish finds again.
    """
    server, seen = work.server, work.found.seen
    previous = {plan.old(entry.sha256) for entry in manifest.previous.values() if entry}
    known = [step.path for step in work.todo.remove]
    if work.found.unfinished:
        used = {work.beside(path) for path in manifest.files}
        known += [path for path in plan.temporaries(work.found.unfinished) if path in seen and path not in used]
    stray = [
        *(path for path in seen if path.startswith(f"{OLD}/") and path not in previous),
        *(path for path in seen if path.startswith(f"{STATE}/") and path.endswith((".partial", ".stale"))),
    ]
    touched = plan.directories(step.path for step in work.todo.remove)
    needed = set(plan.directories([*manifest.files, *manifest.kept])) if touched else set()
    empty = [path for path in touched if path not in needed]
    server.run_in_order(
        [
            ("put in place", index),
            ("remove", {path: files.remove(server.path(path)) for path in known}),
            ("remove", {path: files.remove_directory(server.path(path)) for path in reversed(empty)}),
        ]
    )
    server.run_in_order(
        [
            ("remove", {path: files.remove(server.path(path)) for path in stray}),
            ("put in place", _replacements(server, {MANIFEST: NEXT})),
            ("remove", {LOCK: lock.release()}),
        ]
    )


def _mode(server: Server, path: str, of_directory: int) -> int:
    mode = server.website.modes[of_directory]
    return mode & STATE_MODE_MASK if path.split("/", 1)[0] == STATE else mode
