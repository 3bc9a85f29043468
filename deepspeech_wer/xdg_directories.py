"""The cache directory of the XDG base directory specification. A busy tick loads this module, so keep it light."""

import os

from xdg import BaseDirectory

from deepspeech_wer.errors import Trouble

NAME = "deepspeech_wer"  # our directory below each XDG directory


def read_again() -> None:
    """Take XDG_* and HOME from the environment as it is now: pyxdg reads them when it is imported."""
    import importlib

    importlib.reload(BaseDirectory)


def cache_directory() -> str:
    """Return $XDG_CACHE_HOME/deepspeech_wer (~/.cache), created if missing. Raises Trouble if that fails."""
    home = str(BaseDirectory.xdg_cache_home)
    if not home.startswith("/"):  # `~` is not expanded without HOME or a passwd entry
        raise Trouble(f"cache directory {home}: expected an absolute path: set HOME or XDG_CACHE_HOME")
    path = f"{home}/{NAME}"
    umask = os.umask(0o077)  # pyxdg would create directories that others can read
    try:
        return str(BaseDirectory.save_cache_path(NAME))
    except OSError as error:
        if os.path.isdir(path):  # pyxdg checks, then creates: another tick may create it in between
            return path
        raise Trouble(f"cannot create {path}: {error.strerror}: set XDG_CACHE_HOME") from None
    finally:
        os.umask(umask)
