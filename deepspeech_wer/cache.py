"""Where the tracker keeps its lock and its state. Imports nothing heavy: it is on the way of a busy tick."""

import os

from xdg import BaseDirectory

from deepspeech_wer.errors import Trouble

NAME = "deepspeech_wer"  # of our directory below the XDG ones


def cache_directory() -> str:
    """~/.cache/deepspeech_wer (XDG_CACHE_HOME), made if need be. Raises Trouble: it cannot be made."""
    home = str(BaseDirectory.xdg_cache_home)
    if not home.startswith("/"):  # without HOME and without an entry in passwd `~` stays what it is
        raise Trouble(f"cache directory {home}: expected an absolute path: set HOME or XDG_CACHE_HOME")
    path = f"{home}/{NAME}"
    umask = os.umask(0o077)  # for this user alone
    try:
        return str(BaseDirectory.save_cache_path(NAME))
    except OSError as error:
        if os.path.isdir(path):  # noqa: PTH112  # pyxdg looks, then makes: another tick came between
            return path
        raise Trouble(f"cannot make {path}: {error.strerror}: set XDG_CACHE_HOME") from None
    finally:
        os.umask(umask)
