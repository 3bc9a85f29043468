"""Files of cache and data root that a power cut emptied, or that an older copy replaced: nothing is lost, or run twice.

Each case begins with a tracker of four runs, damages some files, brings a merge, and runs ticks.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deepspeech_wer import archive
from deepspeech_wer.machine import processes
from tests.conftest import Repository

JOB = """#!/bin/sh
set -e
. ./wer
echo "$ds_wer_sha" >> "$HOME/../trained"
mkdir -p "$ds_logs_dir/x"
echo '{"context":{"time_started":"2026-01-01T00:00:00"},"parameters":{},"results":{"test_wer":'$wer'}}' \
> "$ds_logs_dir/x/hyper.json"
"""
CACHE, DATA = ".cache/deepspeech_wer", ".local/share/deepspeech_wer"
MIRROR = f"{CACHE}/repository.git"
STATE = (
    *(f"{CACHE}/{name}" for name in ("last_sha1", "shown", "tracker.json", "retraining.json", "told.json", "lock")),
    *(f"{CACHE}/{name}" for name in ("built", "remembered", "kept/*")),
    *(f"{MIRROR}/{name}" for name in ("HEAD", "config", "refs/tracked/head", "refs/heads/tracked")),
    *(f"{DATA}/{name}" for name in ("lock", "id", "tracker.json", "verdicts.json", "requests/released.json")),
    *(f"{DATA}/site/{name}" for name in ("index.htm", "js/hyper.js", "js/merges.js", ".manifest.json")),
)


class Tracker:
    """A tracker in a home directory that can be copied, damaged and put back."""

    def __init__(self, root: Path, repository: Repository) -> None:
        self.root, self.home, self.repository = root, root / "home", repository
        self.home.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "ds_repo_url": str(repository.path),
            "ds_retrain": "off",
            "ds_clone_path": str(root / "clone"),
        }
        self.shas = [repository.commit("root", {"bin/run-wer-automation.sh": JOB, "wer": "wer=0.9\n"})]
        assert self.tick() == 0
        self.merge("one", "wer=0.8\n")
        assert self.tick() == 0
        self.keep("older")
        self.merge("two", "wer=0.7\n")
        self.merge("three", "wer=0.6\n")
        assert self.tick() == 0
        self.keep("newer")

    def merge(self, subject: str, work: str) -> None:
        self.shas.append(self.repository.merge(subject, {"wer": work}))

    def keep(self, name: str) -> None:
        shutil.copytree(self.home, self.root / name, symlinks=True)

    def restore(self, copies: dict[str, str | None]) -> None:
        """Replace the home by parts of copies that were kept; None: this part is lost."""
        shutil.rmtree(self.home)
        self.home.mkdir()
        for part, name in copies.items():
            if name:
                shutil.copytree(self.root / name / part, self.home / part, symlinks=True)
        (self.root / "trained").write_text("")

    def tick(self, *arguments: str) -> int:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "deepspeech_wer", *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert "Traceback" not in done.stderr, done.stderr
        self.said = done.stderr.splitlines()
        return done.returncode

    def trained(self) -> list[int]:
        """Which commits were trained since the last `restore`, by their places in history."""
        return [self.shas.index(sha) for sha in (self.root / "trained").read_text().split()]

    def archived(self) -> list[int]:
        """Which commits are archived, in the order in which the page has them."""
        runs = archive.in_order(archive.load(self.home / DATA / "runs"))
        return [self.shas.index(run.merge.sha) for run in runs]

    def shown(self) -> int:
        return (self.home / DATA / "site/js/hyper.js").read_text().count('"test_wer"')

    def complaints(self) -> list[str]:
        return [line for line in self.said if " WARNING " in line or " ERROR " in line]


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Tracker:
    root = tmp_path_factory.mktemp("lost")
    return Tracker(root, Repository(root / "tracked"))


@pytest.fixture
def pending(tracker: Tracker) -> Tracker:
    """The tracker, with one more merge that is not trained yet."""
    if len(tracker.shas) == 4:
        tracker.merge("pending", "wer=0.5\n")
    return tracker


def empty(path: Path, _: Path) -> None:
    if path.exists():
        path.write_bytes(b"")


def older(path: Path, old: Path) -> None:
    path.unlink(missing_ok=True)
    if old.exists():
        shutil.copy2(old, path)


def gone(path: Path, _: Path) -> None:
    path.unlink(missing_ok=True)


def garbage(path: Path, _: Path) -> None:
    if path.exists():
        path.write_bytes(b"\0" * path.stat().st_size)  # what ext4 and XFS leave of a file that was not flushed


DAMAGES: tuple[Callable[[Path, Path], None], ...] = (empty, older, gone, garbage)
WHOLE = {".cache": "newer", ".local": "newer"}


def damaged(tracker: Tracker, names: tuple[str, ...], damage: Callable[[Path, Path], None]) -> None:
    tracker.restore(WHOLE)
    for name in names:
        for path in [*tracker.home.glob(name)] or [tracker.home / name]:
            damage(path, tracker.root / "older" / path.relative_to(tracker.home))


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", STATE)
def test_each_file_alone(pending: Tracker, name: str, damage: Callable[[Path, Path], None]) -> None:
    damaged(pending, (name,), damage)
    assert pending.tick() == 0
    assert len(pending.complaints()) <= 1, pending.said
    assert pending.trained() == [4]
    assert pending.archived() == [0, 1, 2, 3, 4]
    assert pending.shown() == 5
    assert (pending.tick(), pending.said) == (0, [])
    assert pending.trained() == [4]


PAIRS = [tuple(random.Random(number).sample(STATE, 2)) for number in range(12)]


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_two_files_together(pending: Tracker, number: int) -> None:
    damaged(pending, PAIRS[number], DAMAGES[number % len(DAMAGES)])
    assert pending.tick() == 0
    assert len(pending.complaints()) <= 2, pending.said
    assert pending.archived() == [0, 1, 2, 3, 4]
    assert (pending.tick(), pending.said) == (0, [])
    assert pending.trained() == [4]


@pytest.mark.parametrize(
    ("cache", "data", "trained", "complaints"),
    [
        (None, "newer", [4], 0),  # in memory, at a power cut
        ("older", "newer", [4], 0),
        ("newer", "older", [2, 3, 4], 1),  # a backup was restored: what it lacks is trained again
        ("older", "older", [2, 3, 4], 0),
        (None, "older", [2, 3, 4], 0),
    ],
)
def test_a_copy_of_the_whole(
    pending: Tracker, cache: str | None, data: str | None, trained: list[int], complaints: int
) -> None:
    pending.restore({".cache": cache, ".local": data})
    assert pending.tick() == 0
    assert len(pending.complaints()) == complaints, pending.said
    assert (pending.trained(), pending.archived(), pending.shown()) == (trained, [0, 1, 2, 3, 4], 5)
    assert (pending.tick(), pending.said) == (0, [])


def test_a_data_root_that_is_lost_is_no_first_run(pending: Tracker) -> None:
    pending.restore({".cache": "newer", ".local": None})
    for _ in range(2):
        assert pending.tick() == 1
        (line,) = pending.said
        assert "is empty, but had runs before: is its disk mounted?" in line
    assert pending.trained() == []


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["run.json", "hyper.json"])
def test_a_run_that_is_damaged_is_named_and_not_trained_again(
    pending: Tracker, name: str, damage: Callable[[Path, Path], None]
) -> None:
    """Its directory holds a result that a person can restore, so the merge is not due."""
    pending.restore(WHOLE)
    newest = pending.home / DATA / "runs" / archive.names(pending.home / DATA / "runs")[-1]
    damage(newest / name, pending.root / "nothing")
    assert pending.tick() == 0
    assert [line for line in pending.complaints() if "skipping a run" in line and str(newest / name) in line]
    assert len(pending.complaints()) == 1, pending.said
    assert (pending.trained(), pending.archived(), pending.shown()) == ([4], [0, 1, 2, 4], 4)
    assert (pending.tick(), pending.said) == (0, [])


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["index.htm", "js/hyper.js", "js/merges.js"])
def test_an_idle_tick_mends_the_site(tracker: Tracker, name: str, damage: Callable[[Path, Path], None]) -> None:
    count = len(tracker.shas)
    tracker.restore(WHOLE)
    tracker.tick()
    place = tracker.home / DATA / "site" / name
    content = place.read_bytes()
    damage(place, tracker.root / "older" / DATA / "site" / name)
    assert tracker.tick() == 0
    assert place.read_bytes() == content
    assert (tracker.tick(), tracker.said) == (0, [])
    assert tracker.shown() == count


@pytest.mark.parametrize("damage", [empty, gone, garbage])
@pytest.mark.parametrize("name", ["order.json", "job.json", "checkout.json", "lock", "out.log", "outcome.json"])
def test_a_work_directory_after_a_power_cut(tmp_path: Path, name: str, damage: Callable[[Path, Path], None]) -> None:
    tracker = Tracker(tmp_path, Repository(tmp_path / "tracked"))
    tracker.merge(
        "cut",
        "[ -e $HOME/once ] || { echo $$ > $HOME/once; kill -9 $(head -n 1 $HOME/.cache/deepspeech_wer/lock)"
        " $PPID; sleep 600; }\nwer=0.5\n",
    )
    (tmp_path / "trained").write_text("")
    assert tracker.tick() < 0
    (work,) = (tracker.home / DATA / "work").iterdir()
    damage(work / name, tmp_path / "nothing")
    assert tracker.tick() == 0
    assert name == "job.json" or processes.start_time(int((tracker.home / "once").read_text())) is None
    # The tick was killed, perhaps with a git of its own, and the supervisor; a file is damaged.
    assert len(tracker.complaints()) <= 4, tracker.said
    assert (tracker.trained(), tracker.archived()) == ([4], [0, 1, 2, 3, 4])
    assert (tracker.tick(), tracker.said) == (0, [])


@pytest.mark.parametrize(
    "lost", [CACHE, ".cache", MIRROR, f"{DATA}/site", f"{CACHE}/last_sha1", f"{DATA}/tracker.json"]
)
def test_what_is_deleted_while_a_job_runs_costs_nothing(tmp_path: Path, lost: str) -> None:
    tracker = Tracker(tmp_path, Repository(tmp_path / "tracked"))
    tracker.merge("deletes", f"rm -rf $HOME/{lost}\nwer=0.5\n")
    (tmp_path / "trained").write_text("")
    assert tracker.tick() == 0
    assert tracker.complaints() == []
    assert (tracker.tick(), tracker.complaints()) == (0, [])
    assert (tracker.trained(), tracker.archived(), tracker.shown()) == ([4], [0, 1, 2, 3, 4], 5)
    assert (tracker.tick(), tracker.said) == (0, [])


@pytest.mark.parametrize("damage", ["rm -r {}/objects", "find {}/objects -type f -exec truncate -s 0 -- {{}} +"])
def test_a_mirror_that_is_damaged_while_a_job_runs_is_fetched_again(tmp_path: Path, damage: str) -> None:
    """As by a power cut or a disk that failed."""
    tracker = Tracker(tmp_path, Repository(tmp_path / "tracked"))
    tracker.merge("damages", f"chmod -R u+w $HOME/{MIRROR}; {damage.format(f'$HOME/{MIRROR}')}\nwer=0.5\n")
    tracker.merge("waits", "wer=0.4\n")
    (tmp_path / "trained").write_text("")
    assert tracker.tick() == 0
    (line,) = tracker.complaints()
    assert "repository.git is damaged, fetching it again: " in line
    assert (tracker.trained(), tracker.archived(), tracker.shown()) == ([4, 5], [0, 1, 2, 3, 4, 5], 6)
    assert (tracker.tick(), tracker.said) == (0, [])


def test_with_the_cache_goes_the_lock_so_the_tick_ends_with_its_merge(tmp_path: Path) -> None:
    """Another one may have taken the lock that is there now. The next tick trains what waits."""
    tracker = Tracker(tmp_path, Repository(tmp_path / "tracked"))
    tracker.merge("deletes", f"rm -rf $HOME/{CACHE}\nwer=0.5\n")
    tracker.merge("waits", "wer=0.4\n")
    (tmp_path / "trained").write_text("")
    assert tracker.tick() == 1
    (line,) = tracker.complaints()
    assert "was removed or replaced while this tick held it" in line
    assert tracker.trained() == [4]
    assert tracker.tick() == 0
    assert tracker.complaints() == []
    assert (tracker.trained(), tracker.archived(), tracker.shown()) == ([4, 5], [0, 1, 2, 3, 4, 5], 6)
