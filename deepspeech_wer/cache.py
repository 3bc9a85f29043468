"""Where the tracker keeps its lock and its state. Imports nothing heavy: it is on the way of a busy tick."""

from xdg import BaseDirectory

NAME = "deepspeech_wer"  # of our directory below the XDG ones


def cache_directory() -> str:
    """~/.cache/deepspeech_wer (XDG_CACHE_HOME), made if need be."""
    return str(BaseDirectory.save_cache_path(NAME))
