"""Complete ticks with a scripted job: real git, real processes, no web host."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deepspeech_wer import archive, archive_record, cli, exit_codes, files, hyper, places
from deepspeech_wer.configuration import settings
from deepspeech_wer.jobs import outcome as outcomes
from deepspeech_wer.jobs import work as works
from deepspeech_wer.records import Outcome, Run
from deepspeech_wer.repository import history, mirror
from tests.conftest import Repository
from tests.waiting import until

JOB = """#!/bin/sh
set -e
. ./wer
mkdir -p "$ds_logs_dir/x"
printf '{"context":{"time_started":"2026-01-01T00:00:00.000%s","git_hash":"%s"},"parameters":{"n":1},"results":{
"test_wer":%s,"last_validation_wer":0.4,"last_train_wer":0.3}}' "$$" "$ds_wer_sha" "$wer" > "$ds_logs_dir/x/hyper.json"
"""

# The pid of the tick, for jobs that end it. Their own parent is their supervisor.
TICK_PID = "$(head -n 1 $HOME/.cache/deepspeech_wer/lock)"
TICK = [sys.executable, "-P", "-m", "deepspeech_wer"]


@pytest.fixture
def tracked(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository of one commit whose job works. The variables are set to track it."""
    repository.commit("root", {"bin/run-wer-automation.sh": JOB, "wer": "wer=0.5\n"})
    monkeypatch.setenv("ds_repo_url", str(repository.path))
    monkeypatch.setenv("ds_retrain", "off")  # the tests of verdicts have it on
    monkeypatch.setenv("ds_clone_path", str(repository.path.parent / "clone"))
    return repository


def tick(*arguments: str) -> int:
    return cli.main(list(arguments))


def wers() -> list[float | str | None]:
    """Return the WER or the failure class of every run, in the order of the history."""
    runs = sorted(archive.load(settings.load().places.runs), key=lambda run: run.merge.ordinal)
    return [hyper.wer(run.hyper, "test_wer") if run.hyper else run.failure for run in runs]


def test_new_merges_run_oldest_first_and_only_once(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    assert tick() == 0
    assert wers() == [0.5]
    tracked.merge("better", {"wer": "wer=0.4\n"})
    tip = tracked.merge("worse", {"wer": "wer=0.6\n"})
    assert tick() == 0
    assert wers() == [0.5, 0.4, 0.6]
    current = settings.load()
    assert (current.places.cache / "last_sha1").read_text() == f"{tip}\n"
    assert not current.clone_path.exists()
    assert not (current.places.cache / "tick.json").exists()
    assert sorted(path.name for path in current.places.data.iterdir()) == [
        "checkpoints",
        "lock",
        "log",
        "runs",
        "site",
        "tracker.json",
        "verdicts.json",
    ]
    before = times(current.places.data)
    capsys.readouterr()
    assert tick() == 0
    assert capsys.readouterr() == ("", "")
    assert times(current.places.data) == before


def times(data: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in data.rglob("*") if path != data / "lock"}


@pytest.mark.usefixtures("tracked")
def test_a_tick_removes_what_a_crash_left() -> None:
    assert tick() == 0
    where = settings.load().places
    left = where.runs / ".20260102-030405-c0ffeec0ffee.partial"
    left.mkdir()
    (left / "run.json").touch()
    of_site = where.site / "runs" / ".some.js.12.partial"
    of_cache = where.cache / ".shown.1.partial"
    of_site.touch()
    of_cache.touch()
    assert tick() == 0
    assert not left.exists()
    assert not of_site.exists()
    assert not of_cache.exists()


@pytest.mark.parametrize("is_cold", [False, True], ids=["", "without a cache"])
@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_what_is_no_file_in_the_place_of_one_is_neither_waited_for_nor_read(
    tracked: Repository, kind: str, is_cold: bool
) -> None:
    assert tick() == 0
    where = settings.load().places
    found = [path for top in (where.cache, where.data) for path in top.rglob("*") if path.is_file()]
    told = ("lock", "last_sha1")  # the tick ends, and tells what to move away
    replaced = [path for path in found if where.mirror not in path.parents and path.name not in told]
    for path in replaced:
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        else:
            path.touch()
            os.truncate(path, 1 << 40)
    if is_cold:
        shutil.rmtree(where.cache)
    tracked.merge("next", {"wer": "wer=0.4\n"})
    limited = ["prlimit", f"--as={4 << 30}", *TICK]
    done = subprocess.run(limited, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "run.json: expected a file of at most 67108864 bytes, found " in done.stderr
    assert hyper.wer(next(archive.recent(where.runs)).hyper, "test_wer") == 0.4


def test_what_somebody_puts_into_the_directories_of_the_tracker_stays(tracked: Repository) -> None:
    tick()
    where, name = settings.load().places, "20260102-030405-c0ffeec0ffee"
    places = [where.data, where.work, where.runs, where.site, where.site / "js", where.site / "runs"]
    places += [where.checkpoints, where.requests, where.cache, where.runs.parent / "log"]
    names = ["mine", ".mine", ".mine.partial", "mine.partial", f"{name}.left", f"{name}.js", ".1.partial"]
    mine = {place / name / "sub" / "mine" for place in places for name in names}
    mine |= {where.cache / ".mine.1.partial" / "mine", where.work / f"{name}-2.unreadable" / "mine"}
    begun = where.work / name / "mine"  # no order: nothing that the tracker began
    for path in (*mine, begun):
        path.parent.mkdir(parents=True)
        path.write_text("mine")
    tracked.merge("next", {"wer": "wer=0.4\n"})
    for _ in range(2):
        assert tick() in (0, exit_codes.FAILED)
    assert cli.main(["prune", "--keep", "1"]) == 0
    assert cli.main(["build"]) == 0
    assert [path for path in mine if not path.exists()] == []
    assert (where.work / f"{name}.unreadable" / "mine").read_text() == "mine"
    assert wers() == [0.5, 0.4]


def test_a_tick_parses_new_runs_alone(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tick() == 0
    before = archive.names(settings.load().places.runs)
    tracked.merge("better", {"wer": "wer=0.4\n"})
    read: list[str] = []
    real = archive_record.read

    def reading(directory: Path) -> Run:
        read.append(directory.name)
        return real(directory)

    monkeypatch.setattr(archive_record, "read", reading)
    assert tick() == 0
    new = {*archive.names(settings.load().places.runs)} - {*before}
    assert set(read) == {before[-1], *new}  # the newest one from before tells under which variables it ran
    assert settings.load().places.kept.is_dir()


def test_the_site_holds_the_contract_of_2016(tracked: Repository) -> None:
    tracked.merge("a", {"wer": "wer=0.25\n"})
    tick()
    tracked.merge("b", {"wer": "wer=0.2\n"})
    tick()
    text = (settings.load().places.site / "js" / "hyper.js").read_text()
    match = re.search(r"window\.ALL_THE_DATA = (\[.*?\n\]);", text, re.DOTALL)
    assert match
    records = json.loads(match[1])
    assert [record["results"]["test_wer"] for record in records] == [0.25, 0.2]
    starts = [record["context"]["time_started"] for record in records]
    assert starts == sorted(starts)
    assert all({"last_validation_wer", "last_train_wer"} <= record["results"].keys() for record in records)


def test_a_broken_merge_is_recorded_and_the_queue_continues(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    tick()
    tracked.merge("broken", {"wer": "echo 'no such layer' >&2; exit 3\n"})
    tracked.merge("mended", {"wer": "wer=0.1\n"})
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, "exit 3", 0.1]
    errors = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
    assert len(errors) == 1
    assert re.search(r'"broken": failed after 2 attempts: exit 3: no such layer \(log: /\S+/err\.log\)$', errors[0])
    assert tick() == 0


@pytest.mark.parametrize(
    ("files", "failure"),
    [
        ({"wer": "wer=NaN\n"}, "bad-hyper"),
        ({"wer": "wer='0.2'\ntrap 'truncate --size=40 $ds_logs_dir/x/hyper.json' EXIT\n"}, "bad-hyper"),
        ({"wer": "exit 0\n"}, "no-hyper"),
        ({"bin/run-wer-automation.sh": "#!/no/python\n"}, "no-script"),
        ({"wer": "kill -9 $$\n"}, "signal 9"),
    ],
)
def test_each_fault_makes_one_failed_run_and_one_line(
    tracked: Repository, capsys: pytest.CaptureFixture[str], files: dict[str, str], failure: str
) -> None:
    tick()
    capsys.readouterr()
    tracked.merge("faulty", files)
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, failure]
    assert capsys.readouterr().err.count("ERROR") == 1
    site = settings.load().places.site
    assert "FAILED_RUNS" in (site / "js" / "hyper.js").read_text()


def test_a_missing_script_is_a_failed_run(tracked: Repository) -> None:
    tick()
    tracked.git("rm", "--quiet", "bin/run-wer-automation.sh")
    tracked.merge("without its job")
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, "no-script"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("ds_gpu_usage_root", "link"),
        ("ds_dataset_path", "link"),
        ("ds_clone_path", "caf\udce9"),
        ("ds_dataroot", "caf\udce9"),
    ],
)
@pytest.mark.usefixtures("tracked")
def test_a_link_to_itself_or_a_name_that_is_no_utf_8_costs_no_merge(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, place: str
) -> None:
    (tmp_path / "link").symlink_to("link")
    monkeypatch.setenv(name, str(tmp_path / place))
    assert tick() == 0
    assert wers() == [0.5]


