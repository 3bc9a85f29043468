"""Defines every command and option, and the function that each command calls."""

from __future__ import annotations

import argparse
import importlib
import io
import sys
from collections.abc import Callable, Sequence

from deepspeech_wer import __version__, logging_setup
from deepspeech_wer.commands import schema
from deepspeech_wer.configuration import env_file, environment, settings

Action = Callable[[argparse.Namespace], int]


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a character that the locale lacks must not fail the command
    options = parser().parse_args(arguments)
    logging_setup.set_up(quiet=options.quiet, verbose=options.verbose)
    if options.crontab:
        from deepspeech_wer.commands import crontab

        env_file.adopt(crontab.variables(env_file.instance()), "crontab")
    env_file.fill()
    environment.forget_git_variables()
    action: Action = options.action
    return action(options)


def complete() -> None:
    """Tell a shell how the command line may go on; nothing without the extra [completion]. Ends this process."""
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser())


def manual(_: argparse.Namespace) -> int:
    """Print the manual page."""
    from deepspeech_wer.commands import man

    variables = [(variable.name, variable.meaning) for variable in settings.VARIABLES]
    print(man.page(parser(), variables), end="")
    return 0


def parser() -> argparse.ArgumentParser:
    """Build the parser. Each command sets `action`."""
    top = argparse.ArgumentParser(
        prog="deepspeech-wer",
        description="Train every new merge, archive its word error rate, publish the page. Without a command: run one "
        "tick, as cron does. Environment variables ds_* are the configuration, see `settings`.",
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    how_much = top.add_mutually_exclusive_group()
    how_much.add_argument("-q", "--quiet", action="store_true", help="log warnings and errors only")
    how_much.add_argument("-v", "--verbose", action="store_true", help="log each phase and each call of git as well")
    top.add_argument("--crontab", action="store_true", help="use the ds_* and XDG_* variables of your crontab")
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(subs)
    cancel = _add(subs, "cancel", _later("act", "cancel"), "end the running job and record the run as cancelled")
    cancel.add_argument(
        "sha", nargs="*", metavar="SHA", help="first digits of a commit; else every running job is ended"
    )
    _add_retry_and_skip(subs)
    _add_told(subs)
    _add_calibrate(subs)
    _add_compare(subs)
    accept = _add(
        subs,
        "accept",
        _later("verdicts", "accept"),
        "accept the worse result of a merge: its level becomes the new one",
    )
    accept.add_argument("sha", metavar="SHA", help="first digits of an archived commit")
    accept.add_argument("--why", type=_reason, required=True, help="the reason, kept with the decision")
    _add(
        subs,
        "build",
        _later("site", "build"),
        "merge the archived runs into js/hyper.js and build the site",
        alias="merge",
    )
    _add_import_and_prune(subs)
    _add_publish(subs)
    _add_for_set_up(subs)
    _add_overview(subs)
    serve = _add(subs, "serve", _later("site", "serve"), "show the site on this machine")
    serve.add_argument("--port", type=_port, default=8000, help="port (8000); 0: any free one")
    _add(subs, "man", manual, "print the manual page: `deepspeech-wer man | man -l -`")
    _add_demo(subs)
    return top


def _add_run(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = _add(subs, "run", _later("act", "run"), "run one tick by hand")
    run.add_argument("--sha", action="append", default=[], help="run this commit, even if it ran before; repeatable")
    run.add_argument("--dry-run", action="store_true", help="print which merges are due, and run nothing")


def _add_retry_and_skip(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    retry = _add(
        subs,
        "retry",
        _later("act", "retry"),
        "run failed merges again; without SHA, those that failed alike at the end",
    )
    retry.add_argument("--judge", action="store_true", help="take the results that they left, after a look at them")
    retry.add_argument("sha", nargs="*", metavar="SHA", help="first digits of an archived commit")
    skip = _add(subs, "skip", _later("act", "skip"), "do not train a merge; `retry` undoes it")
    skip.add_argument("sha", metavar="SHA", help="first digits (7 or more) of a commit that has not run yet")
    skip.add_argument("--why", type=_reason, required=True, help="the reason, kept with the decision")


def _add_told(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    told = (
        ("status", _later("inspect", "status"), "show what is running, what ran last, and what runs next"),
        ("settings", _later("inspect", "settings"), "list every variable, its effective value and its origin"),
        ("check", _later("check", "run"), "try everything that a tick needs, and change nothing"),
        ("runs", _later("inspect", "runs"), "list the archived runs, in the order of the history"),
        ("show", _later("inspect", "show"), "show one run in full"),
    )
    for name, action, text in told:
        _add(subs, name, action, text).add_argument("--json", action="store_true", help="as JSON, for programs")
    subs.choices["show"].add_argument("run", help="the run's id, or the first digits of its commit")
    shown = _add(
        subs, "verdicts", _later("verdicts", "verdicts"), "show what each merge did to the WER, and why we say so"
    )
    shown.add_argument("--json", action="store_true", help="as JSON: a list with one object per merge")


def _add_import_and_prune(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    old = _add(
        subs, "import", _later("import_old", "run"), "archive the results of an earlier tracker: hyper.js, hyper.json"
    )
    old.add_argument("path", metavar="FILE_OR_DIR", help="a hyper.js or hyper.json, or a directory with such files")
    cleared = _add(
        subs, "prune", _later("prune", "run"), "remove old checkpoints and exports; results are never removed"
    )
    cleared.add_argument("--keep", type=_count, required=True, metavar="N", help="how many of each to keep, the newest")
    cleared.add_argument("--dry-run", action="store_true", help="list what would be removed, with its bytes")


def _add_for_set_up(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    tried = _add(
        subs, "check-job", _later("check_job", "run"), "run the job of a checkout once, and say what is right and wrong"
    )
    tried.add_argument("directory", nargs="?", default=".", metavar="DIR", help="the checkout (.)")
    schema_of = _add(subs, "schema", _later("schema", "run"), "print the JSON Schema of a file that jobs write")
    schema_of.add_argument("name", choices=schema.NAMES, help="of which file")
    unit = _add(
        subs,
        "systemd",
        _later("systemd", "run"),
        "print a systemd timer and service, to use instead of the crontab line",
    )
    unit.add_argument("--write", action="store_true", help="write them where systemd finds the user's units")


def _add_calibrate(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    text = "measure the noise: have one merge trained with many seeds, whenever nothing else is due"
    calibrate = _add(subs, "calibrate", _later("verdicts", "calibrate"), text)
    calibrate.add_argument("--runs", type=_runs, default=8, help="how many seeds (8); a fulfilled request is added to")
    calibrate.add_argument("--sha", metavar="SHA", help="first digits of an archived commit (the newest good merge)")
    which = calibrate.add_mutually_exclusive_group()
    which.add_argument("--show", action="store_true", help="show what is measured, and what is still to be trained")
    which.add_argument("--stop", action="store_true", help="withdraw the request; what is trained stays")


def _add_compare(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    pair = _add(
        subs, "compare", _later("compare", "compare"), "compare two runs: rates, parameters, merges, utterances, words"
    )
    pair.add_argument("before", metavar="A", help="the run's id, or the first digits of its commit")
    pair.add_argument("after", metavar="B", help="the other run")
    form = pair.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="as JSON")
    form.add_argument("--markdown", action="store_true", help="as Markdown, to paste into an issue")


def _add_publish(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    publish = _add(subs, "publish", _later("site", "publish"), "build the site and publish it")
    publish.add_argument("--dry-run", action="store_true", help="list what would be sent and removed, and send nothing")
    publish.add_argument("--adopt", action="store_true", help="replace files in the web root that others put there")
    publish.add_argument("--take-over", action="store_true", help="replace what another tracker published there")
    publish.add_argument("--rollback", action="store_true", help="restore the previously published version")


def _add_overview(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    overview_of = _add(
        subs, "overview", _later("overview", "run"), "write one static page over several sites, a line each"
    )
    text = "a built site, a tracker's data directory, or a data root with several (your own trackers)"
    overview_of.add_argument("directory", nargs="*", metavar="DIR", help=text)
    overview_of.add_argument("--out", default="overview.htm", metavar="FILE", help="the page (overview.htm)")
    overview_of.add_argument("--json", action="store_true", help="print what it says as JSON, and write no page")


def _add_demo(subs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = _add(subs, "demo", _later("act", "demo"), "run the whole cycle on this machine")
    demo.add_argument("--directory", default="demo", help="directory for all files of the demo (./demo)")
    demo.add_argument("--port", type=_port, default=8000, help="port of the published page (8000); 0: any free one")
    demo.add_argument("--no-serve", action="store_true", help="exit once the page is published")


def _later(module: str, name: str) -> Action:
    """Return a command's function. Its module is loaded once it is called: no command needs those of all others."""

    def call(options: argparse.Namespace) -> int:
        action: Action = getattr(importlib.import_module(f"deepspeech_wer.commands.{module}"), name)
        return action(options)

    return call


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


def _runs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 1000, found {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 10**6:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, found {text!r}")
    return int(text)


def _reason(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected a reason, found none")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, found {text!r}")
    return int(text)
