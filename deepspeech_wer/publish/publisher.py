"""Publish a site, or roll it back: from the first look at the server to the last rename.

Importing this loads paramiko: import it where something is to be published.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from deepspeech_wer.configuration.settings import Website
from deepspeech_wer.errors import Trouble
from deepspeech_wer.places import BEAT
from deepspeech_wer.publish import plan, sources
from deepspeech_wer.publish.plan import MANIFEST, STATE, Entries, Manifest, Plan
from deepspeech_wer.publish.report import Options, Report
from deepspeech_wer.publish.sources import Copied
from deepspeech_wer.publish.survey import CHANGING, Survey, check_root, survey
from deepspeech_wer.publish.upload import Work, make_directories, probe, upload, write_draft
from deepspeech_wer.publish.web_root import WebRoot
from deepspeech_wer.publish.web_root_lock import LOCK, locked
from deepspeech_wer.sftp import files
from deepspeech_wer.sftp.connection import Dropped, connected
from deepspeech_wer.sftp.pipeline import Halted

NEWEST = 32  # files whose directories are looked at first
DEFAULTS = Options()

# What is on the server, what is to be, and the site that holds it; no site: the server holds it.
Look = Callable[[WebRoot], tuple[Survey, Entries, Path | None]]


def publish(site: Path, paths: Sequence[str], website: Website, options: Options = DEFAULTS) -> Report:
    """Bring files (`paths` relative to `site`, with /) to the web root, index.htm last. Unchanged files are not sent.

    Only what an earlier publish put there is replaced or removed, unless `options.adopt` is set. Raises Trouble.
    """
    with ThreadPoolExecutor(1) as executor:
        scan = executor.submit(sources.scan, site, paths)  # 20,000 files, while the connection is made

        def look(root: WebRoot) -> tuple[Survey, Entries, Path | None]:
            scanned = scan.result()
            newest = sorted(scanned, key=lambda path: scanned[path][1])[-NEWEST:]
            found = survey(root, options, paths, newest)
            return found, sources.read(site, scanned, found.current.files if found.current else {}), site

        return _publish(look, website, options)


def rollback(website: Website, options: Options = DEFAULTS) -> Report:
    """Bring back the version before the published one, which the server has. A second rollback undoes the first, and so
    does the next publish. Raises Trouble where there is no version before, or where the server could not keep it.
    """
    return _publish(partial(_look_for_version_before, options=options), website, options)


def refresh(path: str, data: bytes, website: Website, options: Options = DEFAULTS) -> bool:
    """Replace one small file that an earlier publish put there; nothing else is looked at. False: it is not there.

    The next publish finds that it differs, and sends it like any other. Raises Trouble, also if somebody publishes.
    """
    with _web_root(website, options) as root:
        state = files.list_directory(root.path(STATE))
        there = root.run(("read", {path: files.states([root.path(path)]), STATE: state}))
        if there[path] == [None]:
            return False
        beside = plan.temporary(path, hashlib.sha256(data).hexdigest(), secrets.token_hex(6))
        with locked(root, options.lock_wait_s, [f"{STATE}/{name}" for name in there[STATE] or ()]):
            root.run(("write", {beside: root.write(beside, [data])}))
            root.run(("put in place", {path: root.replace(beside, path)}))
    return True


@contextmanager
def _web_root(website: Website, options: Options) -> Iterator[WebRoot]:
    with connected(website, timeout_s=options.timeout_s) as server, server.session(options.is_stopped) as session:
        try:
            yield WebRoot(session, str(website), website.server_root, website.modes, server.is_openssh)
        except OSError as error:  # of a file of the site: the connection raises Dropped
            raise Trouble(f"{error.filename}: cannot be published: {error.strerror}: build the site again") from error


def _publish(look: Look, website: Website, options: Options) -> Report:
    """Publish, and try again where the connection drops."""
    started, pauses = time.monotonic(), iter(options.retry_after_s)
    while True:
        try:
            return _attempt(look, website, options, started)
        except Dropped as error:
            if (wait_s := next(pauses, None)) is None:
                tries = f" ({len(options.retry_after_s) + 1} tries)" if options.retry_after_s else ""
                raise Trouble(f"{error}{tries}; the next publish goes on from there") from error
        for _ in range(int(wait_s * 10)):
            if options.is_stopped():
                raise Halted("stopped; the next publish goes on from there")
            time.sleep(0.1)


def _attempt(look: Look, website: Website, options: Options, started: float) -> Report:
    with _web_root(website, options) as root:
        work = _prepare(root, look, options)
        if options.dry_run and options.probe:
            probe(work)
        elif not options.dry_run and work.todo.manifest is not None:
            work = _upload_locked(work, look, options)
        report = _report(work, options, time.monotonic() - started)
        if work.site and options.kept and not options.dry_run:
            sources.keep(options.kept, work.site, work.wanted)
        return report


def _prepare(root: WebRoot, look: Look, options: Options, last: Survey | None = None) -> Work:
    """Look at the server, and plan what to do there. Raises Trouble where it must not be done."""
    found, wanted, site = look(root)
    todo = plan.make(wanted, found.current, found.unfinished, found.seen, time.time(), options.owner)
    try:
        check_root(root, found, todo, adopt=options.adopt)
    except Trouble:
        if last and last.before == found.before:
            raise
        return _prepare(root, look, options, found)  # files of a publish that ended as we looked seem foreign
    known = [manifest for manifest in (todo.manifest, found.current, found.unfinished) if manifest]
    left = plan.leftovers(found.seen, (path for one in known for path in (*one.files, *one.kept)))
    by_server = _copied(root, found, todo, site, options.kept)
    return Work(root, found, wanted, site, todo, todo.manifest or Manifest(), options.progress, left, by_server)


def _copied(root: WebRoot, found: Survey, todo: Plan, site: Path | None, kept: Path | None) -> dict[str, Copied]:
    """Return what the server can copy to make changed files: it has them as they were published, and so have we."""
    current = found.current
    if not (site and kept and current and root.can_copy) or found.unfinished:
        return {}
    plans = {}
    for path in todo.send if current.generation % sources.WHOLE_EVERY else ():
        source = sources.version_before(path, current.files)
        if source and current.files[source].size >= sources.LARGE and plan.holds(current, source, found.seen):
            plans[path] = Copied(source, sources.compared(kept, current.files[source], site / path))
    return {path: one for path, one in plans.items() if one.size}


def _upload_locked(work: Work, look: Look, options: Options) -> Work:
    """Take the lock, and upload. If somebody else has published meanwhile, look and plan again first."""
    root = work.root
    directories = make_directories(root, work.found, [LOCK, plan.old("")])
    draft, writing = write_draft(work)
    along = {MANIFEST: files.states([root.path(path) for path in CHANGING]), draft: writing}
    try:
        with locked(root, options.lock_wait_s, work.found.seen, directories, along) as lock:
            if lock.waited or lock.along[MANIFEST] != work.found.before:
                work = _prepare(root, look, options)
                if work.todo.manifest is None:
                    return work
                draft, writing = write_draft(work)
                root.run(("write", {draft: writing}))
            return replace(work, manifest=upload(work, draft, lock))
    except Trouble:
        root.session.one(files.discard(root.path(draft)))
        raise


def _look_for_version_before(root: WebRoot, options: Options) -> tuple[Survey, Entries, Path | None]:
    """The version that the current one replaced is to be. Raises Trouble where the server does not have all of it."""
    found = survey(root, options, [])
    if found.unfinished is not None:
        raise Trouble(f"{root}: a publish was cut short there: publish first, then roll back")
    if found.current is None or not found.current.previous or not (before := plan.version_before(found.current)):
        raise Trouble(f"{root}: holds no version before this one: nothing to roll back to")
    before.pop(BEAT, None)
    for path, entry in before.items():
        there = path in found.current.kept or path not in found.current.previous
        if not there and plan.old(entry.sha256) not in found.seen:
            cure = "it was replaced by an older publish" if root.can("hardlink") else "this server cannot link files"
            raise Trouble(f"{root.server}: {root.path(path)}: its former content was not kept ({cure})")
    return found, before, None


def _report(work: Work, options: Options, seconds: float) -> Report:
    todo, wanted = work.todo, work.wanted
    lines = [f"send    {path} ({wanted[path].size:,} bytes): {why}" for path, why in todo.send.items()]
    lines += [f"remove  {path}: {why}" for path, why in todo.remove.items()]
    notes = [f"{work.root.path(path)}: not ours: kept as {aside}" for path, aside in work.replaced.items()]
    if not work.root.can("posix-rename"):
        notes.append(f"{work.root.server}: no posix-rename: a file is missing for a moment while it is replaced")
    if not work.manifest.times:
        notes.append(f"{work.root.server}: keeps no times: files changed there are recognised by their size alone")
    if work.root.unreadable:
        cure = "if visitors cannot read it, chmod -R a+rX the web root, and give it -u 0022 or take away -P setstat"
        notes.append(f"{work.root.server}: its sftp-server sets no modes: {work.root.unreadable}: {cure}")
    return Report(
        sent=tuple(todo.send),
        kept=len(wanted) - len(todo.send),
        removed=tuple(todo.remove),
        size=work.size,
        seconds=seconds,
        shown={} if options.dry_run else wanted,
        lines=tuple(lines) if options.dry_run else (),
        notes=tuple(notes) if todo.send else (),
    )
