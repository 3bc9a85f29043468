"""The whole cycle on real speech: from a crontab line to the published page, on CMU's AN4.

    python -m tests.end_to_end.an4_cycle [--dataset DIR] [--directory DIR]      as root, about a quarter of an hour

A repository with this project's tree, whose job is its bin/run-an4.sh with fewer epochs, gets two merges. A real user's
crontab, made of crontab.example, lets Debian's cron tick every minute; git daemon serves the repository, sshd takes the
page. Printed: the figures of both runs, and the log as an operator reads it. Kept in --directory: page, picture, log
and archive.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Repository
from tests.end_to_end.cron import (
    ROOT,
    User,
    crontab,
    filled_example,
    let_publish,
    running_cron,
    temporary_user,
    virtual_environment,
)
from tests.end_to_end.git_daemon import running_git_daemon
from tests.end_to_end.sshd import running_sshd
from tests.end_to_end.visitor import all_the_data, document, served

MOST_WER, MOST_CPU_SECONDS = 0.35, 300.0
RECIPE = "bin/run-an4.sh"
AUGMENTATION = re.compile(r"^defaults ds_augment_.*\n", re.MULTILINE)
EPOCHS = re.compile(r"(?<=^defaults ds_n_hidden=128 ds_epochs=)\d+", re.MULTILINE)
EPOCHS_OF_MERGES = (30, 20)  # not the recipe's 50: within the bound on a slow machine too
LAST_SUBJECT = f"Train {EPOCHS_OF_MERGES[1]} epochs: less time"
LOG = ".deepspeech_wer.log"


def main() -> int:
    """Run the cycle. Returns 0 if the first run keeps both bounds."""
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that everything is stopped
    repository = _write_repository(options.directory / "served" / "an4")
    try:
        runs = _cycle(options, repository)
    except (pytest.skip.Exception, pytest.fail.Exception) as missing:
        sys.exit(f"{Path(__file__).name}: {missing}")
    for number, run in enumerate(runs, 1):
        print(f"run {number}: test WER {run['test_wer']:.2%}, {run['cpu_seconds']:.1f} CPU-s of training")
    print(f"page, picture, log and archive: {options.directory}")
    return 0 if len(runs) == 2 and runs[0]["test_wer"] <= MOST_WER and runs[0]["cpu_seconds"] <= MOST_CPU_SECONDS else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--dataset", type=Path, default=ROOT.parent / "shared" / "speech" / "an4", help="AN4's tables")
    parser.add_argument("--directory", type=Path, help="where everything is kept (a new directory)")
    options = parser.parse_args()
    if not (options.dataset / "train.csv").is_file():
        parser.error(
            f"{options.dataset}: no train.csv: expected the directory of AN4's train.csv, dev.csv and test.csv"
        )
    options.directory = (options.directory or Path(tempfile.mkdtemp(prefix="an4-cycle-"))).resolve()
    options.directory.mkdir(parents=True, exist_ok=True)
    options.directory.chmod(0o755)  # sshd reads the user's authorized_keys as that user
    return options


def _write_repository(path: Path) -> Repository:
    """Make a repository whose first commit is this project's tree, with an AN4 recipe without augmentation."""
    repository = Repository(path)
    archived = subprocess.run(["git", "-C", ROOT, "archive", "HEAD"], capture_output=True, check=True)
    subprocess.run(["tar", "--extract", "--directory", path], input=archived.stdout, check=True)
    repository.commit("Train on AN4", {RECIPE: AUGMENTATION.sub("", _recipe(EPOCHS_OF_MERGES[0]))})
    return repository


def _first_merge(repository: Repository) -> None:
    repository.merge("Augment tempo, pitch and masks", {RECIPE: _recipe(EPOCHS_OF_MERGES[0])})


def _second_merge(repository: Repository) -> None:
    repository.merge(LAST_SUBJECT, {RECIPE: _recipe(EPOCHS_OF_MERGES[1])})


def _recipe(epochs: int) -> str:
    text, count = EPOCHS.subn(str(epochs), (ROOT / RECIPE).read_text())
    assert count, f"{RECIPE}: expected {EPOCHS.pattern}"
    return text


def _cycle(options: argparse.Namespace, repository: Repository) -> list[dict[str, Any]]:
    directory = options.directory
    with (
        temporary_user() as user,
        running_git_daemon(repository.path.parent) as git_url,
        running_sshd(directory / "sshd") as server,
        running_cron(),
    ):
        values = {
            "PATH": f"{virtual_environment(user)}:/usr/local/bin:/usr/bin:/bin",
            "ds_repo_url": f"{git_url}/{repository.path.name}",
            "ds_wer_automation": f"./{RECIPE}",
            "ds_dataroot": str(user.home / "data"),
            "ds_dataset_path": str(options.dataset.resolve()),
            **let_publish(user, server),
        }
        text = filled_example(values)
        print(text, flush=True)
        with crontab(user, text):
            _operate(user, repository)
        print((user.home / LOG).read_text(), flush=True)
        _keep(user, directory)
        return _look_at_page(server.root, directory)


@dataclass
class Tick:
    """What can be observed from outside of a tick that trained."""

    pid: int
    started: float = field(default_factory=time.monotonic)
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0

    def is_running(self) -> bool:
        """Record its CPU time, including its children. Returns whether it still runs."""
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            status = Path(f"/proc/{self.pid}/status").read_text()
            self.cpu_seconds = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            self.peak_mb = int(re.findall(r"VmHWM:\s+(\d+)", status)[0]) / 1024
            return True
        return False


def _operate(user: User, repository: Repository) -> None:
    """Merge twice, each time waiting for cron's tick to train. Then check that two idle ticks log nothing."""
    for number, merge in enumerate((_first_merge, _second_merge), 1):
        merge(repository)
        tick = _attend(user, runs=number)
        wall = time.monotonic() - tick.started
        print(
            f"tick {number}: {wall:.0f} s, {tick.cpu_seconds:.1f} CPU-s with its job and all else, "
            f"the tracker's own peak {tick.peak_mb:.1f} MB",
            flush=True,
        )
    log = user.home / LOG
    before = log.read_bytes()
    time.sleep(125)
    assert log.read_bytes() == before, "a tick that finds nothing new wrote into the log"


def _attend(user: User, *, runs: int) -> Tick:
    """Wait until `count` runs are archived and no tick is running. Returns the tick that archived the last one."""
    tick = Tick(0)
    archive = user.home / "data" / "deepspeech_wer" / "runs"
    deadline = time.monotonic() + 1800
    while time.monotonic() < deadline:
        for pid in [] if tick.is_running() else user.processes("deepspeech_wer"):
            tick = Tick(pid)
        if len(list(archive.glob("[0-9]*/run.json"))) >= runs and not user.processes("deepspeech_wer"):
            return tick
        time.sleep(0.2)
    raise AssertionError((user.home / LOG).read_text())


def _keep(user: User, directory: Path) -> None:
    shutil.copytree(user.home / "data", directory / "data", dirs_exist_ok=True)
    shutil.copyfile(user.home / LOG, directory / "cron.log")


def _look_at_page(web_root: Path, directory: Path) -> list[dict[str, Any]]:
    """Take a screenshot of the page. Returns the results of the published runs."""
    with served(web_root) as address:
        document(f"{address}/index.htm", LAST_SUBJECT, picture=directory / "page.png")
    return [record["results"] for record in all_the_data(web_root)]


if __name__ == "__main__":
    sys.exit(main())
