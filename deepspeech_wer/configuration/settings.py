"""Reads every ds_* variable of the tracker into one frozen Settings, in groups that are passed on separately.

Variables that DeepSpeech's scripts of 2016 had keep their names. Variables of the job (ds_epochs, ...) pass through
to it unread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from xdg import BaseDirectory

from deepspeech_wer.account import Account
from deepspeech_wer.configuration import git_urls, misspelt
from deepspeech_wer.configuration import setting_types as types
from deepspeech_wer.errors import UsageTrouble
from deepspeech_wer.places import Places
from deepspeech_wer.records import Guards
from deepspeech_wer.variables import MASK, Variable, is_named_like_a_secret, quoted, read, without_password
from deepspeech_wer.xdg_directories import cache_directory, directory


@dataclass(frozen=True)
class Website(Account):
    """Where to publish, and as which user."""

    server_root: str  # path on the server, absolute or relative to the login directory
    modes: tuple[int, int]  # of files, of directories
    prefix = "ds_website_"


class Repository(NamedTuple):
    """What to track."""

    url: str
    name: str  # for people: "mozilla/DeepSpeech", or the last part of the URL
    page: str | None  # https://github.com/mozilla/DeepSpeech, for links to commits
    ref: str | None  # None: follow the remote's HEAD
    track: str  # "merges" or "commits"
    backlog: str  # "all" or "newest"


class JobLimits(NamedTuple):
    """What to run for each merge, and its limits."""

    script: str  # absolute, or relative to the checkout
    timeout_s: float | None
    attempts: int
    stop_after_alike: int  # so many failures of one class in a row stop the queue
    grace_s: float
    guards: Guards
    gpu_usage_root: Path | None
    gpu_usage_csv: Path | None
    gpu_usage_charts: Path | None


class Cluster(NamedTuple):
    """Where jobs run: on this machine, or on the nodes of a Slurm."""

    runner: str  # "local" or "slurm"
    parallel_runs: int
    partition: str | None = None
    gpus: str | None = None
    time: str | None = None
    account: str | None = None
    options: tuple[str, ...] = ()  # further ones of sbatch

    @property
    def is_slurm(self) -> bool:
        """Whether jobs are given to Slurm."""
        return self.runner == "slurm"


@dataclass(frozen=True)
class Notices:
    """Where to send notifications, and of what."""

    github_token: str | None = field(repr=False)
    gitlab_token: str | None = field(repr=False)
    webhook_url: str | None = field(repr=False)
    webhook_secret: bytes | None = field(repr=False)  # the key that signs messages
    website_url: str | None  # the site's public address, for links
    tell_better: bool  # also tell of merges that made it better
    tell_suspect: bool  # also tell of suspects, before they are certain

    @property
    def has_receivers(self) -> bool:
        """Whether somebody else than the log is told."""
        return bool(self.github_token or self.gitlab_token or self.webhook_url)


@dataclass(frozen=True)
class PublishedLogs:
    """Which of a run's logs visitors see, and what is masked in those that are trimmed."""

    mode: str  # "none", "trimmed" or "full"
    secrets: tuple[str, ...] = field(default=(), repr=False)  # lines of text, longest first


class Retraining(NamedTuple):
    """Whether suspect merges are trained again with other seeds, and how often."""

    mode: str  # "on", "first" (before new merges) or "off"
    budget: int  # re-trainings for each suspect
    share: float  # of each day's compute, as a fraction
    anchor: bool  # train the newest merge once more after the operator changed variables


class Beat(NamedTuple):
    """How often visitors are told that the tracker lives, at most; 0: never."""

    idle_s: int  # while there is nothing to do
    job_s: int  # while a job runs


class Settings(NamedTuple):
    """All settings of one command."""

    repository: Repository
    job: JobLimits
    cluster: Cluster
    retraining: Retraining
    instance: str  # "" unless this user runs several trackers
    clone_path: Path
    force_sha: tuple[str, ...]
    website: Website | None
    website_missing: tuple[str, ...]  # the unset variables that publishing needs; empty if it is on
    notices: Notices
    places: Places
    logs: PublishedLogs
    beat: Beat
    audio: str | None  # address of the recordings, for the page
    doubts: tuple[str, ...] = ()  # see `misspelt.doubts`; kept, since secret variables are forgotten by then


