"""The whole cycle with the real programs: git remotes, OpenSSH's sshd, Debian's cron, Chromium, a training."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepspeech_wer import dashboard
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
from tests.end_to_end.publishing import published
from tests.end_to_end.sshd import Sshd, running_sshd, wait_for_port
from tests.end_to_end.visitor import all_the_data, document, served
from tests.training.tone_corpus import SMALL, write_corpus

# A job in the style of 2016 that measures nothing. Each merge changes ./work.
JOB = """#!/bin/sh
set -e
. ./work
mkdir -p "$ds_logs_dir/$ds_wer_sha"
cat > "$ds_logs_dir/$ds_wer_sha/hyper.json" <<END
{"context": {"time_started": "$(date -u +%Y-%m-%dT%H:%M:%S.%6N)", "time_finished": "$(date -u +%Y-%m-%dT%H:%M:%S.%6N)",
             "git_hash": "$ds_wer_sha", "git_branch": "main"},
 "parameters": {"learning_rate": 0.001, "epochs": 50, "data_set": {"name": "ted"}},
 "results": {"duration": 3600, "last_train_wer": 0.12, "last_validation_wer": 0.34, "test_wer": $wer}}
END
"""
KEYS = {
    "context": {"time_started", "time_finished", "git_hash", "git_branch"},
    "parameters": {"learning_rate", "epochs", "data_set"},
    "results": {"duration", "last_train_wer", "last_validation_wer", "test_wer"},
}

# What the index.htm of 2016 to 2018 reads from js/hyper.js: its three lines over time.
PAGE_OF_2016 = """<!DOCTYPE html><svg></svg><script src="js/hyper.js"></script><script>
const text = (lines) => lines.join("\\n");
const dates = window.ALL_THE_DATA.map((record) => Date.parse(record.context.time_started + "Z"));
if (dates.some((date, i) => !(date >= (dates[i - 1] || 0)))) throw new Error("not sorted: " + dates);
for (const name of ["test_wer", "last_validation_wer", "last_train_wer"]) {
    const points = window.ALL_THE_DATA.map((record, i) => (i * 10) + "," + 100 * (1 - record.results[name]).toFixed(4));
    document.querySelector("svg").innerHTML += `<polyline id="${name}" points="${points.join(" ")}"/>`;
}
</script>"""


@pytest.fixture
def tracked(repository: Repository) -> Repository:
    """A repository of one commit whose job works."""
    repository.commit("root", {"bin/job.sh": JOB, "work": "wer=0.5\n"})
    return repository


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    """OpenSSH's sshd on loopback."""
    with running_sshd(tmp_path / "sshd") as running:
        yield running


class Tracker:
    """The tracker's user: an empty home, and only the environment of the crontab line of 2016."""

    def __init__(self, home: Path, server: Sshd, repo_url: str) -> None:
        self.home = home
        self.cache = home / ".cache" / "deepspeech_wer"
        self.data = home / "data" / "deepspeech_wer"
        (home / ".ssh").mkdir(mode=0o700)
        shutil.copyfile(server.known_hosts, home / ".ssh" / "known_hosts")
        self.variables = {
            "ds_website_username": server.user,
            "ds_website_privkey": str(server.key),
            "ds_website_server_fqdn": server.host,
            "ds_website_server_port": str(server.port),  # since this sshd listens on a high one
            "ds_website_server_root": str(server.root),
            "ds_wer_automation": "./bin/job.sh",
            "ds_dataroot": str(home / "data"),
            "ds_repo_url": repo_url,
            "ds_retrain": "off",
        }

    def tick(self, *prefix: str | Path) -> subprocess.CompletedProcess[str]:
        """`python -P -m deepspeech_wer`, as cron runs it."""
        environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], **self.variables}
        command = [*prefix, sys.executable, "-P", "-m", "deepspeech_wer"]
        return subprocess.run(command, cwd=self.home, env=environment, capture_output=True, text=True, check=False)

    def tick_measured(self) -> tuple[subprocess.CompletedProcess[str], float]:
        """Run a tick. Returns it with its peak memory in MB.

        A new program's peak starts at the size of the process that started it (exec_mmap in Linux's fs/exec.c), so it
        is started by a process that is small.
        """
        small = (
            "import os, sys; pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ); "
            "_, status, usage = os.wait4(pid, 0); open(sys.argv[1], 'w').write(str(usage.ru_maxrss)); "
            "sys.exit(os.waitstatus_to_exitcode(status))"
        )
        peak = self.home / "peak"
        done = self.tick(sys.executable, "-I", "-S", "-c", small, peak)
        return done, int(peak.read_text()) / 1024


