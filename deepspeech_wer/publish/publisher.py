"""A publish from the first look at the server to the last rename. Imported only where one is made."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import look, plan
from deepspeech_wer.publish import site as sites
from deepspeech_wer.publish.carry_out import Work, carry_out, directories_made, draft_next, probe
from deepspeech_wer.publish.lock import LOCK, Holder, held, holder
from deepspeech_wer.publish.look import Found
from deepspeech_wer.publish.plan import MANIFEST, NEXT, Entry, Manifest, Plan
from deepspeech_wer.publish.report import Report
from deepspeech_wer.publish.server import Server
from deepspeech_wer.publish.site import Local
from deepspeech_wer.settings import Website
from deepspeech_wer.sftp.connection import connected, where
from deepspeech_wer.sftp.dial import Dropped, Line
from deepspeech_wer.sftp.pipeline import Lost, Pipeline

NEWEST = 32  # files whose directories are looked at first


@dataclass(frozen=True)
class Options:
    """How to publish."""

    dry_run: bool
    adopt: bool
    url: str | None  # where the web server shows the site
    progress: Callable[[int, int], None] | None
    timeout_s: float
    lock_wait_s: float
    retry_after_s: Sequence[float]
    probe: bool = False  # at a dry run, also see whether the web root can be written


@dataclass(frozen=True)
class Goal:
    """What a look at the server led to."""

    found: Found
    wanted: Mapping[str, Local]
    todo: Plan


@dataclass(frozen=True)
class Aim:
    """What is to be brought about."""

    wanted: Callable[[Server, Found], Mapping[str, Local]]  # given what is there
    files: Sequence[str] = ()  # as far as known before a look
    newest: Callable[[], Sequence[str]] = tuple  # some of them; none when asked too early


def publish(site: Path, files: Sequence[str], website: Website, options: Options, call: Future[Line]) -> Report:
    """See api.publish."""
    with ThreadPoolExecutor(1) as aside:  # 20,000 files are looked at while the server is logged in to
        scanning = aside.submit(sites.scan, site, files)
        aim = Aim(
            lambda _, found: sites.read(site, scanning.result(), _records(found)),
            files,
            lambda: sites.newest(scanning.result(), NEWEST) if scanning.done() else (),
        )
        return _towards(aim, website, options, call)


def rollback(website: Website, options: Options, call: Future[Line]) -> Report:
    """See api.rollback."""
    return _towards(Aim(_version_before), website, options, call)


def _towards(aim: Aim, website: Website, options: Options, call: Future[Line] | None) -> Report:
    """Bring the server to the aim, trying again when the connection drops."""
    started, mine = time.monotonic(), holder(secrets.token_hex(8))
    for wait_s in (*options.retry_after_s, None):
        try:
            with _session(website, call, options.timeout_s) as server:
                goal, manifest, size = _bring(server, aim, options, mine)
                report = _report(server, goal, manifest, size, options, time.monotonic() - started)
            return _read_back(report, goal, options)
        except Dropped as error:
            if wait_s is None:
                tries = f" ({len(options.retry_after_s) + 1} tries)" if options.retry_after_s else ""
                raise Trouble(f"{error}{tries}; the next publish goes on from there") from error
            time.sleep(wait_s)
            call = None
    raise AssertionError("unreachable")


@contextmanager
def _session(website: Website, call: Future[Line] | None, timeout_s: float) -> Iterator[Server]:
    with connected(website, call, timeout_s=timeout_s) as connection:
        server = None
        try:
            server = Server(
                Pipeline(connection.open_sftp(), eager=connection.is_openssh), website, connection.is_openssh
            )
            yield server
        except Lost as error:
            if connection.is_alive and not (server and server.session.greeted):
                raise Trouble(
                    f"{where(website)}: the server offers no SFTP ({error}): switch it on there "
                    "(sshd_config: Subsystem sftp internal-sftp)"
                ) from error
            raise Dropped(f"{where(website)}: {error}") from error


def _bring(server: Server, aim: Aim, options: Options, mine: Holder) -> tuple[Goal, Manifest | None, int]:
    goal = _goal(server, aim, options)
    manifest = goal.todo.manifest
    if options.dry_run or manifest is None:
        if options.probe:
            probe(server, goal.found)
        return goal, goal.found.current, _size(goal)
    state = directories_made(server, goal.found, [LOCK, plan.old("")])
    draft = f"{NEXT}.{secrets.token_hex(8)}.partial"
    along = {MANIFEST: look.stamp(server), draft: draft_next(server, draft, manifest)}
    with held(server, mine, options.lock_wait_s, state, along) as lock:
        if lock.waited or lock.along[MANIFEST] != goal.found.stamp:  # somebody published while we looked
            goal = _goal(server, aim, options)
            manifest = goal.todo.manifest
            if manifest is None:
                return goal, goal.found.current, 0
            draft = f"{NEXT}.{secrets.token_hex(8)}.partial"
            server.run("write", {draft: draft_next(server, draft, manifest)})
        work = Work(server, goal.found, goal.wanted, goal.todo, manifest, options.progress)
        return goal, *carry_out(work, draft, lock)


def _goal(server: Server, aim: Aim, options: Options) -> Goal:
    found = look.look(server, aim.files, set(plan.directories(aim.newest())))
    wanted = aim.wanted(server, found)
    entries = {path: local.entry for path, local in wanted.items()}
    todo = plan.make(entries, found.current, found.unfinished, found.seen)
    look.check(server, found, todo, adopt=options.adopt)
    return Goal(found, wanted, todo)


def _records(found: Found) -> dict[str, Entry]:
    return dict(found.current.files) if found.current else {}


def _version_before(server: Server, found: Found) -> dict[str, Local]:
    """The version that the current one replaced, all of it on the server. Raises Trouble where it is not."""
    if found.unfinished is not None:
        raise Trouble(f"{server.name}: {server.path()}: a publish was cut short there: publish first, then roll back")
    if found.current is None or not found.current.previous or not plan.version_before(found.current):
        raise Trouble(f"{server.name}: {server.path()}: holds no version before this one: nothing to roll back to")
    wanted = {}
    for path, entry in plan.version_before(found.current).items():
        wanted[path] = Local(entry, path, stored=True)
        there = path in found.current.kept or path not in found.current.previous
        if not there and plan.old(entry.sha256) not in found.seen:
            cure = "it was replaced by an older publish" if server.links else "this server cannot link files"
            raise Trouble(f"{server.name}: {server.path(path)}: its former content was not kept ({cure})")
    return wanted


def _read_back(report: Report, goal: Goal, options: Options) -> Report:
    if options.url is None or options.dry_run or not report.sent:
        return report
    from deepspeech_wer.publish import read_back  # requests takes 60 ms to import

    entries = {path: local.entry for path, local in goal.wanted.items()}
    return replace(report, differences=read_back.differences(options.url, entries, report.sent))


def _size(goal: Goal) -> int:
    """Bytes to be sent: a content under two names goes once."""
    sending = [goal.wanted[step.path] for step in goal.todo.send]
    return sum({id(local): local.entry.size for local in sending if not local.stored}.values())


def _report(
    server: Server, goal: Goal, manifest: Manifest | None, size: int, options: Options, seconds: float
) -> Report:
    todo, wanted = goal.todo, goal.wanted
    lines = [f"send    {step.path} ({wanted[step.path].entry.size:,} bytes): {step.why}" for step in todo.send]
    lines += [f"remove  {step.path}: {step.why}" for step in todo.remove]
    notes = []
    if not server.atomic:
        notes.append(f"{server.name}: no posix-rename: a file is away for a moment while it is replaced")
    if manifest is not None and not manifest.times:
        notes.append(f"{server.name}: keeps no times: files changed there are told by their size alone")
    return Report(
        sent=tuple(step.path for step in todo.send),
        kept=todo.keep,
        removed=tuple(step.path for step in todo.remove),
        size=size,
        seconds=seconds,
        lines=tuple(lines) if options.dry_run else (),
        notes=tuple(notes) if todo.send else (),
    )
