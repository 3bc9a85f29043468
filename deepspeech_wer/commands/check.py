"""The command `check` tries everything that a tick needs, and changes nothing."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from deepspeech_wer import __version__, backlog_inputs, dashboard, files, identity, job_contract, places, room
from deepspeech_wer.commands import check_page, check_tools, crontab, systemd
from deepspeech_wer.commands.finding import CRONS_PATH, FAULT, HINT, OK, TIMEOUT_S, Finding
from deepspeech_wer.commands.progress import say
from deepspeech_wer.configuration import env_file, environment
from deepspeech_wer.configuration import settings as every_setting
from deepspeech_wer.configuration.settings import Settings
from deepspeech_wer.errors import Trouble, with_cure
from deepspeech_wer.jobs import probe, runners
from deepspeech_wer.machine import lock
from deepspeech_wer.notify import github, gitlab
from deepspeech_wer.publish.report import Options
from deepspeech_wer.records import Merge
from deepspeech_wer.repository import checkout, evidence, git, history, mirror
from deepspeech_wer.text import in_bytes
from deepspeech_wer.variables import quoted

GIT = (2, 32)  # the first version with GIT_CONFIG_GLOBAL
_MARK = "check.json"  # names the checkout of a check, so that the next one can wipe what was left
LEAST_BYTES, FEW_BYTES = 1 << 29, 5 << 30
FEW_RUNS = 3  # so many runs of the largest measured size should find room
_PROGRAM = re.compile(
    r"(?P<python>[^\s;&|]*python[\d.]*)(\s+-\w+)*\s+-m\s+deepspeech_wer\b|(?P<own>[^\s;&|]*deepspeech-wer)\b"
)
_FINDS_TENSORFLOW = "import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ('tensorflow', 'nbconvert'))))"


def run(options: argparse.Namespace) -> int:
    """Print a line per finding. Returns 1 if any is a fault."""
    faults = 0
    if options.json:
        found = [finding._asdict() for finding in check()]
        print(json.dumps(found, indent=1))
        return 1 if any(finding["level"] == FAULT for finding in found) else 0
    for finding in check():
        say(f"{finding.level:<5}  {finding.subject:<10}  {finding.text}", flush=True)
        faults += finding.level == FAULT
    return 1 if faults else 0


def check() -> Iterator[Finding]:
    """Run all checks and yield each finding as soon as it is known."""
    try:
        settings = every_setting.load()
    except Trouble as trouble:
        yield from (Finding(FAULT, "settings", fault) for fault in str(trouble).splitlines())
        return
    yield Finding(OK, "settings", f"all are valid{_origins()}; list them with `settings`")
    yield from (Finding(HINT, "settings", doubt) for doubt in settings.doubts)
    for subject, try_it in _CHECKS.items():
        try:
            level, text = try_it(settings)
        except Trouble as trouble:
            level, text = FAULT, str(trouble)
        except OSError as error:
            level, text = FAULT, f"{error.filename or ''}: {error.strerror or error}".removeprefix(": ")
        yield Finding(level, subject, text)


def _origins() -> str:
    """Where the settings come from that the environment does not give."""
    known = {variable.name for variable in every_setting.VARIABLES}
    counts = Counter(origin for name, origin in env_file.origins().items() if name in known)
    return "".join(f", {count} of them from {origin}" for origin, count in counts.items())


def _lock(settings: Settings) -> tuple[str, str]:
    doubt = places.doubt_of_locks(settings.places.cache)
    if doubt:
        return HINT, doubt
    _try_to_write(settings.places.cache)
    holder = lock.holder(str(settings.places.lock))
    return OK, f"{settings.places.cache}" + (
        f"; a tick is running: process {holder[0]} since {holder[2]}" if holder else ""
    )


def _git(settings: Settings) -> tuple[str, str]:
    text = git.run_git(settings.places.cache, "version")
    found = re.search(r"(\d+)\.(\d+)", text)
    if not found:
        raise git.odd("version", text)
    if (int(found[1]), int(found[2])) < GIT:
        return FAULT, f"expected git {GIT[0]}.{GIT[1]} or newer, found {text}: install a newer version"
    return OK, text.removeprefix("git version ")


def _repository(settings: Settings) -> tuple[str, str]:
    where, repository = settings.places, settings.repository
    sha = mirror.ask(where.cache, repository.url, repository.ref)
    if where.mirror.exists() and where.lock.exists() and _is_ours(settings):
        with _held(str(where.lock)) as is_held:
            if is_held:
                mirror.update(where.mirror, repository.url, repository.ref)
    what = f"{repository.name}, {repository.ref or 'its HEAD'}"
    return (OK, f"{what} is at {sha[:12]}") if sha else (HINT, backlog_inputs.no_commits(settings))


def _is_ours(settings: Settings) -> bool:
    """Return whether cache and data root belong to what the settings track. `_data` tells what does not."""
    try:
        identity.check(settings.places, settings.repository)
    except Trouble:
        return False
    return True


def _job(settings: Settings) -> tuple[str, str]:
    script = settings.job.script
    if Path(script).is_absolute():
        if not os.access(script, os.X_OK) or not Path(script).is_file():
            return (
                FAULT,
                f"{script}: expected an executable file, found none: correct ds_wer_automation, or run chmod +x",
            )
        return OK, script
    if script != job_contract.DEFAULT_SCRIPT:
        return OK, f"{script}, looked up in each merge"
    variables = environment.job_environment()
    python = variables.get(job_contract.PYTHON) or sys.executable
    try:
        done = subprocess.run(
            [python, "-c", _FINDS_TENSORFLOW], env=variables, cwd="/", capture_output=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return HINT, f"{script} with {python}: the interpreter did not answer within 60 s: check ds_python"
    if done.returncode:
        cure = "install deepspeech-wer[training], or set ds_python, unless your job needs neither"
        return HINT, f"{script} with {python}: cannot import tensorflow and nbconvert: {cure}"
    return OK, f"{script} with {python}"


def _clone(settings: Settings) -> tuple[str, str]:
    checkout.check(settings.clone_path)
    _try_to_write(settings.clone_path.parent)
    cache = settings.places.cache
    checkout.wipe(cache / _MARK)  # of a check that was killed
    missing = [place for place in settings.clone_path.parents if not place.exists()]
    path = settings.clone_path / f"check-{os.getpid()}"
    try:
        with (
            _source(settings) as (source, merge, what),
            checkout.checked_out(source, merge, path, mark=cache / _MARK, origin=""),
        ):
            _run_a_script(path / ".git" / "check.sh", settings.clone_path)
    except checkout.CannotCheckOut as trouble:
        return HINT, f"{trouble}: a tick would record that merge as failed"
    finally:
        for place in missing:
            with suppress(OSError):
                place.rmdir()
    level, lack = check_tools.room_for_clone(settings)
    return level, f"{settings.clone_path}; {what} was checked out there, and a script run{lack}"


@contextmanager
def _source(settings: Settings) -> Iterator[tuple[Path, Merge, str]]:
    """A mirror, a commit in it, and what that is: the tracked one where there is a mirror and no tick is at work, else
    one of a small repository of our own.
    """
    where = settings.places
    if where.mirror.exists() and where.lock.exists():
        with _held(str(where.lock)) as is_held:
            merge = _newest(where.mirror) if is_held else None
            if merge:
                yield where.mirror, merge, merge.sha[:12]
                return
    with tempfile.TemporaryDirectory(prefix=".check-", dir=where.cache) as name:
        place = Path(name)
        yield place, _small_repository(place), "a small repository of its own"


def _newest(where: Path) -> Merge | None:
    """The newest commit in a mirror; None where nothing was fetched yet. Raises Trouble if it cannot be read."""
    try:
        sha = mirror.tip(where)
    except git.GitError as error:
        if error.code == 1:
            return None
        cure = evidence.cure(error, where)
        raise Trouble(f"cannot read the mirror {where}: {error}{f'; {cure}' if cure else ''}") from None
    return history.merge(where, sha)


@contextmanager
def _held(path: str) -> Iterator[bool]:
    """Hold the tick's lock; False where a tick does. What the lock tells of a killed tick stays for the next one."""
    descriptor = lock.acquire(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None and lock.follows_a_kill(descriptor):
            os.close(descriptor)
        elif descriptor is not None:
            lock.release(descriptor)


def _small_repository(place: Path) -> Merge:
    git.run_git(place, "init", "--quiet", "--bare", "--template=", ".")
    file = place / "file"
    file.write_bytes(b"?" * 4096)
    blob = git.run_git(place, "hash-object", "-w", "--no-filters", str(file))
    git.run_git(place, "--work-tree=.", "update-index", "--add", "--cacheinfo", f"100755,{blob},file")
    tree = git.run_git(place, "write-tree")
    who = ("-c", "user.name=check", "-c", "user.email=check@localhost")
    return history.merge(place, git.run_git(place, *who, "commit-tree", tree, "-m", "check"))


def _run_a_script(script: Path, clone_path: Path) -> None:
    """Raises Trouble where no script can be run below ds_clone_path."""
    script.write_text("#!/bin/sh\nexit 0\n")
    script.chmod(0o700)
    try:
        code = subprocess.run(
            [script], cwd=script.parent, capture_output=True, timeout=TIMEOUT_S, check=False
        ).returncode
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "it does not end"
        is_noexec = os.statvfs(script.parent).f_flag & os.ST_NOEXEC
        cure = "is mounted noexec: mount it with exec, or set another path" if is_noexec else "runs no script"
        raise Trouble(f"ds_clone_path {clone_path}: {cure} ({reason})") from None
    if code:
        raise Trouble(f"ds_clone_path {clone_path}: a script that does nothing ended with {code}: does /bin/sh work?")


def _data(settings: Settings) -> tuple[str, str]:
    where = settings.places
    for name in ("runs", "work", "checkpoints", "requests", "site"):
        _try_to_write(where.data / name)  # it may be a link to another disk
    free = shutil.disk_usage(_try_to_write(where.data)).free
    identity.check(where, settings.repository)  # each tick asks the same first
    text = f"{where.data}, {in_bytes(free)} free"
    taken = room.last(where.cache)
    least, few = LEAST_BYTES, FEW_BYTES
    if taken:
        least, few = max(taken), FEW_RUNS * max(taken)
        text += f"; the last {len(taken)} runs took up to {in_bytes(max(taken))} each, with their checkpoints"
    if free < max(few, LEAST_BYTES):
        level = FAULT if free < max(least, LEAST_BYTES) else HINT
        return level, f"{text}: free some space there (`prune`), or set ds_dataroot"
    return OK, text


def _cluster(settings: Settings) -> tuple[str, str]:
    """Whether the nodes see what they have to: a small job on one of them says so."""
    if not settings.cluster.is_slurm:
        return OK, "off (ds_runner=local): this machine trains"
    found = probe.ask(settings.places.data, settings.clone_path, runners.options_of(settings.cluster))
    if isinstance(found, str):
        return HINT, found
    on = f"the node {found.machine}"
    if not found.sees_clone:
        return FAULT, f"{on} does not see {settings.clone_path.parent}: set ds_clone_path to a directory that it shares"
    if found.release != __version__:
        return (
            FAULT,
            f"{on} has deepspeech_wer {found.release}, and this is {__version__}: share one Python environment",
        )
    if not found.sees_locks:
        cure = "mount it with locks for all nodes (NFS without `nolock`, `local_lock`; Lustre with `flock`)"
        return HINT, f"{on} does not see locks that are held here in {settings.places.data}: {cure}"
    return OK, f"a job on {on} saw the data root, its locks, ds_clone_path and this Python"


def _publishing(settings: Settings) -> tuple[str, str]:
    if settings.website is None:
        return OK, f"off ({', '.join(settings.website_missing)} not set)"
    if not _is_ours(settings):  # with another tracker's, this one would be told to take over its own web root
        return HINT, "not looked at while cache and data root do not belong together"
    site = settings.places.site
    built = [str(path) for path in dashboard.site_files(site)] if (site / "index.htm").exists() else []
    owner = identity.owner(settings.places, settings.repository, create=False)
    options = Options(dry_run=True, probe=True, owner=owner, timeout_s=TIMEOUT_S, retry_after_s=())
    from deepspeech_wer.publish import publisher  # loads paramiko

    report = publisher.publish(site, built, settings.website, options)
    where = f"{settings.website.server_fqdn}:{settings.website.server_root}"
    return OK, f"{where}: host key, login and web root are valid; " + (
        f"would send {report.summary}" if built else "no site is built yet"
    )


def _notices(settings: Settings) -> tuple[str, str]:
    notices, repository = settings.notices, settings.repository
    if notices.github_token and not github.statuses_address(repository.page):
        return HINT, f"ds_github_token has no effect: {repository.name} is not on GitHub"
    if notices.gitlab_token and not gitlab.statuses_address(repository.url):
        return HINT, f"ds_gitlab_token has no effect: {repository.name} is not on a GitLab"
    if notices.webhook_secret and not notices.webhook_url:
        return HINT, "ds_webhook_secret has no effect: ds_webhook_url is not set"
    kinds = {
        "commit statuses": notices.github_token,
        "commit statuses on GitLab": notices.gitlab_token,
        "webhook": notices.webhook_url,
    }
    off = "off (ds_github_token, ds_gitlab_token, ds_webhook_url)"
    return OK, ", ".join(kind for kind, given in kinds.items() if given) or off


def _cron(_: Settings) -> tuple[str, str]:
    for place in Path("/proc").glob("[0-9]*/comm"):
        try:
            name = place.read_text().strip()
        except OSError:  # it has ended
            continue
        if name in ("cron", "crond", "fcron", "anacron", "busybox-crond"):
            return OK, f"{name} is running"
    return HINT, "no cron daemon is running: start it (`service cron start`), or use another scheduler"


def _crontab(settings: Settings) -> tuple[str, str]:
    """The line that cron starts a tick with, tried as cron would: with its PATH and from the home directory."""
    timer = systemd.directory() / "timers.target.wants" / f"{systemd.name_of(settings.instance)}.timer"
    if timer.exists():
        return OK, f"the systemd timer {timer.name} is enabled"
    try:
        _, listed = crontab.parse(crontab.read())
    except Trouble as trouble:
        reason = str(trouble).removeprefix("--crontab: ").partition(":")[0]
        return HINT, f"{reason}: install crontab.example with `crontab`, unless another scheduler starts the ticks"
    ours = [entry for entry in listed if entry.instance == settings.instance]
    if not ours:
        name = f" with ds_instance={settings.instance}" if settings.instance else ""
        return HINT, f"no line of the crontab runs deepspeech_wer{name}: add the one of crontab.example"
    entry = ours[-1]
    path = entry.variables.get("PATH") or CRONS_PATH
    match = _PROGRAM.search(entry.command)
    if match is None:
        return HINT, f"cannot tell which program this line runs: {quoted(entry.command)}"
    program = match["python"] or match["own"]
    found = shutil.which(program, path=path)
    cure = "put the bin directory of the virtual environment first in the crontab's PATH"
    if found is None:
        return FAULT, f"{program} is not on the PATH that cron has ({path}): {cure}"
    if shutil.which("git", path=path) is None:
        return FAULT, f"git is not on the PATH that cron has ({path}): add its directory there"
    words = [found, "-P", "-m", "deepspeech_wer"] if match["python"] else [found]
    said = _version(words, path)
    if said is None:
        return FAULT, f"{found}, which this line runs, has no deepspeech_wer: {cure}"
    if said != __version__:
        return HINT, f"{found}, which this line runs, has deepspeech_wer {said}, and this is {__version__}: {cure}"
    return OK, f"its line runs {found}"


def _version(words: Sequence[str], path: str) -> str | None:
    """Return the version of the deepspeech_wer that a program is or has; None if it has none."""
    variables = {"PATH": path, "HOME": str(files.home()), "LANG": "C.UTF-8"}
    home = files.home()
    command = [*words, "--version"]
    try:
        done = subprocess.run(command, env=variables, cwd=home, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split()[-1] if done.returncode == 0 and done.stdout.split() else None


_CHECKS: dict[str, Callable[[Settings], tuple[str, str]]] = {
    "lock": _lock,
    "git": _git,
    "repository": _repository,
    "job": _job,
    "guards": check_tools.guarded,
    "checkout": _clone,
    "filters": check_tools.filters,
    "data": _data,
    "cluster": _cluster,
    "publishing": _publishing,
    "page": check_page.public_address,
    "notices": _notices,
    "cron": _cron,
    "crontab": _crontab,
}


def _try_to_write(path: Path) -> Path:
    """Write a temporary file at `path`, or in its nearest parent that exists, and return that directory.

    Raises Trouble if that fails.
    """
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    try:
        with tempfile.TemporaryFile(dir=there) as stream:
            stream.write(b"?" * 4096)
    except OSError as error:
        cures = {
            errno.ENOSPC: "free some space there",
            errno.EDQUOT: "free some space there",
            errno.EACCES: "give the user of the crontab write access",
        }
        said = f"{error.strerror}: {cures[error.errno]}" if error.errno in cures else with_cure(error)
        raise Trouble(f"{path}: cannot write in {there}: {said}") from None
    return there