def state(*directories: Path) -> dict[Path, tuple[int, int]]:
    """Return every file and directory with its mtime and ctime. Each tick writes its process id into `lock`."""
    found = [path for directory in directories for path in directory.rglob("*") if path.name != "lock"]
    return {path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns) for path in found}


@pytest.mark.parametrize("transport", ["file", "git"])
def test_the_variables_of_2016_take_a_merge_to_the_server(
    sealed: Path, tracked: Repository, server: Sshd, transport: str
) -> None:
    sha = tracked.merge("Better", {"work": "wer=0.36\n"})
    with running_git_daemon(tracked.path.parent) as git_url:
        url = {"file": f"file://{tracked.path}", "git": f"{git_url}/{tracked.path.name}"}[transport]
        tracker = Tracker(sealed, server, url)
        first = tracker.tick()
        assert first.returncode == 0, first.stderr
        assert first.stdout == ""
        assert (tracker.cache / "last_sha1").read_text() == f"{sha}\n"
        (run,) = (tracker.data / "runs").iterdir()
        assert re.fullmatch(rf"\d{{8}}-\d{{6}}-{sha[:12]}", run.name)
        (record,) = all_the_data(server.root)
        assert {half: record[half].keys() & keys for half, keys in KEYS.items()} == KEYS
        assert (record["context"]["git_hash"], record["results"]["test_wer"]) == (sha, 0.36)
        assert_same_files(server.root, tracker.data / "site")

        before, sessions = state(server.root, tracker.data), server.log.read_bytes().count(b"Connection from")
        again, peak_mb = tracker.tick_measured()
        assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
        assert state(server.root, tracker.data) == before
        assert server.log.read_bytes().count(b"Connection from") == sessions
        assert peak_mb < 40


def assert_same_files(web_root: Path, site: Path) -> None:
    """Check that the server holds the site byte for byte. Only files that index.htm loads have a hash in their name."""
    there = published(web_root)
    hashes = re.compile(r"\.[0-9a-f]{16}(?=\.\w+\")|\?[0-9a-f]{8}(?=\")")
    assert hashes.sub("", there.pop("index.htm").decode()) == hashes.sub("", (site / "index.htm").read_text())
    for name, content in there.items():
        assert content == (site / re.sub(r"\.[0-9a-f]{16}(?=\.\w+$)", "", name)).read_bytes(), name
    assert {str(path) for path in dashboard.site_files(site)} <= {*there, "index.htm"}


def test_a_page_of_2016_would_draw_the_runs(sealed: Path, tracked: Repository, server: Sshd, tmp_path: Path) -> None:
    tracker = Tracker(sealed, server, f"file://{tracked.path}")
    assert tracker.tick().returncode == 0
    tracked.merge("Broken", {"work": "exit 1\n"})
    tracked.merge("Better", {"work": "wer=0.25\n"})
    assert tracker.tick().returncode == 4

    old = tmp_path / "old"
    (old / "js").mkdir(parents=True)
    shutil.copyfile(server.root / "js" / "hyper.js", old / "js" / "hyper.js")
    (old / "index.htm").write_text(PAGE_OF_2016)
    with served(old) as address:
        drawn = re.findall(
            r'<polyline id="(\w+)" points="([^"]*)">', document(f"{address}/index.htm", "last_train_wer")
        )
    assert drawn == [
        ("test_wer", "0,50 10,75"),
        ("last_validation_wer", "0,66 10,66"),
        ("last_train_wer", "0,88 10,88"),
    ]


