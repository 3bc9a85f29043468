"""What git knows of the checkout that this code runs from."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"


def ask_git(*arguments: str) -> str:
    """Return what git says; UNKNOWN where it fails."""
    # An inherited GIT_DIR, as in a hook, would make git answer for another repository. A fault in the user's
    # configuration, or a checkout that belongs to somebody else, would leave it without an answer.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return done.stdout.strip()


def is_before(commit: str, other: str) -> bool:
    """Return whether a commit is in the history of the other; False where git does not know them."""
    return ask_git("merge-base", "--is-ancestor", commit, other) != UNKNOWN