_GITHUB = (("ds_github_account", "mozilla"), ("ds_github_project", "DeepSpeech"))

_WEBSITE = ("ds_website_username", "ds_website_privkey", "ds_website_server_fqdn", "ds_website_server_root")

_SHORTEST_SECRET = 4  # characters; masking shorter ones would make a log unreadable

VARIABLES = (
    Variable("ds_repo_url", None, git_urls.git_url, "any git URL or local path to track; overrides the next two"),
    Variable(
        "ds_github_account", "mozilla", types.github_name, "the ACCOUNT of https://github.com/ACCOUNT/PROJECT.git"
    ),
    Variable(*_GITHUB[1], types.github_name, "its PROJECT"),
    Variable("ds_github_ref", None, types.git_ref, "the branch to track; unset: the remote's HEAD"),
    Variable(
        "ds_track",
        "merges",
        types.one_of("merges", "all-merges", "commits"),
        "`merges`: first-parent commits that bring in a branch; `all-merges`: also those behind a foxtrot merge; "
        "`commits`: every first-parent commit, for squash and rebase merging",
    ),
    Variable(
        "ds_backlog",
        "all",
        types.one_of("all", "newest"),
        "`all`: every merge, oldest first; `newest`: the newest, then what narrows down a regression, then the middle "
        "of the longest gap",
    ),
    Variable(
        "ds_instance",
        None,
        types.instance,
        "a name for this tracker, where one user runs several: cache, data, lock, site and `ds_clone_path` get it as a "
        "suffix",
    ),
    Variable("ds_clone_path", "./ds_exec_clone/", types.directory, "where merges are checked out; wiped after use"),
    Variable(
        "ds_wer_automation",
        "./bin/run-wer-automation.sh",
        types.script,
        "the job; a relative path is looked up in the checkout",
    ),
    Variable("ds_job_timeout", None, types.seconds, "seconds a job may take; unset: no limit"),
    Variable("ds_job_attempts", "2", types.whole(1, 100), "tries per merge before it is recorded as failed"),
    Variable(
        "ds_stop_after_alike",
        "3",
        types.whole(1, 1000),
        "so many runs in a row that fail with the same class stop the queue, until `retry` or a run that succeeds",
    ),
    Variable("ds_job_grace", "60", types.seconds, "seconds a job has to save its checkpoint when it is stopped"),
    Variable("ds_job_nice", "0", types.whole(0, 19), "lowers the priority of jobs, as `nice` does: 19 is the lowest"),
    Variable(
        "ds_job_memory",
        None,
        types.size,
        "bytes of memory that all processes of a job may take together, such as `8G`; a job that takes more is ended; "
        "unset: no limit",
    ),
    Variable("ds_job_cpus", None, types.whole(1, 10_000), "processors that a job may use; unset: all"),
    Variable(
        "ds_job_sandbox",
        "none",
        types.one_of("none", "bubblewrap"),
        "`bubblewrap`: a job sees the system read-only, and no network",
    ),
    Variable("ds_job_network", "0", types.switch, "1: a job in the sandbox has the network"),
    Variable(
        "ds_job_writable",
        None,
        types.directories,
        "directories, separated by colons, that a job in the sandbox may write to, besides those of the contract",
    ),
    Variable(
        "ds_runner",
        "local",
        types.one_of("local", "slurm"),
        "where jobs run: `local`: on this machine, one at a time; `slurm`: on the nodes of a Slurm cluster",
    ),
    Variable(
        "ds_parallel_runs", "1", types.whole(1, 1000), "merges that train side by side, at most; with Slurm alone"
    ),
    Variable("ds_slurm_partition", None, types.slurm_word, "the partition; unset: Slurm's default"),
    Variable("ds_slurm_gpus", None, types.slurm_word, "GPUs of each job, such as `2` or `a100:1`; unset: none"),
    Variable("ds_slurm_time", None, types.slurm_time, "time limit of each job, as sbatch's `--time`: `2-12:00:00`"),
    Variable("ds_slurm_account", None, types.slurm_word, "the account that pays"),
    Variable(
        "ds_slurm_options",
        None,
        types.slurm_options,
        "further options of sbatch, such as `--constraint=v100 --mem=32G --cpus-per-task=8`",
    ),
    Variable(
        "ds_retrain",
        "on",
        types.one_of("on", "first", "off"),
        "suspect merges are trained again with other seeds: `on`: when no new merge waits; `first`: before new merges; "
        "`off`: never",
    ),
    Variable("ds_retrain_budget", "12", types.whole(1, 1000), "re-trainings of each suspect, at most"),
    Variable("ds_retrain_share", ".3", types.share, "part of each day for re-trainings, at most"),
    Variable(
        "ds_anchor",
        "1",
        types.switch,
        "1: train the newest merge once more after a variable of the job changed",
    ),
    Variable("ds_automation_force_sha", None, types.shas, "SHA[,SHA...]: run only these commits, in every tick"),
    Variable(
        "ds_dataroot",
        None,
        types.directory,
        "parent of `deepspeech_wer/`, which holds runs and site; unset: XDG data home",
    ),
    Variable("ds_gpu_usage_root", None, types.directory, "directory of the GPU samples; unset: that of the run"),
    Variable("ds_gpu_usage_csv", None, types.path, "one file for all GPU samples; unset: `gpu-usage.csv` of the run"),
    Variable("ds_gpu_usage_charts", None, types.directory, "directory of the GPU charts, `<run>.svg`; unset: none"),
    Variable("ds_env_file", None, types.path, "file of NAME=value lines, for what the environment does not set"),
    Variable("ds_website_username", None, types.user, "user on the web host"),
    Variable(
        "ds_website_privkey",
        None,
        types.private_key,
        "private key file; unset: an ssh agent holds the key",
        secret=True,
    ),
    Variable("ds_website_privkey_passphrase", None, str, "passphrase of that key", secret=True),
    Variable("ds_website_server_fqdn", None, types.host, "the web host"),
    Variable("ds_website_server_port", "22", types.whole(1, 65535), "its SSH port"),
    Variable("ds_website_server_root", None, types.web_root, "the web root on it"),
    Variable(
        "ds_website_known_hosts", None, types.readable_file, "file of host keys, in addition to `~/.ssh/known_hosts`"
    ),
    Variable("ds_website_modes", "0644/0755", types.modes, "modes of published files/directories"),
    Variable(
        "ds_publish_logs",
        "trimmed",
        types.one_of("none", "trimmed", "full"),
        "`none`: no log is published; `trimmed`: the end of each, with secrets masked; `full`: all of it",
    ),
    Variable(
        "ds_heartbeat_every",
        "3600",
        types.whole(0, 604_800),
        "seconds: at most so often an idle tick tells the page that the tracker lives; 0: never",
    ),
    Variable(
        "ds_publish_every",
        "300",
        types.whole(0, 604_800),
        "seconds: at most so often the page is told how far the running job is; 0: never",
    ),
    Variable(
        "ds_website_audio",
        None,
        types.recordings,
        "where the site's owner publishes the recordings of the test set, such as `audio/{id}.wav`: the page then has "
        "a player; unset: none",
    ),
    Variable("ds_website_url", None, types.web_url, "the site's public address"),
    Variable("ds_github_token", None, types.token, "token for commit statuses", secret=True),
    Variable(
        "ds_gitlab_token",
        None,
        types.token,
        "token for commit statuses on GitLab, at the host of the repository",
        secret=True,
    ),
    Variable(
        "ds_webhook_url",
        None,
        types.web_url,
        "address that gets a JSON message when merges make it worse, when the level is back, when runs fail, and when "
        "they work again",
        secret=True,
    ),
    Variable(
        "ds_webhook_secret",
        None,
        types.signing_key,
        "signs those messages (Standard Webhooks): `whsec_` and base64, or any text",
        secret=True,
    ),
    Variable("ds_tell_better", "0", types.switch, "1: send a message also when a merge makes it better"),
    Variable("ds_tell_suspect", "0", types.switch, "1: send a message also when a merge is suspected"),
)


