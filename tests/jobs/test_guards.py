"""Guard rails of jobs, with real processes: priority, processors, memory, and bubblewrap where it works."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

import pytest

from deepspeech_wer.configuration import settings
from deepspeech_wer.errors import UsageTrouble
from deepspeech_wer.jobs import guards, memory, sandbox
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.local import Local
from deepspeech_wer.jobs.work import Work
from deepspeech_wer.records import Guards, Outcome
from tests.jobs.test_supervisor import GOOD, Started, log, wait_for

LIMIT = 100 << 20
PYTHON = shlex.quote(sys.executable)  # a checkout may lie in a path with blanks
HUNGRY = f"exec {PYTHON} -c 'import time; x = bytearray({3 * LIMIT}); time.sleep(60)'"


def start(tmp_path: Path, script: str, held: Guards, *, grace_s: float = 1) -> Started:
    return Started(tmp_path, script, timeout_s=120, grace_s=grace_s, mode=0o755, guards=held)


def run(tmp_path: Path, script: str, held: Guards) -> Outcome:
    outcome = start(tmp_path, script, held).outcome()
    assert outcome
    return outcome


def test_all_is_off_by_default() -> None:
    assert settings.load({"HOME": "/nonexistent"}).job.guards == Guards()


def test_the_settings_are_read(tmp_path: Path) -> None:
    given = {"HOME": str(tmp_path), "ds_job_nice": "10", "ds_job_memory": "1.5G", "ds_job_cpus": "0"}
    with pytest.raises(UsageTrouble, match=r"(?s)ds_job_memory.*expected a number of bytes such as 8G.*ds_job_cpus"):
        settings.load(given)
    given |= {"ds_job_memory": "8g", "ds_job_cpus": "2", "ds_job_sandbox": "bubblewrap", "ds_job_writable": "/a:/b"}
    held = settings.load(given).job.guards
    assert held == Guards(10, 8 << 30, 2, is_sandboxed=True, writable=("/a", "/b"))


@pytest.mark.parametrize(("count", "text"), [(8 << 30, "8G"), (3 << 29, "1.5G"), (100 << 20, "100M"), (12, "12")])
def test_sizes_are_told_as_they_are_set(count: int, text: str) -> None:
    assert guards.size(count) == text


def test_an_order_keeps_its_guards(tmp_path: Path) -> None:
    held = Guards(5, 1 << 30, 1, writable=("/a",), hidden=("/k",))
    started = start(tmp_path, GOOD, held)
    started.outcome()
    order = works.read_order(started.work)
    assert order
    assert order.guards == held


def test_a_job_is_nice_and_its_supervisor_is_not(tmp_path: Path) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    run(tmp_path, f"sleep 0.5; nice; bash -c nice; ps -o ni= -p $PPID; {GOOD}", Guards(nice=7))
    said = [int(line.split()[-1]) for line in log(tmp_path).splitlines()]
    assert said == [own + 7, own + 7, own]


def test_a_job_has_as_many_processors_as_it_may(tmp_path: Path) -> None:
    run(tmp_path, f"nproc; {GOOD}", Guards(cpus=1))
    assert log(tmp_path).split()[-1] == "1"
    run(tmp_path / "b", f"nproc; {GOOD}", Guards(cpus=1000))
    assert log(tmp_path / "b").split()[-1] == str(len(os.sched_getaffinity(0)))


def test_processors_are_given_back() -> None:
    before = os.sched_getaffinity(0)
    with guards.on_processors(1, "token"):
        assert len(os.sched_getaffinity(0)) == 1
    assert os.sched_getaffinity(0) == before


def test_the_kernel_keeps_a_job_to_its_memory(tmp_path: Path) -> None:
    with memory.watched(LIMIT) as watched:
        if not watched.is_limited:
            pytest.skip("this user may not make a memory cgroup here")
    outcome = run(tmp_path, f'( {HUNGRY} ); echo "$?"; exit 3', Guards(memory_bytes=LIMIT))
    said = "it took more than ds_job_memory (100M), so the kernel killed it"
    assert (outcome.failure, outcome.detail) == ("out-of-memory", said)


def test_without_the_kernel_the_supervisor_keeps_a_job_to_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_cgroups(tmp_path, monkeypatch)
    started = start(tmp_path, f"trap '' TERM\n{HUNGRY}", Guards(memory_bytes=LIMIT), grace_s=60)
    begun = time.monotonic()
    outcome = started.outcome()
    assert outcome
    assert outcome.failure == "out-of-memory"
    assert re.fullmatch(r"its processes took \d+M of memory, more than ds_job_memory \(100M\)", outcome.detail)
    assert time.monotonic() - begun < 50  # it takes memory as long as it lives, so that it has no grace


def test_memory_of_all_processes_counts_and_what_they_share_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_cgroups(tmp_path, monkeypatch)
    fork = f"import os, time; x = bytearray({LIMIT * 6 // 10}); [os.fork() for _ in range(2)]; time.sleep(3)"
    assert run(tmp_path / "a", f"{PYTHON} -c '{fork}'; {GOOD}", Guards(memory_bytes=LIMIT)).status == "done"
    each = f"import time; x = bytearray({LIMIT * 6 // 10}); time.sleep(60)"
    two = f"{PYTHON} -c '{each}' & exec {PYTHON} -c '{each}'"
    assert run(tmp_path / "b", two, Guards(memory_bytes=LIMIT)).failure == "out-of-memory"


def no_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let supervisors find no cgroup, as a user's on most machines."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'supervise' in sys.orig_argv:\n"
        "    from pathlib import Path\n"
        "    import deepspeech_wer.jobs.group as group\n"
        "    group.OWN = Path('/nonexistent')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site))


def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Install a systemd-run, and a sign that systemd is there."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "systemd-run"
    program.write_text(f'#!/bin/bash\necho "$@" >>{tmp_path}/asked\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(guards, "SYSTEMD", tmp_path)


def test_systemd_starts_the_supervisor_in_a_scope(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd(tmp_path, monkeypatch, 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    assert run(tmp_path, f'echo "<$XDG_RUNTIME_DIR>"; {GOOD}', Guards(memory_bytes=8 << 30)).status == "done"
    probed, asked = (tmp_path / "asked").read_text().splitlines()
    assert "--scope --quiet --collect -p MemoryMax=8589934592 -p MemorySwapMax=0 -p Delegate=yes --" in asked
    assert ("--user" in asked) is (os.geteuid() != 0)
    assert probed.endswith("true")
    if not os.environ.get("XDG_RUNTIME_DIR"):
        assert "<>" in log(tmp_path)


def test_a_systemd_that_refuses_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd(tmp_path, monkeypatch, "echo 'Failed to connect to bus' >&2; exit 1")
    assert run(tmp_path, GOOD, Guards(memory_bytes=8 << 30)).status == "done"
    assert len((tmp_path / "asked").read_text().splitlines()) == 1


def test_systemd_is_not_asked_without_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd(tmp_path, monkeypatch, "exit 1")
    assert run(tmp_path, GOOD, Guards(nice=1)).status == "done"
    assert not (tmp_path / "asked").exists()


BOX = Guards(is_sandboxed=True)


@pytest.fixture
def bubblewrap(tmp_path: Path) -> None:
    room = sandbox.Room(tmp_path, [tmp_path], tmp_path)
    fault = sandbox.fault(BOX, room, os.environ)
    if fault:
        pytest.skip(fault)


@pytest.mark.usefixtures("bubblewrap")
class TestBubblewrap:
    """A real bwrap."""

    def test_the_contract_holds_in_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        script = f"""set -e
            pwd
            echo x >"$ds_checkpoint_dir/saved"; echo x >"$TMPDIR/x"; echo x >/tmp/y; echo x >built
            cat "$ds_dataset_path/audio"
            ! touch "$ds_dataset_path/audio2" 2>/dev/null
            {GOOD}"""
        (tmp_path / "corpus").mkdir()
        (tmp_path / "corpus" / "audio").write_text("heard\n")
        monkeypatch.setenv("ds_dataset_path", str(tmp_path / "corpus"))
        outcome = run(tmp_path, script, BOX)
        assert (outcome.status, outcome.detail) == ("done", "")
        assert "left behind" not in log(tmp_path, "supervisor.log")
        assert [line.split()[-1] for line in log(tmp_path).splitlines()] == [str(tmp_path / "clone"), "heard"]
        assert (tmp_path / "checkpoints" / "saved").exists()
        assert (tmp_path / "clone" / "built").exists()
        assert not Path("/tmp/y").exists()

    def test_all_else_is_read_only(self, tmp_path: Path) -> None:
        (tmp_path / "archive").mkdir()
        places = (Path.home(), "/", "/etc", "/usr/bin", tmp_path / "work", tmp_path / "archive", Path(__file__).parent)
        tries = "\n".join(f"touch '{place}/planted' 2>/dev/null && echo planted in {place}" for place in places)
        again = "mount -o remount,rw / 2>/dev/null && touch /planted && echo remounted"
        assert run(tmp_path, f"{tries}\n{again}\n{GOOD}", BOX).status == "done"
        # /tmp is the run's own, and tmp_path lies in it.
        planted = [line.partition(" planted in ")[2] for line in log(tmp_path).splitlines()]
        assert [place for place in planted if not place.startswith(("/tmp/", "/var/tmp/"))] == []
        assert not [place for place in places if Path(place, "planted").exists()]

    def test_a_python_in_tmp_is_there(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("venv", "tools"):
            (tmp_path / name / "bin").mkdir(parents=True)
            (tmp_path / name / "bin" / name).write_text(f"#!/bin/sh\necho {name}\n")
            (tmp_path / name / "bin" / name).chmod(0o755)
        monkeypatch.setenv("ds_python", str(tmp_path / "venv" / "bin" / "venv"))
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tmp_path}/tools/bin")
        assert run(tmp_path, f'set -e; "$ds_python"; tools; {GOOD}', BOX).status == "done"

    def test_what_is_set_is_writable_too(self, tmp_path: Path) -> None:
        (tmp_path / "exports").mkdir()
        held = Guards(is_sandboxed=True, writable=(str(tmp_path / "exports"),))
        assert run(tmp_path, f"touch {tmp_path}/exports/model && {GOOD}", held).status == "done"
        assert (tmp_path / "exports" / "model").exists()

    def test_a_directory_that_is_not_there_is_told(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, GOOD, Guards(is_sandboxed=True, writable=(str(tmp_path / "exports"),)))
        assert outcome.failure == "machine"
        assert outcome.detail == (
            f"ds_job_sandbox: {tmp_path}/exports: no such directory: make it, or take it out of ds_job_writable"
        )

    def test_a_cache_that_cannot_be_made_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "file").touch()
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        outcome = run(tmp_path, GOOD, BOX)
        assert outcome.failure == "machine"
        assert outcome.detail.startswith("ds_job_sandbox: ")
        assert "Not a directory" in outcome.detail

    def test_a_directory_behind_a_link_is_writable(self, tmp_path: Path) -> None:
        cache = Path(__file__).parents[2] / ".pytest_cache"  # not in /tmp, of which the sandbox has its own
        if str(cache).startswith(("/tmp/", "/var/tmp/")):
            pytest.skip("this checkout lies in /tmp")
        cache.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as name:
            place = Path(name)
            (tmp_path / "disk").mkdir()
            (place / "checkpoints").symlink_to(tmp_path / "disk")
            assert run(place, f'touch "$ds_checkpoint_dir/saved" && {GOOD}', BOX).status == "done"
            assert (tmp_path / "disk" / "saved").exists()

    def test_the_trackers_secrets_are_not_there(self, tmp_path: Path) -> None:
        for name in ("key", "env"):
            (tmp_path / name).write_text("secret")
        held = Guards(is_sandboxed=True, hidden=(f"{tmp_path}/key", f"{tmp_path}/env", f"{tmp_path}/none"))
        assert run(tmp_path, f"cat {tmp_path}/key {tmp_path}/env; {GOOD}", held).status == "done"
        assert "secret" not in log(tmp_path)

    def test_the_network_is_there_only_if_asked_for(self, tmp_path: Path) -> None:
        ask = f"wc -l </proc/net/dev; {GOOD}"
        run(tmp_path / "a", ask, BOX)
        run(tmp_path / "b", ask, Guards(is_sandboxed=True, has_network=True))
        without, having = (int(log(tmp_path / name).split()[-1]) for name in "ab")
        assert without == 3  # two lines of heading, and the loopback device
        assert having == len(Path("/proc/net/dev").read_text().splitlines())

    def test_gpus_are_visible(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "dev" / "dri").mkdir(parents=True)
        (tmp_path / "dev" / "nvidia0").touch()
        monkeypatch.setattr(sandbox, "DEVICES", tmp_path / "dev")
        words = sandbox.command(BOX, sandbox.Room(tmp_path, [tmp_path], tmp_path), os.environ)
        bound = [words[place + 1] for place, word in enumerate(words) if word == "--dev-bind"]
        assert bound == [f"{tmp_path}/dev/nvidia0", f"{tmp_path}/dev/dri"]

    def test_a_failure_is_the_jobs_own(self, tmp_path: Path) -> None:
        outcome = run(tmp_path, "echo no such corpus >&2; exit 7", BOX)
        assert (outcome.failure, outcome.detail) == ("exit 7", "no such corpus")

    @pytest.mark.parametrize("script", ["#!/nonexistent/python\n", "#!\n"])
    def test_a_script_that_cannot_run_is_told_as_without_it(self, tmp_path: Path, script: str) -> None:
        boxed, bare = run(tmp_path / "a", script, BOX), run(tmp_path / "b", script, Guards())
        assert (boxed.failure, boxed.detail) == (bare.failure, bare.detail)
        assert boxed.failure == "no-script"

    def test_a_job_saves_its_checkpoint_when_it_is_ended(self, tmp_path: Path) -> None:
        script = """trap 'sleep 4; echo saved >"$ds_checkpoint_dir/saved"; exit 1' TERM
            echo >"$ds_checkpoint_dir/begun"; while :; do sleep 0.1; done"""
        started = start(tmp_path, script, BOX, grace_s=60)
        wait_for(tmp_path / "checkpoints" / "begun")
        started.runner.ask_to_end(started.work)
        outcome = started.outcome()  # no process of the job is left
        assert outcome
        assert outcome.failure == "interrupted"
        assert (tmp_path / "checkpoints" / "saved").exists()  # longer than what is left behind may live

    def test_what_it_leaves_is_ended(self, tmp_path: Path) -> None:
        assert run(tmp_path, f"setsid sleep 600 & {GOOD}", BOX).status == "done"
        assert "that the job left behind" in log(tmp_path, "supervisor.log")

    def test_a_killed_supervisors_job_is_ended_by_the_next_tick(self, tmp_path: Path) -> None:
        started = start(tmp_path, 'echo >"$ds_checkpoint_dir/begun"; sleep 600', BOX)
        wait_for(tmp_path / "checkpoints" / "begun")
        os.kill(started.supervisor(), 9)
        while started.runner.is_alive(started.work):
            time.sleep(0.05)
        assert Local().clear(started.work, started.order)
        assert not Local().clear(started.work, started.order)

    def test_memory_is_kept_in_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        no_cgroups(tmp_path, monkeypatch)
        held = Guards(is_sandboxed=True, memory_bytes=LIMIT)
        assert run(tmp_path, HUNGRY, held).failure == "out-of-memory"


def path_with(tmp_path: Path, bwrap: str | None) -> str:
    """Return a PATH with what a job needs, and a bwrap that says what it is told, if any."""
    place = tmp_path / "programs"
    place.mkdir()
    for name in ("bash", "sh", "mkdir", "cat"):
        (place / name).symlink_to(shutil.which(name) or name)
    if bwrap:
        (place / "bwrap").write_text(bwrap)
        (place / "bwrap").chmod(0o755)
    return str(place)


@pytest.mark.parametrize(
    ("bwrap", "said"),
    [
        (None, "bubblewrap is not installed: `apt install bubblewrap`"),
        (
            "#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n",
            "bwrap: No permissions to create new namespace: this kernel or container forbids the sandbox",
        ),
    ],
)
def test_a_machine_without_the_sandbox_is_no_merges_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bwrap: str | None, said: str
) -> None:
    monkeypatch.setenv("PATH", path_with(tmp_path, bwrap))
    outcome = run(tmp_path, GOOD, BOX)
    assert outcome.failure == "machine"
    assert outcome.detail.startswith(f"ds_job_sandbox: {said}")
    assert "unset ds_job_sandbox" in outcome.detail


def test_an_order_of_an_earlier_release_has_no_guards(tmp_path: Path) -> None:
    started = start(tmp_path, GOOD, Guards())
    started.outcome()
    path = started.work.path / "order.json"
    record = json.loads(path.read_text())
    del record["guards"]
    path.write_text(json.dumps(record))
    order = works.read_order(Work(started.work.path))
    assert order
    assert order.guards == Guards()
