"""Every sub-command and option, and which function answers it."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence

from deepspeech_wer import environment, logs
from deepspeech_wer.commands import act, check, crontab, inspect, site

Action = Callable[[argparse.Namespace], int]


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale without a character is no reason to fail
    options = parser().parse_args(arguments)
    logs.set_up(quiet=options.quiet)
    environment.forget_git_variables()
    if options.crontab:
        environment.adopt(crontab.variables())
    action: Action = options.action
    return action(options)


def parser() -> argparse.ArgumentParser:
    """All sub-commands. Each sets `action`."""
    top = argparse.ArgumentParser(
        prog="deepspeech-wer",
        description="Train every new merge, archive its word error rate, publish the page. "
        "Without a command: one tick, what cron runs. Configured by ds_* environment variables, see `settings`.",
    )
    top.add_argument("-q", "--quiet", action="store_true", help="log warnings and errors only")
    top.add_argument("--crontab", action="store_true", help="use the ds_* and XDG_* variables of your crontab")
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(subs)
    _add(subs, "cancel", act.cancel, "end the running job, and record its run as cancelled")
    retry = _add(subs, "retry", act.retry, "run failed merges again; without SHA, those that failed alike at the end")
    retry.add_argument("sha", nargs="*", metavar="SHA", help="first digits of an archived commit")
    _add(subs, "status", inspect.status, "what is going on, and what was done last")
    _add(subs, "settings", inspect.settings, "every variable, its effective value and where that comes from")
    _add(subs, "check", check.run, "will tonight's tick work? Everything it needs is tried, and nothing changed")
    _add(subs, "runs", inspect.runs, "the archived runs, in the order of history")
    _add(subs, "show", inspect.show, "one run in full").add_argument(
        "run", help="its id, or the first digits of its commit"
    )
    _add(subs, "build", site.build, "merge the archived runs into js/hyper.js and build the site", alias="merge")
    _add_publish(subs)
    serve = _add(subs, "serve", site.serve, "show the site on this machine")
    serve.add_argument("--port", type=_port, default=8000, help="(8000) 0 takes a free one")
    _add_demo(subs)
    return top


def _add_run(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = _add(subs, "run", act.run, "one tick, as without a command")
    run.add_argument(
        "--sha", action="append", default=[], help="run this commit, also if it was run before; repeatable"
    )
    run.add_argument("--dry-run", action="store_true", help="say which merges are due, and run nothing")


def _add_publish(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    publish = _add(subs, "publish", site.publish, "build the site and publish it")
    publish.add_argument("--dry-run", action="store_true", help="list what would be sent or removed, and send nothing")
    publish.add_argument("--adopt", action="store_true", help="replace files in the web root that others put there")
    publish.add_argument("--rollback", action="store_true", help="bring back the version published before")


def _add_demo(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = _add(subs, "demo", act.demo, "the whole cycle on this machine alone")
    demo.add_argument("--directory", default="demo", help="(./demo) where everything of it lies")
    demo.add_argument("--port", type=_port, default=8000, help="(8000) of the published page; 0 takes a free one")
    demo.add_argument("--no-serve", action="store_true", help="end once the page is published")


def _add(
    subs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    action: Action,
    text: str,
    *,
    alias: str | None = None,
) -> argparse.ArgumentParser:
    sub = subs.add_parser(name, help=text, description=text, aliases=[alias] if alias else [])
    sub.set_defaults(action=action)
    return sub


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, found {text!r}")
    return int(text)
