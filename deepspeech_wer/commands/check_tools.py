"""Checks what the machine has for jobs: guard rails, programs for filtered files, room for checkouts."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from deepspeech_wer import room
from deepspeech_wer.commands import crontab
from deepspeech_wer.commands.finding import CRONS_PATH, FAULT, HINT, OK
from deepspeech_wer.configuration import environment
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.errors import Trouble
from deepspeech_wer.jobs import guards, memory, sandbox
from deepspeech_wer.repository import git, mirror

_ATTRIBUTES = ":(glob)**/.gitattributes"
_FILTERS = {"lfs": "git-lfs", "annex": "git-annex"}  # other filters are named as their programs are


def guarded(settings: Settings) -> tuple[str, str]:
    """What holds jobs back, and whether this machine can do that."""
    held = settings.job.guards
    told = [f"nice {held.nice}"] if held.nice else []
    told += [f"{held.cpus} of {len(os.sched_getaffinity(0))} processors"] if held.cpus else []
    variables = environment.job_environment()
    if held.memory_bytes:
        with memory.watched(held.memory_bytes) as watched:
            is_kernels = watched.is_limited or guards.scope(held.memory_bytes, variables)
        whose = "kept by the kernel" if is_kernels else "looked at each second, as this user may not set the kernel's"
        told.append(f"{guards.size(held.memory_bytes)} of memory, {whose}")
    if held.is_sandboxed:
        with tempfile.TemporaryDirectory(dir=settings.places.cache) as name:
            place = Path(name)
            fault = sandbox.fault(held, sandbox.Room(place, [place], place), variables)
        if fault:
            return FAULT, f"ds_job_sandbox: {fault}"
        told.append(f"a sandbox {'with' if held.has_network else 'without'} network")
    return OK, ", ".join(told) or "off (ds_job_nice, ds_job_memory, ds_job_cpus, ds_job_sandbox)"


def filters(settings: Settings) -> tuple[str, str]:
    """Check that the programs of git filters are on cron's PATH. The tracker fetches no LFS files; a job does that."""
    where = settings.places.mirror
    if not where.exists():
        return OK, "not known before the first tick"
    try:
        said = git.run_git(where, "grep", "-h", "-I", "-e", "filter=", mirror.tip(where), "--", _ATTRIBUTES)
    except git.GitError:  # none, or no commit
        return OK, "no file of the repository needs one"
    named = sorted(set(re.findall(r"(?:^|\s)filter=([\w.-]+)", re.sub(r"(?m)^\s*#.*", "", said))))
    path = _path_of_cron(settings)
    missing = [name for name in named if not shutil.which(_FILTERS.get(name, name), path=path)]
    if not missing:
        return OK, ", ".join(named) or "no file of the repository needs one"
    programs = ", ".join(_FILTERS.get(name, name) for name in missing)
    on = "the PATH that cron has" if path else "the PATH"
    cure = "install it, and put its directory into the crontab's PATH, unless your job does without"
    return HINT, f"files have filter={missing[0]} in .gitattributes, and {programs} is not on {on}: {cure}"


def room_for_clone(settings: Settings) -> tuple[str, str]:
    """Compare what is free with the checkouts of the last runs, with all that their jobs wrote there."""
    taken = room.last(settings.places.cache, room.CLONES)
    if not taken:
        return OK, ""
    there = next(place for place in settings.clone_path.parents if place.exists())
    data = next(place for place in (settings.places.data, *settings.places.data.parents) if place.exists())
    beside = room.last(settings.places.cache) if there.stat().st_dev == data.stat().st_dev else []
    free, wanted = shutil.disk_usage(there).free, max(taken) + max(beside, default=0)
    text = f"; the last checkouts took up to {max(taken) / 1e9:.3f} GB with what their jobs wrote"
    if free >= wanted:
        return OK, text
    more = ", and their runs as much again on the same disk" if beside else ""
    return FAULT, f"{text}{more}, and {free / 1e9:.3f} GB are free: free some space there, or set ds_clone_path"


def _path_of_cron(settings: Settings) -> str | None:
    """Return the PATH of the crontab's line; None where no line starts the ticks."""
    try:
        _, listed = crontab.parse(crontab.read())
    except Trouble:
        return None
    ours = [entry for entry in listed if entry.instance == settings.instance]
    return (ours[-1].variables.get("PATH") or CRONS_PATH) if ours else None
