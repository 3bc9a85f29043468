"""The cache directory of the XDG base directory specification. A busy tick loads this module, so keep it light."""

import os

from xdg import BaseDirectory

from deepspeech_wer.errors import Trouble, with_cure

NAME = "deepspeech_wer"  # our directory below each XDG directory
INSTANCE = "an instance's name: up to 40 letters, digits, dashes and underscores"
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")


def is_instance(text: str) -> bool:
    """Return whether a text may name an instance: it becomes part of a directory's name."""
    return 0 < len(text) <= 40 and _LETTERS.issuperset(text)


def directory(instance: str) -> str:
    """Return the name of an instance's directory below each XDG directory; "" is the instance without a name."""
    return f"{NAME}-{instance}" if instance else NAME


def read_again() -> None:
    """Take XDG_* and HOME from the environment as it is now: pyxdg reads them when it is imported."""
    import importlib

    importlib.reload(BaseDirectory)


def config_home() -> str:
    """Return $XDG_CONFIG_HOME (~/.config). Raises Trouble if there is none."""
    home = str(BaseDirectory.xdg_config_home)
    if not home.startswith("/"):
        raise Trouble(f"configuration directory {home}: expected an absolute path: set HOME or XDG_CONFIG_HOME")
    return home


def cache_directory(instance: str = "") -> str:
    """Return an instance's directory in $XDG_CACHE_HOME. Creates it if missing; raises Trouble if it cannot."""
    home = str(BaseDirectory.xdg_cache_home)
    if not home.startswith("/"):  # `~` is not expanded without HOME or a passwd entry
        raise Trouble(f"cache directory {home}: expected an absolute path: set HOME or XDG_CACHE_HOME")
    if home.startswith("/proc/"):
        raise Trouble(f"cache directory {home}: each process finds another one below /proc: set XDG_CACHE_HOME")
    name = directory(instance)
    path = f"{home}/{name}"
    umask = os.umask(0o077)  # pyxdg would create directories that others can read
    try:
        return str(BaseDirectory.save_cache_path(name))
    except OSError as error:
        if os.path.isdir(path):  # pyxdg checks, then creates: another tick may create it in between
            return path
        raise Trouble(f"cannot create {path}: {with_cure(error)}, or set XDG_CACHE_HOME") from None
    finally:
        os.umask(umask)
