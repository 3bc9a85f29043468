"""The command systemd: a timer and a service of the user's, instead of the crontab line (systemd.timer(5))."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from deepspeech_wer import files, xdg_directories
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import env_file
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE

TEMPLATES = Path(__file__).parent.parent / "systemd"
_STOP_S = 60  # beyond the job's grace: to archive and to publish


def run(options: argparse.Namespace) -> int:
    """Print both units, or write them where systemd finds them."""
    made = units()
    if not options.write:
        for name, text in made.items():
            say(f"# {directory() / name}")
            print(text)
        return DONE
    for name, text in made.items():
        _write(directory() / name, text)
    timer = next(name for name in made if name.endswith(".timer"))
    say(f"to start it: systemctl --user daemon-reload && systemctl --user enable --now {timer}")
    say("to let it run while you are not logged in: loginctl enable-linger")
    say(f"its log: journalctl --user -u {timer.removesuffix('.timer')}; remove the crontab line, if there is one")
    return DONE


def directory() -> Path:
    """Where systemd looks for the user's units."""
    return Path(xdg_directories.config_home()) / "systemd" / "user"


def name_of(instance: str) -> str:
    """Return the name of an instance's units, without the suffix."""
    return f"deepspeech-wer-{instance}" if instance else "deepspeech-wer"


def units() -> dict[str, str]:
    """Return the text of each unit by its file's name. Raises Trouble without ds_env_file."""
    current = every_setting.load()
    path = env_file.path()
    if not path:
        cure = "write the variables into a file and set ds_env_file, see docs/operation.md"
        raise Trouble(f"systemd starts the tick with none of this shell's variables: {cure}")
    given = {env_file.NAME: path}
    if current.instance:
        given[env_file.INSTANCE] = current.instance
    name = name_of(current.instance)
    filled = {
        "name": name,
        "of": f" ({current.instance})" if current.instance else "",
        "variables": " ".join(_quoted(f"{key}={value}") for key, value in given.items()),
        "python": _quoted(sys.executable),
        "stop_s": f"{current.job.grace_s + _STOP_S:.0f}",
    }
    return {f"{name}.{kind}": _fill(TEMPLATES / f"tick.{kind}", filled) for kind in ("service", "timer")}


def _fill(template: Path, values: dict[str, str]) -> str:
    text = template.read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text


def _quoted(text: str) -> str:
    """Quote a word for a unit file, where backslash, % and $ have a meaning (systemd.syntax(7))."""
    if not text.isprintable():
        raise Trouble(f"{text!r}: expected a path of printable characters, for a unit file")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%") + '"'


def _write(path: Path, text: str) -> None:
    try:
        if path.exists() and path.read_text("utf-8") == text:
            say(f"{path}: as it was")
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(path.with_name(f"{path.name}.before"))
            say(f"{path}: the one that was there is kept as {path.name}.before")
        files.write_atomically(path, text.encode())
    except (OSError, UnicodeDecodeError) as error:
        raise Trouble(f"cannot write {path}: {error}") from None
    say(f"{path}: written")
