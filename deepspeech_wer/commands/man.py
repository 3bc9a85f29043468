"""The command man: prints the manual page, made from the parser (man(7))."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

from deepspeech_wer import __version__

EXIT_CODES = (
    ("0", "done, nothing to do, or another tick is running"),
    ("1", "an expected failure, reported in one line: what, where, cure"),
    ("2", "unusable settings or command line"),
    ("3", "a bug; the traceback is in the log"),
    ("4", "done, but a merge or the publishing failed"),
    ("128 + N", "ended by signal N"),
)


def page(top: argparse.ArgumentParser, variables: Sequence[tuple[str, str]]) -> str:
    """Return the page as roff. `variables` are names and meanings."""
    return "\n".join(_lines(top, variables)) + "\n"


def _lines(top: argparse.ArgumentParser, variables: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f'.TH DEEPSPEECH-WER 1 "" "deepspeech_wer {_text(__version__)}" "User Commands"'
    yield from (".SH NAME", r"deepspeech\-wer \- tells what each merge did to the word error rate")
    yield from (".SH SYNOPSIS", _usage(top), ".SH DESCRIPTION", _text(top.description or ""), ".SH OPTIONS")
    for action in _options(top):
        yield from _described(action)
    yield ".SH COMMANDS"
    for name, sub in _commands(top):
        yield from (f'.SS "{_text(name)}"', _text(f"{sub.description or ''}."), ".PP", _usage(sub))
        for action in (*_options(sub), *sub._get_positional_actions()):
            yield from _described(action)
    yield ".SH EXIT STATUS"
    for code, meaning in EXIT_CODES:
        yield from (".TP", f".B {_text(code)}", _text(meaning))
    yield ".SH ENVIRONMENT"
    for variable, meaning in variables:
        yield from (".TP", f".B {_text(variable)}", _text(meaning))


def _commands(top: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The commands without their aliases."""
    seen: list[argparse.ArgumentParser] = []
    for action in top._subparsers._group_actions if top._subparsers else ():
        for name, sub in (action.choices or {}).items() if isinstance(action.choices, dict) else ():
            if sub not in seen:
                seen.append(sub)
                yield name, sub


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._get_optional_actions() if action.dest != "help"]


def _described(action: argparse.Action) -> Iterator[str]:
    names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
    takes = action.option_strings and action.nargs != 0
    value = f" {action.metavar or action.dest.upper()}" if takes else ""
    yield from (".TP", f".B {_text(names + value)}", _text((action.help or "").replace("%(prog)s", "deepspeech-wer")))


def _usage(parser: argparse.ArgumentParser) -> str:
    words = " ".join(parser.format_usage().removeprefix("usage: ").split())
    return f".B {_text(words)}"


def _text(text: str) -> str:
    """Escape what roff would interpret: backslashes, dashes, and a dot or quote at the start of a line."""
    plain = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-").replace("`", "").replace('"', r"\(dq")
    return f"\\&{plain}" if plain[:1] in (".", "'") else plain
