"""A hundred ticks at once, and disks that fill up at every write."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepspeech_wer import archive
from tests.conftest import Repository
from tests.end_to_end.cron import temporary_user, virtual_environment
from tests.waiting import until

TICK = [sys.executable, "-P", "-m", "deepspeech_wer"]
JOB = """#!/bin/sh
. ./wer
mkdir -p "$ds_logs_dir/x"
echo '{"context":{"time_started":"2026-01-01T00:00:00"},"results":{"test_wer":'$wer'}}' > "$ds_logs_dir/x/hyper.json"
"""


def tracking(repository: Repository, directory: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "XDG_CACHE_HOME": str(directory / "cache"),
        "ds_dataroot": str(directory / "data"),
        "ds_repo_url": str(repository.path),
        "ds_retrain": "off",
        "ds_clone_path": str(directory / "clone"),
    }


def test_of_a_hundred_ticks_at_once_one_runs(repository: Repository, tmp_path: Path) -> None:
    started = tmp_path / "started"
    slow = f"echo x >> {started}; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; wer=0.5\n"
    repository.commit("root", {"bin/run-wer-automation.sh": JOB, "wer": slow})
    environment = tracking(repository, tmp_path)
    ticks = [
        subprocess.Popen(TICK, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(100)
    ]
    try:
        until(lambda: sum(tick.poll() is None for tick in ticks) <= 1, timeout_s=300)
        (worker,) = (tick for tick in ticks if tick.poll() is None)
    finally:
        (tmp_path / "go").touch()  # a tick that is left behind would disturb later tests
        said = {tick: (*tick.communicate(), tick.returncode) for tick in ticks}
    _, err, code = said.pop(worker)
    assert set(said.values()) == {(b"", b"", 0)}
    assert (code, b"test WER 50.00 %" in err) == (0, True)
    assert started.read_text() == "x\n"
    assert len(archive.names(tmp_path / "data" / "deepspeech_wer" / "runs")) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    if os.geteuid():
        pytest.skip("mounting a tmpfs needs root")
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", str(path)], check=False)
    if mounted.returncode:
        pytest.skip("this machine does not allow mounting a tmpfs")
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("free_kb", [0, 8, 40, 160, 640])
@pytest.mark.parametrize("place", ["cache", "data"])
def test_a_full_disk_loses_nothing(
    repository: Repository, tmp_path: Path, small_disk: Path, place: str, free_kb: int
) -> None:
    repository.commit("root", {"bin/run-wer-automation.sh": JOB, "wer": "wer=0.5\n"})
    variable = {"cache": "XDG_CACHE_HOME", "data": "ds_dataroot"}[place]
    environment = tracking(repository, tmp_path) | {variable: str(small_disk)}
    assert subprocess.run(TICK, env=environment, capture_output=True, check=False).returncode == 0
    data = Path(environment["ds_dataroot"]) / "deepspeech_wer"
    page = (data / "site" / "js" / "hyper.js").read_bytes()
    last = (Path(environment["XDG_CACHE_HOME"]) / "deepspeech_wer" / "last_sha1").read_text()
    repository.merge("next", {"wer": "wer=0.4\n"})

    fill(small_disk, free_kb)
    full = subprocess.run(TICK, env=environment, capture_output=True, check=False, text=True)
    assert full.returncode in (0, 1, 4), full.stderr
    assert "Traceback" not in full.stderr
    if full.returncode:
        assert "no space left" in full.stderr.lower(), full.stderr
        assert (data / "site" / "js" / "hyper.js").read_bytes() in (page, after(data))
        assert all(run.status == "done" for run in archive.load(data / "runs"))
        read_last = (Path(environment["XDG_CACHE_HOME"]) / "deepspeech_wer" / "last_sha1").read_text()
        assert read_last in (last, repository.git("rev-parse", "HEAD") + "\n")

    (small_disk / "filler").unlink(missing_ok=True)
    room = subprocess.run(TICK, env=environment, capture_output=True, check=False, text=True)
    assert room.returncode == 0, room.stderr
    runs = sorted(archive.load(data / "runs"), key=lambda run: run.merge.ordinal)
    assert [run.hyper and run.hyper["results"]["test_wer"] for run in runs] == [0.5, 0.4]
    assert b"0.4" in (data / "site" / "js" / "hyper.js").read_bytes()
    assert not list(tmp_path.rglob("*.partial"))


# Fills the disk before the n-th write of a tick. Starting git or the job counts as a write.
FILL_AT_WRITE = """
import io, os, subprocess, sys
from pathlib import Path
from deepspeech_wer import cli
from tests.end_to_end.test_crowd import fill
left, disk, told = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
def filling(module, name, is_write):
    function = getattr(module, name)
    def wrapped(*arguments, **options):
        global left
        if is_write(arguments):
            left -= 1
            if left == 0:
                told.write_text(f"{name} {[one for one in arguments if isinstance(one, (str, list, Path))]}")
                fill(disk, 0)
        return function(*arguments, **options)
    setattr(module, name, wrapped)
