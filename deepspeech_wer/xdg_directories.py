"""Where the XDG base directory specification puts our cache. Light: each busy tick imports it."""

import os

from xdg import BaseDirectory

from deepspeech_wer.errors import Trouble

NAME = "deepspeech_wer"  # of our directory below each of the XDG ones


def cache_directory() -> str:
    """~/.cache/deepspeech_wer (XDG_CACHE_HOME), made where it is missing. Raises Trouble: it cannot be made."""
    home = str(BaseDirectory.xdg_cache_home)
    if not home.startswith("/"):  # without HOME and without an entry in passwd, `~` stays what it is
        raise Trouble(f"cache directory {home}: expected an absolute path: set HOME or XDG_CACHE_HOME")
    path = f"{home}/{NAME}"
    umask = os.umask(0o077)  # for this user alone
    try:
        return str(BaseDirectory.save_cache_path(NAME))
    except OSError as error:
        if os.path.isdir(path):  # pyxdg looks, then makes: another tick may come in between
            return path
        raise Trouble(f"cannot make {path}: {error.strerror}: set XDG_CACHE_HOME") from None
    finally:
        os.umask(umask)
