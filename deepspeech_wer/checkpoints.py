"""The checkpoints of merges, <data root>/checkpoints/<sha>: kept between attempts, removed once the run is archived.

Only checkpoints that this program made are removed: the name is a SHA and the directory has this data root's mark.
Those of earlier releases have none: they count if a run of their commit has begun. What checkpoint_file names is kept.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from deepspeech_wer import files
from deepspeech_wer.errors import Trouble
from deepspeech_wer.places import Places

_NAME = re.compile(rf"[0-9a-f]{{40}}|[0-9a-f]{{64}}|\.([0-9a-f]{{40}}|[0-9a-f]{{64}}){re.escape(files.PARTIAL)}")
_MARK = ".deepspeech_wer"  # in a checkpoint: the data root to which it belongs

log = logging.getLogger(__name__)


def fetch(places: Places, sha: str) -> None:
    """Copy the directory that <cache>/checkpoint_file names into the merge's checkpoint directory, once.

    A request that names no directory is reported and set aside, so that it does not stop the queue. Raises Trouble if
    the directory cannot be copied.
    """
    path, request = places.checkpoints / sha, places.checkpoint_request
    if path.is_symlink() or path.is_file():
        path.unlink()  # made by a job
    if path.exists() or not request.is_file():
        return
    source = Path(files.read(request).decode("utf-8", "replace").strip())
    if not source.is_absolute() or not source.is_dir() or places.data.is_relative_to(source):
        aside = request.with_name(f"{request.name}.unusable")
        request.rename(aside)
        log.error(
            "%s: expected the absolute path of a checkpoint directory, found %r; kept as %s, and the training starts "
            "from the beginning",
            request,
            str(source),
            aside.name,
        )
        return
    _copy(places, source, path)
    request.unlink()


def mark(places: Places, path: Path) -> None:
    """Mark the directory of a checkpoint as made by this program."""
    if not _has_mark(places, path):
        with suppress(OSError):  # an unmarked checkpoint is never removed
            files.write_atomically(path / _MARK, f"{places.data}\n".encode("utf-8", "surrogateescape"), mode=0o600)


def progress(places: Places, sha: str) -> int:
    """Return a number that changes whenever a checkpoint is written."""
    times: list[int] = []

    def note(parent: int, name: str) -> bool:
        with suppress(OSError):
            if name == _MARK:  # written before each attempt, not by the training
                return False
            times.append(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mtime_ns)
        return False

    with suppress(OSError):
        files.visit(places.checkpoints / sha, note)
    return sum(times[1:])  # the maximum would miss a write after the clock was set back


def is_named(places: Places, path: Path) -> bool:
    """Return whether checkpoint_file names a checkpoint: a user wants the next run to start from it."""
    with suppress(OSError):
        named = Path(files.read(places.checkpoint_request).decode("utf-8", "replace").strip())
        return named.is_absolute() and Path(os.path.realpath(named)).is_relative_to(os.path.realpath(path))
    return False


def remove(places: Places, name: str) -> None:
    """Remove a checkpoint, unless checkpoint_file names it."""
    path = places.checkpoints / name
    if is_named(places, path):
        log.info("keeping the checkpoint %s, which %s names", path, places.checkpoint_request)
        return
    files.remove_tree(path)


def ours(places: Places) -> list[Path]:
    """Return the checkpoints that this program made."""
    begun = "" if places.checkpoints.is_symlink() else " ".join(path.name for path in places.work.glob("*"))
    named = (path for path in places.checkpoints.glob("*") if _NAME.fullmatch(path.name))
    return [path for path in named if _has_mark(places, path) or f"-{path.name.lstrip('.')[:12]}" in begun]


def forget(places: Places, is_needed: Callable[[str], bool]) -> None:
    """Remove the checkpoints of every commit whose SHA `is_needed` rejects."""
    for path in ours(places):
        if not is_needed(path.name):
            log.info("removing the checkpoint of %s, which is no longer due", path.name[:12].lstrip("."))
            remove(places, path.name)


def _has_mark(places: Places, path: Path) -> bool:
    with suppress(OSError):
        is_regular = not path.is_symlink() and not (path / _MARK).is_symlink() and (path / _MARK).is_file()
        return is_regular and files.read(path / _MARK).decode("utf-8", "surrogateescape") == f"{places.data}\n"
    return False


def _copy(places: Places, source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}{files.PARTIAL}")
    files.remove_tree(temporary)
    try:
        files.make_private(temporary)
        mark(places, temporary)  # before the copy, which may be cut off: what is left is then removed
        shutil.copytree(source, temporary, ignore=_not_to_copy, dirs_exist_ok=True)
    except (OSError, RecursionError) as error:
        files.remove_tree(temporary)
        raise Trouble(
            f"cannot copy the checkpoint {source}: {_first_of(error)}: mend that, or remove the file checkpoint_file; "
            "the next tick tries again"
        ) from None
    temporary.rename(target)


def _not_to_copy(directory: str, names: Sequence[str]) -> list[str]:
    """Return the names of what cannot be copied, and no training reads: broken links, pipes, sockets. And our mark."""
    paths = {name: Path(directory, name) for name in names}
    return [name for name, path in paths.items() if name == _MARK or (not path.is_file() and not path.is_dir())]


def _first_of(error: Exception) -> str:
    """Return what failed: shutil.Error has a list of (source, target, why)."""
    if isinstance(error, shutil.Error):
        _, _, why = error.args[0][0]
        return str(why)
    return str(error)
