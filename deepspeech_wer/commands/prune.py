"""The command prune: frees the room of old checkpoints and exports. Results are never removed."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path
from typing import NamedTuple

from deepspeech_wer import archive, checkpoints, files
from deepspeech_wer.commands.locked import locked
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import environment
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.errors import Trouble
from deepspeech_wer.exit_codes import DONE, TROUBLE
from deepspeech_wer.jobs.runner import Runner
from deepspeech_wer.jobs.runners import Runners
from deepspeech_wer.merge_run import unfinished
from deepspeech_wer.places import Places

EXPORT_DIR = "ds_export_dir"  # the training's variable
_EXPORT = re.compile("[0-9a-f]{7}")
_OF_AN_EXPORT = "model.json"


class Found(NamedTuple):
    """A directory that may be removed."""

    kind: str  # "checkpoint" or "export"
    path: Path
    size: int  # bytes on disk


def run(options: argparse.Namespace) -> int:
    """Remove all but the newest checkpoints and exports. Returns TROUBLE if something could not be removed."""
    current = every_setting.load()
    places = current.places
    failed = freed = 0
    with locked(places, current.repository):
        old = [*_checkpoints(places, Runners(current.cluster), options.keep), *_exports(places, options.keep)]
        for one in old:
            done = "would remove"
            if not options.dry_run:
                is_removed = _remove(places, one)
                failed += not is_removed
                done = "removed" if is_removed else "cannot remove"
            freed += one.size if done != "cannot remove" else 0
            say(f"{done}  {one.kind:<10}  {one.size:>15,} bytes  {one.path}")
    what = "would free" if options.dry_run else "freed"
    total = f"{freed:,} bytes ({freed / 1e6:.1f} MB)"
    say(f"{what} {total} in {len(old) - failed} directories; the newest {options.keep} of each kind stay")
    return TROUBLE if failed else DONE


def _checkpoints(places: Places, runner: Runner, keep: int) -> list[Found]:
    """The checkpoints of runs that are not finished, but the newest, that of a running job, and what a person wants."""
    running = {left.order.merge.sha for left in unfinished.find(places, is_looking=True) if runner.is_alive(left.work)}
    ours = sorted(checkpoints.ours(places), key=lambda path: path.lstat().st_mtime_ns, reverse=True)
    old = [path for path in ours[keep:] if path.name not in running and not checkpoints.is_named(places, path)]
    return [Found("checkpoint", path, files.size(path)) for path in old]


def _exports(places: Places, keep: int) -> list[Found]:
    """The exports of archived merges, but the newest and the one to which `latest` points. Raises Trouble."""
    text = environment.job_environment().get(EXPORT_DIR, "")
    if not Path(text).is_absolute():  # unset, or the exports went with the checkout
        return []
    top = Path(text)
    archived = {name[:7] for name in archive.commits(places.runs)}
    try:
        latest = os.path.realpath(top / "latest")
        found = [
            path
            for path in top.iterdir()
            if _EXPORT.fullmatch(path.name)
            and path.name in archived
            and path.is_dir()
            and not path.is_symlink()
            and (path / _OF_AN_EXPORT).is_file()
        ]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Trouble(f"{EXPORT_DIR} {top}: {error.strerror}: correct it, or give this user access") from None
    found.sort(key=lambda path: path.lstat().st_mtime_ns, reverse=True)
    return [Found("export", path, files.size(path)) for path in found[keep:] if os.path.realpath(path) != latest]


def _remove(places: Places, one: Found) -> bool:
    if one.kind == "checkpoint":
        checkpoints.remove(places, one.path.name)
        return not os.path.lexists(one.path)
    return files.remove_tree(one.path)
