"""Which environment variables jobs and git inherit.

A job inherits no secret. git inherits nothing that would point it at another repository.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from deepspeech_wer import files
from deepspeech_wer.variables import is_named_like_a_secret, without_password

_SECRET_PREFIXES = ("ds_website_", "ds_github_token", "ds_gitlab_token", "ds_webhook_", "ds_env_file")

_GIT_KEPT = {
    "GIT_ALLOW_PROTOCOL",
    "GIT_ASKPASS",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_GLOBAL",
    "GIT_CONFIG_NOSYSTEM",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_SYSTEM",
    "GIT_EXEC_PATH",
    "GIT_HTTP_PROXY_AUTHMETHOD",
    "GIT_HTTP_USER_AGENT",
    "GIT_PROXY_COMMAND",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
}
_GIT_KEPT_PREFIXES = ("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_", "GIT_PROXY_SSL_", "GIT_SSL_")


def is_secret(name: str) -> bool:
    """Return whether a job must not see a variable: our secrets, and sockets or programs that give access to keys."""
    return name.startswith(_SECRET_PREFIXES) or name in {
        "SSH_AUTH_SOCK",
        "SSH_AGENT_PID",
        "SSH_ASKPASS",
        "GIT_ASKPASS",
        "GPG_AGENT_INFO",
        "DBUS_SESSION_BUS_ADDRESS",
        "KRB5CCNAME",
    }


def job_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment without secrets and GIT_* variables. The job's environment is built on it."""
    given = os.environ if environ is None else environ
    passed = {name: value for name, value in given.items() if not is_secret(name) and not name.startswith("GIT_")}
    if "ds_repo_url" in passed:
        passed["ds_repo_url"] = without_password(passed["ds_repo_url"])
    return passed


def operators_variables(environ: Mapping[str, str] | None = None, *, ignored: Collection[str] = ()) -> dict[str, str]:
    """Return the ds_* variables that the operator gives to jobs, as run.json may record them: no secrets, no paths.

    `ignored` are the tracker's own settings, which do not change what a job computes.
    """
    passed = job_environment(environ)
    names = sorted(name for name in passed if name.startswith("ds_") and name not in ignored)
    return {name: _recorded(name, passed[name]) for name in names}


def _recorded(name: str, value: str) -> str:
    if is_named_like_a_secret(name):
        return "(secret)"
    return "(path)" if "/" in value else without_password(value)


def training_cache(variables: Mapping[str, str]) -> Path:
    """Return where the training that ships with the tracker keeps corpora and features, given a job's variables."""
    given, home = variables.get("ds_cache_dir", ""), variables.get("XDG_CACHE_HOME", "")
    if given:
        return Path(os.path.abspath(os.path.expanduser(given)))  # noqa: PTH100, PTH111 - as the job reads it
    return Path(home if home.startswith("/") else files.home() / ".cache") / "deepspeech_wer" / "training"


def git_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for git: without our secrets and without what would point git at another repository."""
    given = os.environ if environ is None else environ
    foreign = {name for name in given if _is_foreign(name)}
    passed = {name: given[name] for name in given if name not in foreign and not name.startswith(_SECRET_PREFIXES)}
    if "ds_repo_url" in passed:
        passed["ds_repo_url"] = without_password(passed["ds_repo_url"])
    return passed


def sealed_git_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The caller's environment for a git that reads no configuration of the user or of the system."""
    passed = git_environment(environ)
    sealed = {name: value for name, value in passed.items() if not name.startswith("GIT_") or name == "GIT_EXEC_PATH"}
    unused = {name: "" for name in passed if name.startswith(("GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"))}
    return {
        **sealed,
        **unused,  # they may hold secrets, and GitPython adds its variables to those that we have
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_SYSTEM": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_PARAMETERS": "",
        "GIT_ATTR_NOSYSTEM": "1",
    }


@contextmanager
def sealed() -> Iterator[None]:
    """While this lasts, a git that a library starts reads no configuration of the user or of the system either."""
    before = dict(os.environ)
    os.environ.update(sealed_git_environment())
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def ssh_of_git(environ: Mapping[str, str] | None = None) -> tuple[str | None, str | None]:
    """Return GIT_SSH_COMMAND, which overrides core.sshCommand, and GIT_SSH, which core.sshCommand overrides."""
    given = os.environ if environ is None else environ
    return given.get("GIT_SSH_COMMAND") or None, given.get("GIT_SSH") or None


def askpass(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The variables that tell ssh of the user's program that answers its questions; without one, that it must not ask.

    Where ssh is not told when to call the program, it calls it always: there is no terminal.
    """
    given = os.environ if environ is None else environ
    if not given.get("SSH_ASKPASS"):
        return {"SSH_ASKPASS_REQUIRE": "never"}
    return {"SSH_ASKPASS": given["SSH_ASKPASS"], "SSH_ASKPASS_REQUIRE": given.get("SSH_ASKPASS_REQUIRE") or "force"}


def has_askpass_of_git(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a variable names a program that answers git's questions."""
    given = os.environ if environ is None else environ
    return bool(given.get("GIT_ASKPASS") or given.get("SSH_ASKPASS"))


def forget_secrets() -> None:
    """Remove our secrets from our environment, and the password from ds_repo_url. Call this after loading settings.

    Child processes would inherit them, and a job can read the environment of every process of its user, such as that
    of a `git cat-file` that GitPython keeps running. SSH_AUTH_SOCK stays: git and publishing use it.
    """
    for name in list(os.environ):
        if name.startswith(_SECRET_PREFIXES):
            del os.environ[name]
    url = os.environ.get("ds_repo_url")  # noqa: SIM112 - the name is lower case
    if url:
        os.environ.update(ds_repo_url=without_password(url))


def forget_git_variables() -> None:
    """Remove inherited GIT_* variables from our environment: GIT_DIR, for one, points git at another repository.

    Variables that say how to reach the remote stay.
    """
    for name in list(os.environ):
        if _is_foreign(name):
            del os.environ[name]


def _is_foreign(name: str) -> bool:
    """Return whether a variable is git's and does not concern the access to the remote."""
    return name.startswith("GIT_") and name not in _GIT_KEPT and not name.startswith(_GIT_KEPT_PREFIXES)
