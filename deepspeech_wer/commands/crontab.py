"""The user's crontab, for commands typed by hand: its lines that run a tracker, and their variables (crontab(5))."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from deepspeech_wer.configuration import env_file
from deepspeech_wer.errors import Trouble

_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*|\"[^\"]*\"|'[^']*')\s*=\s*(.*?)\s*")
# A line that runs a tick, not another command nor a backup of its files.
_ENTRY = re.compile(
    r"\s*(?:@\w+|(?:\S+\s+){4}\S+)\s+(?P<before>.*?)"
    r"(?P<command>\S+(?:\s+-\S+)*?\s+-m\s*deepspeech_wer|\S*\bdeepspeech-wer)"
    r"(?:\s+(?:-\S+|run\b))*\s*(?:\d?[<>|;&#)'\"].*)?"
)
_SET_BEFORE = re.compile(r"(?<![^\s;&|(\"'])(?P<name>[A-Za-z_]\w*)=(?P<value>\"[^\"]*\"|'[^']*'|[^\s;&|]*)")
_TAKEN = ("ds_", "XDG_")


class Entry(NamedTuple):
    """A line that runs a tracker."""

    command: str  # the program that runs it, without what stands before and after
    variables: Mapping[str, str]  # all that cron sets for it

    @property
    def instance(self) -> str:
        """Its ds_instance, also if that is in its ds_env_file."""
        found = self.variables.get(env_file.INSTANCE, "")
        path = self.variables.get(env_file.NAME)
        if not found and path:
            with suppress(Trouble):  # told by the command itself
                found = env_file.read(path).get(env_file.INSTANCE, "")
        return found


def variables(instance: str) -> dict[str, str]:
    """Return the ds_* and XDG_* variables that cron sets for an instance. Raises Trouble if there are none to take."""
    if found := taken(read(), instance):
        return found
    cure = "set them above its line, or name the file that the line reads in ds_env_file, there and here"
    raise Trouble(f"--crontab: no ds_* variable is set in it, outside of what a shell reads: {cure}")


def read() -> str:
    """Return the text of `crontab -l`. Raises Trouble if there is no crontab."""
    try:
        done = subprocess.run(["crontab", "-l"], capture_output=True, check=False)
    except OSError as error:
        raise Trouble(f"--crontab: cannot run crontab: {error.strerror}") from None
    if done.returncode:
        said = os.fsdecode(done.stderr).strip() or "crontab -l failed"
        raise Trouble(f"--crontab: {said}: as which user does the tracker run?")
    return os.fsdecode(done.stdout)


def taken(text: str, instance: str) -> dict[str, str]:
    """Return the ds_* and XDG_* variables that a crontab sets for an instance.

    Without a name, they are those of the only instance, or of the one without a name. Raises Trouble if that does not
    say which.
    """
    found, listed = parse(text)
    by_instance = {entry.instance: entry.variables for entry in listed}
    if len(by_instance) == 1 and not instance:
        (found,) = by_instance.values()
    elif by_instance:
        if instance not in by_instance:
            names = ", ".join(sorted(filter(None, by_instance)))
            cure = f"set ds_instance to one of {names}" if names else "unset ds_instance"
            what = f"no line in it has ds_instance={instance}" if instance else "it has several trackers"
            raise Trouble(f"--crontab: {what}: {cure}")
        found = by_instance[instance]
    return {name: value for name, value in found.items() if name.startswith(_TAKEN)}


def parse(text: str) -> tuple[Mapping[str, str], list[Entry]]:
    """Return all assignments of a crontab, and the lines that run a tracker.

    cron expands nothing; it removes quotes around names and values. An assignment holds for the lines below it. Those
    in a command are a shell's, anywhere before the program.
    """
    found: dict[str, str] = {}
    listed = []
    for line in text.split("\n"):
        if line.lstrip().startswith("#"):
            continue
        if match := _ASSIGNMENT.fullmatch(line):
            found[_unquoted(match[1])] = _unquoted(match[2])
        elif match := _ENTRY.fullmatch(line):
            text_before = match["before"].replace("\\%", "%")  # cron takes the backslash away
            before = {one["name"]: _unquoted(one["value"]) for one in _SET_BEFORE.finditer(text_before)}
            listed.append(Entry(match["command"], {**found, **before}))
    return found, listed


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