def test_the_next_tick_publishes_if_the_server_was_down(sealed: Path, tracked: Repository, server: Sshd) -> None:
    tracker = Tracker(sealed, server, f"file://{tracked.path}")
    server.process.terminate()
    server.process.wait()
    failed = tracker.tick()
    assert failed.returncode == 4
    (line,) = [line for line in failed.stderr.splitlines() if " INFO " not in line]
    assert " ERROR not published: " in line
    assert f"{server.host} port {server.port}: " in line
    assert len(list((tracker.data / "runs").iterdir())) == 1

    with subprocess.Popen(server.process.args, stderr=subprocess.DEVNULL) as process:
        wait_for_port(server.port, process)
        good = tracker.tick()
        process.terminate()
    assert good.returncode == 0
    assert "training" not in good.stderr
    assert len(all_the_data(server.root)) == 1


# -- cron

PASSPHRASE, TOKEN, WEBHOOK = "marker-of-the-passphrase", "marker-of-the-token", "marker-of-the-webhook"

# A job that prints everything its user can read, to find secrets.
CURIOUS_JOB = JOB.replace(
    "set -e\n",
    """set -e
for pid in /proc/[0-9]*; do cat "$pid/environ" "$pid/cmdline" || true; done 2>/dev/null | tr '\\0' '\\n'
echo "the locale is $LANG, the work directory $PWD"
""",
)


@pytest.fixture
def user() -> Iterator[User]:
    """A user of this system with its own crontab."""
    with temporary_user() as made:
        yield made


def test_the_crontab_example_takes_two_merges_to_a_page(repository: Repository, user: User) -> None:
    root = repository.commit("root", {"bin/run-wer-automation.sh": CURIOUS_JOB, "work": "wer=0.5\n"})
    repository.merge("Broken by Åsa", {"work": "echo 'no such layer' >&2; exit 1\n"})
    tip = repository.merge("Better by Åsa", {"work": "wer=0.3625\n"})
    take_over(user, root)
    log = user.home / ".deepspeech_wer.log"
    with (
        running_git_daemon(repository.path.parent) as git_url,
        running_sshd(user.home.parent / "sshd") as server,
        running_cron(),
    ):
        text = filled_example({**crontab_values(user, server), "ds_repo_url": f"{git_url}/{repository.path.name}"})
        # Nothing listens on port 9. The message about that must not contain the address, which is a secret.
        text = f"ds_github_token={TOKEN}\nds_webhook_url=http://127.0.0.1:9/{WEBHOOK}\n{text}"
        assert not re.search(r"^[^#\n]*(USER|ACCOUNT|PROJECT|example\.com)", text, re.MULTILINE)
        with crontab(user, text):
            wait_for(lambda: (user.home / ".cache/deepspeech_wer/last_sha1").read_text().strip() == tip, log)
            wait_for(lambda: not user.processes("deepspeech_wer"), log)
        lines = log.read_text().splitlines()
        assert any(re.fullmatch(r'\S+Z INFO \w{12} "Better by Åsa": done, test WER 36.25 %', line) for line in lines)
        assert any(re.fullmatch(r"\S+Z INFO published \d+ of \d+ files, .*", line) for line in lines)
        assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR) ", line) for line in lines)
        told = r'"Broken by Åsa": failed after 2 attempts: exit 1: no such layer \(log: (/\S+/err\.log)\)$'
        (line,) = [line for line in lines if " ERROR " in line]
        assert "no such layer" in Path(re.findall(told, line)[0]).read_text()
        assert [record["results"]["test_wer"] for record in all_the_data(server.root)] == [0.3625]
        with served(server.root) as address:
            document(f"{address}/index.htm", "Better by Åsa", "Broken by Åsa", "36.25")
        assert_no_secret(user, server)


