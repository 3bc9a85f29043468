"""Jobs that keep the contract, and jobs that break it in every known way."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deepspeech_wer import clock, files, job_contract
from deepspeech_wer.configuration import environment
from deepspeech_wer.jobs import full_disk, memory, output
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.jobs.local import Local
from deepspeech_wer.jobs.runner import attend
from deepspeech_wer.jobs.script import Script
from deepspeech_wer.jobs.work import Order, Work
from deepspeech_wer.machine import lock, processes
from deepspeech_wer.records import Changed, Guards, Merge, Outcome
from tests.waiting import until

MERGE = Merge("c0ffee" * 6 + "abcd", 7, "subject", "Ada", "2026-01-02T03:04:05Z", ())
HYPER = '{"context":{"time_started":"2026-01-02T03:04:05"},"parameters":{},"results":{"test_wer":0.5}}'
GOOD = f"""mkdir -p "$ds_logs_dir/x"
echo '{HYPER}' > "$ds_logs_dir/x/hyper.json"
"""


class Started:
    """A job whose supervisor was started by the local runner."""

    def __init__(
        self,
        tmp_path: Path,
        content: str,
        *,
        timeout_s: float | None,
        grace_s: float,
        mode: int,
        guards: Guards | None = None,
        **fields: Any,
    ) -> None:
        self.runner = Local()
        self.work = Work(tmp_path / "work" / "20260102-030405-c0ffeec0ffee")
        checkout = tmp_path / "clone"
        (checkout / "bin").mkdir(parents=True, exist_ok=True)
        (checkout / "bin" / "job").write_text(
            content if content.startswith(("#!", "\x7f")) else f"#!/bin/bash\n{content}"
        )
        (checkout / "bin" / "job").chmod(mode)
        order = Order(
            merge=MERGE,
            base=None,
            number=1,
            attempt=1,
            interruptions=0,
            progress=0,
            script="./bin/job",
            checkout=str(checkout),
            checkpoints=str(tmp_path / "checkpoints"),
            gpu_usage=None,
            timeout_s=timeout_s,
            grace_s=grace_s,
            token=f"token-{time.monotonic_ns()}",
            guards=guards or Guards(),
        )
        self.order = order._replace(**fields)
        for directory in (self.work.logs, self.work.tmp, tmp_path / "checkpoints"):
            directory.mkdir(parents=True, exist_ok=True)
        works.write_order(self.work, self.order)
        outcomes.reserve(self.work)
        self.runner.submit(self.work, environment.job_environment())

    def supervisor(self) -> int:
        """Wait until the supervisor has signed its lock, and return its pid."""
        return until(lambda: lock.holder(str(self.work.lock)))[0]

    def outcome(self) -> Outcome | None:
        """Wait for the supervisor to end, check that no process of the job is left, and return the outcome."""
        attend(self.runner, self.work)
        outcome = outcomes.read(self.work)
        if outcome:
            assert processes.with_environment(f"{job_contract.RUN_TOKEN}={self.order.token}") == []
        return outcome


def start(
    tmp_path: Path, script: str, *, timeout_s: float | None = 120, grace_s: float = 1, mode: int = 0o755
) -> Started:
    return Started(tmp_path, script, timeout_s=timeout_s, grace_s=grace_s, mode=mode)


def run(
    tmp_path: Path,
    content: str,
    *,
    timeout_s: float | None = 120,
    grace_s: float = 1,
    mode: int = 0o755,
    **fields: Any,
) -> Outcome:
    outcome = Started(tmp_path, content, timeout_s=timeout_s, grace_s=grace_s, mode=mode, **fields).outcome()
    assert outcome
    return outcome


def wait_for(*files: Path) -> None:
    """Wait until each file exists and is not empty."""
    until(lambda: all(file.exists() and file.stat().st_size for file in files))


def log(tmp_path: Path, name: str = "out.log") -> str:
    return (tmp_path / "work" / "20260102-030405-c0ffeec0ffee" / name).read_text()


def test_a_good_job_is_done(tmp_path: Path) -> None:
    outcome = run(tmp_path, f"echo hello; echo trouble >&2\n{GOOD}")
    assert (outcome.status, outcome.failure, outcome.files) == ("done", None, outcome.logs / "logs" / "x")
    assert log(tmp_path).endswith("Z hello\n")
    assert log(tmp_path, "err.log").endswith("Z trouble\n")


def test_a_job_gets_the_variables_of_the_contract(tmp_path: Path) -> None:
    run(tmp_path, 'echo "$PWD|$*|$ds_wer_sha|$ds_wer_attempt|$ds_checkpoint_dir"; test -t 0 || cat; ' + GOOD)
    checkpoints = tmp_path / "checkpoints"
    expected = f"{tmp_path}/clone|--checkpoint_dir {checkpoints}|{MERGE.sha}|1|{checkpoints}"
    assert expected in log(tmp_path)


def test_a_job_sees_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "ds_website_privkey",
        "ds_website_privkey_passphrase",
        "ds_github_token",
        "ds_gitlab_token",
        "ds_webhook_secret",
        "ds_webhook_url",
        "SSH_AUTH_SOCK",
    ):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("ds_epochs", "3")
    run(tmp_path, "env; " + GOOD)
    assert "ds_epochs=3" in log(tmp_path)
    assert "s3cret" not in log(tmp_path)


@pytest.mark.parametrize(
    ("script", "failure", "detail"),
    [
        ("exit 3", "exit 3", "wrote nothing"),
        ("echo 'No module named x' >&2; exit 1", "exit 1", "No module named x"),
        ("sh -c 'conda-x a'", "exit 127", "not found: is it installed, and on the PATH of the crontab?"),
        ("bash -c 'docker-x run'", "exit 127", "docker-x: command not found: is it installed, and on the PATH"),
        ("kill -SEGV $$", "signal 11", "Segmentation fault"),
        ("kill -9 $$", "signal 9", "Killed"),
        ("echo 'diverged: loss is nan at epoch 3' >&2; exit 65", "diverged", "diverged: loss is nan"),
        ("echo 'interrupted: worker 1 is gone' >&2; exit 75", "interrupted", "interrupted: worker 1 is gone"),
        ("echo 'cannot connect' >&2; exit 75", "exit 75", "cannot connect"),
        ("exit 65", "exit 65", ""),
        ("true", "no-hyper", "wrote no hyper.json"),
        ("mkdir $ds_logs_dir/x; echo '{\"context\":' > $ds_logs_dir/x/hyper.json", "bad-hyper", "hyper.json"),
        (GOOD.replace("0.5", "NaN"), "bad-hyper", "NaN"),
        ("mkdir $ds_logs_dir/x; ln -s /etc/passwd $ds_logs_dir/x/hyper.json", "no-hyper", ""),
        ("mkdir $ds_logs_dir/x; mkfifo $ds_logs_dir/x/hyper.json", "no-hyper", ""),
        (f"mkdir own; ln -s $PWD/own $ds_logs_dir/x; {GOOD}", "no-hyper", "links are not followed"),
        (f"mkdir own; rmdir $ds_logs_dir; ln -s $PWD/own $ds_logs_dir; {GOOD}", "no-hyper", ""),
        ("echo '{}' > hyper.json", "no-hyper", "ds_logs_dir"),
        ("rm -rf .git bin; cd /; rm -rf $OLDPWD; exit 4", "exit 4", ""),
        ("chmod 0 .; exit 5", "exit 5", ""),
        ("#!/no/such/interpreter\n", "no-script", "its interpreter /no/such/interpreter is not on this machine"),
        ("#!/usr/bin/env\t/x y\n", "exit 127", ""),
        ("#!/usr/bin/env -S X=1 bash -e\nexit 5\n", "exit 5", ""),
        ("\x7fELF" + "\0" * 60, "no-script", "a program for another kind of machine"),
        ("#!  /no/such/python3 -u\n", "no-script", "its interpreter /no/such/python3 is not on this machine"),
        (f"#!/bin/bash\r\n{GOOD}", "no-script", "its #! line ends with CR LF"),
        ("#!/usr/bin/env bash\r\ntrue\r\n", "exit 127", ""),
        ("\x7fgarbage", "no-script", "no #! line"),
    ],
)
def test_each_failure_has_its_class(tmp_path: Path, script: str, failure: str, detail: str) -> None:
    outcome = run(tmp_path, script)
    assert (outcome.status, outcome.failure) == ("failed", failure)
    assert detail in outcome.detail
    assert "\n" not in outcome.detail


def test_a_place_that_is_mounted_noexec_is_no_fault_of_the_merge(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m,noexec", "none", str(clone)], check=False)
    if mounted.returncode:
        pytest.skip("this user may not mount a tmpfs")
    try:
        outcome = run(tmp_path, GOOD)
        assert outcome.failure == "machine"
        assert f"{clone}/bin is mounted noexec" in outcome.detail
        subprocess.run(["mount", "-o", "remount,exec", str(clone)], check=True)
    finally:
        subprocess.run(["umount", str(clone)], check=True)


def mounted(place: Path) -> Path:
    """Mount a small disk, which the caller unmounts."""
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "none", str(place)], check=False).returncode:
        pytest.skip("this user may not mount a tmpfs")
    return place


@pytest.mark.parametrize("place", ["checkpoints", "tmp"])
def test_a_disk_that_becomes_read_only_is_no_fault_of_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    disk = mounted(tmp_path / place)
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    remounts = f"mount -o remount,ro {disk} && ! touch {disk}/x && exit 3"
    try:
        outcome = run(tmp_path, remounts)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    assert outcome.failure == "machine"
    assert outcome.detail.endswith(f"and {disk}: Read-only file system: mount it writable, or set another path")


@pytest.mark.parametrize("place", ["checkpoints", "corpus", "clone"])
def test_a_disk_that_is_unmounted_under_a_job_is_no_fault_of_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    disk = mounted(tmp_path / place)
    monkeypatch.setenv("ds_dataset_path", str(tmp_path / "corpus"))
    outcome = run(tmp_path, f"cd / && umount -l {disk} && exit 3")
    assert outcome.failure == "machine"
    assert outcome.detail.endswith(f", and no disk is mounted at {disk} any more: mount it")


@pytest.mark.parametrize("removed", ["$ds_checkpoint_dir", "$TMPDIR", '"$PWD"', "$ds_dataset_path"])
def test_what_a_job_removes_itself_is_its_own_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: str
) -> None:
    (tmp_path / "corpus").mkdir()
    monkeypatch.setenv("ds_dataset_path", str(tmp_path / "corpus"))
    assert run(tmp_path, f"rm -rf {removed}; exit 3").failure == "exit 3"
    replaced = f"rm -rf {removed}; ln -s /dev/shm {removed}; exit 3"
    assert run(tmp_path / "linked", replaced).failure == "exit 3"


@pytest.mark.parametrize(
    ("script", "which", "option"),
    [
        ("head -c 3000000 /dev/zero >$TMPDIR/model || exit 7", resource.RLIMIT_FSIZE, "f"),
        (
            f'exec {shlex.quote(sys.executable)} -c \'open("model", "wb").write(bytes(3000000))\'',
            resource.RLIMIT_FSIZE,
            "f",
        ),
        ("exec dd if=/dev/zero of=model bs=3000000 count=1", resource.RLIMIT_FSIZE, "f"),
        ("kill -XFSZ $$", resource.RLIMIT_FSIZE, "f"),
        ("echo saving >&2; kill -XFSZ $$", resource.RLIMIT_FSIZE, "f"),
        ("echo saving >&2; exit 153", resource.RLIMIT_FSIZE, "f"),
        ("bash -c 'kill -XCPU $$'; exit $?", resource.RLIMIT_CPU, "t"),
        ("echo 'CPU time limit exceeded' >&2; exit 3", resource.RLIMIT_CPU, "t"),
        ("kill -KILL $$", resource.RLIMIT_CPU, "t"),
    ],
)
def test_a_limit_of_the_users_that_ends_a_job_is_no_fault_of_the_merge(
    tmp_path: Path, script: str, which: int, option: str
) -> None:
    """What a job does under a limit of its own making is its fault."""
    assert run(tmp_path / "own", f"ulimit -{option} 2000; {script}").failure not in (None, "machine")
    usual = resource.getrlimit(which)
    resource.setrlimit(which, (2_000_000, usual[1]))
    try:
        outcome = run(tmp_path / "given", script)
    finally:
        resource.setrlimit(which, usual)
    assert outcome.failure == "machine"
    assert outcome.detail.endswith(f"and `ulimit -{option}` holds it to less: raise that")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN])
def test_a_disk_that_fails_is_no_fault_of_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    job = start(tmp_path, "exit 3")
    assert job.outcome()
    monkeypatch.setattr(files, "refusal", lambda place: OSError(number, os.strerror(number), str(place)))
    room = full_disk.left(job.order, job.work, {"TMPDIR": str(job.work.tmp)}, ())
    verdict = full_disk.blamed(outcomes.Verdict("exit 3", "as told"), room)
    assert verdict.failure == "machine"
    assert verdict.detail.endswith(f"{os.strerror(number)}: the disk or the mount fails: look at `dmesg`")


@pytest.mark.parametrize(
    ("said", "failure"),
    [
        ("OSError: [Errno 5] Input/output error: '/data/corpus/a.wav'", "machine"),
        ("cat: /data/corpus/a.wav: Stale file handle", "machine"),
        ("OSError: [Errno 5] Input/output error", "exit 3"),  # of a terminal that was closed, for example
    ],
)
def test_a_corpus_on_a_disk_that_fails_is_no_fault_of_the_merge(tmp_path: Path, said: str, failure: str) -> None:
    assert run(tmp_path, f'echo "{said}" >&2; exit 3').failure == failure


def test_a_missing_or_unexecutable_script_names_the_cure(tmp_path: Path) -> None:
    outcome = run(tmp_path, "true", mode=0o644)
    assert (outcome.failure, "chmod +x" in outcome.detail) == ("no-script", True)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("#!/no/such/python3 -u\n", "its interpreter /no/such/python3 is not on this machine: install it"),
        ("#!/usr/bin/env no-such-python3\n", "its interpreter no-such-python3 is not on the job's PATH: install it"),
        (
            "#!/usr/bin/env -S no-such-python3 -u\n",
            "its interpreter no-such-python3 is not on the job's PATH: install it",
        ),
        ("#!/usr/bin/env -Sno-such-python3\n", "its interpreter no-such-python3 is not on the job's PATH: install it"),
        ("#!/usr/bin/env no_such+python3\n", "its interpreter no_such+python3 is not on the job's PATH: install it"),
        ("#!/usr/bin/env /no/such/python3\n", "its interpreter /no/such/python3 is not on this machine: install it"),
        ("#!/no/such\0thing\n", "its interpreter /no/such is not on this machine: install it"),
        ("#!/etc/passwd\n", "its interpreter /etc/passwd cannot be executed by this user: chmod +x it"),
        ("#!/usr\n", "its interpreter /usr is a directory: name a program"),
    ],
)
def test_an_interpreter_that_is_gone_is_the_merges_fault_only_if_it_changed_the_script(
    tmp_path: Path, script: str, told: str
) -> None:
    others, its_own = (Changed(((name, 1, 0),), 1) for name in ("README", "bin/job"))
    for fields, failure in (
        ({"changed": others}, "machine"),
        ({"changed": its_own}, "no-script"),
        ({"changed": its_own, "rerun_of": "a run that it had"}, "machine"),
    ):
        outcome = run(tmp_path, script, **fields)
        assert (outcome.failure, told in outcome.detail) == (failure, True), outcome.detail


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("#!mine\n", "its interpreter mine cannot be executed by this user: chmod +x it"),
        ("#!/usr/bin/env bin/gone\n", "its interpreter bin/gone is not on this machine: "),
    ],
)
def test_an_interpreter_in_the_checkout_is_always_the_merges(tmp_path: Path, line: str, told: str) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "mine").write_text("#!/bin/sh\n")
    outcome = run(tmp_path, line, changed=Changed())
    assert outcome.failure == "no-script"
    assert told in outcome.detail


def test_env_takes_an_interpreter_from_the_checkout(tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "my_shell").symlink_to("/bin/sh")
    assert run(tmp_path, f"#!/usr/bin/env ./my_shell\n{GOOD}").failure is None


def test_a_program_whose_loader_is_gone_is_told_without_its_bytes(tmp_path: Path) -> None:
    program = Path("/bin/true").read_bytes()
    loader = re.search(rb"/lib[^\0]*/ld[^\0]*", program)
    assert loader
    script = Script("job", tmp_path, is_changed=False)
    script.path.write_bytes(program.replace(loader[0], b"/gone" + loader[0][5:]))
    script.path.chmod(0o755)
    with pytest.raises(FileNotFoundError) as caught:
        subprocess.run([script.path], check=False)
    fault = script.fault_of(caught.value)
    assert fault.failure == "machine"
    assert "its interpreter ld.so (see `readelf -l`) is not on this machine" in fault.detail


def test_a_merge_that_changes_what_the_script_links_to_has_changed_the_script(tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "link").symlink_to("bin/job")
    for name, failure in (("bin/job", "no-script"), ("README", "machine")):
        outcome = run(tmp_path, "#!/no/such\n", script="./link", changed=Changed(((name, 1, 0),), 1))
        assert outcome.failure == failure


@pytest.mark.parametrize(("found", "failure"), [("true", "no-script"), ("false", "machine")])
def test_a_file_system_that_keeps_no_execute_bits_is_no_fault_of_the_merge(
    tmp_path: Path, found: str, failure: str
) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), "config", "core.fileMode", found], check=True)  # as git finds on FAT
    script = Script("job", tmp_path)
    script.path.write_text("#!/bin/sh\n")
    fault = script.fault({})
    assert fault is not None
    assert fault.failure == failure
    assert ("keeps no execute bits: set ds_clone_path" in fault.detail) == (failure == "machine")


@pytest.mark.skipif(os.getuid() != 0, reason="looks at another user's file, as one without root's rights")
def test_a_script_that_this_user_may_not_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "job").write_text("#!/bin/sh\n")
    (tmp_path / "job").chmod(0o711)
    os.chown(tmp_path / "job", 12345, 12345)
    program = (
        "import sys, pathlib; from deepspeech_wer.jobs.script import Script;"
        "print(Script(sys.argv[1] + '/job', pathlib.Path(sys.argv[1]) / 'clone').fault({}))"
    )
    as_plain_user = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program]
    (tmp_path / "clone").mkdir()
    said = subprocess.run([*as_plain_user, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    assert "failure='machine'" in said
    assert "cannot be read by this user (mode 0711): chmod +r it" in said


def test_a_script_outside_the_checkout_is_never_a_merges_fault(tmp_path: Path) -> None:
    outside = tmp_path / "share" / "job"
    outcome = run(tmp_path, GOOD, script=str(outside))
    assert outcome.failure == "machine"
    assert f"{outside}: no such file on this machine: mount its disk" in outcome.detail
    outside.parent.mkdir()
    outside.write_text("#!/bin/sh\n")
    outcome = run(tmp_path, GOOD, script=str(outside))
    assert (outcome.failure, "chmod +x" in outcome.detail) == ("machine", True)
    outside.chmod(0o755)
    for text, told in (("true\n", "no #! line"), ("#!/bin/sh\r\n", "CR LF"), ("#!/no/such\n", "/no/such is not on")):
        outside.write_text(text, newline="")
        outcome = run(tmp_path, GOOD, script=str(outside), changed=Changed())
        assert (outcome.failure, told in outcome.detail) == ("machine", True)


@pytest.mark.parametrize("place", ["gone", "file"])
def test_a_directory_for_temporary_files_that_is_gone_is_no_fault_of_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / place))
    outcome = run(tmp_path, f"mktemp || exit 1; {GOOD}")
    assert (outcome.failure, f"TMPDIR {tmp_path / place}: " in outcome.detail) == ("machine", True), outcome.detail
    assert run(tmp_path, GOOD).failure is None  # it needs none


def test_a_relative_directory_for_temporary_files_excuses_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "scratch")  # it begins at the checkout, where the job may make it
    assert run(tmp_path, "exit 3").failure == "exit 3"


@pytest.mark.skipif(os.getuid() != 0, reason="looks as a user without root's rights")
def test_a_link_below_proc_that_this_user_may_not_follow_is_told(tmp_path: Path) -> None:
    (tmp_path / "job").symlink_to("/proc/1/root/job")
    program = (
        "import sys; from types import SimpleNamespace as Order; from deepspeech_wer.jobs.script import Script;"
        "print(Script.of(Order(script='./job', checkout=sys.argv[1], changed=None, rerun_of=None)).fault({}))"
    )
    as_plain_user = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program]
    said = subprocess.run([*as_plain_user, str(tmp_path)], capture_output=True, text=True, check=True).stdout
    assert "failure='no-script'" in said


def test_a_checkout_that_is_gone_is_no_fault_of_the_merge(tmp_path: Path) -> None:
    """As on a node of a cluster that has lost its disk."""
    fault = Script("./bin/job", tmp_path / "clone" / "run").fault({})
    assert fault
    assert fault.failure == "machine"
    assert fault.detail.endswith("is the disk of ds_clone_path mounted on this host?")


def test_a_link_out_of_the_checkout_may_lead_to_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone" / "link").symlink_to(tmp_path / "share" / "job")
    for changed, failure in ((Changed(), "machine"), (Changed((("link", 1, 0),), 1), "no-script")):
        outcome = run(tmp_path, GOOD, script="./link", changed=changed)
        assert outcome.failure == failure
        assert f"a link to {tmp_path}/share/job" in outcome.detail


def test_the_newest_hyper_json_counts(tmp_path: Path) -> None:
    outcome = run(tmp_path, f"mkdir $ds_logs_dir/a; echo old > $ds_logs_dir/a/hyper.json; sleep 0.05\n{GOOD}")
    assert outcome.status == "done"


def test_a_link_to_the_newest_is_not_the_result(tmp_path: Path) -> None:
    outcome = run(tmp_path, f"{GOOD}\nln -s x $ds_logs_dir/latest")
    assert (outcome.failure, outcome.files) == (None, outcome.logs / "logs" / "x")


def test_html_in_hyper_is_data(tmp_path: Path) -> None:
    assert run(tmp_path, GOOD.replace("{}", '{"<img src=x onerror=alert(1)>":"</script>"}')).status == "done"


def test_a_job_without_end_is_ended(tmp_path: Path) -> None:
    outcome = run(tmp_path, "trap '' TERM; sleep 1000 & sleep 1000", timeout_s=0.5)
    assert outcome.failure == "timeout"
    assert "0.5 s (ds_job_timeout)" in outcome.detail


def test_a_job_may_save_its_checkpoint_after_a_time_out(tmp_path: Path) -> None:
    script = "trap 'echo saved > \"$2/state\"; exit 1' TERM; while :; do sleep 0.05; done"
    assert run(tmp_path, script, timeout_s=3, grace_s=60).failure == "timeout"
    assert (tmp_path / "checkpoints" / "state").read_text() == "saved\n"


def test_daemons_are_ended_too(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    daemon = (
        f"env -i setsid bash -c 'echo $$ > {marker}; trap \"\" TERM; exec >/dev/null 2>&1 </dev/null; sleep 1000' &"
    )
    outcome = run(tmp_path, f"({daemon})\nwhile [ ! -s {marker} ]; do sleep 0.02; done\n{GOOD}")
    assert outcome.status == "done"
    assert processes.start_time(int(marker.read_text())) is None


def test_a_daemon_that_keeps_the_pipes_open_does_not_block_the_queue(tmp_path: Path) -> None:
    started = time.monotonic()
    assert run(tmp_path, f"sleep 1000 &\n{GOOD}", timeout_s=None).status == "done"
    assert time.monotonic() - started < 60


def test_a_job_may_close_its_streams(tmp_path: Path) -> None:
    assert run(tmp_path, f"exec >&- 2>&-\nsleep 0.2\n{GOOD}").status == "done"


def test_a_huge_log_is_limited_and_its_tail_kept(tmp_path: Path) -> None:
    assert (
        run(tmp_path, f"head -c 30000000 /dev/zero | tr '\\0' 'x' | fold -w 200; echo last words\n{GOOD}").status
        == "done"
    )
    text = log(tmp_path)
    assert len(text) < output.HEAD_BYTES + output.TAIL_BYTES + 1000
    assert "bytes omitted" in text
    assert text.endswith("last words\n")


def test_binary_and_colours_become_text(tmp_path: Path) -> None:
    run(tmp_path, f"printf '\\x1b[31mred\\x1b[0m\\x07 \\xff\\x00\\n10%%\\r20%%\\r\\n\\x1b]0;title\\x07x\\n'\n{GOOD}")
    assert [line.partition(" ")[2] for line in log(tmp_path).splitlines()] == ["red \ufffd", "10%", "20%", "x"]


def test_control_characters_of_c1_are_removed_and_other_scripts_stay(tmp_path: Path) -> None:
    run(
        tmp_path,
        f"printf '\\xc2\\x9b31mred\\xc2\\x9d0;ti\\xc2\\xb0tle\\xc2\\x9c caf\\xc3\\xa9\\xc2\\x85 \\xc2\\xb0\\n'\n{GOOD}",
    )
    assert [line.partition(" ")[2] for line in log(tmp_path).splitlines()] == ["red caf\u00e9 \u00b0"]


def test_a_log_keeps_no_marks_that_turn_the_direction_of_writing(tmp_path: Path) -> None:
    marks = "\u202e\u2066\u061c\u200f\u2028\u2029"
    run(tmp_path, f"echo 'a{marks}b \u05e9\u05dc\u05d5\u05dd \u0646\u0645\u06cc\u200c\u0634\u0648\u062f'\n{GOOD}")
    (line,) = log(tmp_path).splitlines()
    assert line.partition("Z ")[2] == "ab \u05e9\u05dc\u05d5\u05dd \u0646\u0645\u06cc\u200c\u0634\u0648\u062f"


def test_a_signal_to_the_supervisor_ends_the_job_cleanly(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    script = f"trap 'echo saved > \"$2/state\"; exit 1' TERM; echo $$ > {marker}; while :; do sleep 0.05; done"
    started = start(tmp_path, script, timeout_s=None, grace_s=60)
    wait_for(marker)
    os.kill(started.supervisor(), signal.SIGTERM)
    outcome = started.outcome()
    assert outcome
    assert (outcome.status, outcome.failure) == ("failed", "interrupted")
    assert (tmp_path / "checkpoints" / "state").read_text() == "saved\n"


def test_a_second_signal_ends_a_job_at_once(tmp_path: Path) -> None:
    marker, told = tmp_path / "pid", tmp_path / "told"
    saves_for_ever = f"trap 'echo x > {told}' TERM; echo $$ > {marker}; while :; do sleep 0.05; done"
    started = start(tmp_path, saves_for_ever, timeout_s=None, grace_s=1000)
    for sign in (marker, told):
        wait_for(sign)
        os.kill(started.supervisor(), signal.SIGTERM)
    assert started.outcome()
    assert processes.start_time(int(marker.read_text())) is None


def test_a_signal_while_the_supervisor_is_being_started_is_not_lost(tmp_path: Path) -> None:
    started = start(tmp_path, "sleep 1000", timeout_s=None)
    started.runner.ask_to_end(started.work)
    outcome = started.outcome()
    assert outcome
    assert outcome.failure == "interrupted"


def test_a_cancelled_job_is_distinguished_from_an_interrupted_one(tmp_path: Path) -> None:
    marker = tmp_path / "pid"
    started = start(tmp_path, f"echo $$ > {marker}; sleep 1000", timeout_s=None)
    wait_for(marker)
    works.write_cancel(started.work, "ada on trainer", "2026-01-02T03:04:05Z")
    started.runner.ask_to_end(started.work)
    outcome = started.outcome()
    assert outcome
    assert (outcome.failure, outcome.detail) == ("cancelled", "by ada on trainer")


def test_only_what_a_killed_supervisor_leaves_is_ended(tmp_path: Path) -> None:
    marker, hidden = tmp_path / "pid", tmp_path / "hidden"
    daemon = f"setsid bash -c 'echo $$ > {tmp_path}/daemon; sleep 1000' &"
    no_token = f"env -i bash -c 'echo $$ > {hidden}; while :; do /bin/sleep 0.1; done' &"
    started = start(tmp_path, f"{daemon}\n{no_token}\necho $$ > {marker}; sleep 1000", timeout_s=None)
    wait_for(marker, hidden, tmp_path / "daemon")
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        os.kill(started.supervisor(), signal.SIGKILL)
        assert started.outcome() is None
        ended = started.runner.clear(started.work, started.order)
        pids = [int(file.read_text()) for file in (marker, hidden, tmp_path / "daemon")]
        assert set(pids) <= set(ended)
        assert [processes.start_time(pid) for pid in pids] == [None, None, None]
        assert stranger.poll() is None
        stranger.kill()


def test_the_record_of_another_boot_ends_no_process(tmp_path: Path) -> None:
    started = start(tmp_path, GOOD)
    assert started.outcome()
    with subprocess.Popen(["sleep", "1000"]) as stranger:
        works.write_job(started.work, works.Job(stranger.pid, "another-boot:123"))
        assert started.runner.clear(started.work, started.order) == []
        assert stranger.poll() is None
        stranger.kill()


def test_ending_one_job_leaves_another_alone(tmp_path: Path) -> None:
    first = start(tmp_path / "a", f"sleep 1000 & echo $! > {tmp_path}/child; sleep 1000", timeout_s=None)
    wait_for(tmp_path / "child")
    assert run(tmp_path / "b", f"sleep 1000 &\n{GOOD}").status == "done"
    assert processes.start_time(int((tmp_path / "child").read_text())) is not None
    first.runner.ask_to_end(first.work)
    assert first.outcome()


@pytest.mark.parametrize("bytes_kept", [0, 10, 100])
def test_a_damaged_outcome_is_reported_and_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, bytes_kept: int
) -> None:
    started = start(tmp_path, GOOD)
    assert started.outcome()
    file = started.work.path / "outcome.json"
    file.write_bytes(file.read_bytes()[:bytes_kept])
    assert outcomes.read(started.work) is None
    assert "outcome.json cannot be read" in caplog.text
    assert (started.work.path / "outcome.json.unreadable").stat().st_size == bytes_kept


def test_a_damaged_order_is_reported_and_its_run_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    started = start(tmp_path, GOOD)
    assert started.outcome()
    (started.work.path / "order.json").write_text("{")
    assert works.read_order(started.work) is None
    assert "cannot be read" in caplog.text
    assert works.unfinished(started.work.path.parent) == []
    (aside,) = started.work.path.parent.iterdir()
    assert (aside / "logs" / "x" / "hyper.json").exists()


LIMIT = 150 << 20
# Limits the job's cgroup, then allocates more.
HUNGRY = f"""
own=$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)
echo "$own" > "$ds_checkpoint_dir/group"
echo {LIMIT} > "/sys/fs/cgroup/memory$own/memory.limit_in_bytes" || exit 7
exec {shlex.quote(sys.executable)} -c 'bytearray({4 * LIMIT})'
"""


def needs_memory_cgroups() -> None:
    directory, counter = memory._own_group()
    if directory is None or counter != "memory.oom_control" or os.geteuid():
        pytest.skip("needs a memory cgroup of version 1 in which this user may create another")


def test_a_job_killed_for_lack_of_memory_is_classified(tmp_path: Path) -> None:
    needs_memory_cgroups()
    outcome = run(tmp_path, HUNGRY)
    assert (outcome.failure, outcome.detail) == ("out-of-memory", "the kernel killed the job for lack of memory")
    group = (tmp_path / "checkpoints" / "group").read_text().strip()
    assert "/deepspeech_wer-" in group
    assert not Path(f"/sys/fs/cgroup/memory{group}").exists()


def test_an_out_of_memory_kill_elsewhere_is_not_the_jobs(tmp_path: Path) -> None:
    needs_memory_cgroups()
    killed = start(tmp_path / "a", f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; kill -9 $$")
    assert run(tmp_path / "b", HUNGRY).failure == "out-of-memory"
    (tmp_path / "go").touch()
    outcome = killed.outcome()
    assert outcome
    assert outcome.failure == "signal 9"


def test_a_crowd_of_children_is_ended(tmp_path: Path) -> None:
    assert (
        run(tmp_path, f"ulimit -u 400 2>/dev/null; for n in {{1..200}}; do setsid sleep 1000 & done\n{GOOD}").status
        == "done"
    )


def test_a_job_may_write_much_while_it_saves_its_checkpoint(tmp_path: Path) -> None:
    saving = "head -c 300000 /dev/zero | tr '\\0' x; echo; echo saved > \"$1\"; exit 1"
    script = f"save() {{ {saving}; }}; trap 'save \"$2/state\"' TERM; while :; do sleep 0.05; done"
    assert run(tmp_path, script, timeout_s=3, grace_s=60).failure == "timeout"
    assert (tmp_path / "checkpoints" / "state").exists()


def test_a_huge_hyper_is_not_read(tmp_path: Path) -> None:
    outcome = run(tmp_path, "mkdir $ds_logs_dir/x; truncate -s 900G $ds_logs_dir/x/hyper.json")
    assert (outcome.failure, "too large" in outcome.detail) == ("bad-hyper", True)


@pytest.mark.parametrize("piece", [1, 7, 1000, 65536])
def test_a_log_does_not_depend_on_the_size_of_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    monkeypatch.setattr(output, "HEAD_BYTES", 300)
    monkeypatch.setattr(output, "TAIL_BYTES", 1000)
    monkeypatch.setattr(clock, "utc_now", lambda: "T")
    data = b"".join(b"line %d\x1b[0m\x07\n" % number for number in range(2000)) + b"\r\n10%\r20%\r\n\n \nlast words"
    written = output.JobLog(tmp_path / "log")
    for start in range(0, len(data), piece):
        written.feed(data[start : start + piece])
    assert written.last_words() == "last words"
    written.close()
    head, note, tail = re.split(r"(\[\.\.\. \d+ bytes omitted \.\.\.\]\n)", (tmp_path / "log").read_text())
    assert note
    expected = [f"T line {number}\n" for number in range(2000)] + ["T 10%\n", "T 20%\n", "T  \n", "T last words\n"]
    assert head == "".join(expected[: head.count("\n")])
    assert tail == "".join(expected[-tail.count("\n") :])
    assert 300 <= len(head) < 320
    assert 700 < len(tail) <= 1000


def test_an_endless_line_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "HEAD_BYTES", 1 << 20)
    written = output.JobLog(tmp_path / "log")
    for _ in range(100):
        written.feed(b"x" * 65536)
    written.close()
    lines = (tmp_path / "log").read_text().splitlines()
    assert max(map(len, lines)) <= 2 * output.LINE_BYTES + 30
    assert len(lines) > 20
    assert (tmp_path / "log").stat().st_size < (1 << 20) + output.TAIL_BYTES + 2 * output.LINE_BYTES


def test_a_log_within_the_limits_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "HEAD_BYTES", 100)
    monkeypatch.setattr(clock, "utc_now", lambda: "T")
    echoed: list[str] = []
    written = output.JobLog(tmp_path / "log")
    follower = output.Follower(tmp_path / "log")
    for number in range(100):
        written.feed(b"%d\n" % number)
        echoed += follower.lines()
    written.close()
    echoed += follower.lines()
    assert (tmp_path / "log").read_text() == "".join(f"T {number}\n" for number in range(100))
    assert echoed == [str(number) for number in range(100)]


def test_the_last_line_may_lack_a_line_break(tmp_path: Path) -> None:
    assert run(tmp_path, "printf 'no such layer' >&2; exit 3").detail == "no such layer"


@pytest.mark.parametrize(
    "what", ["yes", "cat /dev/zero", "yes $'\\x1b[31m'", "yes xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"]
)
def test_a_hundred_megabytes_of_output_take_little_memory(tmp_path: Path, what: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert run(tmp_path, f"{what} | head -c 100M\n{GOOD}", timeout_s=120).status == "done"
    assert (
        tmp_path / "work" / "20260102-030405-c0ffeec0ffee" / "out.log"
    ).stat().st_size < output.HEAD_BYTES + output.TAIL_BYTES + (1 << 17)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60_000


@pytest.mark.skipif(os.getuid() != 0, reason="gives files to another user")
@pytest.mark.parametrize("given", [".", "sub"])
def test_a_result_in_a_directory_of_another_user_is_taken_as_root_in_a_container_leaves_it(
    tmp_path: Path, given: str
) -> None:
    logs = tmp_path / "logs"
    (logs / "sub").mkdir(parents=True)
    record = {
        "context": {"time_started": "2016-11-16T10:00:00", "git_hash": "x"},
        "parameters": {},
        "results": {"duration": 1, "last_train_wer": 0.1, "last_validation_wer": 0.2, "test_wer": 0.3},
    }
    (logs / "sub" / "hyper.json").write_text(json.dumps(record))
    os.chown(logs / given, 12345, 12345)
    program = (
        "import sys, pathlib; from deepspeech_wer.jobs import outcome; print(outcome.judge(pathlib.Path(sys.argv[1])))"
    )
    as_plain_user = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", sys.executable, "-c", program]
    for place in (logs, logs / "sub"):  # as the supervisor looks, and as the tick does before it archives
        said = subprocess.run([*as_plain_user, str(place)], capture_output=True, text=True, check=True).stdout
        assert said.startswith("Verdict(failure=None"), said
    for beside in ("aaa", "zzz"):
        (logs / beside).mkdir(mode=0)
        os.chown(logs / beside, 12345, 12345)
    said = subprocess.run([*as_plain_user, str(logs)], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Verdict(failure=None"), said
    locked = logs / "locked"
    locked.mkdir()
    (logs / "sub" / "hyper.json").rename(locked / "hyper.json")
    for mine in (locked / "hyper.json", locked):  # as a job with `umask 777` leaves them
        mine.chmod(0)
    said = subprocess.run([*as_plain_user, str(logs)], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Verdict(failure=None"), said
    (locked / "hyper.json").rename(logs / "sub" / "hyper.json")
    os.chown(logs / "sub" / "hyper.json", 12345, 12345)
    for locked in (logs / "sub" / "hyper.json", logs / given):
        locked.chmod(0)
        said = subprocess.run([*as_plain_user, str(logs)], capture_output=True, text=True, check=True).stdout
        assert "Permission denied: of another user" in said