filling(os, "open", lambda given: given[1] & os.O_CREAT)
filling(io, "open", lambda given: {*given[1]} & {*"wax"})
filling(os, "mkdir", lambda given: True)
filling(subprocess.Popen, "__init__", lambda given: True)
sys.exit(cli.main([]))
"""


EVERY = 5  # test every fifth of about seventy writes; 1 tests all, in 90 s


def test_a_disk_that_fills_at_any_write_loses_nothing(repository: Repository, tmp_path: Path, small_disk: Path) -> None:
    repository.commit("root", {"bin/run-wer-automation.sh": JOB, "wer": "wer=1.0\n"})
    environment = tracking(repository, small_disk) | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": "/tmp"}
    data, told = small_disk / "data" / "deepspeech_wer", tmp_path / "told"
    assert subprocess.run(TICK, env=environment, capture_output=True, check=False).returncode == 0
    for number in range(1, 1000, EVERY):
        told.unlink(missing_ok=True)
        before = len(archive.names(data / "runs"))
        rate = f"0.{1000 - number:03}"  # falling: a regression would have an exit code of its own
        repository.merge(f"merge {number}", {"wer": f"wer={rate}\n"})
        command = [sys.executable, "-P", "-c", FILL_AT_WRITE, str(number), str(small_disk), str(told)]
        full = subprocess.run(command, env=environment, capture_output=True, check=False, text=True)
        if not told.exists():
            assert full.returncode == 0
            break
        where = f"{told.read_text()}\n{full.stderr}"
        assert full.returncode in (0, 1, 4), where
        assert "Traceback" not in full.stderr, where
        assert not full.returncode or "no space left" in full.stderr.lower(), where
        assert (data / "site" / "js" / "hyper.js").read_bytes().rstrip().endswith(b";"), where
        assert all(run.status == "done" for run in archive.load(data / "runs")), where
        (small_disk / "filler").unlink()
        room = subprocess.run(TICK, env=environment, capture_output=True, check=False, text=True)
        assert room.returncode == 0, where + room.stderr
        assert len(archive.names(data / "runs")) == before + 1, where
        last = (small_disk / "cache" / "deepspeech_wer" / "last_sha1").read_text()
        assert last == repository.git("rev-parse", "HEAD") + "\n", where
        assert rate.rstrip("0") in (data / "site" / "js" / "hyper.js").read_text(), where
        assert not list(small_disk.rglob("*.partial")), where
        assert not (small_disk / "clone").exists(), where
    assert number > 20


@pytest.mark.parametrize("place", ['"$ds_logs_dir"', '"$2"', "."])
def test_a_job_that_fills_the_disk_is_a_failed_run(
    repository: Repository, tmp_path: Path, small_disk: Path, place: str
) -> None:
    fills = f"head -c 100000000 /dev/zero > {place}/filler || exit 9\n"
    repository.commit("root", {"bin/run-wer-automation.sh": JOB.replace(". ./wer", '. ./wer "$@"'), "wer": fills})
    environment = tracking(repository, tmp_path)
    environment |= {"ds_dataroot": str(small_disk), "ds_clone_path": str(small_disk / "clone")}
    full = subprocess.run(TICK, env=environment, capture_output=True, check=False, text=True)
    assert full.returncode == 4, full.stderr
    (run,) = archive.load(small_disk / "deepspeech_wer" / "runs")
    assert run.failure == "exit 9"
    assert "No space left" in run.detail
    repository.merge("mended", {"wer": "wer=0.4\n"})
    assert subprocess.run(TICK, env=environment, capture_output=True, check=False).returncode == 0


WRITES = 'head -c %d /dev/zero > "$place/model" || { rm -f "$place/model"; exit 9; }\n'


@pytest.mark.parametrize("place", ['"$2"', "$TMPDIR", "$HF_HOME"])
@pytest.mark.parametrize("is_tidy", [True, False])
def test_a_disk_that_others_filled_costs_no_merge(
    repository: Repository, tmp_path: Path, small_disk: Path, place: str, is_tidy: bool
) -> None:
    """A tidy job removes what it wrote, so that there is room again when somebody looks."""
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    writes = f"place={place}\n" + (WRITES if is_tidy else WRITES.replace('rm -f "$place/model"; ', "")) % 3_000_000
    repository.commit("root", {"bin/run-wer-automation.sh": JOB.replace(". ./wer", '. ./wer "$@"'), "wer": "wer=1\n"})
    environment = tracking(repository, tmp_path) | {"HF_HOME": str(small_disk)}
    if place == "$TMPDIR":
        environment["TMPDIR"] = str(small_disk)
    if place == '"$2"':
        environment["ds_dataroot"] = str(small_disk)
    runs = Path(environment["ds_dataroot"], "deepspeech_wer", "runs")
    assert subprocess.run(TICK, env=environment, capture_output=True, check=False).returncode == 0
    for number in range(3):  # as many as would stop the queue
        repository.merge(f"writes {number}", {"wer": f"{writes}wer=0.{8 - number}\n"})
    (small_disk / "others").write_bytes(bytes(6_000_000))
    for _ in range(2):
        full = subprocess.run(TICK, env=environment, capture_output=True, check=False, text=True)
        assert full.returncode == 1, full.stderr
        (line,) = (line for line in full.stderr.splitlines() if " ERROR " in line)
        assert "its job failed (exit 9: " in line
        assert line.endswith("make room (`df`, `df -i`); the next tick tries again")
        assert len(archive.names(runs)) == 1
    (small_disk / "others").unlink()
    room = subprocess.run(TICK, env=environment, capture_output=True, check=False, text=True)
    assert room.returncode == 0, room.stderr
    assert [run.status for run in archive.load(runs)] == ["done"] * 4


def after(data: Path) -> bytes:
    """Check that the page is complete, with or without the new run."""
    text = (data / "site" / "js" / "hyper.js").read_bytes()
    return text if text.rstrip().endswith(b";") else b""


def fill(disk: Path, free_kb: int) -> None:
    with (disk / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            filler.truncate(max(0, filler.tell() - 1024 * free_kb))


# Files of a job keep the modes that it set, published files have those of ds_website_modes. Both are in directories
# with mode 0700.
OTHERS = re.compile(r"clone/[^/]+/|data/deepspeech_wer/(checkpoints/|site/|work/[^/]+/logs/)")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_all_files_are_private_to_the_user(repository: Repository, tmp_path: Path, umask: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    look = f"find {home} -printf '%m %P\\n' > {tmp_path}/seen; umask > {tmp_path}/umask; : > $2/saved"
    fails = f"[ ! -e {tmp_path}/fails ] || exit 1"
    script = JOB.replace(". ./wer", f'. ./wer "$@"\n{look}\n{fails}')
    repository.commit("root", {"bin/run-wer-automation.sh": script, "wer": "wer=0.5\n"})
    environment = tracking(repository, home) | {"ds_job_attempts": "1"}
    for code in (0, 4):
        done = subprocess.run(TICK, env=environment, capture_output=True, text=True, check=False, umask=umask)
        assert done.returncode == code, done.stderr
        assert int((tmp_path / "umask").read_text(), 8) == umask  # the job inherits the caller's umask
        during = [line.split(" ", 1) for line in (tmp_path / "seen").read_text().splitlines()]
        names = {re.sub(r"\d{8}-\d{6}-[0-9a-f]{12}(-\d+)?", "RUN", name) for _, name in during}
        assert {"clone/RUN/wer", "cache/deepspeech_wer/tick.json", "data/deepspeech_wer/work/RUN/lock"} <= names
        after = [(f"{path.lstat().st_mode & 0o777:o}", str(path.relative_to(home))) for path in home.rglob("*")]
        assert "data/deepspeech_wer/site/index.htm" in {name for _, name in after}
        wide = [
            (mode, name) for mode, name in (*during, *after) if name and not OTHERS.match(name) and int(mode, 8) & 0o077
        ]
        assert wide == []
        (tmp_path / "fails").touch()
        repository.merge("fails")


# Each process starts more, in new sessions. At the limit it keeps trying.
FORK_BOMB = """#!/usr/bin/env python3
import os, time
deadline = time.monotonic() + 300  # if everything else fails
while time.monotonic() < deadline:
    try:
        if os.fork() == 0:
            os.setsid()
    except OSError:
        pass