def take_over(user: User, last_sha1: str) -> None:
    """Make it look as if the user tracked this repository with a version that wrote only last_sha1."""
    cache = user.home / ".cache" / "deepspeech_wer"
    cache.mkdir(parents=True, mode=0o700)
    (cache / "last_sha1").write_text(last_sha1)
    user.own(user.home / ".cache")


def crontab_values(user: User, server: Sshd) -> dict[str, str]:
    """Return the values for the example: a key with a passphrase, and every secret that exists."""
    website = let_publish(user, server)
    key = website["ds_website_privkey"]
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", PASSPHRASE, "-f", key], check=True, capture_output=True)
    user.own(Path(key))
    return {
        "PATH": f"{virtual_environment(user)}:/usr/local/bin:/usr/bin:/bin",
        "ds_dataroot": str(user.home / "data"),
        "ds_website_privkey_passphrase": PASSPHRASE,
        **website,
    }


def wait_for(condition: Callable[[], bool], log: Path, timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, log.read_text() if log.exists() else "cron has not started the tick"
        time.sleep(0.1)


def assert_no_secret(user: User, server: Sshd) -> None:
    """Check that no file except the key contains a secret."""
    key = Path(user.home / ".ssh" / "id_ed25519").read_bytes()
    secrets = [*key.splitlines()[1:-1], *server.key.read_bytes().splitlines()[1:-1]]
    secrets += [word.encode() for word in (PASSPHRASE, TOKEN, WEBHOOK)]
    places = [path for path in user.home.iterdir() if path.name not in (".ssh", "venv")]
    written = [file for place in (*places, server.root) for file in (place, *place.rglob("*")) if file.is_file()]
    assert len(written) > 20
    job_log = next((user.home / "data" / "deepspeech_wer" / "runs").glob("*/out.log"))
    for seen in ("the locale is C.UTF-8, the work directory", "ds_dataroot="):  # the job did look for secrets
        assert seen in job_log.read_text()
    for file in written:
        content = file.read_bytes()
        assert not [secret for secret in secrets if secret in content], f"a secret in {file}"


# -- a training


def test_a_merge_of_this_project_is_trained_by_its_own_code(
    sealed: Path, tmp_path: Path, repository: Repository, server: Sshd
) -> None:
    for name in ("bin", "deepspeech_wer"):
        shutil.copytree(ROOT / name, repository.path / name, ignore=shutil.ignore_patterns("__pycache__"))
    repository.commit("root")
    init = repository.path / "deepspeech_wer" / "training" / "__init__.py"
    changed = init.read_text() + "\nprint('the code of the merge')\n"
    repository.merge("Changed", {"deepspeech_wer/training/__init__.py": changed})
    words = {"train": ["a b", "b c", "c a", "b", "a c", "c", "a", "b a"], "dev": ["a", "c b"], "test": ["b", "c a"]}
    tracker = Tracker(sealed, server, f"file://{repository.path}")
    tracker.variables |= {
        **SMALL,
        "ds_dataset_path": str(write_corpus(tmp_path / "tones", words)),
        "ds_wer_automation": "./bin/run-wer-automation.sh",
    }
    done = tracker.tick()
    assert done.returncode == 0, done.stderr
    (run,) = (tracker.data / "runs").iterdir()
    assert {"hyper.json", "run.json", "utterances.json", "history.json", "out.log", "err.log"} <= {
        file.name for file in run.iterdir()
    }
    assert "Z the code of the merge\n" in (run / "out.log").read_text()
    (record,) = all_the_data(server.root)
    assert {half: record[half].keys() & keys for half, keys in KEYS.items()} == KEYS
    assert 0 <= record["results"]["test_wer"] <= 3
    assert record["parameters"]["data_set"] == {"name": "csv"}
