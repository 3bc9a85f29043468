"""THE entry point: one tick. New merges are trained, archived, shown, published; a crash at any line loses nothing."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from deepspeech_wer import archive, files, journal, mounts, processes, update_site
from deepspeech_wer.errors import Trouble
from deepspeech_wer.lock import follows_a_kill
from deepspeech_wer.records import Merge
from deepspeech_wer.repository import history, mirror
from deepspeech_wer.run_merge import recover, remove_checkpoints, run_merge, title
from deepspeech_wer.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Watcher:
    """How a tick shows itself on a terminal; under cron not at all."""

    job_line: Callable[[str], None] | None = None  # gets each line of the job's output
    upload: Callable[[int, int], None] | None = None  # gets bytes done, bytes in all


def tick(settings: Settings, lock: int, *, watcher: Watcher, forced: Sequence[str] = ()) -> bool:
    """One tick, under the lock. True: all went well; False: done, but a merge failed or the publishing did.

    `forced` are commits to be run whatever the archive holds. Raises Trouble: nothing could be done.
    """
    processes.hide()
    doubt = mounts.doubt_of_locks(settings.cache)
    if doubt:
        _warn_once(settings.cache, "warned_mount", doubt, doubt)
    if follows_a_kill(lock):
        _end_leftovers(settings)
    recovered = recover(settings)
    well = recovered is None or recovered.status == "done"
    ran = 0
    for merge, base in chain(_cut_off(settings), _forced(settings, forced) if forced else _new(settings)):
        run = run_merge(settings, merge, lock, watcher.job_line, base=base)
        well &= run.status == "done"
        _advance(settings)
        journal.enter(settings.cache, "show")
        well &= update_site.show(settings, upload=watcher.upload)
        journal.clear(settings.cache)
        _tell(settings)
        ran += 1
    if not ran and update_site.is_behind(settings):
        well &= update_site.show(settings, upload=watcher.upload)
    if not ran:
        _tell(settings)
    if ran and settings.website is None:
        log.info("not publishing: %s not set", ", ".join(settings.website_missing))
    journal.clear(settings.cache)
    return well


def look(settings: Settings) -> history.Found:
    """Fetch, and find what is to be done. Raises Trouble: the repository cannot be reached, the branch is not there."""
    last = read_last(settings.cache)
    tip = mirror.update(_mirror(settings), settings.repo_url, settings.github_ref, known=last)
    if tip is None:
        _warn_once(settings.cache, "warned_empty", settings.repo_url, f"{settings.repo_name}: no commit there yet")
        return history.Found(None, None, 0)
    found = _find(settings, tip)
    if found.squashed:
        squashed = f"{found.squashed} commits and no merge among them: this branch is squashed or rebased?"
        _warn_once(settings.cache, "warned_sha1", tip, f"{squashed} Set ds_track=commits")
    return found


def _end_leftovers(settings: Settings) -> None:
    left = mirror.end_leftovers(_mirror(settings))
    if left:
        log.warning("ended the git of a killed tick (processes %s)", ", ".join(map(str, left)))


def read_last(cache: Path) -> str | None:
    """What last_sha1 holds, whatever it is; None when there is none. Raises Trouble: it cannot be read."""
    try:
        return (cache / "last_sha1").read_text("utf-8", "replace").strip()
    except FileNotFoundError:
        return None
    except OSError as error:  # never taken for a first run
        raise Trouble(f"cannot read {cache}/last_sha1: {error.strerror}") from None


def _warn_once(cache: Path, name: str, occasion: str, warning: str) -> None:
    """Once for each occasion, which the file of that name remembers; not at each tick."""
    with contextlib.suppress(OSError):  # none yet; where it cannot be read, a warning too many is better than none
        if (cache / name).read_text("utf-8", "replace").strip() == occasion:
            return
    log.warning("%s", warning)
    with contextlib.suppress(OSError):
        files.write_atomically(cache / name, f"{occasion}\n".encode(), mode=0o600)


def _new(settings: Settings) -> Iterator[tuple[Merge, str]]:
    """Each merge that is due, and up to where all is archived once it is; looked for anew after each: during a long
    training more may have come.
    """
    while (found := look(settings)).next:
        _write_last(settings, found.base)  # told once what is told of it
        waiting = f", {found.waiting - 1} more waiting" if found.waiting > 1 else ""
        log.info("%s by %s: training%s", title(found.next), found.next.author, waiting)
        yield found.next, found.base or found.next.sha
    if found.base:
        _write_last(settings, found.base)
    remove_checkpoints(settings, lambda sha: _may_be_due(settings, sha))


def _forced(settings: Settings, names: Sequence[str]) -> Iterator[tuple[Merge, None]]:
    mirror.update(_mirror(settings), settings.repo_url, settings.github_ref)
    for merge in history.resolve(_mirror(settings), names):
        log.info("%s by %s: training, as asked for", title(merge), merge.author)
        yield merge, None


def _cut_off(settings: Settings) -> Iterator[tuple[Merge, None]]:
    """The commit that was run by hand when the last tick was killed: nothing else would find it again."""
    entry = journal.read(settings.cache)
    if entry is None or entry.base or entry.phase in (journal.STOPPED, "advance", "show"):
        return
    tip = mirror.update(_mirror(settings), settings.repo_url, settings.github_ref)
    if tip and history.contains(_mirror(settings), tip, entry.merge.sha):
        log.info("%s by %s: training, as was asked for", title(entry.merge), entry.merge.author)
        yield entry.merge, None


def _may_be_due(settings: Settings, sha: str) -> bool:
    """Whether a commit that has a checkpoint may be gone on with: no longer, once the branch was rewritten."""
    if sha[:12] in archive.commits(settings.runs):
        return False
    return history.contains(_mirror(settings), mirror.tip(_mirror(settings)), sha)


def _advance(settings: Settings) -> None:
    """Bring last_sha1 to the newest merge up to which everything is archived."""
    _write_last(settings, _find(settings, mirror.tip(_mirror(settings))).base)


def _find(settings: Settings, tip: str) -> history.Found:
    known = history.Known(
        last=read_last(settings.cache),
        archived=archive.commits(settings.runs),
        bases=lambda: archive.bases(settings.runs),
        started=_started(settings),
    )
    return history.find(_mirror(settings), tip, known, track=settings.track, backlog=settings.backlog)


def _started(settings: Settings) -> str | None:
    """The first run of all, which is its own base, where it was cut off."""
    entry = journal.read(settings.cache)
    return entry.merge.sha if entry and entry.base == entry.merge.sha else None


def _tell(settings: Settings) -> None:
    if settings.github_token or settings.webhook_url:
        from deepspeech_wer import notify  # the others need none of it

        notify.tell(settings, archive.names(settings.runs), lambda name: archive.read(settings.runs / name))


def _write_last(settings: Settings, sha: str | None) -> None:
    """None: what stands there is of a branch that was rewritten as a whole."""
    if sha == read_last(settings.cache):
        return
    place = settings.cache / "last_sha1"
    try:
        if sha is None:
            place.unlink(missing_ok=True)
        else:
            files.write_atomically(place, f"{sha}\n".encode(), mode=0o600)
    except OSError as error:
        raise Trouble(f"cannot write {place}: {error.strerror}; the next call goes on") from None


def _mirror(settings: Settings) -> Path:
    return settings.cache / "repository.git"
