"""Debian's cron with a real user's crontab: `with temporary_user() as user, running_cron(), crontab(user, text):`"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.sshd import Sshd, require

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "crontab.example"


@dataclass(frozen=True)
class User:
    """A user of this system, made for the test."""

    name: str
    uid: int
    gid: int
    home: Path

    def own(self, *paths: Path) -> None:
        """Make the user the owner of files and directories, recursively."""
        for path in paths:
            for file in (path, *path.rglob("*")):
                os.chown(file, self.uid, self.gid, follow_symlinks=False)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command as the user, with a minimal environment."""
        return subprocess.run(
            command,
            user=self.uid,
            group=self.gid,
            extra_groups=(),
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def processes(self, word: str) -> list[int]:
        """Return the user's processes that have `word` on their command line."""
        found = []
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (directory / "cmdline").read_bytes().split(b"\0")
                uid = int(re.findall(r"^Uid:\t(\d+)", (directory / "status").read_text(), re.MULTILINE)[0])
                if uid == self.uid and word.encode() in words:
                    found.append(int(directory.name))
        return found


@contextlib.contextmanager
def temporary_user() -> Iterator[User]:
    """Add a system user with a home that others can read, and remove both at the end. Needs root."""
    if os.geteuid() != 0:
        problem = "only root can add a user with its own crontab"
        pytest.fail(problem) if os.environ.get("CI") == "true" else pytest.skip(problem)
    base = Path(tempfile.mkdtemp(prefix="wer-cron-"))
    base.chmod(0o755)
    name = f"wer-{os.getpid()}"
    command = [require("useradd", "passwd"), "--create-home", "--base-dir", str(base), "--shell", "/bin/sh"]
    # The password "*" matches nothing, but the account is not locked: sshd would refuse a locked one.
    subprocess.run([*command, "--password", "*", "--key", "HOME_MODE=0755", name], check=True)
    entry = pwd.getpwnam(name)
    try:
        yield User(name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))
    finally:
        # -f: works even while a process of the user is ending. userdel complains about the missing mail spool.
        subprocess.run(["userdel", "--force", name], check=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(base)


@contextlib.contextmanager
def running_cron() -> Iterator[None]:
    """Use the cron daemon that runs already, or run one until the block ends."""
    program = require("/usr/sbin/cron", "cron")
    with subprocess.Popen([program, "-f"], stderr=subprocess.PIPE, text=True, env={}) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)  # it exits at once if one runs already: both lock /run/crond.pid
            error = process.stderr.read() if process.stderr else ""
            assert "can't lock" in error, error
        try:
            yield
        finally:
            process.terminate()


@contextlib.contextmanager
def crontab(user: User, text: str) -> Iterator[None]:
    """Install the user's crontab until the block ends, then end what it started."""
    program = require("crontab", "cron")
    subprocess.run([program, "-u", user.name, "-"], input=text, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([program, "-u", user.name, "-r"], check=True)
        deadline = time.monotonic() + 60
        while user.processes("deepspeech_wer") and time.monotonic() < deadline:
            for pid in user.processes("deepspeech_wer"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 15)
            time.sleep(0.1)


def let_publish(user: User, server: Sshd) -> dict[str, str]:
    """Give the user a key and the web root of a server. Returns the ds_website_* values for the crontab."""
    directory = user.home / ".ssh"
    directory.mkdir(mode=0o700)
    shutil.copyfile(server.key, directory / "id_ed25519")
    (directory / "id_ed25519").chmod(0o600)
    shutil.copyfile(server.known_hosts, directory / "known_hosts")
    user.own(directory, server.root)
    return {
        "ds_website_username": user.name,
        "ds_website_privkey": str(directory / "id_ed25519"),
        "ds_website_server_fqdn": server.host,
        "ds_website_server_port": str(server.port),
        "ds_website_server_root": str(server.root),
    }


def filled_example(values: Mapping[str, str]) -> str:
    """Return crontab.example with these values, run every minute instead of every five."""
    text = EXAMPLE.read_text()
    for name, value in values.items():
        found = re.findall(rf"^#?{name}=.*$", text, re.MULTILINE)
        assert len(found) == 1, f"{EXAMPLE.name}: expected {name} once, found it {len(found)} times"
        text = text.replace(found[0], f"{name}={value}")
    assert "\n*/5 * * * * " in text
    return text.replace("\n*/5 * * * * ", "\n* * * * * ")


def virtual_environment(user: User) -> Path:
    """Make a virtual environment that the user can use, with this project in it. Returns its bin/.

    Ours may lie where only root may go, the interpreter (pyenv in /root) as well as the packages.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    candidates = [os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"]
    python = next((path for path in candidates if _can_run(user, path)), None)
    if python is None:
        problem = f"none of {', '.join(candidates)} can be run by an ordinary user"
        pytest.fail(problem) if os.environ.get("CI") == "true" else pytest.skip(problem)
    subprocess.run([python, "-m", "venv", "--without-pip", user.home / "venv"], check=True)
    packages = user.home / "venv" / "lib" / version / "site-packages"
    ours = [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]
    if user.run("/bin/ls", *(f"{path}/." for path in ours)).returncode == 0:
        (packages / "ours.pth").write_text("\n".join(ours) + "\n")
        (user.home / "venv" / "share").symlink_to(Path(sys.prefix, "share"))  # nbconvert's templates
    else:
        _copy_tracker(packages)
    user.own(user.home / "venv")
    return user.home / "venv" / "bin"


def _can_run(user: User, python: str) -> bool:
    try:
        return user.run(python, "-c", "import ssl, sqlite3").returncode == 0
    except OSError:  # missing, or not readable for this user
        return False


def _copy_tracker(packages: Path) -> None:
    """Copy the package and the tracker's dependencies, without TensorFlow."""
    shutil.copytree(ROOT / "deepspeech_wer", packages / "deepspeech_wer")
    for name in _needed("deepspeech-wer") - {"deepspeech-wer"}:
        for file in importlib.metadata.files(name) or ():
            if ".." not in file.parts and not file.name.endswith(".pyc"):
                target = packages / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(file.locate()), target)


def _needed(distribution: str) -> set[str]:
    """Return the names of a distribution and its dependencies, without extras."""
    found, queue = set(), [distribution]
    while queue:
        name = queue.pop()
        if name in found:
            continue
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            required = importlib.metadata.requires(name) or ()
            found.add(name)
            queue += [re.split(r"[^\w.-]", line)[0] for line in required if "extra ==" not in line]
    return found