@pytest.mark.usefixtures("tracked")
def test_a_script_that_is_a_link_to_itself_is_the_machines_trouble(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to("link")
    monkeypatch.setenv("ds_wer_automation", str(tmp_path / "link"))
    assert tick() == exit_codes.TROUBLE
    assert "/link: no such file on this machine: mount its disk, or set ds_wer_automation" in capsys.readouterr().err
    assert wers() == []


@pytest.mark.usefixtures("tracked")
def test_a_supervisor_that_starts_no_job_is_tried_three_times_in_each_tick(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    python = tmp_path / "python"
    calls = tmp_path / "calls"
    found = shlex.quote(sys.executable)
    fails_four_times = f'echo >>{calls}\n[ "$(wc -l <{calls})" -gt 4 ] && exec {found} "$@"\necho gone >&2\nexit 3\n'
    python.write_text(f"#!/bin/sh\n{fails_four_times}")
    python.chmod(0o755)
    monkeypatch.setattr("deepspeech_wer.jobs.local.sys.executable", str(python))
    assert tick() == exit_codes.TROUBLE
    *_, said, told = capsys.readouterr().err.splitlines()
    assert said.endswith(": gone")
    assert "its supervisor ended before the job began, or the job removed" in told
    assert calls.read_text().count("\n") == 3
    assert tick() == 0
    assert wers() == [0.5]


def test_a_hanging_job_is_ended(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ds_job_timeout", "0.5")
    monkeypatch.setenv("ds_job_attempts", "1")
    tracked.merge("hangs", {"wer": "sleep 1000\n"})
    assert tick() == exit_codes.FAILED
    assert wers() == ["timeout"]


def test_html_in_hyper_stays_data(tracked: Repository) -> None:
    tracked.merge("x", {"wer": 'wer=\'0.2, "<script>alert(1)</script>": "</script><img src=x>"\'\n'})
    assert tick() == 0
    text = (settings.load().places.site / "js" / "hyper.js").read_text()
    assert "<" not in text


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("url", ["/nowhere/at/all", "git://127.0.0.1:1/x.git"])
def test_an_unreachable_repository_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    tick()
    capsys.readouterr()
    monkeypatch.setenv("ds_repo_url", url)
    monkeypatch.setattr(mirror, "RETRY_AFTER_S", ())
    assert tick() == exit_codes.TROUBLE
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert wers() == [0.5]


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", ["requests", "runs", "work", "site", "site/css", "checkpoints"])
def test_a_file_in_the_place_of_a_directory_is_told_in_one_line_with_the_cure(
    tracked: Repository, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    tick()
    capsys.readouterr()
    place = settings.load().places.data / name
    if place.exists():
        place.rename(place.with_name("away"))
    place.touch()
    tracked.merge("next")
    for _ in range(2):
        assert tick() in (exit_codes.TROUBLE, exit_codes.FAILED)
        [line] = [line for line in capsys.readouterr().err.splitlines() if " ERROR " in line]
        assert str(place) in line
        assert "move it away" in line


@pytest.mark.usefixtures("tracked")
@pytest.mark.parametrize("name", ["last_sha1", "lock"])
def test_unreadable_state_is_reported_in_one_line(capsys: pytest.CaptureFixture[str], name: str) -> None:
    tick()
    capsys.readouterr()
    place = settings.load().places.cache / name
    place.unlink()
    place.mkdir()
    assert tick() == exit_codes.TROUBLE
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert f"{place}: Is a directory: move it away" in err
    assert wers() == [0.5]


def test_a_stale_git_lock_in_the_mirror_does_not_fail_a_merge(tracked: Repository) -> None:
    tick()
    (next(settings.load().places.cache.glob("*.git")) / "refs" / "heads" / "tracked.lock").touch()
    tracked.merge("better", {"wer": "wer=0.4\n"})
    assert tick() == 0
    assert wers() == [0.5, 0.4]


def test_a_directory_instead_of_a_file_is_reported_in_one_line(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = settings.load().places.cache
    (cache / "tick.json" / "in").mkdir(parents=True)
    assert tracked.git("rev-parse", "HEAD")
    assert tick() == 1
    said = capsys.readouterr().err
    assert f"{cache / 'tick.json'}: Is a directory: move it away" in said
    assert "Traceback" not in said


def test_squashing_is_reported_once_per_newest_commit(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    for n in range(history.MANY_COMMITS):
        tracked.commit(str(n))
    capsys.readouterr()
    told = []
    for commit in (False, False, True, False):
        if commit:
            tracked.commit("one more")
        assert tick() == 0
        told.append(capsys.readouterr().err.count("set ds_track=commits"))
    assert told == [1, 0, 1, 0]


def test_a_cache_on_nfs_is_reported_once(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tracked.path.parent / "mounts"  # mounting a real NFS takes a server and root
    listed.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/home {sealed.resolve()} nfs4 rw 0 0\n")
    monkeypatch.setattr(places, "MOUNTS", listed)
    told = []
    for _ in range(3):
        assert tick() == 0
        told.append(capsys.readouterr().err.count("is on nfs4: locks may not work there"))
    assert told == [1, 0, 0]


def test_a_gitconfig_that_refuses_bare_repositories_does_no_harm(tracked: Repository, sealed: Path) -> None:
    (sealed / ".gitconfig").write_text("[safe]\n\tbareRepository = explicit\n")
    assert tick() == 0
    tracked.merge("next")
    assert tick() == 0
    assert wers() == [0.5, 0.5]


def test_all_unusable_settings_are_reported_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_track", "everything")
    monkeypatch.setenv("ds_job_attempts", "0")
    monkeypatch.setenv("ds_website_server_fqdn", "www.example.com")
    assert tick() == exit_codes.USAGE
    err = capsys.readouterr().err
    for name in ("ds_track", "ds_job_attempts", "ds_website_username", "ds_website_privkey", "ds_website_server_root"):
        assert f"  {name}: " in err


def test_forced_commits_are_run_again(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    sha = tracked.git("rev-parse", "HEAD")
    capsys.readouterr()
    assert tick("run", "--sha", sha[:10]) == 0
    assert f'{sha[:12]} "root" by Ada: training, requested by hand\n' in capsys.readouterr().err
    assert wers() == [0.5, 0.5]
    assert tick() == 0
    assert wers() == [0.5, 0.5]


def test_a_commit_run_by_hand_before_the_first_tick_creates_no_backlog(tracked: Repository) -> None:
    old = tracked.git("rev-parse", "HEAD")
    for number in range(1, 4):
        tracked.merge(str(number), {"wer": f"wer=0.{number}\n"})
    assert tick("run", "--sha", old) == 0
    assert tick() == 0
    assert wers() == [0.5, 0.3]
    tracked.merge("4", {"wer": "wer=0.4\n"})
    assert tick() == 0
    assert wers() == [0.5, 0.3, 0.4]


def test_a_backlog_continues_after_the_cache_is_deleted(tracked: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    tick()
    monkeypatch.setenv("ds_backlog", "newest")
    for number in range(1, 6):
        tracked.merge(
            str(number),
            {"wer": f"[ -e {tracked.path}/go ] || {{ kill -TERM {TICK_PID}; sleep 100; }}; wer=0.{number}\n"},
        )
    tracked.merge("6", {"wer": "wer=0.6\n"})
    assert subprocess.run(TICK, check=False).returncode == 143
    assert wers() == [0.5, 0.6]  # five are skipped
    shutil.rmtree(settings.load().places.cache)
    (tracked.path / "go").touch()
    assert tick() == 0
    assert wers() == [0.5, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert (settings.load().places.cache / "last_sha1").read_text() == tracked.git("rev-parse", "HEAD") + "\n"


def test_a_bad_script_fails_the_merges_that_inherit_it_until_one_mends_it(tracked: Repository) -> None:
    tick()
    tracked.merge("breaks it", {"bin/run-wer-automation.sh": "#!/usr/bin/python2.7\n"})
    tracked.merge("inherits it", {"README": "x\n"})
    tracked.merge("mends it", {"bin/run-wer-automation.sh": JOB, "wer": "wer=0.3\n"})
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, "no-script", "no-script", 0.3]


def test_a_run_requested_by_hand_that_the_machine_cannot_run_holds_up_nothing_and_can_be_skipped(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    tracked.commit("of 2016", {"bin/run-wer-automation.sh": "#!/usr/bin/python2.7\n"})
    old = tracked.commit("of 2016, too")
    tracked.commit("of today", {"bin/run-wer-automation.sh": JOB})
    tick()
    assert tick("run", "--sha", old) == exit_codes.TROUBLE
    tracked.merge("next", {"wer": "wer=0.4\n"})
    for expected in (2, 1):  # two runs are tried, then the old one alone
        capsys.readouterr()
        assert tick() == exit_codes.TROUBLE
        said = capsys.readouterr().err
        assert "its interpreter /usr/bin/python2.7 is not on this machine" in said
        assert said.count(": training") == expected
    assert wers() == [0.5, 0.4]
    assert tick("skip", old, "--why", "no Python 2 here") == 0
    assert tick() == 0
    assert wers() == [0.5, 0.4]


def test_a_run_requested_by_hand_is_resumed_after_a_kill(tracked: Repository) -> None:
    tick()
    sha = tracked.merge(
        "next",
        {"wer": f'touch "$2/saved"; [ -e {tracked.path}/go ] || {{ kill -9 {TICK_PID} $PPID; sleep 99; }}; wer=0.4\n'},
    )
    (tracked.path / "bin" / "run-wer-automation.sh").write_text(JOB.replace(". ./wer", '. ./wer "$@"'))
    assert subprocess.run([*TICK, "run", "--sha", sha], check=False).returncode == -9
    tracked.git("reset", "--quiet", "--hard", "HEAD~1")
    tracked.git("branch", "--quiet", "other", sha)
    (tracked.path / "go").touch()
    assert tick() == 0  # the branch was rewritten, so the commit is no longer due
    assert wers() == [0.5]
    tracked.git("merge", "--quiet", "--ff-only", sha)
    (tracked.path / "go").unlink()
    assert subprocess.run([*TICK, "run", "--sha", sha], check=False).returncode == -9
    (tracked.path / "go").touch()
    assert tick() == 0
    assert wers() == [0.5, 0.4]


@pytest.mark.parametrize(("signal", "code"), [("KILL", -9), ("TERM", 143), ("HUP", 129)])
def test_an_interrupted_training_resumes_from_its_checkpoint(tracked: Repository, signal: str, code: int) -> None:
    saves = "trap 'touch \"$2/saved\"; exit 1' TERM"
    killed = f"{TICK_PID} $PPID" if signal == "KILL" else TICK_PID
    first = f'{saves}; touch "$2/epoch1"; kill -{signal} {killed}; while :; do sleep 0.1; done'
    work = f'[ -e "$2/epoch1" ] || {{ {first}; }}; [ {signal} = KILL ] || [ -e "$2/saved" ]; wer=0.4\n'
    tracked.merge("long", {"wer": work, "bin/run-wer-automation.sh": JOB.replace(". ./wer", '. ./wer "$@"')})
    done = subprocess.run(TICK, check=False, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code
    assert (f"ended by SIG{signal}; the next call resumes" in done.stderr) == (code > 0)
    assert wers() == []
    assert tick() == 0
    assert wers() == [0.4]
    assert list((settings.load().places.data / "checkpoints").iterdir()) == []


def test_a_rewritten_branch_is_reported_once(tracked: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    tick()
    tracked.git("checkout", "--quiet", "--orphan", "anew")
    tracked.commit("root anew")
    tracked.git("branch", "--quiet", "--force", "--move", "anew", "main")
    capsys.readouterr()
    assert tick() == 0
    assert capsys.readouterr().err.count("the branch was rewritten") == 1
    assert wers() == [0.5, 0.5]
    assert tick() == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["--all", "HEAD~3", "", "\x1b[31mred", "deadbeef"])
def test_a_damaged_last_sha1_is_not_reported_as_a_rewritten_branch(
    tracked: Repository, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    tick()
    place = settings.load().places.cache / "last_sha1"
    place.write_text(text)
    capsys.readouterr()
    assert tick() == 0
    err = capsys.readouterr().err
    assert f"last_sha1 is damaged: expected 40 or 64 hex digits, found {text!r}; continuing after " in err
    assert "rewritten" not in err
    assert place.read_text() == tracked.git("rev-parse", "HEAD") + "\n"


def test_an_empty_repository_has_no_commits(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ds_repo_url", str(repository.path))
    assert tick() == 0
    assert "the repository has no commits yet" in capsys.readouterr().err
    assert tick() == 0
    assert capsys.readouterr().err == ""  # reported once


@pytest.mark.parametrize("command", [[], ["check"]])
def test_an_empty_repository_that_had_commits_is_trouble(
    tracked: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """git takes a login page of one line, too, for the list of branches of an empty repository."""
    tick()
    last = settings.load().places.last_sha1.read_text()
    tracked.path.rename(tmp_path / "away")
    subprocess.run(["git", "init", "-q", str(tracked.path)], check=True)
    capsys.readouterr()
    assert cli.main(command) == exit_codes.TROUBLE
    assert "the repository is empty, but had commits: was it made anew" in "".join(capsys.readouterr())
    (tracked.path / ".git").rename(tmp_path / "empty")
    (tmp_path / "away" / ".git").rename(tracked.path / ".git")
    assert settings.load().places.last_sha1.read_text() == last
    assert tick() == 0


def test_a_second_tick_exits_silently(tracked: Repository, sealed: Path) -> None:
    tracked.merge(
        "slow", {"wer": f"touch {sealed}/started; while [ ! -e {sealed}/go ]; do sleep 0.05; done; wer=0.3\n"}
    )
    first = subprocess.Popen(TICK, stderr=subprocess.PIPE)
    try:
        until((sealed / "started").exists)
        second = subprocess.run(TICK, capture_output=True, check=False)
        assert (second.returncode, second.stdout, second.stderr) == (0, b"", b"")
    finally:
        (sealed / "go").touch()
        first.communicate()
    assert first.returncode == 0
    assert wers() == [0.3]


def test_a_merge_is_not_given_up_for_a_failure_of_the_machine(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick()
    tracked.merge("next", {"wer": "wer=0.4\n"})
    with monkeypatch.context() as patched:
        patched.setenv("ds_clone_path", "/dev/null/x")
        for _ in range(13):
            assert tick() == exit_codes.TROUBLE
    assert tick() == 0
    assert wers() == [0.5, 0.4]


def test_removed_permissions_do_not_stop_the_queue(tracked: Repository) -> None:
    locked = "mkdir -p $ds_logs_dir/d/e; touch $ds_logs_dir/d/e/f; chmod 0 $ds_logs_dir/d/e $ds_logs_dir"
    tracked.merge("locks", {"wer": f"{locked}\nexit 1\n"})
    assert tick() == exit_codes.FAILED
    tracked.merge("checkpoint is a file", {"wer": 'rm -rf "$ds_checkpoint_dir"; touch "$ds_checkpoint_dir"; exit 1\n'})
    assert tick() == exit_codes.FAILED
    tracked.merge("replaces its checkout", {"wer": "wer=0.3; d=$PWD; mv $d $d.old; mkdir $d; touch $d/x\n"})
    tracked.merge("mended", {"wer": "wer=0.1\n"})
    assert tick() == 0
    assert wers() == ["exit 1", "exit 1", 0.3, 0.1]


def test_results_that_cannot_be_removed_are_not_taken_for_the_next_merges(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job that runs as root in a container leaves such files."""
    work = settings.load().places.work
    removing = files.remove_tree
    monkeypatch.setattr(files, "remove_tree", lambda path: path.parent != work and removing(path))
    assert tick() == 0
    (left,) = work.glob("*.left")
    assert (left / "logs" / "x" / "hyper.json").exists()
    assert f"cannot remove {left}: the job left files" in capsys.readouterr().err
    tracked.merge("writes nothing", {"wer": "exit 0\n"})
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, "no-hyper"]


def test_permissions_of_the_trackers_directories_are_restored(tracked: Repository) -> None:
    tick()
    current = settings.load()
    places = [
        current.places.data / "work",
        current.places.data / "checkpoints",
        current.places.runs,
        current.places.site,
        current.places.cache,
        current.places.data,
    ]
    tracked.merge("locks out", {"wer": f"trap 'chmod 0 {' '.join(map(str, places))}' EXIT; wer=0.4\n"})
    assert tick() == 0
    assert wers() == [0.5, 0.4]
    assert {f"{place.stat().st_mode & 0o777:o}" for place in places[1:]} == {"700"}


@pytest.mark.parametrize("place", ['"$ds_logs_dir/a"', '"$ds_logs_dir/x/a"', '"$ds_checkpoint_dir/a"', "a"])
def test_what_a_job_links_to_is_left_alone(tracked: Repository, tmp_path: Path, place: str) -> None:
    (tmp_path / "corpus" / "deep").mkdir(parents=True)
    for name in ("a.wav", "deep/b.wav"):
        (tmp_path / "corpus" / name).touch()
    script = JOB.replace(". ./wer", '. ./wer\nmkdir "$ds_logs_dir/x"\neval "$links"')
    links = f"ln -s {tmp_path}/corpus {place}; ln -s x $ds_logs_dir/latest"
    tracked.merge("links", {"bin/run-wer-automation.sh": script, "wer": f"wer=0.4 links='{links}'\n"})
    assert tick() == 0
    assert wers() == [0.4]
    assert sorted(path.name for path in (tmp_path / "corpus").rglob("*")) == ["a.wav", "b.wav", "deep"]


def test_a_logs_directory_replaced_by_a_link_is_not_followed(tracked: Repository, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.wav").touch()
    moves = f"rmdir $ds_logs_dir; ln -s {tmp_path}/corpus $ds_logs_dir; wer=0.4\n"
    tracked.merge("moves its logs", {"wer": moves})
    assert tick() == exit_codes.FAILED
    assert wers() == ["no-hyper"]
    assert (tmp_path / "corpus" / "a.wav").exists()


@pytest.fixture
def small_clones(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str], None]]:
    """Mounts a file system at ds_clone_path with the options that it is called with."""
    assert tracked.path.exists()
    place = tmp_path / "clones"
    place.mkdir()
    monkeypatch.setenv("ds_clone_path", str(place / "clone"))

    def mount(options: str) -> None:
        subprocess.run(["umount", str(place)], check=False, capture_output=True)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", str(place)], check=False)
        if done.returncode:
            pytest.skip("this user may not mount a tmpfs")

    yield mount
    subprocess.run(["umount", str(place)], check=False, capture_output=True)


@pytest.mark.parametrize(
    ("options", "told"), [("size=20m,noexec", "is mounted noexec"), ("size=1m", "no space left"), ("ro", "Read-only")]
)
def test_a_place_for_checkouts_that_is_of_no_use_costs_no_merge(
    tracked: Repository,
    small_clones: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    options: str,
    told: str,
) -> None:
    tracked.merge("large", {"wer": "wer=0.4\n", "model.txt": "x" * (2 << 20)})
    small_clones(options)
    for _ in range(4):
        capsys.readouterr()
        assert tick() == exit_codes.TROUBLE
        errors = [line for line in capsys.readouterr().err.splitlines() if "ERROR" in line]
        assert len(errors) == 1
        assert told in errors[0]
    assert wers() == []
    small_clones("size=50m")
    assert tick() == 0
    assert wers() == [0.4]


DEEP = f'{shlex.quote(sys.executable)} -c \'import os\nfor _ in range(%d): os.mkdir("d"); os.chdir("d")\''


@pytest.mark.parametrize(
    ("place", "depth"), [("$ds_logs_dir", 990), ("$ds_checkpoint_dir", 5000), (".", 5000), ("$TMPDIR", 1100)]
)
def test_directories_that_a_job_nests_do_not_stop_the_queue(tracked: Repository, place: str, depth: int) -> None:
    tracked.merge("nests", {"wer": f"(cd {place} && {DEEP % depth}); wer=0.4\n"})
    assert tick() == 0
    tracked.merge("next", {"wer": "wer=0.3\n"})
    assert tick() == 0
    assert wers() == [0.4, 0.3]
    assert [path.name for path in settings.load().places.checkpoints.iterdir()] == []


@pytest.mark.parametrize("place", [".", "$ds_logs_dir", "$ds_checkpoint_dir", "$TMPDIR"])
@pytest.mark.parametrize("how", ["--bind {foreign}", "-t tmpfs none"])
def test_what_a_job_leaves_mounted_is_not_emptied_and_costs_no_result(
    tracked: Repository, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, how: str, place: str
) -> None:
    if os.geteuid():
        pytest.skip("only root can mount")
    foreign = tmp_path / "foreign"
    (foreign / "below").mkdir(parents=True)
    (foreign / "below" / "theirs").write_text("1")
    target = f"{place}/corpus"
    mount = f"mkdir -p {target} && mount {how.format(foreign=foreign)} {target} && touch {target}/mine; wer=0.4\n"
    assert tick() == 0
    tracked.merge("mounts", {"wer": mount})
    tracked.merge("next", {"wer": "wer=0.3\n"})
    try:
        for _ in range(2):
            assert tick() == 0
        assert wers() == [0.5, 0.4, 0.3]
        assert (foreign / "below" / "theirs").read_text() == "1"
    finally:
        mounted = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
        for left in [one for one in mounted if one.startswith(f"{tmp_path_factory.getbasetemp()}/")]:
            subprocess.run(["umount", "--lazy", left], check=True)  # else pytest cannot remove what is above it


@pytest.mark.parametrize("attempts", ["1", "2"])
@pytest.mark.parametrize("gone", [".", "runs"])
def test_a_data_root_that_goes_away_while_a_job_runs_costs_no_merge_and_no_run(
    tracked: Repository,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    gone: str,
    attempts: str,
) -> None:
    monkeypatch.setenv("ds_job_attempts", attempts)
    assert tick() == 0
    place = settings.load().places.data / gone
    away = f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; mv {place.resolve()} {tmp_path}/away; }}; wer=0.4\n"
    tracked.merge("loses its disk", {"wer": away})
    capsys.readouterr()
    for _ in range(2):
        assert tick() == exit_codes.TROUBLE
        (line,) = (line for line in capsys.readouterr().err.splitlines() if " ERROR " in line)
        assert "is empty, but had runs before: is its disk mounted?" in line
    if place.exists():
        place.rename(tmp_path / "under the mount")
    (tmp_path / "away").rename(place.resolve())
    assert tick() == 0
    assert wers() == [0.5, 0.4]


def test_a_data_root_that_goes_away_during_the_first_run_of_all_is_missed(
    tracked: Repository, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data = settings.load().places.data.resolve()
    away = f"test -e {tmp_path}/once || {{ touch {tmp_path}/once; mv {data} {tmp_path}/away; }}; wer=0.4\n"
    tracked.commit("loses its disk", {"wer": away})
    assert tick() == exit_codes.TROUBLE
    (line,) = (line for line in capsys.readouterr().err.splitlines() if " ERROR " in line)
    assert "is its disk mounted?" in line
    if data.exists():
        data.rename(tmp_path / "under the mount")
    (tmp_path / "away").rename(data)
    assert tick() == 0
    assert wers() == [0.4]


PIPES = [
    "last_sha1",
    "tracker.json",
    "told.json",
    "built",
    "room.json",
    "heartbeat.json",
    "kept/202611",
    "checkpoint_file",
]
PIPES += ["DATA/tracker.json", "DATA/verdicts.json", "DATA/requests/released.json"]


@pytest.mark.parametrize("is_link", [True, False])
@pytest.mark.parametrize("by_job", [True, False])
def test_a_pipe_in_the_place_of_a_file_hangs_no_tick(
    tracked: Repository, tmp_path: Path, capsys: pytest.CaptureFixture[str], by_job: bool, is_link: bool
) -> None:
    assert tick() == 0
    where = settings.load().places
    paths = [where.data / name[5:] if name.startswith("DATA/") else where.cache / name for name in PIPES]
    elsewhere = tmp_path / "pipe"
    make = f"test -p {elsewhere} || mkfifo {elsewhere}; ln -s {elsewhere}" if is_link else "mkfifo"
    script = "\n".join(f"mkdir -p {path.parent}; rm -f {path}; {make} {path}" for path in paths)
    if not by_job:
        subprocess.run(["sh", "-c", script], check=True)
    tracked.merge("one", {"wer": (f"{script}\n" if by_job else "") + "wer=0.4\n"})
    capsys.readouterr()
    assert tick() == 0
    assert wers() == [0.5, 0.4]
    said = capsys.readouterr().err
    assert all(f"{path}: expected a file, found a pipe; it is {path}.no-file now" in said for path in paths)


@pytest.mark.parametrize("name", ["kept", "published"])
def test_a_link_in_the_place_of_derived_files_costs_nothing_there(
    tracked: Repository, tmp_path: Path, name: str
) -> None:
    foreign = tmp_path / "foreign"
    (foreign / "below").mkdir(parents=True)
    (foreign / "theirs").write_text("1")
    place = settings.load().places.cache / name
    tracked.merge("links", {"wer": f"rm -rf {place}; ln -s {foreign} {place}; wer=0.4\n"})
    assert tick() == 0
    assert wers() == [0.4]
    assert (foreign / "theirs").read_text() == "1"
    assert (foreign / "below").is_dir()


def test_an_interrupted_job_that_nests_directories_is_resumed(tracked: Repository) -> None:
    deep = f"(cd $ds_checkpoint_dir && mkdir e && cd e && {DEEP % 1500})"
    tracked.merge(
        "nests", {"wer": f"test -e $ds_checkpoint_dir/e || {{ {deep}; kill -KILL $PPID; sleep 9; }}; wer=0.4\n"}
    )
    assert tick() == 0
    assert wers() == [0.4]


@pytest.mark.parametrize("depth", [990, 1800])
def test_directories_that_a_merge_nests_do_not_stop_the_queue(tracked: Repository, depth: int) -> None:
    blob = tracked.git("rev-parse", "HEAD:wer")
    tracked.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{'d/' * depth}file")
    nested = tracked.git("commit-tree", tracked.git("write-tree"), "-p", "HEAD", "-m", "nests")
    tracked.git(
        "reset",
        "--quiet",
        "--soft",
        tracked.git("commit-tree", f"{nested}^{{tree}}", "-p", "HEAD", "-p", nested, "-m", "nested"),
    )
    tracked.git("update-index", "--force-remove", f"{'d/' * depth}file")
    assert tick() == 0
    tracked.merge("next", {"wer": "wer=0.3\n"})
    assert tick() == 0
    assert wers() == [0.5, 0.3]
    assert not settings.load().clone_path.exists()


SHA = "0123456789abcdef0123456789abcdef01234567"


def names(directory: Path) -> list[str]:
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


@pytest.mark.parametrize("place", ["checkpoints", "site", "site/runs", "work", "runs", "work/run"])
def test_a_directory_that_a_job_replaces_by_a_link_is_not_used(tracked: Repository, tmp_path: Path, place: str) -> None:
    where, foreign = settings.load().places, tmp_path / "foreign"
    for name in (SHA, "logs/x", "20260101-000000-0123456789ab"):
        (foreign / name).mkdir(parents=True)
        (foreign / name / "out.log").write_text("key")
    (foreign / "logs" / "x" / "hyper.json").write_text('{"context":{"time_started":"x"},"results":{"test_wer":0.1}}')
    (foreign / "out.log").write_text("key")
    before = names(foreign)
    target = '"$(dirname $ds_logs_dir)"' if place == "work/run" else f"{where.data}/{place}"
    tracked.merge(
        "plants", {"wer": f"wer=0.4; mkdir -p {target}; mv {target} {where.data}/aside; ln -s {foreign} {target}\n"}
    )
    script = JOB.replace("mkdir -p", '[ -e "$ds_logs_dir" ] || exit 1; mkdir -p')
    tracked.merge("plants", {"bin/run-wer-automation.sh": script})
    tick()
    tracked.merge("next", {"wer": "wer=0.3\n"})
    tick()
    assert names(foreign) == before
    assert wers()[-1] == 0.3
    assert not any(
        where.data.joinpath(name).is_symlink() for name in ("checkpoints", "site", "site/runs", "work", "runs")
    )
    assert "key" not in [path.read_text() for path in where.data.glob("[rs]*/**/out.log")]


def test_a_hyper_that_is_a_hard_link_is_not_taken(tracked: Repository, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"context":{"time_started":"x"},"results":{"test_wer":0.1}}')
    tracked.merge(
        "links", {"wer": f"mkdir $ds_logs_dir/x; ln {tmp_path}/other.json $ds_logs_dir/x/hyper.json; exit 0\n"}
    )
    assert tick() == exit_codes.FAILED
    assert wers() == ["no-hyper"]
    assert (tmp_path / "other.json").exists()


@pytest.mark.parametrize("key", ["files", "logs"])
def test_an_outcome_that_names_a_foreign_directory_is_not_believed(
    tracked: Repository, tmp_path: Path, key: str
) -> None:
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("hyper.json", "out.log", "thesis.txt"):
        (foreign / name).write_text("key")
    forge = (
        f"import json, os, pathlib, sys; w = pathlib.Path(os.environ['ds_logs_dir']).parent; "
        "o = dict(version=1, status='failed', failure='exit 1', detail='', attempt=2, files=None, logs=str(w), "
        "started_at='2026-01-01T00:00:00Z', finished_at='2026-01-01T00:00:00Z'); "
        f"o['{key}'] = '{foreign}'; (w / 'outcome.json').write_text(json.dumps(o))"
    )
    forges = f'{shlex.quote(sys.executable)} -c "{forge}"; kill -KILL $PPID; sleep 9'
    tracked.merge(
        "forges",
        {"wer": f"[ $ds_wer_attempt = 2 ] || [ -e $HOME/done ] || {{ touch $HOME/done; {forges}; }}; wer=0.4\n"},
    )
    assert tick() == 0
    assert wers() == [0.4]
    assert names(foreign) == ["hyper.json", "out.log", "thesis.txt"]


@pytest.mark.parametrize("what", ["data", "cache", "clone"])
@pytest.mark.parametrize("state", ["full", "read-only"])
def test_what_cannot_be_written_is_told_with_what_helps(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    what: str, state: str,
) -> None:  # fmt: skip
    disk = sealed / ".cache" if what == "cache" else sealed / "disk"
    disk.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "none", str(disk)], check=False).returncode:
        pytest.skip("only root can mount")
    try:
        monkeypatch.setenv(
            {"data": "ds_dataroot", "cache": "XDG_CACHE_HOME", "clone": "ds_clone_path"}[what], str(disk)
        )
        assert tick() == 0
        tracked.merge("next", {"wer": "wer=0.4\n"})
        if state == "full":
            subprocess.run(["dd", "if=/dev/zero", f"of={disk}/fill"], check=False, stderr=subprocess.DEVNULL)
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        capsys.readouterr()
        assert tick() == exit_codes.TROUBLE
        [line] = [line for line in capsys.readouterr().err.splitlines() if " ERROR " in line]
        assert ("make room there" if state == "full" else "mount it writable, or set another path") in line
        assert line.endswith("the next tick tries again")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        (disk / "fill").unlink(missing_ok=True)
        assert tick() == 0
        assert wers() == [0.5, 0.4]
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=False)


W = '$(dirname "$ds_logs_dir")'
FORGERIES = {
    "a newer outcome": f"""echo '{{"version": 99}}' > {W}/outcome.json""",
    "a good outcome": f"sed 's/.*/{{}}/' {W}/order.json > {W}/outcome.json",
    "a directory": f"mkdir -p {W}/outcome.json/x {W}/job.json.d",
    "a half-written file": f"for n in outcome job order; do mkdir {W}/.$n.json.$PPID.partial; done",
    "a link": f"ln -sf /etc/passwd {W}/outcome.json",
    "a newer order": f"""echo '{{"version": 99}}' > {W}/order.json""",
    "an order of another merge": f"""sed -i 's/"number": [0-9]*/"number": 77/' {W}/order.json""",
    "a lock": f"rm {W}/lock; mkdir {W}/lock",
    "a broken lock": f"ln -sf nowhere {W}/lock",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_a_job_forges_in_its_work_directory_is_not_believed(
    tracked: Repository, capsys: pytest.CaptureFixture[str], forgery: str
) -> None:
    tracked.merge("forges", {"wer": f"{FORGERIES[forgery]}; echo odd >&2; exit 3\n"})
    for _ in range(2):  # the lock may look free or wrong while the job runs
        tick()
    assert wers() == ["exit 3"]
    tracked.merge("next", {"wer": "wer=0.4\n"})
    capsys.readouterr()
    assert tick() == 0, capsys.readouterr().err
    assert wers() == ["exit 3", 0.4]
    where = settings.load().places
    numbers = [archive_record.read(where.runs / name).number for name in archive.names(where.runs)]
    assert numbers == sorted(numbers)
    assert numbers[-1] < 10
    assert works.unfinished(where.work) == []


AWAY = {
    "its work directory is a link": f"mv {W} {W}.x; ln -s $HOME/foreign {W}",
    "its logs are a link": "rmdir $ds_logs_dir; ln -s $HOME/foreign $ds_logs_dir",
}


@pytest.mark.parametrize("how", AWAY)
def test_a_record_that_lies_behind_a_link_is_none(tracked: Repository, sealed: Path, how: str) -> None:
    (sealed / "foreign").mkdir()
    (sealed / "foreign" / "thesis").touch()
    assert tick() == 0
    tracked.merge("away", {"wer": f"{AWAY[how]}; wer=0.4\n"})
    tracked.merge("next", {"wer": "wer=0.3\n"})
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, "no-hyper", 0.3]
    assert (sealed / "foreign" / "thesis").exists()
    assert len(archive.load(settings.load().places.runs)) == 3  # all of them readable


@pytest.mark.parametrize("then", ["rm {}", "echo { > {}", "rm {}; mkdir {}"])
def test_a_record_that_changes_after_the_job_ended_is_judged_as_it_is(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch, then: str
) -> None:
    assert tick() == 0
    tracked.merge("changes", {"wer": "wer=0.4\n"})
    real = outcomes.read

    def read(work: works.Work) -> Outcome | None:
        found = real(work)
        if found and found.files:
            subprocess.run(["sh", "-c", then.replace("{}", f"{found.files}/hyper.json")], check=True)
        return found

    monkeypatch.setattr(outcomes, "read", read)
    tick()
    assert wers()[-1] in ("no-hyper", "bad-hyper")
    assert len(archive.load(settings.load().places.runs)) == 2


@pytest.mark.parametrize("forgery", ["a newer outcome", "a directory", "a lock", "a broken lock"])
def test_nor_is_it_where_the_job_killed_its_supervisor(tracked: Repository, forgery: str) -> None:
    once = f"[ -e $HOME/done ] || {{ touch $HOME/done; {FORGERIES[forgery]}; kill -KILL $PPID; sleep 9; }}"
    tracked.merge("forges", {"wer": f"{once}; wer=0.4\n"})
    for _ in range(2):
        tick()
    assert wers() == [0.4]
    tracked.merge("next", {"wer": "wer=0.3\n"})
    assert tick() == 0
    assert wers() == [0.4, 0.3]


@pytest.mark.parametrize("then", ["sleep 1000", "exit 1"])
@pytest.mark.parametrize("left", ["order.json", "job.json order.json", "."])
def test_a_job_that_kills_its_supervisor_and_removes_its_order_is_not_run_for_ever(
    tracked: Repository, left: str, then: str
) -> None:
    removed = f"cd ${{ds_logs_dir%/logs}}; rm -rf {left if left != '.' else '$PWD'} || true; kill -KILL $PPID; {then}"
    tracked.merge("removes", {"wer": f"{removed}\n"})
    done = subprocess.run(TICK, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == exit_codes.TROUBLE
    assert re.search("; the next tick (resumes it|tries again)$", done.stderr, re.MULTILINE)


INTERRUPTED = {
    "says so": "echo 'interrupted: node 3 is gone' >&2; exit 75",
    "ends its supervisor": "kill $PPID; sleep 9",
}


@pytest.mark.parametrize("how", INTERRUPTED)
def test_a_job_that_is_interrupted_each_time_is_tried_once_in_each_tick_and_given_up(
    tracked: Repository, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    tracked.merge("loses its node", {"wer": f"echo >> $HOME/tries; {INTERRUPTED[how]}\n"})
    for number in range(1, 11):
        assert tick() == exit_codes.TROUBLE
        assert "; the next tick resumes it" in capsys.readouterr().err
        assert (Path.home() / "tries").read_text() == "\n" * number
    assert tick() == exit_codes.FAILED
    assert "interrupted 11 times without a new checkpoint" in capsys.readouterr().err


@pytest.mark.parametrize("how", [*INTERRUPTED, "kills its supervisor"])
def test_a_job_that_is_interrupted_each_time_after_a_checkpoint_is_resumed_thrice_in_each_tick(
    tracked: Repository, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    ends = INTERRUPTED.get(how, "kill -KILL $PPID; sleep 9")
    saves = 'date +%N >> "$2/epoch"; echo >> $HOME/tries; [ $(wc -l < $HOME/tries) -gt 13 ]'
    job = JOB.replace(". ./wer", '. ./wer "$@"')
    text = f"{saves} || {{ {ends}; }}; wer=0.4\n"
    tracked.merge("loses nodes", {"wer": text, "bin/run-wer-automation.sh": job})
    for number in range(1, 5):
        assert tick() == exit_codes.TROUBLE
        assert "; the next tick resumes it" in capsys.readouterr().err
        assert (Path.home() / "tries").read_text() == "\n" * 3 * number
    assert tick() == 0
    assert wers() == [0.4]


def test_a_supervisor_that_its_job_stopped_still_ends_it_in_time(
    tracked: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ds_job_timeout", "1")
    monkeypatch.setenv("ds_job_attempts", "1")
    tracked.merge("stops", {"wer": "kill -STOP $PPID; sleep 1000\n"})
    done = subprocess.run(TICK, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == exit_codes.FAILED
    assert wers() == ["timeout"]


def test_a_thousand_files_where_only_the_tracker_writes_are_told_in_one_line(
    tracked: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    crowd = "for n in $(seq 1000); do : >${ds_logs_dir%/logs}/.a.$n.partial; done"
    tracked.merge("crowds", {"wer": f"{crowd}; wer=0.4\n"})
    assert tick() == 0
    [line] = [line for line in capsys.readouterr().err.splitlines() if "the job put it there" in line]
    assert " and 999 more files: " in line


@pytest.mark.parametrize("then", ["mkfifo {}", "mkdir {}", "truncate -s 1T {}"])
def test_the_mark_of_its_checkout_may_be_replaced_by_a_job(tracked: Repository, tmp_path: Path, then: str) -> None:
    place = "${ds_logs_dir%/logs}/checkout.json"
    tracked.merge("replaces", {"wer": f"rm {place}; {then.format(place)}; wer=0.4\n"})
    assert tick() == 0
    assert wers() == [0.4]
    assert not (tmp_path / "clone").exists()


LOSSES = {
    "removed": "rm {lock}",
    "replaced by a file": "cp {lock} {lock}.new; mv {lock}.new {lock}",
    "moved away": "mv {lock} {lock}.old",
    "replaced by a directory": "rm {lock}; mkdir {lock}; touch {lock}/x",
}


@pytest.mark.parametrize("root", ["cache", "data"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_tick_whose_lock_is_lost_begins_no_further_merge(
    tracked: Repository, capsys: pytest.CaptureFixture[str], loss: str, root: str
) -> None:
    assert tick() == 0
    where = settings.load().places
    lock = {"cache": where.lock, "data": where.data_lock}[root]
    tracked.merge("loses", {"wer": f"wer=0.4; {LOSSES[loss].format(lock=lock)}\n"})
    tracked.merge("next", {"wer": "wer=0.3\n"})
    capsys.readouterr()
    assert tick() == exit_codes.TROUBLE
    lines = [line for line in capsys.readouterr().err.splitlines() if " ERROR " in line]
    assert len(lines) == 1
    assert f"{lock} was removed or replaced while this tick held it" in lines[0]
    assert wers() == [0.5, 0.4]
    if lock.is_dir():
        shutil.rmtree(lock)
    assert tick() == 0
    assert wers() == [0.5, 0.4, 0.3]


@pytest.mark.parametrize("how", ["another cache", "the lock was removed", "the cache was removed"])
def test_two_ticks_never_work_on_one_data_root(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    started, go = f"{sealed}/started", f"{sealed}/go"
    tracked.merge("slow", {"wer": f"echo x >> {started}; while [ ! -e {go} ]; do sleep 0.05; done; wer=0.3\n"})
    where = settings.load().places
    first = subprocess.Popen(TICK, stderr=subprocess.PIPE)
    try:
        until(Path(started).exists)
        with monkeypatch.context() as patched:
            if how == "another cache":
                patched.setenv("XDG_CACHE_HOME", str(sealed / "other"))
                patched.setenv("ds_clone_path", str(sealed / "other clone"))
                patched.setenv("ds_dataroot", str(where.data.parent))
            elif how == "the lock was removed":
                where.lock.unlink()
            else:
                shutil.rmtree(where.cache)
            second = subprocess.run(TICK, capture_output=True, text=True, check=False)
        assert second.returncode == exit_codes.TROUBLE
        (line,) = second.stderr.splitlines()
        assert f"another tick is at work on {where.data} (process {first.pid} since " in line
    finally:
        Path(go).touch()
        first.communicate()
    assert tick() == 0
    assert wers() == [0.3]
    assert Path(started).read_text() == "x\n"


@pytest.mark.parametrize("command", [["build"], ["publish", "--dry-run"], ["publish"], ["publish", "--rollback"]])
def test_a_command_by_hand_never_works_beside_a_tick_with_another_cache(
    tracked: Repository, sealed: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    for name in ("username", "server_fqdn", "server_root"):
        monkeypatch.setenv(f"ds_website_{name}", "localhost")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/nowhere")
    started, go = f"{sealed}/started", f"{sealed}/go"
    tracked.merge("slow", {"wer": f"echo x >> {started}; while [ ! -e {go} ]; do sleep 0.05; done; wer=0.3\n"})
    where = settings.load().places
    first = subprocess.Popen(TICK, stderr=subprocess.PIPE)
    try:
        until(Path(started).exists)
        with monkeypatch.context() as patched:
            patched.setenv("XDG_CACHE_HOME", str(sealed / "other"))
            patched.setenv("ds_dataroot", str(where.data.parent))
            second = subprocess.run([*TICK, *command], capture_output=True, text=True, check=False, timeout=60)
        assert second.returncode == exit_codes.TROUBLE
        (line,) = second.stderr.splitlines()
        assert f"another tick is at work on {where.data} (process {first.pid} since " in line
        assert not (where.site / "index.htm").exists()
    finally:
        Path(go).touch()
        first.communicate()


@pytest.mark.usefixtures("tracked")
def test_a_command_by_hand_gives_the_locks_back() -> None:
    assert tick() == 0
    assert tick("build") == 0
    assert tick("build") == 0
    assert tick() == 0


def test_a_failed_merge_of_a_queue_is_shown_and_told(tracked: Repository) -> None:
    assert tick() == 0
    tracked.merge("broken", {"wer": "exit 7\n"})
    tracked.merge("mended", {"wer": "wer=0.2\n"})
    assert tick() == exit_codes.FAILED
    assert wers() == [0.5, "exit 7", 0.2]
    assert '"exit 7"' in (settings.load().places.site / "js/hyper.js").read_text()


def test_a_shallow_repository_that_lacks_merges_is_told_as_that(
    tracked: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shallow = tmp_path / "shallow"

    def copy() -> None:
        shutil.rmtree(shallow, ignore_errors=True)
        subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{tracked.path}", str(shallow)], check=True)

    monkeypatch.setenv("ds_repo_url", str(shallow))
    copy()
    assert tick() == 0
    missed = tracked.merge("missed", {"wer": "wer=0.4\n"})
    tracked.merge("seen", {"wer": "wer=0.3\n"})
    copy()
    capsys.readouterr()
    assert tick() == 0
    told = capsys.readouterr().err
    assert "the repository is a shallow clone" in told
    assert "was rewritten" not in told

    subprocess.run(["git", "-C", str(shallow), "fetch", "--quiet", "--unshallow"], check=True)
    assert tick("run", "--sha", missed) == 0
    assert len(wers()) == 3