NAMES = frozenset(variable.name for variable in VARIABLES)


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read and check every setting. Raises UsageTrouble that lists all faults, one per line."""
    given = dict(os.environ if environ is None else environ)
    faults: list[str] = []
    values = {
        variable.name: read(variable, given.get(variable.name) or variable.default, faults) for variable in VARIABLES
    }
    missing = _website_missing(given)
    faults += _website_faults(given, missing)
    if values["ds_runner"] == "local" and (values["ds_parallel_runs"] or 1) > 1:
        faults.append(
            f"ds_parallel_runs: {quoted(given['ds_parallel_runs'])}: expected 1, since this machine trains one merge "
            "at a time: set ds_runner=slurm"
        )
    if not values["ds_dataroot"] and not BaseDirectory.xdg_data_home.startswith("/"):
        faults.append("ds_dataroot: not set: expected it, XDG_DATA_HOME or HOME to be set")
    if faults:
        raise UsageTrouble("\n".join(faults))
    loaded = _settings(values, missing, _secrets(given))
    faults += _overlaps(loaded)
    if faults:
        raise UsageTrouble("\n".join(faults))
    return loaded._replace(doubts=tuple(misspelt.doubts(given, NAMES)))


def describe(
    environ: Mapping[str, str] | None = None, origins: Mapping[str, str] | None = None
) -> list[tuple[str, str, str]]:
    """Return (name, effective value, origin) of every variable, for people. Secrets are masked.

    `origins` names where variables came from that are not the environment's own.
    """
    given = os.environ if environ is None else environ
    return [(variable.name, *_describe(variable, given, origins or {})) for variable in VARIABLES]


def _describe(variable: Variable, given: Mapping[str, str], origins: Mapping[str, str]) -> tuple[str, str]:
    text = given.get(variable.name, "")
    if text:
        origin = origins.get(variable.name, "environment")
        faults = list[str]()
        read(variable, text, faults)
        is_quoted = not variable.secret and f": {MASK}: " not in "".join(faults)
        return without_password(text) if is_quoted else MASK, origin
    if variable.default:
        return variable.default, "default"
    account, project = (given.get(name) or default for name, default in _GITHUB)
    derived = {
        "ds_repo_url": f"https://github.com/{account}/{project}.git",
        "ds_github_ref": "HEAD",
        "ds_dataroot": BaseDirectory.xdg_data_home,
    }.get(variable.name)
    return (derived, "derived") if derived else ("", "not set")


def _website_missing(given: Mapping[str, str]) -> tuple[str, ...]:
    agent = given.get("SSH_AUTH_SOCK") and all(given.get(name) for name in _WEBSITE if name != "ds_website_privkey")
    return tuple(name for name in _WEBSITE if not given.get(name) and not (agent and name == "ds_website_privkey"))


def _website_faults(given: Mapping[str, str], missing: tuple[str, ...]) -> list[str]:
    known = {variable.name for variable in VARIABLES if variable.name.startswith("ds_website_")}
    faults = [
        f"{name}: no such variable: expected one of {', '.join(sorted(known))}"
        for name in sorted(given)
        if name.startswith("ds_website_") and name not in known
    ]
    if missing and len(missing) < len(_WEBSITE):
        faults += [
            f"{name}: not set: expected all of {', '.join(_WEBSITE)}, or none of them to publish nothing"
            for name in missing
        ]
    return faults


def _overlaps(loaded: Settings) -> list[str]:
    """Return a fault if ds_clone_path overlaps with the data or the cache: checkouts are wiped after use.

    It is a fault, too, if data and cache are one directory: each has a lock of its own, and a cache may be deleted.
    """
    paths = {
        "ds_clone_path": loaded.clone_path,
        "ds_dataroot": loaded.places.data,
        "XDG_CACHE_HOME": loaded.places.cache,
    }
    real: dict[str, Path] = {}
    for name, path in paths.items():
        try:
            real[name] = Path(os.path.realpath(path))
        except OSError as error:  # of a link below /proc
            return [f"{name}: {quoted(str(path))}: expected a directory that this user reaches: {error.strerror}"]
    clone = real.pop("ds_clone_path")
    faults = []
    if real["ds_dataroot"] == real["XDG_CACHE_HOME"]:
        faults.append(
            f"ds_dataroot: {loaded.places.data} is the cache (XDG_CACHE_HOME), too: expected a directory for the runs "
            "only"
        )
    for what, place in real.items():
        if clone.is_relative_to(place) or place.is_relative_to(clone):
            faults.append(
                f"ds_clone_path: {quoted(str(loaded.clone_path))}: expected a directory that does not overlap with "
                f"{what} ({paths[what]}), since it is wiped after use"
            )
    return faults


def _secrets(given: Mapping[str, str]) -> tuple[str, ...]:
    """Return what may not be read in a published log: the values of variables whose names say so, and our own secrets.

    Each line of a value counts, as it is, with percent-encoding and without: a log has but one line in a row.
    """
    ours = {variable.name for variable in VARIABLES if variable.secret}
    texts = [value for name, value in given.items() if name in ours or is_named_like_a_secret(name)]
    texts.append(git_urls.password_in(given.get("ds_repo_url", "")))
    plain = {line.strip() for text in texts for one in (text, unquote(text)) for line in one.splitlines()}
    lines = plain | {quote(line, safe="", errors="surrogateescape") for line in plain if "%" not in line}
    return tuple(sorted((line for line in lines if len(line) >= _SHORTEST_SECRET), key=len, reverse=True))


def _settings(values: Mapping[str, Any], missing: tuple[str, ...], secrets: tuple[str, ...]) -> Settings:
    plain = {name.removeprefix("ds_"): value for name, value in values.items()}
    instance = plain["instance"] or ""
    data = (plain["dataroot"] or Path(BaseDirectory.xdg_data_home)) / directory(instance)
    clone: Path = plain["clone_path"]
    return Settings(
        repository=_repository(plain),
        job=_job(plain),
        cluster=_cluster(plain),
        retraining=Retraining(
            plain["retrain"], plain["retrain_budget"], plain["retrain_share"], anchor=plain["anchor"]
        ),
        instance=instance,
        clone_path=clone.with_name(f"{clone.name}-{instance}") if instance else clone,
        force_sha=plain["automation_force_sha"] or (),
        website=None if missing else Website(**_values(Website, plain, "website_")),
        website_missing=missing,
        notices=Notices(**_values(Notices, plain)),
        places=Places(Path(cache_directory(instance)), data),
        logs=PublishedLogs(plain["publish_logs"], secrets),
        beat=Beat(plain["heartbeat_every"], plain["publish_every"]),
        audio=plain["website_audio"],
    )


def _guards(plain: Mapping[str, Any]) -> Guards:
    return Guards(
        nice=plain["job_nice"],
        memory_bytes=plain["job_memory"],
        cpus=plain["job_cpus"],
        is_sandboxed=plain["job_sandbox"] == "bubblewrap",
        has_network=plain["job_network"],
        writable=tuple(map(str, plain["job_writable"] or ())),
        hidden=tuple(str(path) for path in (plain["website_privkey"], plain["env_file"]) if path),
    )


def _repository(plain: Mapping[str, Any]) -> Repository:
    url = plain["repo_url"] or f"https://github.com/{plain['github_account']}/{plain['github_project']}.git"
    return Repository(
        url=url,
        name=git_urls.repository_name(url),
        page=git_urls.repository_page(url),
        ref=plain["github_ref"],
        track=plain["track"],
        backlog=plain["backlog"],
    )


def _cluster(plain: Mapping[str, Any]) -> Cluster:
    return Cluster(
        runner=plain["runner"],
        parallel_runs=plain["parallel_runs"],
        partition=plain["slurm_partition"],
        gpus=plain["slurm_gpus"],
        time=plain["slurm_time"],
        account=plain["slurm_account"],
        options=plain["slurm_options"] or (),
    )


def _job(plain: Mapping[str, Any]) -> JobLimits:
    gpu = {name: value for name, value in plain.items() if name.startswith("gpu_")}
    return JobLimits(
        script=plain["wer_automation"],
        timeout_s=plain["job_timeout"],
        attempts=plain["job_attempts"],
        stop_after_alike=plain["stop_after_alike"],
        grace_s=plain["job_grace"],
        guards=_guards(plain),
        **gpu,
    )


def _values(kind: type[Notices | Website], plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of a record whose fields are named like the settings."""
    return {field.name: plain[f"{prefix}{field.name}"] for field in fields(kind)}