"""


def test_a_fork_bomb_is_ended_completely(repository: Repository) -> None:
    with temporary_user() as user:
        python = virtual_environment(user) / "python"
        job = JOB.replace(". ./wer", ". ./wer; [ -z $bomb ] || exec bin/bomb")
        repository.commit("root", {"bin/run-wer-automation.sh": job, "bin/bomb": FORK_BOMB, "wer": "wer=0.5 bomb=x\n"})
        repository.merge("mended", {"wer": "wer=0.4\n"})
        tracked = user.home / "tracked"
        shutil.copytree(repository.path, tracked)
        user.own(tracked)
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(user.home),
            "ds_repo_url": str(tracked),
            "ds_job_timeout": "4",
            "ds_job_attempts": "1",
            "ds_job_grace": "1",
        }
        first = repository.git("rev-list", "--max-parents=0", "main")
        limited = ["prlimit", "--nproc=150", str(python), "-P", "-m", "deepspeech_wer"]

        def tick(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [*limited, *arguments],
                env=environment,
                cwd=user.home,
                user=user.uid,
                group=user.gid,
                extra_groups=(),
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )

        done = tick("run", "--sha", first)
        assert done.returncode == 4, done.stderr
        assert "failed: timeout: not done after 4 s" in done.stderr
        assert user.processes("bin/bomb") == []
        assert not (user.home / "ds_exec_clone").exists()
        done = tick()
        assert done.returncode == 0, done.stderr
        assert "done, test WER 40.00 %" in done.stderr
