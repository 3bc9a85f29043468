"""The variables of the user's crontab, for commands typed by hand (crontab(5))."""

from __future__ import annotations

import re
import subprocess

from deepspeech_wer.errors import Trouble

_ASSIGNMENT = re.compile(r"\s*([A-Za-z_]\w*|\"[^\"]*\"|'[^']*')\s*=\s*(.*?)\s*")
_TAKEN = ("ds_", "XDG_")


def variables() -> dict[str, str]:
    """Return the ds_* and XDG_* variables of `crontab -l`. Raises Trouble if there is no crontab."""
    try:
        done = subprocess.run(["crontab", "-l"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise Trouble(f"--crontab: cannot run crontab: {error.strerror}") from None
    if done.returncode:
        raise Trouble(f"--crontab: {done.stderr.strip() or 'crontab -l failed'}: as which user does the tracker run?")
    return parse(done.stdout)


def parse(text: str) -> dict[str, str]:
    """Return the assignments in a crontab. cron expands nothing; it removes quotes around names and values."""
    found = {}
    for line in text.splitlines():
        match = _ASSIGNMENT.fullmatch(line)
        if match and not line.lstrip().startswith("#"):
            name, value = _unquoted(match[1]), _unquoted(match[2])
            if name.startswith(_TAKEN):
                found[name] = value
    return found


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
