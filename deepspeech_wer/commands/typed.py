"""What is typed by hand: one function per sub-command, each prints and returns its exit code."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from deepspeech_wer import archive, automation, journal, lock, settings, update_site
from deepspeech_wer.commands import check, progress
from deepspeech_wer.dashboard.preview import preview
from deepspeech_wer.errors import Trouble
from deepspeech_wer.publish import api
from deepspeech_wer.publish.report import Options, Report
from deepspeech_wer.records import Run
from deepspeech_wer.settings import Settings

Action = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """All sub-commands. Each sets `action`."""
    top = argparse.ArgumentParser(
        prog="deepspeech-wer",
        description="Train every new merge, archive its word error rate, publish the page. "
        "Without a command: one tick, what cron runs. Configured by ds_* environment variables, see `settings`.",
    )
    top.add_argument("-q", "--quiet", action="store_true", help="log warnings and errors only")
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = _add(subs, "run", _dry_run, "one tick, as without a command")
    run.add_argument(
        "--sha", action="append", default=[], help="run this commit, also if it was run before; repeatable"
    )
    run.add_argument("--dry-run", action="store_true", help="say which merges are due, and run nothing")
    _add(subs, "status", _status, "what is going on, and what was done last")
    _add(subs, "settings", _settings, "every variable, its effective value and where that comes from")
    _add(subs, "check", _check, "will tonight's tick work? Everything it needs is tried, and nothing changed")
    _add(subs, "runs", _runs, "the archived runs, in the order of history")
    _add(subs, "show", _show, "one run in full").add_argument("run", help="its id, or the first digits of its commit")
    _add(subs, "merge", _merge, "merge the archived runs into js/hyper.js and build the site")
    publishing = _add(subs, "publish", _publish, "build the site and publish it")
    publishing.add_argument(
        "--dry-run", action="store_true", help="list what would be sent or removed, and send nothing"
    )
    publishing.add_argument("--adopt", action="store_true", help="replace files in the web root that others put there")
    publishing.add_argument("--rollback", action="store_true", help="bring back the version published before")
    serve = _add(subs, "serve", _serve, "show the site on this machine")
    serve.add_argument("--port", type=_port, default=8000, help="(8000) 0 takes a free one")
    demo = _add(subs, "demo", _demo, "the whole cycle on this machine alone")
    demo.add_argument("--directory", default="demo", help="(./demo) where everything of it lies")
    demo.add_argument("--port", type=_port, default=8000, help="(8000) of the published page; 0 takes a free one")
    demo.add_argument("--no-serve", action="store_true", help="end once the page is published")
    return top


def _add(
    subs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, action: Action, text: str
) -> argparse.ArgumentParser:
    sub = subs.add_parser(name, help=text, description=text)
    sub.set_defaults(action=action)
    return sub


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, found {text!r}")
    return int(text)


def _dry_run(_: argparse.Namespace) -> int:
    current = settings.load()
    with _locked(current):
        found = automation.look(current)
    if found.next is None:
        print("nothing is due")
        return 0
    print(f"{found.waiting} due; next: {found.next.sha[:12]} {found.next.subject}")
    return 0


def _status(_: argparse.Namespace) -> int:
    current = settings.load()
    holder = lock.holder(str(current.cache / "lock"))
    entry = journal.read(current.cache)
    if holder:
        print(f"a tick is running: process {holder[0]} on {holder[1]} since {holder[2]}")
    else:
        print("no tick is running")
    if entry:
        print(f"in work: {entry.merge.sha[:12]} {entry.merge.subject} ({entry.phase}, attempt {entry.attempt})")
    print(f"tracked: {current.repo_name}, {current.github_ref or 'its HEAD'}")
    print(f"last_sha1: {automation.read_last(current.cache) or 'none yet'}")
    names = archive.names(current.runs)
    print(f"runs: {len(names)} in {current.runs}")
    if names:
        print(f"newest: {_newest(current, names)}")
    print(f"site: {_site(current)}")
    return 0


def _settings(_: argparse.Namespace) -> int:
    for name, value, origin in settings.describe():
        print(f"{name:<32} {value:<32} ({origin})")
    settings.load()
    return 0


def _check(_: argparse.Namespace) -> int:
    faults = 0
    for finding in check.check():
        print(f"{finding.level:<5}  {finding.subject:<10}  {_plain(finding.text)}", flush=True)
        faults += finding.level == check.FAULT
    return 1 if faults else 0


def _runs(_: argparse.Namespace) -> int:
    for run in sorted(archive.load(settings.load().runs), key=lambda run: (run.merge.ordinal, run.id)):
        print(_line(run))
    return 0


def _show(options: argparse.Namespace) -> int:
    run = archive.find(settings.load().runs, options.run)
    rows = {
        "run": run.id,
        "merge": f"{run.merge.sha} (number {run.merge.ordinal})",
        "subject": run.merge.subject,
        "author": f"{run.merge.author}, {run.merge.committed_at}",
        "status": run.status if run.failure is None else f"{run.status}: {run.failure}: {run.detail}",
        "attempt": run.attempt,
        "time": f"{run.started_at} to {run.finished_at}",
        "machine": run.machine,
        "files": run.directory,
    }
    for half in ("results", "parameters", "context"):
        rows |= {f"{half}.{name}": value for name, value in (run.hyper or {}).get(half, {}).items()}
    for name, value in rows.items():
        print(f"{name:<36} {_plain(str(value))}")
    return 0


def _merge(_: argparse.Namespace) -> int:
    current = settings.load()
    with _locked(current):
        listed = update_site.build(current)
    print(
        f"{len(archive.names(current.runs))} runs merged into {current.site / 'js' / 'hyper.js'}, {len(listed)} files"
    )
    return 0


def _publish(options: argparse.Namespace) -> int:
    current = settings.load()
    if current.website is None:
        print(f"not publishing: {', '.join(current.website_missing)} not set")
        return 0
    if options.rollback:
        return _rollback(current.website, options, current)
    with _locked(current):
        listed = update_site.build(current)
        how = Options(
            dry_run=options.dry_run, adopt=options.adopt, url=current.website_url, progress=progress.upload_bar()
        )
        report = api.publish(current.site, listed, current.website, how)
    return _tell("published", report, is_dry=options.dry_run)


def _rollback(website: settings.Website, options: argparse.Namespace, current: Settings) -> int:
    with _locked(current):
        report = api.rollback(website, Options(dry_run=options.dry_run, url=current.website_url))
    return _tell("rolled back", report, is_dry=options.dry_run)


def _tell(done: str, report: Report, *, is_dry: bool) -> int:
    for line in (*report.lines, *report.notes, *report.differences):
        print(_plain(line))
    print(f"{'would send' if is_dry else done} {report.summary}")
    return 4 if report.differences else 0


def _serve(options: argparse.Namespace) -> int:
    site = settings.load().site
    if not (site / "index.htm").exists():
        raise Trouble(f"{site}: no site there yet: `merge` builds it")
    with preview(str(site), options.port) as server:
        print(f"http://127.0.0.1:{server.server_port}/index.htm (Ctrl-C ends it)", flush=True)
        server.serve_forever()
    return 0


def _demo(options: argparse.Namespace) -> int:
    from deepspeech_wer.demo import cycle  # it alone needs the [demo] extra

    return cycle.run(options.directory, port=options.port, serve=not options.no_serve)


class _locked:  # noqa: N801 - reads as a verb
    """The tick's lock for a command that writes. Raises Trouble, naming the holder, where a tick is at work."""

    def __init__(self, current: Settings) -> None:
        self._path = str(current.cache / "lock")

    def __enter__(self) -> None:
        descriptor = lock.acquire(self._path)
        if descriptor is None:
            holder = lock.holder(self._path)
            who = f"process {holder[0]} since {holder[2]}" if holder else "the job of a killed tick"
            raise Trouble(f"a tick is at work ({who}): try again when it is done, see `status`")
        self._descriptor = descriptor

    def __exit__(self, *_: object) -> None:
        lock.release(self._descriptor)


def _line(run: Run) -> str:
    if run.hyper is None:
        result = f"failed: {run.failure}"
    else:
        wer = run.hyper["results"]["test_wer"]
        result = "not measured" if wer is None else f"{100 * wer:6.2f} %"
    return f"{run.merge.ordinal:>5}  {run.id}  {result:<24} {run.merge.subject[:60]}"


def _newest(current: Settings, names: Sequence[str]) -> str:
    try:
        in_its_second = [archive.read(current.runs / name) for name in names if name[:15] == names[-1][:15]]
    except Trouble as trouble:
        return f"cannot be read: {trouble}"
    return _line(max(in_its_second, key=lambda run: run.merge.ordinal))


def _site(current: Settings) -> str:
    if not (current.site / "index.htm").exists():
        return "none yet"
    return f"{'not up to date' if update_site.is_behind(current) else 'up to date'}, {_place(current)}"


def _place(current: Settings) -> str:
    website = current.website
    return (
        f"published to {website.server_fqdn}:{website.server_root}" if website else f"not published, in {current.site}"
    )


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
